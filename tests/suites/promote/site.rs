//! A site of three managers with a long log, its vault, and a spare host.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, Role, addr},
    s3::Release,
    scenario::{CONFIG, IDENTITY, Site, VAULT, agent_json, agent_with_faults, describe_swarm, populate, text},
};

/// Last part of the spare host's own address.
pub const SPARE: u8 = 21;

/// What `standby` keeps.
pub const SHELF: &str = "/var/lib/swarmdr/standby";

/// Values that must be nowhere in clear on a spare host: those of [`populate`], and the begin of each long config.
pub const VALUES: [&str; 3] = ["correct horse battery staple", "not really", "a long value of a config"];

/// The snapshot interval of the site, so that putting it back is seen.
pub const INTERVAL: u64 = 7_777;

/// A site that has made a backup, and is still there.
pub struct Pair {
    pub site: Site,
    pub managers: [Host; 3],
    pub spare: Host,
    /// The swarm in the words of its engine.
    pub before: Vec<String>,
    /// Id of the backup.
    pub backup: String,
    /// Last part of the address of the manager that made it.
    pub maker: u8,
    /// Settings of the swarm, as raw JSON.
    pub spec: Value,
    /// The services' replicas, and the nodes with their availability.
    pub details: String,
}

impl Pair {
    /// Boots three managers, lets the first one make a backup, and boots a spare host that may open it. `is_long`: more than
    /// 64 KiB of the log lie behind its snapshot, so an engine that forms it waits for an election; else none do.
    pub async fn new(engine: Engine, is_long: bool) -> Result<Self> {
        let site = Site::new(Release::V20).await?;
        let specs = [11, 12, 13].map(|last| HostSpec::new(&format!("m{last}"), engine, addr(last)));
        let managers = site.lab.boot_all(specs)?;
        let spare = site.lab.boot(HostSpec::new("spare", engine, addr(SPARE)))?;
        managers[0].swarm_init()?;
        for host in &managers[1..] {
            host.join(&managers[0], Role::Manager)?;
        }
        populate(&managers[0])?;
        managers[0].sh("docker service update --detach --no-resolve-image --label-add swarmdr.replicas=2 cron")?;
        managers[0].sh(&fill(is_long))?;
        site.set_up_manager(&managers[0])?;
        let made = agent_json(&managers[0], 0, &["backup", "--allow-quorum-loss"])?;
        managers[0].wait_manager()?;
        site.set_up_restorer(&spare)?;
        spare.install(&agent_with_faults()?)?;
        spare.load_image()?;
        let mut pair = Self {
            backup: text(&made, "/id")?.to_owned(),
            before: describe_swarm(&managers[0])?,
            maker: 11,
            spec: spec(&managers[0])?,
            // What its label asks for.
            details: details(&managers[0])?.replace("cron of 1", "cron of 2"),
            site,
            managers,
            spare,
        };
        pair.before.retain(|line| !line.starts_with("node "));
        pair.configure("")?;
        Ok(pair)
    }

    /// Writes the spare host's configuration: it may open the archives without being asked, and more.
    pub fn configure(&self, more: &str) -> Result<()> {
        let config = format!("identity_file = \"{IDENTITY}\"\n{}{more}\n", self.site.config(VAULT));
        self.spare.write_file(CONFIG, config)
    }

    /// Kills the managers, as a site that burns down.
    pub fn burn(&mut self) -> Result<()> {
        self.managers.iter_mut().try_for_each(Host::kill)
    }

    /// Gives the spare host the address of the manager that made the backup.
    pub fn move_address(&self) -> Result<()> {
        self.spare.sh(&format!("ip address add {}/24 dev host0", addr(self.maker))).map(drop)
    }

    /// Checks that the spare host serves what the site served.
    pub fn require_same(&self) -> Result<()> {
        self.spare.wait_manager()?;
        let mut now = describe_swarm(&self.spare)?;
        now.retain(|line| !line.starts_with("node "));
        ensure!(now == self.before, "{now:#?} is not {:#?}", self.before);
        let now = details(&self.spare)?;
        ensure!(now == self.details, "{now} is not {}", self.details);
        let mut spec = spec(&self.spare)?;
        if let Some(labels) = spec["Labels"].as_object_mut() {
            labels.remove("swarmdr.claim");
        }
        ensure!(spec == self.spec, "{spec:#} is not {:#}", self.spec);
        ensure!(spec["Raft"]["SnapshotInterval"] == INTERVAL, "{spec:#}");
        Ok(())
    }
}

/// Returns a script that makes configs. Without a long log it ends with a snapshot of the log, from which a lone manager
/// leads at once.
fn fill(is_long: bool) -> String {
    let (configs, padding) = (if is_long { 60 } else { 3 }, "x".repeat(2_000));
    let first = if is_long { INTERVAL } else { 1 };
    format!(
        "docker swarm update --snapshot-interval {first} >/dev/null
         for n in $(seq {configs}); do echo \"{} $n {padding}\" | docker config create long-$n - >/dev/null; done
         docker swarm update --snapshot-interval {INTERVAL} >/dev/null",
        VALUES[2]
    )
}

fn spec(host: &Host) -> Result<Value> {
    let raw = host.sh("docker info --format '{{json .Swarm.Cluster.Spec}}'")?;
    serde_json::from_str(&raw).with_context(|| format!("is no JSON: {raw}"))
}

/// Describes what a swarm should run, and on which nodes it may.
fn details(host: &Host) -> Result<String> {
    host.sh("docker service ls --format '{{.Name}} {{.Replicas}}' | sed 's/ [0-9]*\\// of /' | sort
         docker node ls --format '{{.ID}} {{.Availability}}' | sort")
}

/// Checks that no secret value and no key lies in clear anywhere on a host, but for the identity itself.
pub fn require_sealed(host: &Host) -> Result<()> {
    let values = VALUES.map(|value| format!("-e '{value}'")).join(" ");
    let found = host.sh(&format!(
        "grep -rlaF {values} -e AGE-SECRET-KEY -e 'BEGIN EC PRIVATE KEY' \
           /var/lib/swarmdr /var/lib/docker /run/swarmdr* /var/tmp /tmp /root /etc/swarmdr 2>/dev/null \
           | grep -v '^{IDENTITY}$' || true"
    ))?;
    ensure!(found.is_empty(), "in clear on {}:\n{found}", host.name());
    Ok(())
}

/// Waits until nothing of a second engine is on a host.
pub fn wait_gone(host: &Host) -> Result<()> {
    host.wait_for("the second engine to be gone", Duration::from_secs(60), || {
        let left = host.sh("systemctl list-units --all --no-legend --plain 'swarmdr-second-*'
             ls -A /var/lib/swarmdr/second 2>/dev/null || true
             ls -d /run/swarmdr-second-* 2>/dev/null || true")?;
        Ok(left.is_empty().then_some(()))
    })
}
