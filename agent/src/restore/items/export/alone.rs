//! `_alone`: what belongs to no stack, as scripts with the commands that create it.

use serde_json::Value;
use swarm_state::{inventory::ObjectKind, specs::Item};
use swarmdr_archive::untrusted::shown;

use super::{
    Options,
    command::{self, Command},
    index::Index,
    left_out::{self, LeftOut},
    names::FileNames,
    planned::Planned,
    script,
};
use crate::restore::items::selection::stack_of;

/// Name of the directory.
pub const FOLDER: &str = "_alone";

const INTRODUCTION: &str = "\
The command line of Docker cannot set these fields, or sets them differently. The files in `_engine` have all fields,
and `swarmdr-agent undelete` brings all of them back.";

/// Makes the scripts of these objects.
pub fn plan(items: &[&Item], index: &Index<'_>, options: &Options, made_by: &str) -> Planned {
    let mut planned = Planned::default();
    let of_kind = |kind| items.iter().copied().filter(move |item| item.kind == kind);
    let networks = of_kind(ObjectKind::Network).filter_map(|network| {
        let (command, left) = script::network::create(network);
        planned.left(left);
        command
    });
    let networks: Vec<Command> = networks.collect();
    put_script("networks.sh", &["Creates networks. ".to_owned() + made_by], &networks, &mut planned);
    files(ObjectKind::Secret, of_kind(ObjectKind::Secret), options, made_by, &mut planned);
    files(ObjectKind::Config, of_kind(ObjectKind::Config), options, made_by, &mut planned);
    services(of_kind(ObjectKind::Service), index, options, made_by, &mut planned);
    for volume in of_kind(ObjectKind::Volume) {
        let mut left = LeftOut::of(volume);
        let why = "only its file in _engine/volumes holds it; `POST /volumes/create` of the Engine API takes it";
        left.because("", Value::Null, why);
        planned.left(left);
    }
    if !planned.left_out.is_empty() {
        let text = left_out::document("Left out of what belongs to no stack", INTRODUCTION, &planned.left_out);
        planned.text(&[FOLDER, left_out::FILE], text);
    }
    planned
}

/// Makes the script of the secrets or of the configs, and the files with their contents.
fn files<'a>(
    kind: ObjectKind,
    items: impl Iterator<Item = &'a Item>,
    options: &Options,
    made_by: &str,
    planned: &mut Planned,
) {
    let (folder, has_contents) = match kind {
        ObjectKind::Secret => ("secrets", options.with_secrets),
        _ => ("configs", true),
    };
    let mut names = FileNames::default();
    let mut commands = Vec::new();
    for item in items {
        let file = names.give(&item.name);
        let (command, left) = script::object::create(item, &format!("./{folder}/{file}"));
        commands.extend(command);
        planned.left(left);
        if has_contents && !script::object::has_driver(item) {
            planned.value(&[FOLDER, folder, &file], item);
        }
    }
    let from = if has_contents { "the files in" } else { "files that are to be put into" };
    let comment = format!("Creates {folder} from {from} the folder `{folder}`. {made_by}");
    put_script(&format!("{folder}.sh"), &[comment], &commands, planned);
}

fn services<'a>(
    items: impl Iterator<Item = &'a Item>,
    index: &Index<'_>,
    options: &Options,
    made_by: &str,
    planned: &mut Planned,
) {
    let mut names = FileNames::default();
    for item in items {
        let mut created = script::service::create(item, options.spec_of(item), index);
        if let Some(stack) = stack_of(item).filter(|_| created.command.is_some()) {
            let why = format!("it has the label of the stack {stack}, and a stack file cannot give it its name");
            created.left.because("Name", Value::Null, why);
        }
        if let Some(command) = created.command {
            let unset = created.unset.iter().map(|name| Command::new(&format!("unset -v {name}")));
            let commands: Vec<Command> = unset.chain([command]).collect();
            let comment = [
                format!("Creates the service {}. {made_by}", item.name),
                "Its networks, secrets and configs have to be there.".to_owned(),
            ];
            let script = command::script(&comment, &commands);
            planned.script(&[FOLDER, "services", &format!("{}.sh", names.give(&item.name))], script);
        }
        planned.left(created.left);
    }
}

fn put_script(name: &str, comment: &[String], commands: &[Command], planned: &mut Planned) {
    if !commands.is_empty() {
        let comment: Vec<String> = comment.iter().map(|line| shown(line).to_string()).collect();
        planned.script(&[FOLDER, name], command::script(&comment, commands));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::restore::items::selection::STACK;

    fn item(kind: ObjectKind, name: &str, mut spec: Value) -> Item {
        spec["Name"] = name.into();
        Item::test(kind, &format!("id-of-{name}"), name, spec)
    }

    fn items() -> Vec<Item> {
        let container = json!({ "ContainerSpec": { "Image": "web", "Init": false, "Env": ["HOME"] } });
        vec![
            item(ObjectKind::Service, "web", json!({ "TaskTemplate": container })),
            item(ObjectKind::Service, "Web", json!({ "TaskTemplate": container, "Labels": { STACK: "shop" } })),
            item(ObjectKind::Network, "net", json!({ "Driver": "overlay", "Scope": "swarm" })),
            item(ObjectKind::Secret, "../key", json!({})),
            item(ObjectKind::Secret, "driven", json!({ "Driver": { "Name": "vault" } })),
            item(ObjectKind::Config, "file", json!({})),
            item(ObjectKind::Volume, "disk", json!({})),
        ]
    }

    fn planned(with_secrets: bool) -> Planned {
        let items = items();
        let all: Vec<&Item> = items.iter().collect();
        plan(&all, &Index::of(&items), &Options { with_secrets, ..Options::default() }, "Made by a test.")
    }

    #[test]
    fn each_object_is_in_a_script_or_is_listed() {
        let planned = planned(false);
        let paths: Vec<String> = planned.texts.iter().map(|file| file.path.join("/")).collect();
        let expected = [
            "_alone/networks.sh",
            "_alone/secrets.sh",
            "_alone/configs.sh",
            "_alone/services/web.sh",
            "_alone/services/Web~2.sh",
            "_alone/LEFT-OUT.md",
        ];
        assert_eq!(paths, expected);
        let all: String = planned.texts.iter().map(|file| file.text.as_str()).collect();
        for line in [
            "docker network create \\\n    --driver overlay \\\n    --scope swarm \\\n    net\n",
            "docker secret create \\\n    ../key ./secrets/%2E.%2Fkey\n",
            "docker secret create \\\n    --driver vault \\\n    driven\n",
            "docker config create \\\n    file ./configs/file\n",
            "\nunset -v HOME\n\ndocker service create",
            "--label 'com.docker.stack.namespace=shop'",
        ] {
            assert!(all.contains(line), "{line}\nis not in\n{all}");
        }
        let left: Vec<&str> = planned.left_out.iter().map(|left| left.object.as_str()).collect();
        assert_eq!(left, ["service `Web`", "volume `disk`"]);
    }

    #[test]
    fn values_of_secrets_are_files_only_if_they_are_wanted() {
        let paths = |with_secrets| {
            let values = planned(with_secrets).values;
            values.into_iter().map(|value| value.path.join("/")).collect::<Vec<_>>()
        };
        assert_eq!(paths(false), ["_alone/configs/file"]);
        assert_eq!(paths(true), ["_alone/secrets/%2E.%2Fkey", "_alone/configs/file"]);
    }
}
