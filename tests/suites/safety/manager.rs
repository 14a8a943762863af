//! One manager of a small swarm, which stores its backups in a directory of the host.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Background, Engine, Host, HostSpec, Lab, Program, Service, addr},
    scenario::describe_swarm,
};

/// Limit for a run.
pub const LIMIT: Duration = Duration::from_secs(180);

/// Seconds until the failsafe starts a stopped engine. It is short, as the campaign waits for it often.
pub const MAX_PAUSE: u64 = 8;

pub const STATE: &str = "/var/lib/docker/swarm";

const SERVICES: [&str; 2] = ["web", "cron"];

#[derive(Debug)]
pub struct Manager {
    pub host: Host,
    /// Description of its swarm when it was made.
    pub before: Vec<String>,
}

impl Manager {
    /// Boots a host, makes a swarm with some services, and installs the agent.
    pub fn boot(lab: &Lab, engine: Engine, last: u8, agent: &Program) -> Result<Self> {
        let host = lab.boot(HostSpec::new(&format!("m{last}"), engine, addr(last)))?;
        host.swarm_init()?;
        host.load_image()?;
        for name in SERVICES {
            host.create_service(&Service { name, replicas: 1, ..Service::default() })?;
        }
        host.create_secret("a", b"one")?;
        host.create_config("b", b"two")?;
        for name in SERVICES {
            host.wait_containers(name, 1)?;
        }
        host.install(agent)?;
        host.write_file("/etc/swarmdr/agent.toml", format!("[backup]\nmax_pause = {MAX_PAUSE}\n"))?;
        let before = describe_swarm(&host)?;
        Ok(Self { host, before })
    }

    /// Starts a backup with a fault; see `faults.rs` of the agent.
    pub fn spawn(&self, mode: &str, fault: &str) -> Result<Background> {
        let fault = format!("SWARMDRTEST_FAULT={fault}");
        self.host.spawn(&["env", &fault, &format!("SWARMDR_BACKUP__MODE={mode}"), "swarmdr-agent", "backup"])
    }

    /// Waits until the agent reports that it has reached its failpoint.
    pub fn wait_for_fault(&self, run: &mut Background) -> Result<()> {
        self.host.wait_for("the fault", LIMIT, || {
            if run.stderr()?.contains("fault: ") {
                return Ok(Some(()));
            }
            let ended = run.finished()?;
            ensure!(ended.is_none(), "it ended before: {ended:?}");
            Ok(None)
        })
    }

    /// Runs a backup to its end and returns its JSON. Fails if the exit code is not the expected one.
    pub fn backup(&self, mode: &str, fault: &str, expected: i32) -> Result<Value> {
        let (fault, mode) = (format!("SWARMDRTEST_FAULT={fault}"), format!("SWARMDR_BACKUP__MODE={mode}"));
        let output = self.host.run(&["env", &fault, &mode, "swarmdr-agent", "backup", "--json"])?;
        ensure!(output.status.code() == Some(expected), "not {expected}: {output:?}");
        serde_json::from_str(&output.stdout).with_context(|| format!("no JSON: {output:?}"))
    }

    /// Waits until the engine is active and answers, without a request that would start it. Returns how long that took.
    pub fn wait_until_back(&self) -> Result<Duration> {
        let begun = Instant::now();
        self.host.wait_for("the engine to be back", LIMIT, || {
            let show = "systemctl show --property=ActiveState,FreezerState --value docker.service | xargs";
            let is = self.host.sh(show)?;
            Ok((is == "active running").then_some(()))
        })?;
        self.host.wait_for("the engine to answer", LIMIT, || {
            let state = self.host.sh("timeout 5 docker info --format '{{.Swarm.LocalNodeState}}'")?;
            Ok((state == "active").then_some(()))
        })?;
        Ok(begun.elapsed())
    }

    /// Checks that the swarm is the same as before, and that its containers run.
    pub fn check_intact(&self) -> Result<()> {
        self.host.wait_manager()?;
        let now = describe_swarm(&self.host)?;
        ensure!(now == self.before, "the swarm is not what it was: {now:#?} instead of {:#?}", self.before);
        SERVICES.iter().try_for_each(|name| self.host.wait_containers(name, 1))
    }

    /// Checks that nothing of any run is left except the backups that it stored.
    pub fn check_tidy(&self) -> Result<()> {
        let script = "systemctl list-units --all --plain --no-legend 'swarmdr-*'
            ls /run/systemd/transient | grep swarmdr || true
            ls -d /var/lib/docker/.swarmdr /var/lib/swarmdr/run.json* 2>/dev/null || true
            find /var/lib/swarmdr/spool -type f 2>/dev/null || true
            systemctl show --property=FreezerState --value docker.service | grep -v running || true";
        let left = self.host.sh(script)?;
        ensure!(left.is_empty(), "left behind: {left}");
        Ok(())
    }
}

/// Returns the notes in a backup's report.
pub fn notes(report: &Value) -> String {
    report["notes"].to_string()
}
