//! A link between this host and the network of a [second engine](crate::host::second_engine): one veth pair, with a
//! route to one address and its hardware address at each end.
//!
//! The pair exists as long as the other network does, and routes and neighbours as long as the pair: the end of the
//! second engine removes all of it. No address of this host changes, and none is added: a kernel answers for its
//! addresses on every interface. Both ends have the other's hardware address as a permanent neighbour, so that
//! `arp_ignore` does not matter.

use std::{net::IpAddr, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use nix::{errno::Errno, net::if_::if_nametoindex};
use tokio::process::Command;

use crate::outcome::failure::Failure;

/// The names of the two ends: on this host, and in the other network.
const NEAR: &str = "swarmdr0";
const FAR: &str = "swarmdr1";

/// The hardware addresses of the two ends, locally administered.
const NEAR_MAC: &str = "02:73:77:64:72:01";
const FAR_MAC: &str = "02:73:77:64:72:02";

/// Time limit of one command, generous for a busy host: the kernel itself takes no time.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// A veth pair that is up. Dropping this leaves it until the other network ends.
#[derive(Debug)]
pub struct VethPair(());

impl VethPair {
    /// Makes the pair: from here on `far` is reached in the network of the process `pid`, and `near` from there.
    pub async fn make(pid: u32, near: IpAddr, far: IpAddr) -> Result<Self> {
        // A pair that an earlier run left is about to disappear with its network.
        remove().await?;
        let netns = format!("/proc/{pid}/ns/net");
        let add = ["link", "add", NEAR, "address", NEAR_MAC, "type", "veth", "peer", "name", FAR, "address", FAR_MAC];
        ip(None, &[&add[..], &["netns", &netns]].concat()).await.map_err(advise)?;
        let pair = Self(());
        pair.connect(None, NEAR, (near, far), FAR_MAC).await?;
        pair.connect(Some(&netns), FAR, (far, near), NEAR_MAC).await?;
        Ok(pair)
    }

    async fn connect(&self, netns: Option<&str>, dev: &str, (own, other): (IpAddr, IpAddr), mac: &str) -> Result<()> {
        let (own, other) = (own.to_string(), other.to_string());
        ip(netns, &["link", "set", dev, "up"]).await?;
        ip(netns, &["neighbour", "replace", &other, "lladdr", mac, "dev", dev, "nud", "permanent"]).await?;
        ip(netns, &["route", "replace", &other, "dev", dev, "src", &own]).await
    }

    /// Removes the pair.
    pub async fn remove(self) -> Result<()> {
        remove().await
    }
}

/// Removes the pair; one that is not there is no error.
async fn remove() -> Result<()> {
    match ip(None, &["link", "delete", NEAR]).await {
        Err(_) if if_nametoindex(NEAR) == Err(Errno::ENODEV) => Ok(()),
        done => done,
    }
}

fn advise(cause: anyhow::Error) -> anyhow::Error {
    Failure::failed("the second engine could not be connected to this host")
        .advice("the packages iproute2 (iproute) and util-linux bring `ip` and `nsenter`, and the kernel needs the module `veth`, as every engine does")
        .because(cause)
        .into()
}

/// Runs one `ip` command, in this network or another one.
async fn ip(netns: Option<&str>, arguments: &[&str]) -> Result<()> {
    let mut command = match netns {
        Some(netns) => {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={netns}")).arg("ip");
            command
        }
        None => Command::new("ip"),
    };
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
    let asked = format!("ip {}", arguments.join(" "));
    let output = tokio::time::timeout(CALL_LIMIT, command.output())
        .await
        .with_context(|| format!("`{asked}` did not end within {} s", CALL_LIMIT.as_secs()))?
        .with_context(|| format!("failed to run `{asked}`"))?;
    if !output.status.success() {
        bail!("`{asked}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
