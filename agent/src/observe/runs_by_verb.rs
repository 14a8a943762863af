//! The part of the history that is kept by verb.

use std::collections::BTreeMap;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, IntoDeserializer, value},
};
use serde_json::Value;

use super::{runs::Runs, verb::Verb};

/// The runs of each verb. Entries of verbs that only a newer version knows are kept as they are, so that running this
/// version once loses nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunsByVerb {
    known: BTreeMap<Verb, Runs>,
    unknown: BTreeMap<String, Value>,
}

impl RunsByVerb {
    pub fn of(&self, verb: Verb) -> Option<&Runs> {
        self.known.get(&verb)
    }

    pub fn of_mut(&mut self, verb: Verb) -> &mut Runs {
        self.known.entry(verb).or_default()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Verb, &Runs)> {
        self.known.iter().map(|(verb, runs)| (*verb, runs))
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Known(&'a Runs),
    Unknown(&'a Value),
}

impl Serialize for RunsByVerb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let known = self.iter().map(|(verb, runs)| (verb.word(), Entry::Known(runs)));
        let unknown = self.unknown.iter().map(|(word, value)| (word.as_str(), Entry::Unknown(value)));
        known.chain(unknown).collect::<BTreeMap<_, _>>().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RunsByVerb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut runs = Self::default();
        for (word, value) in BTreeMap::<String, Value>::deserialize(deserializer)? {
            let verb: Result<Verb, value::Error> = Verb::deserialize(word.as_str().into_deserializer());
            match verb {
                Ok(verb) => {
                    let of_verb = serde_json::from_value(value).map_err(|error| D::Error::custom(error.to_string()))?;
                    runs.known.insert(verb, of_verb);
                }
                Err(_) => {
                    runs.unknown.insert(word, value);
                }
            }
        }
        Ok(runs)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_entry_of_an_unknown_verb_is_written_again_as_it_was() {
        let of_newer = json!({"last": [1, 2.5], "since": "tomorrow"});
        let stored = json!({"backup": {"last": null, "last_good": null, "ended": {"done": 3}}, "mirror": of_newer});
        let mut runs: RunsByVerb = serde_json::from_value(stored.clone()).expect("is readable");
        assert_eq!(runs.of(Verb::Backup).map(|runs| runs.ended["done"]), Some(3));
        assert_eq!(runs.iter().count(), 1);
        assert_eq!(serde_json::to_value(&runs).expect("is JSON"), stored);
        *runs.of_mut(Verb::Verify).ended.entry("done".to_owned()).or_default() += 1;
        let words = serde_json::to_string(&runs).expect("is JSON");
        let places = ["\"backup\"", "\"mirror\"", "\"verify\""].map(|word| words.find(word).expect("is there"));
        assert!(places.is_sorted(), "{words}");
        assert_eq!(serde_json::from_str::<Value>(&words).expect("is JSON")["mirror"], of_newer);
    }

    #[test]
    fn a_known_verb_with_a_damaged_entry_is_an_error() {
        serde_json::from_value::<RunsByVerb>(json!({"backup": {"ended": 7}})).expect_err("is no count");
    }
}
