//! Secrets and configs as commands that create them from files.

use serde_json::Value;
use swarm_state::{inventory::ObjectKind, specs::Item};

use super::{NUL, has_nul, pairs};
use crate::restore::items::export::{command::Command, left_out::LeftOut, rest::Rest};

/// Whether a driver knows the value of a secret, so that swarm does not have it.
pub fn has_driver(secret: &Item) -> bool {
    secret.spec["Driver"].is_object()
}

/// Returns the command that creates the secret or the config from the file `content`, and what it cannot set
/// (docker/cli `cli/command/secret/create.go`, `cli/command/config/create.go`: options of a driver and of templates).
pub fn create(item: &Item, content: &str) -> (Option<Command>, LeftOut) {
    let mut left = LeftOut::of(item);
    if has_nul(&item.spec) {
        left.because("", Value::Null, NUL);
        return (None, left);
    }
    let mut rest = Rest::of("", item.spec.clone());
    rest.any("Name");
    let mut command = Command::new(match item.kind {
        ObjectKind::Config => "docker config create",
        _ => "docker secret create",
    });
    let (mut driver, mut templating) = (rest.part("Driver"), rest.part("Templating"));
    command.option_some("driver", driver.text("Name"));
    command.option_some("template-driver", templating.text("Name"));
    command.options("label", pairs(&mut rest, "Labels"));
    command.operand(&item.name);
    if !has_driver(item) {
        command.operand(content);
    }
    for part in [driver, templating, rest] {
        left.rest(part);
    }
    (Some(command), left)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_and_drivers_are_set_and_their_options_are_left_out() {
        let templating = json!({ "Name": "golang", "Options": { "x": "y" } });
        let spec = json!({ "Name": "c", "Labels": { "a": "b c" }, "Templating": templating });
        let (command, left) = create(&Item::test(ObjectKind::Config, "c1", "c", spec), "configs/c");
        let line = command.expect("is a command").line();
        assert_eq!(line, "docker config create --template-driver golang --label 'a=b c' c configs/c");
        assert_eq!(left.fields.len(), 1, "{left}");
        let spec = json!({ "Name": "s", "Labels": {}, "Driver": { "Name": "vault" } });
        let (command, left) = create(&Item::test(ObjectKind::Secret, "s1", "s", spec), "secrets/s");
        assert_eq!(command.expect("is a command").line(), "docker secret create --driver vault s");
        assert!(left.is_empty());
    }
}
