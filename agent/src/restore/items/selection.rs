//! Which objects of a state are meant.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use swarm_state::{inventory::ObjectKind, specs::Item};

use crate::outcome::{exit::Exit, failure::Failure};

pub use crate::archive::removals::object::STACK;

/// Number of similar names that an error shows.
const NEAR: usize = 3;
/// How similar a name must be to be shown, from 0 to 1.
const SIMILAR: f64 = 0.65;

/// Objects by name, as they were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Selection {
    pub stacks: Vec<String>,
    pub services: Vec<String>,
    pub secrets: Vec<String>,
    pub configs: Vec<String>,
    pub networks: Vec<String>,
}

impl Selection {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the objects that are meant, in the order of `items`. Names of objects ignore case, as those of a swarm
    /// do. Names of stacks are labels, and have case: it is ignored only if no stack is written as asked.
    ///
    /// A name that nothing has is an error that shows names like it.
    pub fn pick<'a>(&self, items: &'a [Item]) -> Result<Vec<&'a Item>> {
        let stacks: Vec<&str> = self.stacks.iter().map(|asked| the_stack(asked, items)).collect::<Result<_>>()?;
        for (kind, names) in self.by_kind() {
            for name in names {
                let known = || items.iter().filter(|item| item.kind == kind).map(|item| item.name.as_str());
                if !known().any(|known| known.eq_ignore_ascii_case(name)) {
                    return Err(none(&kind.to_string(), name, known()));
                }
            }
        }
        let of_stack = |item: &Item| stack_of(item).is_some_and(|stack| stacks.contains(&stack));
        Ok(items.iter().filter(|item| of_stack(item) || self.names(item)).collect())
    }

    /// Whether the object is named by itself, and not by its stack.
    fn names(&self, item: &Item) -> bool {
        let listed = |names: &[String]| names.iter().any(|wanted| wanted.eq_ignore_ascii_case(&item.name));
        self.by_kind().into_iter().any(|(kind, names)| kind == item.kind && listed(names))
    }

    fn by_kind(&self) -> [(ObjectKind, &[String]); 4] {
        [
            (ObjectKind::Service, &self.services),
            (ObjectKind::Secret, &self.secrets),
            (ObjectKind::Config, &self.configs),
            (ObjectKind::Network, &self.networks),
        ]
    }
}

/// Returns the name of the stack that an object belongs to.
pub fn stack_of(item: &Item) -> Option<&str> {
    item.spec["Labels"][STACK].as_str().filter(|stack| !stack.is_empty())
}

/// Returns the name of the one stack that is meant, as its objects have it.
fn the_stack<'a>(asked: &str, items: &'a [Item]) -> Result<&'a str> {
    let known: BTreeSet<&str> = items.iter().filter_map(stack_of).collect();
    if let Some(exact) = known.get(asked) {
        return Ok(exact);
    }
    let similar: Vec<&str> = known.iter().copied().filter(|name| name.eq_ignore_ascii_case(asked)).collect();
    match similar.as_slice() {
        [] => Err(none("stack", asked, known.into_iter())),
        [one] => Ok(one),
        several => {
            let names: Vec<String> = several.iter().map(|name| format!("`--stack {name}`")).collect();
            let what = format!("the backup has several stacks that `{asked}` may mean, which differ in case");
            Err(Failure::usage(what).advice(format!("say which one: {}", names.join(" or "))).into())
        }
    }
}

fn none<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> anyhow::Error {
    let mut near: Vec<(f64, &str)> = known.map(|known| (similarity(name, known), known)).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.dedup_by(|a, b| a.1 == b.1);
    let near: Vec<String> = near
        .iter()
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .take(NEAR)
        .map(|(_, name)| format!("`{name}`"))
        .collect();
    let failure = Failure::new(Exit::NothingUsable, format!("the backup has no {kind} `{name}`"));
    let failure = match near.is_empty() {
        true => failure.advice("see what it has with `swarmdr-agent inspect`"),
        false => failure.advice(format!("it has {}", near.join(", "))),
    };
    failure.advice("an earlier backup may have it: see `swarmdr-agent list` and `--before`").into()
}

/// Short names need the second measure: `wbe` is nearer to `web` than the first one says.
fn similarity(a: &str, b: &str) -> f64 {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    strsim::jaro_winkler(&a, &b).max(strsim::normalized_damerau_levenshtein(&a, &b))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::outcome::failure::Rendered;

    fn item(kind: ObjectKind, name: &str, stack: Option<&str>) -> Item {
        let labels = stack.map_or_else(|| json!({}), |stack| json!({ STACK: stack }));
        let spec = json!({ "Name": name, "Labels": labels });
        Item::test(kind, &format!("id-of-{name}"), name, spec)
    }

    fn items() -> Vec<Item> {
        vec![
            item(ObjectKind::Service, "shop_web", Some("shop")),
            item(ObjectKind::Service, "alone", None),
            item(ObjectKind::Network, "shop_default", Some("shop")),
            item(ObjectKind::Secret, "shop_web", None),
        ]
    }

    fn picked(selection: &Selection) -> Vec<String> {
        let items = items();
        let picked = selection.pick(&items).expect("are there");
        picked.iter().map(|item| format!("{} {}", item.kind, item.name)).collect()
    }

    #[test]
    fn objects_are_meant_by_their_stack_or_by_kind_and_name() {
        let stack = Selection { stacks: vec!["SHOP".to_owned()], ..Selection::default() };
        assert_eq!(picked(&stack), ["service shop_web", "network shop_default"]);
        let secret = Selection { secrets: vec!["Shop_web".to_owned()], ..Selection::default() };
        assert_eq!(picked(&secret), ["secret shop_web"]);
        assert!(picked(&Selection::default()).is_empty());
    }

    #[test]
    fn a_stack_that_is_written_as_asked_is_the_only_one_that_is_meant() {
        let items = ["low", "LOW", "Mid", "MID"].map(|stack| {
            let name = format!("{stack}_web");
            Item { id: name.clone(), ..item(ObjectKind::Service, &name, Some(stack)) }
        });
        let picked = |stack: &str| {
            let picked = Selection { stacks: vec![stack.to_owned()], ..Selection::default() }.pick(&items);
            picked.map(|picked| picked.iter().map(|item| item.name.clone()).collect::<Vec<_>>())
        };
        assert_eq!(picked("low").expect("is there"), ["low_web"]);
        assert_eq!(picked("LOW").expect("is there"), ["LOW_web"]);
        let rendered = Rendered::of(&picked("mid").expect_err("may be either"));
        assert_eq!(rendered.exit, Exit::Usage);
        assert!(rendered.advice[0].contains("`--stack MID` or `--stack Mid`"), "{rendered}");
    }

    #[test]
    fn names_like_a_wrong_one_are_shown() {
        for (selection, shown) in [
            (Selection { services: vec!["shop_wbe".to_owned()], ..Selection::default() }, "it has `shop_web`"),
            (Selection { stacks: vec!["shops".to_owned()], ..Selection::default() }, "it has `shop`"),
            (Selection { services: vec!["alnoe".to_owned()], ..Selection::default() }, "it has `alone`"),
            (Selection { configs: vec!["x".to_owned()], ..Selection::default() }, "inspect"),
        ] {
            let rendered = Rendered::of(&selection.pick(&items()).expect_err("is not there"));
            assert_eq!(rendered.exit, Exit::NothingUsable);
            assert!(rendered.advice[0].contains(shown), "{rendered}");
        }
    }
}
