//! Options that are about the container.

use std::collections::HashSet;

use serde_json::Value;
use swarm_state::inventory::ObjectKind;

use super::Translation;
use crate::restore::items::export::{
    command::fields,
    rest::Rest,
    script::{mount, pairs},
    units::duration,
};

/// Takes what the options can set.
pub fn all(container: &mut Rest, of: &mut Translation<'_>) {
    process(container, of);
    surroundings(container, of);
    healthcheck(container, of);
    privileges(container, of);
    files(ObjectKind::Secret, "Secret", container, of);
    files(ObjectKind::Config, "Config", container, of);
    mounts(container, of);
}

fn process(container: &mut Rest, of: &mut Translation<'_>) {
    let entrypoint: Vec<String> = container.texts("Command").iter().map(|word| in_quotes(word)).collect();
    of.command.options("entrypoint", (!entrypoint.is_empty()).then(|| entrypoint.join(" ")));
    environment(container, of);
    of.command.option_some("workdir", container.text("Dir"));
    of.command.option_some("user", container.text("User"));
    of.command.options("group", container.texts("Groups"));
    match container.flag("Init") {
        Some(is_set) => of.command.flag("init", is_set),
        None => {
            let why = "it is not set, and `docker service create` sets it to false";
            of.left.because(container.path("Init"), Value::Null, why);
        }
    }
    of.command.flag("tty", container.flag("TTY") == Some(true));
    of.command.flag("read-only", container.flag("ReadOnly") == Some(true));
    of.command.option_some("stop-signal", container.text("StopSignal"));
    of.command.option_some("stop-grace-period", container.integer("StopGracePeriod").map(duration));
}

