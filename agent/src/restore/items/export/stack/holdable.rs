//! Fields that a stack file holds, apart from those values that its schema does not take.

use std::collections::BTreeMap;

use crate::restore::items::{
    export::{
        rest::Rest,
        yaml::{Map, Node},
    },
    selection::STACK,
};

/// Longest key in bytes; YAML takes a longer one in another form only.
const LONGEST_KEY: usize = 1000;

/// Whether the schema takes this as a key of labels, variables or options (docker/cli `cli/compose/schema/data`: `.+`).
pub fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= LONGEST_KEY && !key.contains('\n')
}

/// Takes a mapping of texts. Entries that the schema does not take stay.
pub fn mapping(rest: &mut Rest, name: &str) -> Map {
    let entries = rest.map(name);
    held(entries, is_key, rest, name)
}

/// Takes labels, without those that `docker stack deploy` sets by itself: the one that names the stack, and `own`. The
/// label of another stack stays, since the command line overwrites it.
pub fn labels(rest: &mut Rest, stack: &str, own: &[&str]) -> Map {
    let mut entries = rest.map("Labels");
    entries.retain(|key, value| !(own.contains(&key.as_str()) || (key == STACK && value == stack)));
    held(entries, |key| is_key(key) && key != STACK, rest, "Labels")
}

fn held(entries: BTreeMap<String, String>, holds: impl Fn(&str) -> bool, rest: &mut Rest, name: &str) -> Map {
    let (held, refused): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| holds(key));
    if !refused.is_empty() {
        rest.put(name, serde_json::Map::from_iter(refused.into_iter().map(|(key, value)| (key, value.into()))));
    }
    let mut map = Map::default();
    held.into_iter().for_each(|(key, value)| map.name(key, value));
    map
}

/// Takes a list of texts of which the schema takes each once. Repetitions stay.
pub fn unique(rest: &mut Rest, name: &str) -> Node {
    let mut held: Vec<String> = Vec::new();
    let mut refused = Vec::new();
    for text in rest.texts(name) {
        if held.contains(&text) { refused.push(text) } else { held.push(text) }
    }
    if !refused.is_empty() {
        rest.put(name, refused);
    }
    held.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_schema_does_not_take_stays() {
        let mut rest = Rest::of("", json!({ "Labels": { "": "x", "a": "", "b\n": "y" }, "DNS": ["1", "2", "1"] }));
        assert_eq!(mapping(&mut rest, "Labels").to_string(), "\"a\": \"\"\n");
        assert_eq!(unique(&mut rest, "DNS"), vec!["1".to_owned(), "2".to_owned()].into());
        let left = [("DNS", json!(["1"])), ("Labels", json!("x")), ("Labels.b\n", json!("y"))];
        assert_eq!(rest.into_leaves(), left.map(|(path, value)| (path.to_owned(), value)));
    }

    #[test]
    fn labels_that_are_set_again_are_taken_and_those_of_another_stack_stay() {
        let of = |stack: &str| Rest::of("", json!({ "Labels": { STACK: stack, "image": "web:1", "a": "b" } }));
        let mut rest = of("shop");
        assert_eq!(labels(&mut rest, "shop", &["image"]).to_string(), "\"a\": \"b\"\n");
        assert!(rest.into_leaves().is_empty());
        let mut rest = of("other");
        assert_eq!(labels(&mut rest, "shop", &["image"]).to_string(), "\"a\": \"b\"\n");
        assert_eq!(rest.into_leaves(), [(format!("Labels.{STACK}"), json!("other"))]);
    }
}
