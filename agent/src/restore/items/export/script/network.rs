//! Networks as commands, and what attaches services to them as values of `--network`.

use serde_json::Value;
use swarm_state::specs::Item;

use super::{NUL, has_nul, pairs};
use crate::restore::items::export::{
    command::{Command, fields},
    left_out::LeftOut,
    rest::Rest,
};

/// Returns the command that creates a network, and what it cannot set (docker/cli `cli/command/network/create.go`).
/// There is none for the routing mesh as each swarm makes it by itself.
pub fn create(network: &Item) -> (Option<Command>, LeftOut) {
    let mut left = LeftOut::of(network);
    if has_nul(&network.spec) {
        left.because("", Value::Null, NUL);
        return (None, left);
    }
    let mut rest = Rest::of("", network.spec.clone());
    rest.any("Name");
    let mut command = Command::new("docker network create");
    // The command line would take `bridge`.
    command.option("driver", rest.text("Driver").as_deref().unwrap_or("overlay"));
    let is_ingress = rest.flag("Ingress") == Some(true);
    command.flag("ingress", is_ingress);
    let scope = rest.text("Scope");
    command.option_some("scope", scope.filter(|_| !is_ingress));
    command.flag("internal", rest.flag("Internal") == Some(true));
    command.flag("attachable", rest.flag("Attachable") == Some(true));
    command.flag("ipv6", rest.flag("EnableIPv6") == Some(true));
    let plain = command.clone();
    let mut from = rest.part("ConfigFrom");
    command.option_some("config-from", from.text("Network"));
    command.options("opt", pairs(&mut rest, "Options"));
    command.options("label", pairs(&mut rest, "Labels"));
    let mut ipam = rest.part("IPAM");
    addresses(&mut ipam, &mut command);
    for part in [from, ipam, rest] {
        left.rest(part);
    }
    let made_by_swarm = is_ingress && command == plain && left.is_empty();
    command.operand(&network.name);
    ((!made_by_swarm).then_some(command), left)
}

/// Whether there is nothing to create or to tell: the routing mesh, as each swarm makes it by itself.
pub fn is_made_by_swarm(network: &Item) -> bool {
    let (command, left) = create(network);
    command.is_none() && left.is_empty()
}

/// Ranges and gateways are given apart from their subnets, and the command line finds the subnet that each is in.
fn addresses(ipam: &mut Rest, command: &mut Command) {
    command.option_some("ipam-driver", ipam.text("Driver"));
    command.options("ipam-opt", pairs(ipam, "Options"));
    let mut refused = Vec::new();
    for config in ipam.list("Config") {
        let mut rest = Rest::of("", config.clone());
        let Some(subnet) = rest.text("Subnet") else {
            refused.push(config);
            continue;
        };
        command.option("subnet", subnet);
        command.option_some("ip-range", rest.text("IPRange"));
        command.option_some("gateway", rest.text("Gateway"));
        refused.extend(rest.into_leaves().into_iter().map(|(_, value)| value));
    }
    ipam.put("Config", refused);
}

/// Returns the value of `--network` that attaches a service, and what it cannot hold. The long form makes small letters
/// of everything in it (docker/cli `opts/network.go`), so what has capital ones stays; the short form has the name
/// only.
pub fn attachment(network: &str, attached: &Value) -> (String, Rest) {
    let mut rest = Rest::of(format!("[{network}]"), attached.clone());
    rest.any("Target");
    let is_kept = |text: &str| text == text.to_lowercase() && text == text.trim();
    if !is_kept(network) {
        return (network.to_owned(), rest);
    }
    let mut parts = Vec::new();
    let (aliases, refused): (Vec<_>, Vec<_>) = rest.texts("Aliases").into_iter().partition(|alias| is_kept(alias));
    rest.put("Aliases", refused);
    parts.extend(aliases.into_iter().map(|alias| format!("alias={alias}")));
    let options = rest.map("DriverOpts");
    let (held, refused): (Vec<_>, Vec<_>) =
        options.into_iter().partition(|(name, value)| is_kept(name) && is_kept(value) && super::is_plain(name));
    rest.put("DriverOpts", serde_json::Map::from_iter(refused.into_iter().map(|(name, value)| (name, value.into()))));
    parts.extend(held.into_iter().map(|(name, value)| format!("driver-opt={name}={value}")));
    if parts.is_empty() {
        return (network.to_owned(), rest);
    }
    parts.insert(0, format!("name={network}"));
    (fields(&parts), rest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use swarm_state::inventory::ObjectKind;

    use super::*;

    fn network(spec: Value) -> Item {
        let name = spec["Name"].as_str().expect("has a name").to_owned();
        Item::test(ObjectKind::Network, "n1", &name, spec)
    }

    #[test]
    fn all_that_a_network_can_ask_for_has_an_option() {
        let (command, left) = create(&network(json!({
            "Name": "net", "Driver": "overlay", "Scope": "swarm", "EnableIPv6": true, "Internal": true,
            "Attachable": true, "Options": { "encrypted": "" }, "Labels": { "a": "b" },
            "IPAM": {
                "Driver": "default", "Options": { "x": "y" },
                "Config": [
                    { "Subnet": "10.1.0.0/16", "IPRange": "10.1.7.0/24", "Gateway": "10.1.0.9" },
                    { "Subnet": "fd00::/64" },
                ],
            },
        })));
        let expected = "docker network create --driver overlay --scope swarm --internal --attachable --ipv6 \
            --opt 'encrypted=' --label 'a=b' --ipam-driver default --ipam-opt 'x=y' --subnet 10.1.0.0/16 \
            --ip-range 10.1.7.0/24 --gateway 10.1.0.9 --subnet fd00::/64 net";
        assert_eq!(command.expect("is a command").line(), expected);
        assert!(left.is_empty(), "{left}");
        let from = json!({ "Name": "Shared", "Driver": "macvlan", "Scope": "swarm", "ConfigFrom": { "Network": "c" } });
        let line = create(&network(from)).0.expect("is a command").line();
        assert_eq!(line, "docker network create --driver macvlan --scope swarm --config-from c Shared");
    }

    #[test]
    fn a_mesh_that_each_swarm_makes_needs_no_command() {
        let mesh = |ipam: Value| network(json!({ "Name": "ingress", "Ingress": true, "Scope": "swarm", "IPAM": ipam }));
        assert_eq!(create(&mesh(json!({}))).0, None);
        let line = create(&mesh(json!({ "Config": [{ "Subnet": "10.9.0.0/16" }] }))).0.expect("is a command").line();
        assert_eq!(line, "docker network create --driver overlay --ingress --subnet 10.9.0.0/16 ingress");
    }

    #[test]
    fn nothing_is_attached_under_small_letters_of_another_name() {
        let attached = json!({ "Target": "n1", "Aliases": ["db", "DB"], "DriverOpts": { "x": "y" } });
        let (option, rest) = attachment("net", &attached);
        assert_eq!(option, "name=net,alias=db,driver-opt=x=y");
        assert_eq!(rest.into_leaves(), [("[net].Aliases".to_owned(), json!(["DB"]))]);
        let (option, rest) = attachment("Net", &attached);
        assert_eq!((option.as_str(), rest.into_leaves().len()), ("Net", 2));
        assert_eq!(attachment("net", &json!({ "Target": "n1" })).0, "net");
    }
}
