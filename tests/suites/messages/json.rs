//! Readable layout of JSON documents: keys in order, and each value on one line if it fits.

use serde_json::Value;

const LINE: usize = 100;

pub fn text(document: &Value) -> String {
    let mut text = String::new();
    write(&mut text, document, 0);
    text
}

fn write(out: &mut String, value: &Value, depth: usize) {
    let whole = value.to_string();
    let (open, close, parts) = match value {
        Value::Array(all) if whole.len() > LINE => ('[', ']', all.iter().map(|value| (None, value)).collect()),
        Value::Object(all) if whole.len() > LINE => {
            ('{', '}', all.iter().map(|(key, value)| (Some(key), value)).collect())
        }
        _ => {
            out.push_str(&whole);
            return;
        }
    };
    let parts: Vec<(Option<&String>, &Value)> = parts;
    out.push(open);
    for (number, (key, value)) in parts.into_iter().enumerate() {
        out.push_str(if number == 0 { "\n" } else { ",\n" });
        out.push_str(&"  ".repeat(depth + 1));
        if let Some(key) = key {
            out.push_str(&format!("{key:?}: "));
        }
        write(out, value, depth + 1);
    }
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
    out.push(close);
}
