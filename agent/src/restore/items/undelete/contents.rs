//! Whether contents are the same: those of secrets, which no engine returns, and those of configs.

use std::collections::HashMap;

use anyhow::Result;
use swarm_state::{
    inventory::ObjectKind,
    specs::{Item, ValueDigest, Values},
};

use super::living::LivingObject;
use crate::host::engine::objects::{LivingSecret, Objects};

/// Contents of secrets and configs, and credentials of services, of a backup: as far as they were read.
pub trait Known {
    /// Returns the value of the object of this kind and id.
    fn value(&self, kind: ObjectKind, id: &str) -> Option<&[u8]>;
}

impl Known for Values {
    fn value(&self, kind: ObjectKind, id: &str) -> Option<&[u8]> {
        self.get(kind, id)
    }
}

/// What is known about the contents of an object of the backup and a living one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Same,
    Other,
    /// The reason why they could not be compared.
    Unknown(String),
}

/// Results of comparisons, by kind, id in the backup and living id.
#[derive(Debug, Default)]
pub struct Contents(HashMap<(ObjectKind, String, String), Content>);

impl Contents {
    /// Compares each pair. What fails is no error: the pair is unknown.
    pub async fn compare(objects: &Objects, pairs: &[(&Item, &LivingObject)], values: &dyn Known) -> Self {
        let mut found = HashMap::new();
        for (item, living) in pairs {
            let content = compare(objects, item, living, values).await;
            let content = content.unwrap_or_else(|error| Content::Unknown(format!("{error:#}")));
            found.insert((item.kind, item.id.clone(), living.id.clone()), content);
        }
        Self(found)
    }

    /// Returns what is known about an object and a living one.
    pub fn of(&self, item: &Item, living: &LivingObject) -> Content {
        let compared = || self.0.get(&(item.kind, item.id.clone(), living.id.clone())).cloned();
        settled(item, living).or_else(compared).unwrap_or_else(|| Content::Unknown("they were not compared".to_owned()))
    }

    #[cfg(test)]
    pub fn test(known: &[(&Item, &str, Content)]) -> Self {
        let entry = |(item, living, content): &(&Item, &str, Content)| {
            ((item.kind, item.id.clone(), (*living).to_owned()), content.clone())
        };
        Self(known.iter().map(entry).collect())
    }
}

/// Whether the contents have to be compared to know.
pub fn is_open(item: &Item, living: &LivingObject) -> bool {
    settled(item, living).is_none()
}

/// Returns the result that needs no comparison. The content of a secret or a config is never changed, and no id is
/// given twice (swarmkit `manager/controlapi/secret.go`, `identity/randomid.go`). With a driver, a secret has none in
/// the swarm.
fn settled(item: &Item, living: &LivingObject) -> Option<Content> {
    let has_content = matches!(item.kind, ObjectKind::Secret | ObjectKind::Config);
    let by_driver = item.spec["Driver"].is_object() && living.spec()["Driver"].is_object();
    (!has_content || item.id == living.id || by_driver).then_some(Content::Same)
}

async fn compare(objects: &Objects, item: &Item, living: &LivingObject, values: &dyn Known) -> Result<Content> {
    let is_same = match item.kind {
        ObjectKind::Config => Some(ValueDigest::of(&objects.content(&living.id).await?)) == item.value,
        _ => {
            let Some(value) = values.value(item.kind, &item.id) else {
                return Ok(Content::Unknown("the backup's value could not be read".to_owned()));
            };
            let labels = &living.spec()["Labels"];
            objects.has_value(LivingSecret { id: &living.id, name: &living.name, labels }, value).await?
        }
    };
    Ok(if is_same { Content::Same } else { Content::Other })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::living::{Living, testing},
        *,
    };

    #[test]
    fn an_id_that_lives_has_the_content_that_it_always_had() {
        let living = Living::of(vec![testing::secret("s1", "key")], Vec::new());
        let lives = living.named(ObjectKind::Secret, "key").expect("lives");
        let item = |id: &str, spec| Item::test(ObjectKind::Secret, id, "key", spec);
        let known = Contents::default();
        assert_eq!(known.of(&item("s1", json!({})), lives), Content::Same);
        let other = item("s0", json!({}));
        assert!(is_open(&other, lives) && matches!(known.of(&other, lives), Content::Unknown(_)));
        let compared = Contents::test(&[(&other, "s1", Content::Other)]);
        assert_eq!(compared.of(&other, lives), Content::Other);
    }
}
