//! A manager with data to store, and what its vault shows of it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, Output, Program, addr},
    s3::{Release, Version},
    scenario::{IDENTITY, Site, agent, agent_with_faults},
};

/// A file of pseudo-random bytes on the host, which no compression makes smaller.
pub const DATA: &str = "/srv/data";

/// A site with one manager that has the identity too, so that it can read what it stored.
pub struct Streams {
    pub site: Site,
    pub host: Host,
    pub cluster: String,
}

impl Streams {
    pub async fn new(engine: Engine, mebibytes: u32) -> Result<Self> {
        Self::with(engine, mebibytes, agent_with_faults()?).await
    }

    pub async fn with(engine: Engine, mebibytes: u32, agent: Program) -> Result<Self> {
        Self::on(Site::new(Release::V20).await?, engine, mebibytes, agent)
    }

    /// Puts the manager and its data on a site.
    pub fn on(site: Site, engine: Engine, mebibytes: u32, agent: Program) -> Result<Self> {
        let host = site.lab.boot(HostSpec::new("m1", engine, addr(11)))?;
        host.swarm_init()?;
        site.configure_manager(&host)?;
        site.write_identity(&host)?;
        host.install(&agent)?;
        host.sh(&format!("mkdir -p /srv; dd if=/dev/urandom of={DATA} bs=1M count={mebibytes} status=none"))?;
        let cluster = host.docker(&["info", "--format", "{{.Swarm.Cluster.ID}}"])?;
        Ok(Self { site, host, cluster })
    }

    /// Returns all versions of all streams in the bucket.
    pub async fn stored(&self) -> Result<Vec<Version>> {
        Ok(self.site.owner.versions("prod/streams/").await?)
    }

    /// Returns the SHA-256 of the data.
    pub fn sum(&self) -> Result<String> {
        self.host.sh(&format!("sha256sum < {DATA} | cut -d' ' -f1"))
    }

    /// Hands the newest stream of a name to `sh -c`, and returns how that ended.
    pub fn get(&self, name: &str, script: &str) -> Result<Output> {
        agent(&self.host, &["get", name, "--latest", "--identity", IDENTITY, "--", "sh", "-c", script])
    }

    /// Returns the SHA-256 of the newest stream of a name.
    pub fn sum_of(&self, name: &str) -> Result<String> {
        let got = self.get(name, "sha256sum > /run/sum")?;
        ensure!(got.status.code() == Some(0), "get exited {:?}: {}", got.status.code(), got.stderr);
        let sum = self.host.read_file("/run/sum")?;
        Ok(sum.split_whitespace().next().context("there is no sum")?.to_owned())
    }
}

/// Fails unless the command ended with this code and said all of this.
pub fn require(output: &Output, code: i32, said: &[&str]) -> Result<()> {
    let all = format!("{}{}", output.stdout, output.stderr);
    ensure!(output.status.code() == Some(code), "it exited {:?}, not {code}: {all}", output.status.code());
    for part in said {
        ensure!(all.contains(part), "it does not say `{part}`: {all}");
    }
    Ok(())
}

/// Returns the only vault of a report of `put`.
pub fn kept(report: &Value) -> Result<&Value> {
    let kept = report["kept"].as_array().context("the report names the vaults")?;
    ensure!(kept.len() == 1, "there are other vaults: {report:#}");
    Ok(&kept[0])
}
