//! What was removed from a swarm since a backup, for reports.

use serde::Serialize;
use swarmdr_archive::BackupId;

use super::{
    missing::missing,
    object::Object,
    undelete::{Origin, Undelete},
};
use crate::outcome::count::count;

/// Length of [`Removed::words`] in bytes: it becomes a line of a report and a variable of a hook.
const WORDS_LIMIT: usize = 1000;

/// The objects that were removed since a backup, which has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Id of the backup.
    pub since: BackupId,
    /// Sorted by kind, then by name.
    pub objects: Vec<Object>,
    /// The command that brings them back; absent if there are none.
    pub undelete: Option<Undelete>,
}

impl Removed {
    /// Compares the objects that the backup `since` had with those that there are now.
    pub fn between(since: BackupId, had: &[Object], now: &[Object]) -> Self {
        let objects = missing(had, now);
        let undelete = Undelete::of(Origin::Id(since), &objects, had);
        Self { since, objects, undelete }
    }

    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Names the objects in one line of bounded length, as in `service shop_web, secret tls_key and 7 more`.
    pub fn words(&self) -> String {
        let mut words = String::new();
        for (at, object) in self.objects.iter().enumerate() {
            let word = object.to_string();
            if words.len() + word.len() > WORDS_LIMIT {
                let more = self.objects.len() - at;
                return match at {
                    0 => count(more as u64, "object"),
                    _ => format!("{words} and {more} more"),
                };
            }
            words.push_str(if at == 0 { "" } else { ", " });
            words.push_str(&word);
        }
        words
    }
}

#[cfg(test)]
pub mod tests {
    use swarm_state::inventory::ObjectKind;
    use swarmdr_archive::untrusted::{HOSTILE, needs_escape};

    use super::{super::object::tests::object, *};

    fn id() -> BackupId {
        "20261121T031500Z-1a2b3c4d".parse().expect("is an id")
    }

    /// Two objects that were removed, of which one belongs to a stack.
    pub fn removed(web: &str, key: &str) -> Removed {
        let had = [object(ObjectKind::Service, web, Some("shop")), object(ObjectKind::Secret, key, None)];
        Removed::between(id(), &had, &[])
    }

    #[test]
    fn the_command_brings_back_what_the_words_name() {
        let removed = removed("shop_web", "tls_key");
        assert_eq!(removed.words(), "service shop_web, secret tls_key");
        let command = removed.undelete.as_ref().expect("brings them back").to_string();
        assert_eq!(command, "swarmdr-agent undelete 20261121T031500Z-1a2b3c4d --stack shop --secret tls_key");
        let json = serde_json::to_value(&removed).expect("is JSON");
        assert_eq!(json["objects"][1]["kind"], "secret");
        assert_eq!(json["undelete"][3], "--stack");
        let none = Removed::between(id(), &removed.objects, &removed.objects);
        assert_eq!((none.is_empty(), none.words().as_str(), none.undelete), (true, "", None));
    }

    #[test]
    fn the_words_are_bounded_and_tame() {
        let of = |names: &[String]| {
            let had: Vec<Object> = names.iter().map(|name| object(ObjectKind::Config, name, None)).collect();
            Removed::between(id(), &had, &[]).words()
        };
        let many: Vec<String> = (0..1000).map(|number| format!("config{number:04}")).collect();
        let words = of(&many);
        assert!(words.len() < WORDS_LIMIT + 20, "{} bytes", words.len());
        assert!(words.starts_with("config config0000, config config0001, ") && words.ends_with(" more"), "{words}");
        let named = words.matches("config config").count();
        assert!(words.ends_with(&format!(" and {} more", 1000 - named)), "{words}");
        assert_eq!(of(&["x".repeat(5000)]), "1 object");
        assert!(!of(&[HOSTILE.to_owned()]).chars().any(needs_escape));
    }
}
