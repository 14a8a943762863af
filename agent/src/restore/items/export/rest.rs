//! What is left of a spec while it is translated.
//!
//! A translation takes each field that it expresses away. Whatever is still there at the end was not expressed, be it a
//! field that the target cannot hold or one that a later version of the spec has added: nothing can be forgotten.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A part of a spec whose translated fields are gone. Its end is [`Rest::into_leaves`].
#[derive(Debug)]
#[must_use = "what is left of it has to be reported"]
pub struct Rest {
    path: String,
    fields: Map<String, Value>,
}

impl Rest {
    /// Makes a part of a value, with its path in the spec. Anything but an object is kept as one field without a name.
    pub fn of(path: impl Into<String>, value: Value) -> Self {
        let fields = match value {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            other => Map::from_iter([(String::new(), other)]),
        };
        Self { path: path.into(), fields }
    }

    /// Takes a field that is an object, as a part of its own; it is empty if there is no such field.
    pub fn part(&mut self, name: &str) -> Self {
        Self::of(self.path(name), self.any(name).unwrap_or_default())
    }

    /// Returns the path of a field of this part, from the beginning of the spec.
    pub fn path(&self, name: &str) -> String {
        match (self.path.as_str(), name) {
            ("", name) => name.to_owned(),
            (path, "") => path.to_owned(),
            (path, name) => format!("{path}.{name}"),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// Returns a field and leaves it where it is.
    pub fn peek(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// Takes a field of any kind. `null` is the same as no field.
    pub fn any(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    /// Puts a value back that could not be expressed.
    pub fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    /// Takes a text that is not empty.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.take(name, |value| value.as_str().map(str::to_owned)).filter(|text| !text.is_empty())
    }

    /// Takes a list of texts; it is empty if there is none.
    pub fn texts(&mut self, name: &str) -> Vec<String> {
        let texts = |value: &Value| value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect();
        self.take(name, texts).unwrap_or_default()
    }

    /// Takes the elements of a list; there are none if it is absent.
    pub fn list(&mut self, name: &str) -> Vec<Value> {
        self.take(name, |value| value.as_array().cloned()).unwrap_or_default()
    }

    pub fn map(&mut self, name: &str) -> BTreeMap<String, String> {
        let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        self.take(name, |value| value.as_object()?.iter().map(text).collect()).unwrap_or_default()
    }

    pub fn flag(&mut self, name: &str) -> Option<bool> {
        self.take(name, Value::as_bool)
    }

    pub fn integer(&mut self, name: &str) -> Option<i64> {
        self.take(name, Value::as_i64)
    }

    /// Takes an integer that is not negative.
    pub fn natural(&mut self, name: &str) -> Option<u64> {
        self.take(name, Value::as_u64)
    }

    fn take<T>(&mut self, name: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let taken = read(self.fields.get(name)?)?;
        self.fields.remove(name);
        Some(taken)
    }

    /// Returns what is left as an object, to be put back into the part that it was taken from.
    pub fn into_fields(self) -> Value {
        Value::Object(self.fields)
    }

    /// Returns what is left, with paths. An empty text, list or object and `false` are what the API means by an absent
    /// field, and are not returned; a number is, since a few fields tell 0 from none.
    pub fn into_leaves(self) -> Vec<(String, Value)> {
        let mut leaves = Vec::new();
        let path = self.path.clone();
        for (name, value) in self.fields {
            let inner = Self { path: path.clone(), fields: Map::new() }.path(&name);
            collect(inner, value, &mut leaves);
        }
        leaves
    }
}

fn collect(path: String, value: Value, leaves: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(_) => leaves.extend(Rest::of(path, value).into_leaves()),
        Value::Null | Value::Bool(false) => {}
        Value::String(text) if text.is_empty() => {}
        Value::Array(elements) if elements.is_empty() => {}
        other => leaves.push((path, other)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_taken_is_left_with_its_path() {
        let spec = json!({ "Name": "web", "Task": { "Image": "web:1", "Env": ["A=1", 2], "New": { "Field": 0 } } });
        let mut rest = Rest::of("", spec);
        assert_eq!(rest.text("Name").as_deref(), Some("web"));
        let mut task = rest.part("Task");
        assert_eq!(task.text("Image").as_deref(), Some("web:1"));
        assert!(task.texts("Env").is_empty(), "what is no list of texts stays");
        let left = [("Task.Env".to_owned(), json!(["A=1", 2])), ("Task.New.Field".to_owned(), json!(0))];
        assert_eq!(task.into_leaves(), left);
        assert!(rest.into_leaves().is_empty());
    }

    #[test]
    fn what_the_api_means_by_absent_is_not_left() {
        let spec = json!({ "A": {}, "B": [], "C": "", "D": false, "E": null, "F": { "G": { "H": "" } }, "I": true });
        assert_eq!(Rest::of("", spec).into_leaves(), [("I".to_owned(), json!(true))]);
        assert_eq!(Rest::of("A", json!("text")).into_leaves(), [("A".to_owned(), json!("text"))]);
    }
}
