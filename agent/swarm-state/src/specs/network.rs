//! Networks, as moby's `daemon/cluster/convert/network.go` converts them.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{
    json::{Object, map},
    messages::{Driver, IPAMOptions, NetworkSpec},
};

/// Option that the allocators of engines up to 27 write into the spec of a network with subnets, as seen in the states of
/// 20.10.24 and 26.1.5; 28.5.2 does not.
const OF_ALLOCATOR: &str = "com.docker.network.ipam.serial";

/// Returns what creates the network again: the body of `POST /networks/create`, with what was asked for and not what was
/// allocated. The Engine API returns no such thing.
pub(super) fn create_request(spec: NetworkSpec) -> Value {
    let annotations = spec.annotations.clone().unwrap_or_default();
    let is_ingress = is_ingress(&spec);
    let driver = spec.driver_config.unwrap_or_default();
    Object::default()
        .text("Name", annotations.name)
        .set("Labels", map(annotations.labels))
        .text("Driver", driver.name)
        .map("Options", driver.options)
        .set("Scope", "swarm")
        .flag("EnableIPv6", spec.ipv6_enabled)
        .flag("Internal", spec.internal)
        .flag("Attachable", spec.attachable)
        .flag("Ingress", is_ingress)
        .some("IPAM", spec.ipam.map(asked_for).map(ipam))
        .some("ConfigFrom", config_from(spec.network))
        .into()
}

/// Returns the network as `GET /networks` lists it, apart from its id, its times and what only one version has: with
/// what was allocated, in `driver_state` and `allocated`, and not what was asked for.
pub(super) fn listed(spec: NetworkSpec, driver_state: Option<Driver>, allocated: Option<IPAMOptions>) -> Value {
    let annotations = spec.annotations.clone().unwrap_or_default();
    let driver = driver_state.unwrap_or_default();
    Object::default()
        .set("Name", annotations.name)
        .set("Scope", "swarm")
        .set("Driver", driver.name)
        .set("EnableIPv6", spec.ipv6_enabled)
        .set("IPAM", allocated.map_or_else(|| json!({}), ipam))
        .set("Internal", spec.internal)
        .set("Attachable", spec.attachable)
        .set("Ingress", is_ingress(&spec))
        .some("ConfigFrom", config_from(spec.network))
        .map("Options", driver.options)
        .map("Labels", annotations.labels)
        .into()
}

fn ipam(options: IPAMOptions) -> Value {
    let driver = options.driver.unwrap_or_default();
    let configs = options.configs.into_iter().map(|config| {
        Object::default()
            .text("Subnet", config.subnet)
            .text("IPRange", config.range)
            .text("Gateway", config.gateway)
            .into()
    });
    Object::default()
        .text("Driver", driver.name)
        .map("Options", driver.options)
        .list("Config", configs.collect())
        .into()
}

/// Removes what the allocator has added to the spec and would add again: its option, and the gateway that it chose.
fn asked_for(mut options: IPAMOptions) -> IPAMOptions {
    if let Some(driver) = &mut options.driver {
        driver.options.remove(OF_ALLOCATOR);
    }
    for config in &mut options.configs {
        if config.range.is_empty() && is_first(&config.subnet, &config.gateway) {
            config.gateway.clear();
        }
    }
    options
}

/// Whether an address is the first one of a subnet, which the allocator makes its gateway.
fn is_first(subnet: &str, address: &str) -> bool {
    let number = |address: IpAddr| -> (u128, u32) {
        match address {
            IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
            IpAddr::V6(address) => (u128::from(address), 128),
        }
    };
    let parse = || {
        let (subnet, length) = subnet.split_once('/')?;
        let ((subnet, bits), length) = (number(subnet.parse().ok()?), length.parse::<u32>().ok()?);
        let (address, own_bits) = number(address.parse().ok()?);
        let host = bits.checked_sub(length)?;
        let network = subnet.checked_shr(host)?.checked_shl(host)?;
        Some(bits == own_bits && network.checked_add(1)? == address)
    };
    parse().unwrap_or(false)
}

fn config_from(network: Option<String>) -> Option<Value> {
    network.filter(|network| !network.is_empty()).map(|network| json!({ "Network": network }))
}

/// Whether it is the routing mesh; early engines marked it by name and label.
fn is_ingress(spec: &NetworkSpec) -> bool {
    let by_label = |annotations: &super::messages::Annotations| {
        annotations.name == "ingress" && annotations.labels.contains_key("com.docker.swarm.internal")
    };
    spec.ingress || spec.annotations.as_ref().is_some_and(by_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_of_a_subnet_is_found() {
        for (subnet, address, first) in [
            ("10.0.9.0/24", "10.0.9.1", true),
            ("10.0.9.7/24", "10.0.9.1", true),
            ("10.0.9.0/24", "10.0.9.2", false),
            ("10.0.0.0/8", "10.0.0.1", true),
            ("fd00:231::/64", "fd00:231::1", true),
            ("fd00:231::/64", "10.0.9.1", false),
            ("0.0.0.0/0", "0.0.0.1", true),
            ("::/0", "::1", false),
            ("10.0.9.0/33", "10.0.9.1", false),
            ("10.0.9.0", "10.0.9.1", false),
            ("", "", false),
        ] {
            assert_eq!(is_first(subnet, address), first, "{subnet} {address}");
        }
    }
}
