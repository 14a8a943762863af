//! JSON as the engine writes it: Go leaves out what is zero or empty where a field says `omitempty`.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::messages::{Driver, Duration};

/// An object of the Engine API. Each method adds one field; all but [`Object::set`] leave out what is zero or empty.
#[derive(Debug, Default)]
pub(super) struct Object(Map<String, Value>);

impl Object {
    pub(super) fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    fn set_unless(self, is_empty: bool, name: &str, value: impl Into<Value>) -> Self {
        if is_empty { self } else { self.set(name, value) }
    }

    pub(super) fn text(self, name: &str, value: String) -> Self {
        self.set_unless(value.is_empty(), name, value)
    }

    pub(super) fn texts(self, name: &str, values: Vec<String>) -> Self {
        self.set_unless(values.is_empty(), name, values)
    }

    pub(super) fn number(self, name: &str, value: impl Into<i128>) -> Self {
        let value = value.into();
        self.set_unless(value == 0, name, number(value))
    }

    pub(super) fn flag(self, name: &str, value: bool) -> Self {
        self.set_unless(!value, name, value)
    }

    pub(super) fn map(self, name: &str, values: HashMap<String, String>) -> Self {
        self.set_unless(values.is_empty(), name, map(values))
    }

    pub(super) fn list(self, name: &str, values: Vec<Value>) -> Self {
        self.set_unless(values.is_empty(), name, values)
    }

    pub(super) fn some(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(object.0)
    }
}

/// Returns a number that a field of 64 bits can hold; others do not occur.
pub(super) fn number(value: i128) -> Value {
    match (u64::try_from(value), i64::try_from(value)) {
        (Ok(value), _) => value.into(),
        (_, Ok(value)) => value.into(),
        _ => Value::Null,
    }
}

pub(super) fn map(values: HashMap<String, String>) -> Value {
    values.into_iter().map(|(name, value)| (name, Value::from(value))).collect()
}

/// Returns a length of time in nanoseconds, as Go's `time.Duration` is written.
pub(super) fn nanoseconds(length: Duration) -> i64 {
    length.seconds.saturating_mul(1_000_000_000).saturating_add(length.nanos.into())
}

pub(super) fn driver(driver: Driver) -> Value {
    Object::default().text("Name", driver.name).map("Options", driver.options).into()
}

/// Returns the name of an enumeration's value, or its number if a newer engine added it.
pub(crate) fn named(value: i32, names: &[&str]) -> String {
    let name = usize::try_from(value).ok().and_then(|at| names.get(at));
    name.map_or_else(|| value.to_string(), |name| (*name).to_owned())
}

/// Returns the shortest decimal number that is this float, as Go writes a `float32`.
pub(super) fn float(value: f32) -> Value {
    let whole = value.fract() == 0.0 && value.abs() < 1e15;
    match value.to_string().parse::<f64>() {
        Ok(_) if whole => number(value as i128),
        Ok(shortest) => Value::from(shortest),
        Err(_) => Value::Null,
    }
}
