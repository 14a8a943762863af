//! A stack as a folder: `stack.yml` with everything that `docker stack deploy -c` of 20.10 to 28.5 can set, and beside
//! it scripts for what has to be there before.
//!
//! The version of the format is the lowest that holds what is used, so that old command lines take the file where they
//! can.

mod deploy;
mod document;
mod files;
mod holdable;
mod mounts;
mod networks;
mod service;
mod translation;

use swarm_state::{inventory::ObjectKind, specs::Item};
use swarmdr_archive::untrusted::shown;

use self::document::Document;
use super::{
    Options,
    command::{self, Command},
    index::Index,
    layout::Stack,
    left_out,
    names::FileNames,
    planned::Planned,
    script,
};
use crate::outcome::shell::quoted;

/// Name of the stack file.
const STACK_FILE: &str = "stack.yml";

/// What was made of a stack.
#[derive(Debug)]
pub struct Folder {
    pub planned: Planned,
    /// Version of the format, as `3.8`.
    pub version: String,
}

/// Makes the files of a stack. `folder` is the name of its directory.
pub fn plan(stack: &Stack<'_>, folder: &str, index: &Index<'_>, options: &Options, made_by: &str) -> Folder {
    let mut document = Document::new(stack.name, index);
    let mut planned = Planned::default();
    let secrets = define_files(stack, folder, options, &mut document, &mut planned);
    for (key, item) in &stack.services {
        planned.left(service::put(key, item, options.spec_of(item), &mut document));
    }
    let networks = networks_apart(stack, &document, &mut planned);
    let scripts = [("networks.sh", networks), ("secrets.sh", secrets)];
    let mut heading = vec![made_by.to_owned()];
    for (name, commands) in scripts.into_iter().filter(|(_, commands)| !commands.is_empty()) {
        heading.push(format!("First run {name}."));
        let comment = [format!("{} of the stack {}. {made_by}", purpose(name), stack.name)];
        planned.script(&[folder, name], command::script(&comment, &commands));
    }
    heading.extend(before_deploying(&document, !planned.left_out.is_empty()));
    let version = document.version();
    let comment: String = heading.iter().map(|line| format!("# {}\n", shown(line))).collect();
    planned.text(&[folder, STACK_FILE], comment + &document.finish().to_string());
    if !planned.left_out.is_empty() {
        let text =
            left_out::document(&format!("Left out of the stack {}", stack.name), INTRODUCTION, &planned.left_out);
        planned.text(&[folder, left_out::FILE], text);
    }
    Folder { planned, version }
}

const INTRODUCTION: &str = "\
A stack file cannot hold these fields. The command below a service sets those for which there is an option; run it
after `docker stack deploy`. The files in `_engine` have all fields, and `swarmdr-agent undelete` brings all of them
back.";

fn purpose(script: &str) -> &'static str {
    match script {
        "networks.sh" => "Creates networks that a stack file cannot hold,",
        _ => "Creates the secrets, from files that are to be put into the folder `secrets`,",
    }
}

/// Defines the secrets and the configs of the stack. Returns the commands for secrets whose values are not exported;
/// with their labels they are part of the stack all the same.
fn define_files(
    stack: &Stack<'_>,
    folder: &str,
    options: &Options,
    document: &mut Document<'_>,
    planned: &mut Planned,
) -> Vec<Command> {
    let (mut configs, mut secrets) = (FileNames::default(), FileNames::default());
    let mut apart = Vec::new();
    for item in stack.of_kind(ObjectKind::Config) {
        let file = configs.give(document.short(&item.name));
        planned.left(files::define(item, Some(&format!("./configs/{file}")), document));
        planned.value(&[folder, "configs", &file], item);
    }
    for item in stack.of_kind(ObjectKind::Secret) {
        let file = secrets.give(document.short(&item.name));
        let path = format!("./secrets/{file}");
        if script::object::has_driver(item) {
            planned.left(files::define(item, None, document));
        } else if options.with_secrets {
            planned.left(files::define(item, Some(&path), document));
            planned.value(&[folder, "secrets", &file], item);
        } else {
            let (command, left) = script::object::create(item, &path);
            planned.left(left);
            apart.extend(command);
        }
    }
    apart
}

/// Returns the commands for the networks of the stack that the file does not define: it cannot hold them, or no service
/// uses them, and then the command line would not create them.
fn networks_apart(stack: &Stack<'_>, document: &Document<'_>, planned: &mut Planned) -> Vec<Command> {
    let mut apart = Vec::new();
    let own: Vec<&Item> = stack.of_kind(ObjectKind::Network).collect();
    for network in own.into_iter().filter(|network| !document.defines_network(&network.name)) {
        let (command, left) = script::network::create(network);
        planned.left(left);
        apart.extend(command);
    }
    apart
}

/// Returns what to do before and how to deploy, as lines of a comment.
fn before_deploying(document: &Document<'_>, is_left_out: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if !document.others.is_empty() {
        let others: Vec<&str> = document.others.iter().map(String::as_str).collect();
        lines.push(format!("These have to be there: {}.", others.join(", ")));
    }
    if document.ignored_by_27 {
        lines
            .push("Needs the command line of Docker 28 or later: 27 takes this file and ignores `subpath`.".to_owned());
    }
    let unset: Vec<String> = document.from_shell.iter().map(|name| format!("-u {}", quoted(name))).collect();
    let start = if unset.is_empty() { String::new() } else { format!("env {} ", unset.join(" ")) };
    let mut deploy = Command::new(&format!("{start}docker stack deploy"));
    deploy.option("compose-file", STACK_FILE);
    deploy.flag("with-registry-auth", document.with_registry_auth);
    deploy.operand(document.stack);
    lines.push(format!("Deploy with: {}", deploy.line()));
    if !unset.is_empty() {
        lines.push("Without `env -u`, variables of your shell would replace those that are empty here.".to_owned());
    }
    if is_left_out {
        lines.push(format!("Then see {} for what a stack file cannot hold.", left_out::FILE));
    }
    lines
}

#[cfg(test)]
mod tests;
