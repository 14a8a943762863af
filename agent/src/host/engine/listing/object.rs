//! One object of an engine's reply, read field by field.
//!
//! An engine may send more, or other values, than any type here foresees: a newer one, or one whose operator wrote
//! `--restart-max-attempts 18446744073709551615`. A field that is not needed is never read. One that is needed and not
//! understood is noted with the name of its object, and counts as absent; it is no error.

use std::{cell::RefCell, collections::BTreeMap};

use jiff::Timestamp;
use serde_json::Value;

/// The number of notes that are kept one by one.
const MOST_NOTES: usize = 16;

/// The notes about fields that were not understood so far.
#[derive(Debug, Default)]
pub struct Unclear(RefCell<Vec<String>>);

impl Unclear {
    pub fn note(&self, what: String) {
        self.0.borrow_mut().push(what);
    }

    /// The notes, a bounded number of them.
    pub fn into_notes(self) -> Vec<String> {
        let mut notes = self.0.into_inner();
        notes.dedup();
        let more = notes.len().saturating_sub(MOST_NOTES);
        notes.truncate(MOST_NOTES);
        if more > 0 {
            notes.push(format!("{more} more things in the engine's answers are not understood"));
        }
        notes
    }
}

/// An object of a reply. Fields are named by their path, as `Spec.Labels`; one that is absent or `null` is `None`.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    kind: &'static str,
    value: &'a Value,
    /// The listed object that this one is part of, for its name.
    whole: &'a Value,
    unclear: &'a Unclear,
}

impl<'a> Object<'a> {
    pub fn of(kind: &'static str, value: &'a Value, unclear: &'a Unclear) -> Self {
        Self { kind, value, whole: value, unclear }
    }

    pub fn text(&self, path: &str) -> Option<String> {
        self.read(path, |value| value.as_str().map(str::to_owned))
    }

    /// A number from 0 to 2^64 - 1.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.read(path, Value::as_u64)
    }

    pub fn small_number(&self, path: &str) -> Option<u32> {
        self.read(path, |value| value.as_u64()?.try_into().ok())
    }

    pub fn signed(&self, path: &str) -> Option<i64> {
        self.read(path, Value::as_i64)
    }

    pub fn flag(&self, path: &str) -> Option<bool> {
        self.read(path, Value::as_bool)
    }

    /// A time as the API writes it; `None` also for an object that never changed.
    pub fn time(&self, path: &str) -> Option<Timestamp> {
        self.text(path)?.parse().ok()
    }

    /// True if the field is there.
    pub fn has(&self, path: &str) -> bool {
        self.find(path).is_some()
    }

    /// True for an object, as every listed item must be; anything else is noted.
    pub fn is_whole(&self) -> bool {
        if !self.value.is_object() {
            self.note("", self.value);
        }
        self.value.is_object()
    }

    pub fn list(&self, path: &str) -> Vec<Object<'a>> {
        let items = self.read(path, Value::as_array);
        items.into_iter().flatten().map(|value| Object { value, ..*self }).filter(Object::is_whole).collect()
    }

    pub fn texts(&self, path: &str) -> Option<Vec<String>> {
        self.read(path, |value| value.as_array()?.iter().map(|item| Some(item.as_str()?.to_owned())).collect())
    }

    /// Names and values, as labels are; empty where there are none.
    pub fn labels(&self, path: &str) -> BTreeMap<String, String> {
        let pairs = |value: &Value| {
            let pairs = value.as_object()?.iter();
            pairs.map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
        };
        self.read(path, pairs).unwrap_or_default()
    }

    fn read<T>(&self, path: &str, read: impl Fn(&'a Value) -> Option<T>) -> Option<T> {
        let value = self.find(path)?;
        let found = read(value);
        if found.is_none() {
            self.note(path, value);
        }
        found
    }

    fn find(&self, path: &str) -> Option<&'a Value> {
        let mut at = self.value;
        let mut passed = 0;
        for name in path.split('.') {
            match at {
                Value::Object(fields) => at = fields.get(name)?,
                Value::Null => return None,
                other => {
                    self.note(path[..passed].trim_end_matches('.'), other);
                    return None;
                }
            }
            passed += name.len() + 1;
        }
        Some(at).filter(|value| !value.is_null())
    }

    /// Notes the type of a value, never the value itself: a label or an environment may hold a password.
    fn note(&self, path: &str, value: &Value) {
        let what = match value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number out of range",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        let of = if path.is_empty() { String::new() } else { format!(": {path}") };
        self.unclear.note(format!("{}{of} is {what}, which is not understood", self.who()));
    }

    fn who(&self) -> String {
        let first = |paths: &[&str]| {
            let found =
                paths.iter().find_map(|path| self.whole.pointer(path)?.as_str().filter(|text| !text.is_empty()));
            found.unwrap_or("?").to_owned()
        };
        if !self.whole.is_object() {
            return format!("what the engine lists as a {}", self.kind);
        }
        let name = first(&["/Spec/Name", "/Name", "/Description/Hostname"]);
        format!("{} `{name}` ({})", self.kind, first(&["/ID", "/Id"]))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_understood_is_noted_by_name_and_counts_as_absent() {
        let value = json!({
            "ID": "s1",
            "Spec": {
                "Name": "web",
                "Labels": { "a": "b" },
                "Mode": "whatever",
                "Replicas": 18_446_744_073_709_551_615_u64,
                "Priority": -1,
                "Fraction": 0.5,
                "Password": { "is": ["secret"] },
                "Nothing": null,
            },
        });
        let unclear = Unclear::default();
        let object = Object::of("service", &value, &unclear);
        assert_eq!(object.text("Spec.Name").as_deref(), Some("web"));
        assert_eq!(object.number("Spec.Replicas"), Some(u64::MAX));
        assert_eq!(object.labels("Spec.Labels").len(), 1);
        assert_eq!((object.text("Spec.Nothing"), object.flag("Absent.Field"), object.has("Spec")), (None, None, true));
        assert_eq!((object.number("Spec.Priority"), object.number("Spec.Fraction")), (None, None));
        assert_eq!(object.number("Spec.Mode.Replicated.Replicas"), None);
        assert!(object.labels("Spec.Password").is_empty());
        assert!(!Object::of("service", &json!(7), &unclear).is_whole());
        let notes = unclear.into_notes();
        let expected = [
            "service `web` (s1): Spec.Priority is a number out of range, which is not understood",
            "service `web` (s1): Spec.Fraction is a number out of range, which is not understood",
            "service `web` (s1): Spec.Mode is a text, which is not understood",
            "service `web` (s1): Spec.Password is an object, which is not understood",
            "what the engine lists as a service is a number out of range, which is not understood",
        ];
        assert_eq!(notes, expected);
    }

    #[test]
    fn a_flood_of_notes_is_counted() {
        let unclear = Unclear::default();
        (0..100).for_each(|n| unclear.note(n.to_string()));
        let notes = unclear.into_notes();
        assert_eq!(notes.len(), MOST_NOTES + 1);
        assert!(notes[MOST_NOTES].starts_with("84 more things"), "{notes:?}");
    }
}
