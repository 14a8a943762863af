//! A cable between this host and the network of a [second engine](super::second_engine): one veth pair, and at each end
//! a route to one address and its hardware address.
//!
//! The pair lives as long as the other network does, and routes and neighbours live as long as the pair: whatever ends
//! the second engine takes all of it away. No address of this host changes, and none is added: a kernel answers for its
//! addresses on every interface, and to be independent of how it is told to (`arp_ignore`), both ends know the other's
//! hardware address.

use std::{net::IpAddr, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::fault::Fault;

/// This host's end, and the other one's.
const NEAR: &str = "swarmdr0";
const FAR: &str = "swarmdr1";

/// Locally administered.
const NEAR_MAC: &str = "02:73:77:64:72:01";
const FAR_MAC: &str = "02:73:77:64:72:02";

/// The kernel answers at once; generous for a host that is busy.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// A cable that is plugged in. Dropping it leaves it to the end of the other network.
#[derive(Debug)]
pub struct Link(());

impl Link {
    /// Plugs it in: from here on `far` is in the network of the process `pid`, and `near` is reached from there.
    pub async fn plug(pid: u32, near: IpAddr, far: IpAddr) -> Result<Self> {
        // What an earlier run left is on its way out with its network.
        unplug().await?;
        let netns = format!("/proc/{pid}/ns/net");
        let add = ["link", "add", NEAR, "address", NEAR_MAC, "type", "veth", "peer", "name", FAR, "address", FAR_MAC];
        ip(None, &[&add[..], &["netns", &netns]].concat()).await.map_err(advise)?;
        let link = Self(());
        link.lead(None, NEAR, (near, far), FAR_MAC).await?;
        link.lead(Some(&netns), FAR, (far, near), NEAR_MAC).await?;
        Ok(link)
    }

    async fn lead(&self, netns: Option<&str>, dev: &str, (own, other): (IpAddr, IpAddr), mac: &str) -> Result<()> {
        let (own, other) = (own.to_string(), other.to_string());
        ip(netns, &["link", "set", dev, "up"]).await?;
        ip(netns, &["neighbour", "replace", &other, "lladdr", mac, "dev", dev, "nud", "permanent"]).await?;
        ip(netns, &["route", "replace", &other, "dev", dev, "src", &own]).await
    }

    /// Pulls it out.
    pub async fn end(self) -> Result<()> {
        unplug().await
    }
}

async fn unplug() -> Result<()> {
    match ip(None, &["link", "delete", NEAR]).await {
        Err(error) if error.to_string().contains("Cannot find device") => Ok(()),
        done => done,
    }
}

fn advise(cause: anyhow::Error) -> anyhow::Error {
    Fault::failed("the second engine could not be connected to this host")
        .advice("the packages iproute2 (iproute) and util-linux bring `ip` and `nsenter`, and the kernel needs the module `veth`, as every engine does")
        .because(cause)
        .into()
}

/// One `ip` command, in this network or another one.
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
