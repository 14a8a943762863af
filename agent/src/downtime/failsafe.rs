//! The failsafe: a timer in systemd's memory that brings the engine back if this process cannot.
//!
//! It is armed before the engine is touched, and removed when the engine is back. It runs systemd's own tools, so it
//! needs nothing of this process, of the agent's files, or of the bus: `systemctl` run by root talks to PID 1 directly.
//! (The agent's binary then starts the host's containers; if it cannot, the next run does.) A kill, a panic within a
//! panic, a hung disk or a lost bus leave the engine down for no longer than the delay. A reboot removes the timer, and
//! starts the engine as every boot does.
//!
//! **An engine that does not stop.** Docker's unit may take 90 s to stop (`TimeoutStopSec`, the default), which is more
//! than the usual delay. `systemctl start` then *replaces* the pending stop job; a unit that is being stopped ends
//! first, at the latest by SIGKILL when its own timeout is over, and is started at once (systemd `service_start`: a
//! start while stopping waits). So the failsafe turns a stop that takes too long into a restart. It never kills: how
//! long an engine may take to stop is its unit's business.
//!
//! **A thaw that is refused.** systemd 252 refuses to thaw a unit that it is still freezing, and a process that waits
//! for a hung disk cannot be frozen. So a rescue that fails is tried again until it works.
//!
//! **Not both.** The agent does not trust a copy during which the failsafe may have fired: it gives up at the deadline,
//! and checks afterwards that the engine stayed down ([`pause`](super::pause)).

use std::{
    env,
    path::{Path, PathBuf},
    slice,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use zbus::Variant;

use crate::host::systemd::{Setting, Systemd};

/// Pattern of the names of all failsafe units, by which a later run finds those of an earlier one.
const PATTERN: &str = "swarmdr-failsafe-*";

/// The pause between two attempts of a rescue that failed.
const RETRY: Duration = Duration::from_secs(1);

/// The failsafe's way to bring the engine back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rescue {
    /// Starts the engine's units, even if a start failed before, and then the units and containers that depend on them.
    Start {
        engine: Vec<String>,
        dependents: Vec<String>,
        /// Path of the [`BringBackList`](super::bring_back_list::BringBackList), if there is one.
        list: Option<PathBuf>,
    },
    /// Thaws this service.
    Thaw(String),
}

/// An armed failsafe. Dropping it leaves it armed: only code that has brought the engine back calls
/// [`Failsafe::disarm`].
#[derive(Debug)]
#[must_use = "it fires unless it is disarmed"]
pub struct Failsafe {
    systemd: Systemd,
    timer: String,
    service: String,
    fires_at: Instant,
}

impl Failsafe {
    /// Makes the timer and waits until it runs. `tag` makes its name unique among runs.
    pub async fn arm(systemd: &Systemd, tag: &str, rescue: &Rescue, delay: Duration) -> Result<Self> {
        let name = format!("swarmdr-failsafe-{tag}");
        let (timer, service) = (format!("{name}.timer"), format!("{name}.service"));
        let systemctl = systemctl()?;
        // Earlier than systemd's own count, so that this process never believes itself safe for longer.
        let fires_at = Instant::now() + delay;
        let (timer_settings, service_settings) = (timer_settings(delay), service_settings(systemctl, rescue));
        let armed = systemd.start_transient((&timer, &timer_settings), Some((&service, &service_settings)));
        armed.await.context("failed to arm the failsafe")?;
        Ok(Self { systemd: systemd.clone(), timer, service, fires_at })
    }

    /// The instant from which on the failsafe may have started the engine.
    pub fn fires_at(&self) -> Instant {
        self.fires_at
    }

    /// Removes the failsafe; nothing of it is left in systemd. If it has fired already, its effects stay.
    pub async fn disarm(self) -> Result<()> {
        remove(&self.systemd, &[self.timer, self.service]).await
    }
}

/// The failsafe units of earlier runs that did not end well.
pub async fn left_behind(systemd: &Systemd) -> Result<Vec<String>> {
    systemd.names_like(PATTERN).await
}

/// Removes failsafe units, timers first.
pub async fn remove(systemd: &Systemd, names: &[String]) -> Result<()> {
    let (timers, others): (Vec<&str>, Vec<&str>) =
        names.iter().map(String::as_str).partition(|name| name.ends_with(".timer"));
    systemd.stop_if_there(&timers).await?;
    systemd.stop_if_there(&others).await
}

fn timer_settings(delay: Duration) -> Vec<Setting<'static>> {
    vec![
        ("Description", "Brings the engine back if the backup agent does not".into()),
        ("TimersMonotonic", Variant::new(vec![("OnActiveSec", micros(delay))])),
        // The default lets it fire up to a minute late.
        ("AccuracyUSec", 1_000_u64.into()),
        ("RemainAfterElapse", false.into()),
        ("CollectMode", "inactive-or-failed".into()),
    ]
}

