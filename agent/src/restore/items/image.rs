//! The image in the spec of a service.

use serde_json::Value;
use swarmdr_registry::{ImageMap, split_registry};

const AT: &str = "/TaskTemplate/ContainerSpec/Image";

/// Returns the name as it is written; `None` for services of plugins.
pub fn of_spec(spec: &Value) -> Option<&str> {
    spec.pointer(AT).and_then(Value::as_str)
}

/// Returns the registry of the image, for which the recorded login is.
pub fn registry_of(spec: &Value) -> &str {
    split_registry(of_spec(spec).unwrap_or_default()).0
}

/// Gives the image another name; does nothing to a spec without one.
pub fn set(spec: &mut Value, name: &str) {
    if let Some(image) = spec.pointer_mut(AT) {
        *image = name.into();
    }
}

/// Gives the image its other name. Returns whether it has one.
pub fn rename(spec: &mut Value, map: &ImageMap) -> bool {
    let Some(other) = of_spec(spec).and_then(|image| map.apply(image)) else { return false };
    let Some(image) = spec.pointer_mut(AT) else { return false };
    *image = other.into();
    true
}
