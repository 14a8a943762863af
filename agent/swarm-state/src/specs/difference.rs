//! Differences between two specs, field by field.

use serde::Serialize;
use serde_json::{Map, Value};

/// One place at which two specs differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SpecDifference {
    /// Names of the fields from the outermost one on, joined by dots: `TaskTemplate.ContainerSpec.Env`.
    pub path: String,
    /// Value in the first spec; empty if it has none. Of a list only the elements that the other one lacks.
    pub before: String,
    /// Value in the second spec, in the same form.
    pub after: String,
}

/// Returns the differences, sorted by path. An absent field and `null` are the same.
pub fn differences(before: &Value, after: &Value) -> Vec<SpecDifference> {
    let mut found = Vec::new();
    compare("", before, after, &mut found);
    found
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<SpecDifference>) {
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(&inner, field(a, name), field(b, name), found);
            }
        }
        (a, b) if a == b => {}
        (Value::Array(a), Value::Array(b)) => {
            let (only_a, only_b) = (without(a, b), without(b, a));
            // The same elements in another order.
            let (a, b) = if only_a.is_empty() && only_b.is_empty() { (a.clone(), b.clone()) } else { (only_a, only_b) };
            found.push(SpecDifference { path: path.to_owned(), before: list(&a), after: list(&b) });
        }
        (a, b) => found.push(SpecDifference { path: path.to_owned(), before: text(a), after: text(b) }),
    }
}

fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a Value {
    fields.get(name).unwrap_or(&Value::Null)
}

/// Returns the elements of `of` that `other` lacks, each as often as it lacks it.
fn without(of: &[Value], other: &[Value]) -> Vec<Value> {
    let mut other: Vec<&Value> = other.iter().collect();
    let lacking = of.iter().filter(|value| match other.iter().position(|it| it == value) {
        Some(at) => {
            other.swap_remove(at);
            false
        }
        None => true,
    });
    lacking.cloned().collect()
}

fn list(values: &[Value]) -> String {
    let values: Vec<String> = values.iter().map(text).collect();
    values.join(", ")
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => list(values),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(before: Value, after: Value) -> Vec<String> {
        let found = differences(&before, &after);
        found.into_iter().map(|it| format!("{}: {} -> {}", it.path, it.before, it.after)).collect()
    }

    #[test]
    fn fields_are_compared_one_by_one_and_lists_by_element() {
        let before = json!({ "Name": "web", "Task": { "Env": ["A=1", "B=2"], "TTY": true }, "Gone": 1, "Null": null });
        let after = json!({ "Name": "web", "Task": { "Env": ["A=1", "B=3"], "TTY": false }, "New": { "Test": ["x"] } });
        let expected =
            ["Gone: 1 -> ", "New:  -> {\"Test\":[\"x\"]}", "Task.Env: B=2 -> B=3", "Task.TTY: true -> false"];
        assert_eq!(shown(before, after), expected);
    }

    #[test]
    fn order_and_number_of_elements_count() {
        assert_eq!(shown(json!({ "a": [1, 2] }), json!({ "a": [2, 1] })), ["a: 1, 2 -> 2, 1"]);
        assert_eq!(shown(json!({ "a": [1, 1, 2] }), json!({ "a": [1, 2] })), ["a: 1 -> "]);
        assert!(shown(json!({ "a": [1] }), json!({ "a": [1] })).is_empty());
    }
}