/// The service's settings. Default dependencies are kept: a host that shuts down stops the failsafe instead of starting
/// the engine.
fn service_settings(systemctl: &str, rescue: &Rescue) -> Vec<Setting<'static>> {
    vec![
        ("Description", "Brings the engine back because the backup agent did not".into()),
        ("Type", "oneshot".into()),
        ("ExecStart", Variant::new(commands(systemctl, rescue))),
        ("Restart", "on-failure".into()),
        ("RestartUSec", micros(RETRY).into()),
        ("StartLimitIntervalUSec", 0_u64.into()),
        ("CollectMode", "inactive-or-failed".into()),
    ]
}

/// Returns program, arguments from the program's name on, and whether a failure is ignored.
fn commands(systemctl: &str, rescue: &Rescue) -> Vec<(String, Vec<String>, bool)> {
    let command = |words: &[&str], units: &[String], ignore: bool| {
        let words = words.iter().map(|word| (*word).to_owned());
        let arguments = [systemctl.to_owned()].into_iter().chain(words).chain(units.iter().cloned());
        (systemctl.to_owned(), arguments.collect(), ignore)
    };
    match rescue {
        Rescue::Start { engine, dependents, list } => {
            let all = [engine.as_slice(), dependents].concat();
            // The start limit would refuse a start after some failures. The command waits for the engine, since its
            // dependents come next. They must not keep the engine down, so their failures are ignored.
            let mut commands = vec![command(&["reset-failed"], &all, true), command(&["start"], engine, false)];
            // A target is started without its dependencies: units that it wants may have been stopped by an operator.
            let (targets, others): (Vec<_>, Vec<_>) =
                dependents.iter().cloned().partition(|unit| unit.ends_with(".target"));
            if !others.is_empty() {
                commands.push(command(&["--no-block", "start"], &others, true));
            }
            if !targets.is_empty() {
                commands.push(command(&["--no-block", "--job-mode=ignore-dependencies", "start"], &targets, true));
            }
            commands.extend(list.as_deref().and_then(bring_back));
            commands
        }
        Rescue::Thaw(service) => vec![command(&["thaw"], slice::from_ref(service), false)],
    }
}

/// Returns the command that starts the containers, which systemd does not know, and updates the list. If this program
/// is gone by then, the next run does it.
fn bring_back(list: &Path) -> Option<(String, Vec<String>, bool)> {
    let (program, list) = (env::current_exe().ok()?.to_str()?.to_owned(), list.to_str()?);
    let arguments = [program.as_str(), "bring-back", "--list", list].map(str::to_owned).to_vec();
    Some((program, arguments, true))
}

fn systemctl() -> Result<&'static str> {
    // The second path is for hosts on which /bin is not a link to /usr/bin.
    let places = ["/usr/bin/systemctl", "/bin/systemctl"];
    places.into_iter().find(|path| Path::new(path).exists()).context("there is no systemctl in /usr/bin or /bin")
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_rescued_by_systemds_own_tool_and_its_dependents_after_it() {
        let units = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let said = |rescue: &Rescue| -> Vec<String> {
            let commands = commands("/usr/bin/systemctl", rescue).into_iter();
            commands.map(|(program, words, ignore)| format!("{program}: {} {ignore}", words.join(" "))).collect()
        };
        let engine = || units(&["docker.socket", "docker.service"]);
        let alone = Rescue::Start { engine: engine(), dependents: Vec::new(), list: None };
        assert_eq!(
            said(&alone),
            [
                "/usr/bin/systemctl: /usr/bin/systemctl reset-failed docker.socket docker.service true",
                "/usr/bin/systemctl: /usr/bin/systemctl start docker.socket docker.service false",
            ]
        );
        let list = Some("/var/lib/swarmdr/found.json".into());
        let more = said(&Rescue::Start { engine: engine(), dependents: units(&["app.service", "app.target"]), list });
        assert_eq!(more.len(), 5, "{more:?}");
        assert!(more[0].contains("docker.service app.service"), "{more:?}");
        assert_eq!(more[2], "/usr/bin/systemctl: /usr/bin/systemctl --no-block start app.service true");
        assert!(more[3].contains("--job-mode=ignore-dependencies start app.target"), "{more:?}");
        assert!(more[4].ends_with(" bring-back --list /var/lib/swarmdr/found.json true"), "{more:?}");
        let thaw = commands("/bin/systemctl", &Rescue::Thaw("docker.service".to_owned()));
        assert_eq!(thaw.len(), 1);
        assert_eq!(thaw[0].1, ["/bin/systemctl", "thaw", "docker.service"]);
        assert!(!thaw[0].2, "a thaw that fails must be tried again");
    }

    #[test]
    fn the_timer_is_exact_and_leaves_nothing() {
        let settings = timer_settings(Duration::from_secs(60));
        let of = |name: &str| settings.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
        assert_eq!(of("TimersMonotonic"), Some(&Variant::new(vec![("OnActiveSec", 60_000_000_u64)])));
        assert_eq!(of("AccuracyUSec"), Some(&Variant::from(1_000_u64)));
        assert_eq!(of("CollectMode"), Some(&Variant::from("inactive-or-failed")));
    }
}