/// Returns a word as Go's `shlex` reads it, which splits the entry point.
fn in_quotes(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Takes the variables; of several with one name the last one counts, as for the process. One without a value would
/// come from the shell.
fn environment(container: &mut Rest, of: &mut Translation<'_>) {
    let mut seen = HashSet::new();
    let (mut held, mut refused) = (Vec::new(), Vec::new());
    for variable in container.texts("Env").into_iter().rev() {
        let (name, has_value) = variable.split_once('=').map_or((variable.as_str(), false), |(name, _)| (name, true));
        let can_be_unset = is_variable(name);
        if name.is_empty() || !(has_value || can_be_unset) || !seen.insert(name.to_owned()) {
            refused.push(variable);
            continue;
        }
        if !has_value {
            of.unset.push(name.to_owned());
        }
        held.push(variable);
    }
    refused.reverse();
    container.put("Env", refused);
    of.command.options("env", held.into_iter().rev());
}

/// Whether a shell can unset a variable of this name.
fn is_variable(name: &str) -> bool {
    let first = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    first && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn surroundings(container: &mut Rest, of: &mut Translation<'_>) {
    of.command.options("container-label", pairs(container, "Labels"));
    of.command.option_some("hostname", container.text("Hostname"));
    of.command.option_some("isolation", container.text("Isolation"));
    hosts(container, of);
    let mut dns = container.part("DNSConfig");
    of.command.options("dns", dns.texts("Nameservers"));
    of.command.options("dns-search", dns.texts("Search"));
    of.command.options("dns-option", dns.texts("Options"));
    of.left.rest(dns);
    of.command.options("sysctl", pairs(container, "Sysctls"));
    let mut refused = Vec::new();
    for ulimit in container.list("Ulimits") {
        match (ulimit["Name"].as_str(), ulimit["Soft"].as_i64(), ulimit["Hard"].as_i64()) {
            (Some(name), Some(soft), Some(hard)) => of.command.option("ulimit", format!("{name}={soft}:{hard}")),
            _ => refused.push(ulimit),
        }
    }
    container.put("Ulimits", refused);
    of.command.option_some("oom-score-adj", container.integer("OomScoreAdj").map(|adjusted| adjusted.to_string()));
}

/// Takes entries of `/etc/hosts`: an address, and after a space the names.
fn hosts(container: &mut Rest, of: &mut Translation<'_>) {
    let mut refused = Vec::new();
    for entry in container.texts("Hosts") {
        match entry.split_once(' ').filter(|(_, names)| !names.is_empty() && !names.contains([':', '='])) {
            Some((address, names)) => of.command.option("host", format!("{names}:{address}")),
            None => refused.push(entry),
        }
    }
    container.put("Hosts", refused);
}

/// Takes the health check. The command line knows a command for a shell, and none; what runs without a shell stays.
fn healthcheck(container: &mut Rest, of: &mut Translation<'_>) {
    let mut check = container.part("Healthcheck");
    let test = check.texts("Test");
    match test.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["NONE"] => {
            of.command.flag("no-healthcheck", true);
            // Nothing else may be set then.
            of.left.rest(check);
            return;
        }
        ["CMD-SHELL", command] if !command.is_empty() => of.command.option("health-cmd", command),
        _ => check.put("Test", test),
    }
    let lengths = [
        ("health-interval", "Interval"),
        ("health-timeout", "Timeout"),
        ("health-start-period", "StartPeriod"),
        ("health-start-interval", "StartInterval"),
    ];
    for (option, name) in lengths {
        of.command.option_some(option, check.integer(name).map(duration));
    }
    of.command.option_some("health-retries", check.integer("Retries").map(|retries| retries.to_string()));
    of.left.rest(check);
}

fn privileges(container: &mut Rest, of: &mut Translation<'_>) {
    of.command.options("cap-add", container.texts("CapabilityAdd"));
    of.command.options("cap-drop", container.texts("CapabilityDrop"));
    let mut privileges = container.part("Privileges");
    let mut credentials = privileges.part("CredentialSpec");
    of.command.option_some("credential-spec", credentials.text("File").map(|file| format!("file://{file}")));
    of.command.option_some("credential-spec", credentials.text("Registry").map(|key| format!("registry://{key}")));
    if let Some(id) = credentials.text("Config") {
        match of.index.get(ObjectKind::Config, &id) {
            Some(config) => {
                of.command.option("credential-spec", format!("config://{}", config.name));
                // The command line adds the config to those of the service by itself.
                let is_its_own = |value: &Value| value["ConfigID"] == id.as_str() && value["Runtime"].is_object();
                let others = container.list("Configs").into_iter().filter(|value| !is_its_own(value));
                let others: Vec<Value> = others.collect();
                container.put("Configs", others);
            }
            None => credentials.put("Config", id),
        }
    }
    of.left.rest(credentials);
    of.left.rest(privileges);
}

/// Takes the secrets or the configs.
fn files(kind: ObjectKind, word: &str, container: &mut Rest, of: &mut Translation<'_>) {
    let list = format!("{word}s");
    let mut refused = Vec::new();
    for value in container.list(&list) {
        let item = value[format!("{word}ID")].as_str().and_then(|id| of.index.get(kind, id));
        let name = item.map(|item| item.name.as_str()).or_else(|| value[format!("{word}Name")].as_str());
        let target = value["File"]["Name"].as_str().filter(|target| !target.is_empty());
        let (Some(name), Some(target)) = (name, target) else {
            refused.push(value);
            continue;
        };
        let mut parts = vec![format!("source={name}"), format!("target={target}")];
        for (option, field) in [("uid", "UID"), ("gid", "GID")] {
            let text = value["File"][field].as_str().filter(|text| !text.is_empty());
            parts.extend(text.map(|text| format!("{option}={text}")));
        }
        parts.extend(value["File"]["Mode"].as_u64().map(|mode| format!("mode=0{mode:o}")));
        of.command.option(&word.to_lowercase(), fields(&parts));
    }
    container.put(&list, refused);
}

fn mounts(container: &mut Rest, of: &mut Translation<'_>) {
    for mount in container.list("Mounts") {
        let (option, rest) = mount::option(&mount);
        of.command.option("mount", option);
        let path = container.path("Mounts");
        for (field, value) in rest.into_leaves() {
            of.left.field(format!("{path}{field}"), value);
        }
    }
}
