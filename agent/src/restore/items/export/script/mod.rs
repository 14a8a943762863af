//! Objects as commands of the command line of Docker.
//!
//! What belongs to no stack is exported this way and not as a stack file: `docker stack deploy` would give it another
//! name and the labels of a stack, while `docker service create` makes it as it was. It also has options that stack
//! files lack.

pub mod mount;
pub mod network;
pub mod object;
pub mod service;

use super::rest::Rest;

/// Takes a mapping as `name=value` for an option. Names that the command line would read differently stay: those that
/// are empty, or hold an equals sign or white space (docker/cli `opts/opts.go`, `ValidateLabel`).
pub fn pairs(rest: &mut Rest, name: &str) -> Vec<String> {
    let (held, refused): (Vec<_>, Vec<_>) = rest.map(name).into_iter().partition(|(key, _)| is_plain(key));
    if !refused.is_empty() {
        rest.put(name, serde_json::Map::from_iter(refused.into_iter().map(|(key, value)| (key, value.into()))));
    }
    held.into_iter().map(|(key, value)| format!("{key}={value}")).collect()
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && !key.contains(|character: char| character == '=' || character.is_whitespace())
}

/// Whether a spec has a text with NUL, which no argument of a command can hold.
pub fn has_nul(spec: &serde_json::Value) -> bool {
    match spec {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(values) => values.iter().any(has_nul),
        serde_json::Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// Why an object with NUL in it has no command.
pub const NUL: &str = "a text in it holds NUL, which no command can be given";
