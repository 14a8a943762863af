//! The command that brings removed objects back.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
};

use serde::Serialize;
use swarm_state::inventory::ObjectKind;
use swarmdr_archive::BackupId;

use super::object::Object;
use crate::outcome::{program::PROGRAM, shell};

/// The flags that name single objects, in the order in which they are written.
const FLAGS: [(ObjectKind, &str); 4] = [
    (ObjectKind::Service, "--service"),
    (ObjectKind::Secret, "--secret"),
    (ObjectKind::Config, "--config"),
    (ObjectKind::Network, "--network"),
];

/// The backup that has the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    Id(BackupId),
    /// Path of an archive.
    File(&'a str),
}

/// A command line with its program. Displayed as text for a shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Undelete(Vec<String>);

impl Undelete {
    /// Returns the command that brings the `missing` ones of the objects back that a backup `had`; `None` if there are
    /// none. A stack is named as a whole if everything of it is missing.
    pub fn of(origin: Origin<'_>, missing: &[Object], had: &[Object]) -> Option<Self> {
        if missing.is_empty() {
            return None;
        }
        let mut words = vec![PROGRAM.to_owned(), "undelete".to_owned()];
        match origin {
            Origin::Id(id) => words.push(id.to_string()),
            Origin::File(path) => words.extend(flag("--file", path)),
        }
        let stacks = whole_stacks(missing, had);
        words.extend(stacks.iter().flat_map(|stack| flag("--stack", stack)));
        let alone = |it: &&Object| it.stack.as_deref().is_none_or(|stack| !stacks.contains(stack));
        for (kind, name) in FLAGS {
            let of_kind = missing.iter().filter(|it| it.kind == kind).filter(alone);
            words.extend(of_kind.flat_map(|it| flag(name, &it.name)));
        }
        Some(Self(words))
    }
}

impl fmt::Display for Undelete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shell::line(&self.0))
    }
}

/// Returns the words of a flag and its value. A value that looks like a flag itself is joined to it.
fn flag(name: &str, value: &str) -> Vec<String> {
    match value.starts_with('-') {
        true => vec![format!("{name}={value}")],
        false => vec![name.to_owned(), value.to_owned()],
    }
}

/// Returns the names of the stacks that are missing as a whole. Stacks whose names differ in case are different ones,
/// as `--stack` takes them.
fn whole_stacks<'a>(missing: &'a [Object], had: &[Object]) -> BTreeSet<&'a str> {
    let mut stacks: BTreeSet<&str> = missing.iter().filter_map(|it| it.stack.as_deref()).collect();
    let missing: HashSet<(ObjectKind, &str)> = missing.iter().map(|it| (it.kind, it.id.as_str())).collect();
    let there = had.iter().filter(|it| !missing.contains(&(it.kind, it.id.as_str())));
    for stack in there.filter_map(|it| it.stack.as_deref()) {
        stacks.remove(stack);
    }
    stacks
}

#[cfg(test)]
mod tests {
    use super::{super::object::tests::object, *};

    const ID: &str = "20261121T031500Z-1a2b3c4d";

    fn objects() -> Vec<Object> {
        vec![
            object(ObjectKind::Service, "shop_db", Some("shop")),
            object(ObjectKind::Service, "shop_web", Some("shop")),
            object(ObjectKind::Network, "backend", None),
            object(ObjectKind::Network, "shop_net", Some("shop")),
            object(ObjectKind::Secret, "tls_key", None),
            object(ObjectKind::Config, "site.conf", None),
        ]
    }

    fn command(missing: &[Object], had: &[Object]) -> Option<String> {
        Undelete::of(Origin::Id(ID.parse().expect("is an id")), missing, had).map(|command| command.to_string())
    }

    #[test]
    fn a_stack_is_named_as_a_whole_only_if_all_of_it_is_missing() {
        let had = objects();
        assert_eq!(command(&[], &had), None);
        let all = "--stack shop --secret tls_key --config site.conf --network backend";
        assert_eq!(command(&had, &had), Some(format!("swarmdr-agent undelete {ID} {all}")));
        let but_one = "--service shop_web --secret tls_key --config site.conf --network backend --network shop_net";
        assert_eq!(command(&had[1..], &had), Some(format!("swarmdr-agent undelete {ID} {but_one}")));
        // A stack that is written in another case is another one.
        let had = [vec![object(ObjectKind::Service, "SHOP_web", Some("SHOP"))], had].concat();
        assert_eq!(command(&had[..1], &had), Some(format!("swarmdr-agent undelete {ID} --stack SHOP")));
    }

    #[test]
    fn a_backup_in_a_file_is_named_by_its_path() {
        let missing = [object(ObjectKind::Secret, "tls_key", None)];
        let command = |path| Undelete::of(Origin::File(path), &missing, &missing).expect("is missing");
        let words = ["swarmdr-agent", "undelete", "--file", "./my backups/b.swarmdr", "--secret", "tls_key"];
        let by_path = command("./my backups/b.swarmdr");
        assert_eq!(serde_json::to_value(&by_path).expect("is JSON"), serde_json::json!(words));
        let line = "swarmdr-agent undelete --file './my backups/b.swarmdr' --secret tls_key";
        assert_eq!(by_path.to_string(), line);
    }

    #[test]
    fn a_name_is_no_flag_and_no_command() {
        for (name, words) in [
            ("-rf", "'--stack=-rf'"),
            ("--all-missing", "'--stack=--all-missing'"),
            ("$(reboot)", "--stack '$(reboot)'"),
            ("it's", r"--stack 'it'\''s'"),
        ] {
            let missing = [object(ObjectKind::Service, "web", Some(name))];
            assert_eq!(command(&missing, &missing), Some(format!("swarmdr-agent undelete {ID} {words}")));
        }
    }
}
