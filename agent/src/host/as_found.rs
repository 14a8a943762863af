//! What runs because the engine runs: written down before the engine is stopped, and brought back after it.
//!
//! systemd passes a stop of the engine on to whatever requires it, and a start to nobody. The engine ends every
//! container when it stops, and starts those again whose restart policy says so. So who stops an engine owes the rest.
//! The list lies in a file from before the stop until all is back: whoever comes next finds it, even after a kill.

use std::{
    collections::BTreeSet,
    fmt,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    containers::{Container, UNKNOWN_POLICY},
    systemd::Systemd,
};
use crate::whole_file;

const FILE: &str = "found.json";

/// Of this boot: what ran before another one, that boot has started again, or not, as it does.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What was seen to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsFound {
    /// The engine's own units, sockets first; those that were active.
    pub engine: Vec<String>,
    /// Units that a stop of the engine stops too, in the order in which they hang on it; those that were active.
    pub dependents: Vec<String>,
    /// Containers that run and are no tasks of a swarm.
    pub containers: Vec<Container>,
    /// Units that a stop of the engine leaves alone or that are off, and that systemd may start meanwhile, and the engine
    /// with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starters: Vec<String>,
    /// Units that are off, and that a start of the others starts too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub off: Vec<String>,
    /// Who may use the engine's socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// What could not be looked at, in whole sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
}

/// Owner and mode of the engine's socket, which is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    pub mode: u32,
    pub user: u32,
    pub group: u32,
}

impl Access {
    pub fn of(socket: &Path) -> Option<Self> {
        let seen = fs::metadata(socket).ok()?;
        Some(Self { mode: seen.mode() & 0o7777, user: seen.uid(), group: seen.gid() })
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mode {:o}, user {}, group {}", self.mode, self.user, self.group)
    }
}

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub boot: String,
    pub at: Timestamp,
    /// Where the engine is asked for its containers.
    pub socket: PathBuf,
    pub found: AsFound,
    /// Dependents that were asked to start again since.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub asked: BTreeSet<String>,
}

impl AsFound {
    /// Nothing of it is owed but the engine itself.
    pub fn is_empty(&self) -> bool {
        self.dependents.is_empty() && self.containers.is_empty()
    }

    /// What is still to be brought back of it. An engine that runs needs nothing: which units it has is what systemd says,
    /// and not what it had when it was stopped.
    pub fn owed(mut self, engine_is_on: bool) -> Self {
        if engine_is_on {
            self.engine.clear();
        }
        self
    }

    /// Adds what an earlier run had found and not brought back.
    pub fn join(&mut self, earlier: &AsFound) {
        join(&mut self.engine, &earlier.engine, |unit| unit.clone());
        // A socket does not start beside the service that it would start.
        self.engine.sort_by_key(|unit| !unit.ends_with(".socket"));
        join(&mut self.dependents, &earlier.dependents, |unit| unit.clone());
        join(&mut self.containers, &earlier.containers, |container| container.id.clone());
        join(&mut self.unseen, &earlier.unseen, |told| told.clone());
    }

    /// Whether all of the other is in this one.
    fn covers(&self, other: &AsFound) -> bool {
        let mut all = self.clone();
        all.join(other);
        let counts = |it: &AsFound| [it.engine.len(), it.dependents.len(), it.containers.len(), it.unseen.len()];
        counts(&all) == counts(self)
    }

    /// One line each, for a plan.
    pub fn lines(&self) -> Vec<String> {
        let units = self
            .dependents
            .iter()
            .map(|unit| format!("{unit} hangs on the engine: stopped with it, and started again"));
        let containers = self.containers.iter().map(|container| {
            let name = &container.name;
            match (container.removed_at_end, container.restart.as_str()) {
                (true, _) => format!("the container {name} was run with --rm: it ends with the engine, and is gone"),
                (_, "no") => {
                    format!("the container {name} has no restart policy: it ends with the engine, and is started again")
                }
                (_, UNKNOWN_POLICY) => {
                    format!("the container {name} ends with the engine, and is started again if need be")
                }
                (_, policy) => format!("the container {name} ends with the engine, which starts it again ({policy})"),
            }
        });
        let starters = self.starters.iter().map(|unit| {
            format!("{unit} may start the engine while it is to be away: it wants it, and systemd starts it by itself")
        });
        let off =
            self.off.iter().map(|unit| format!("{unit} is off, and is started with the engine, or what hangs on it"));
        units.chain(containers).chain(starters).chain(off).chain(self.unseen.iter().cloned()).collect()
    }
}

fn join<T: Clone>(to: &mut Vec<T>, from: &[T], id: impl Fn(&T) -> String) {
    let known: BTreeSet<String> = to.iter().map(&id).collect();
    to.extend(from.iter().filter(|it| !known.contains(&id(it))).cloned());
}

/// The services that have one of these units started before them, and that systemd starts by itself: they run, and are
/// started again whenever they end, or they are off, and a timer, a socket or a path of theirs is on.
pub async fn starters(systemd: &Systemd, roots: &[String], stopped_too: &[String]) -> Result<Vec<String>> {
    let mut starters = BTreeSet::new();
    let is_stopped = |unit: &String| roots.contains(unit) || stopped_too.contains(unit);
    for root in roots {
        let pulling = [systemd.wanted_by(root).await?, systemd.stopped_with(root).await?].concat();
        for unit in pulling.into_iter().filter(|unit| unit.ends_with(".service") && !is_stopped(unit)) {
            let by_itself = match systemd.state(&unit).await?.is_on() {
                true => systemd.restarts_itself(&unit).await,
                false => is_triggered(systemd, &unit, &is_stopped).await?,
            };
            if by_itself {
                starters.insert(unit);
            }
        }
    }
    Ok(starters.into_iter().collect())
}

async fn is_triggered(systemd: &Systemd, unit: &str, is_stopped: &impl Fn(&String) -> bool) -> Result<bool> {
    for trigger in systemd.triggers_of(unit).await? {
        if !is_stopped(&trigger) && systemd.state(&trigger).await?.is_on() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is off and is started when `units` are started, directly. One that does a job and ends is meant to.
pub async fn off(systemd: &Systemd, units: &[String]) -> Result<Vec<String>> {
    let mut off = BTreeSet::new();
    for unit in units {
        for other in systemd.started_with(unit).await? {
            let is_kind = [".service", ".socket", ".timer", ".path"].iter().any(|kind| other.ends_with(kind));
            if !is_kind || units.contains(&other) || off.contains(&other) {
                continue;
            }
            let state = systemd.state(&other).await?;
            let is_off = state.load == "loaded" && state.is_stopped() && !systemd.is_to_start(&other).await?;
            if is_off && !systemd.is_job(&other).await {
                off.insert(other);
            }
        }
    }
    Ok(off.into_iter().collect())
}

/// A unit that runs and has systemd start one of these whenever it is off (`Upholds=`); none that is stopped as well.
pub async fn upholder(systemd: &Systemd, roots: &[String], stopped_too: &[String]) -> Result<Option<(String, String)>> {
    for root in roots {
        for unit in systemd.upheld_by(root).await? {
            let is_stopped = roots.contains(&unit) || stopped_too.contains(&unit);
            if !is_stopped && systemd.state(&unit).await?.is_on() {
                return Ok(Some((unit, root.clone())));
            }
        }
    }
    Ok(None)
}

/// The units that a stop of `roots` stops too and that run now, transitively: nearest first. What hangs on a unit that is
/// off is stopped all the same, so the way leads through those too. One whose start is queued is as good as on: the stop
/// cancels that.
pub async fn dependents(systemd: &Systemd, roots: &[String]) -> Result<Vec<String>> {
    let (mut seen, mut queue): (BTreeSet<String>, Vec<String>) = (roots.iter().cloned().collect(), roots.to_vec());
    let (mut at, mut active) = (0, Vec::new());
    while let Some(unit) = queue.get(at).cloned() {
        at += 1;
        for next in systemd.stopped_with(&unit).await? {
            if !seen.insert(next.clone()) {
                continue;
            }
            if systemd.state(&next).await?.is_on() || systemd.is_to_start(&next).await? {
                active.push(next.clone());
            }
            queue.push(next);
        }
    }
    Ok(active)
}

impl Kept {
    pub fn new(socket: &Path, found: AsFound) -> Result<Self> {
        let (at, socket) = (Timestamp::now(), socket.to_owned());
        Ok(Self { boot: boot_id()?, at, socket, found, asked: BTreeSet::new() })
    }

    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join(FILE)
    }

    /// What is still owed; nothing after a reboot. What cannot be read or understood is an error that must end nothing: the
    /// engine comes first, and who looks for what is owed tells it.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("failed to read {}", path.display()))?,
        };
        let kept: Self =
            serde_json::from_slice(&text).with_context(|| format!("{} cannot be understood", path.display()))?;
        Ok(if kept.boot == boot_id()? { Some(kept) } else { None })
    }

    /// The same for who has something more urgent to do.
    pub fn read_or_warn(path: &Path) -> Option<Self> {
        Self::read(path).unwrap_or_else(|error| {
            tracing::warn!("what an earlier run found is not known: {error:#}");
            None
        })
    }

    /// Puts a list that cannot be read out of the way, and says where it is now.
    pub fn set_aside(path: &Path) -> Result<PathBuf> {
        let aside = path.with_extension("json.unreadable");
        fs::rename(path, &aside).with_context(|| format!("failed to rename {}", path.display()))?;
        Ok(aside)
    }

    /// Durable when this returns. What is there already is not written twice: the way back must not hang on a full disk.
    pub fn write(&self, path: &Path) -> Result<()> {
        let covers = |there: Self| there.asked.is_empty() && there.found.covers(&self.found);
        if Self::read(path).ok().flatten().is_some_and(covers) {
            return Ok(());
        }
        self.replace(path)
    }

    fn replace(&self, path: &Path) -> Result<()> {
        let write = || -> io::Result<()> {
            if let Some(directory) = path.parent() {
                DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            }
            whole_file::replace_json(path, self)
        };
        write().with_context(|| format!("failed to write down what runs, in {}", path.display()))
    }

    /// Notes which units were asked to start again. Best effort: without it a unit that systemd has forgotten since may be
    /// started once more.
    pub fn note_asked(path: &Path, asked: BTreeSet<String>) {
        let note = || match Self::read(path)? {
            Some(there) if there.asked != asked => Self { asked, ..there }.replace(path),
            _ => Ok(()),
        };
        if let Err(error) = note() {
            tracing::warn!("{error:#}");
        }
    }

    /// Leaves what is not back yet, and no list if that is nothing: what is back is owed no longer, and somebody may stop it
    /// from here on.
    pub fn reduce(path: &Path, socket: &Path, owed: AsFound) -> Result<()> {
        if owed.is_empty() {
            return Self::remove(path);
        }
        match Self::read(path) {
            Ok(Some(there)) if there.found == owed => Ok(()),
            Ok(Some(there)) => Self { found: owed, ..there }.replace(path),
            _ => Self::new(socket, owed)?.replace(path),
        }
    }

    pub fn remove(path: &Path) -> Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("failed to remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

fn boot_id() -> Result<String> {
    let id = fs::read_to_string(BOOT_ID).with_context(|| format!("failed to read {BOOT_ID}"))?;
    Ok(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::containers::tests::named;

    fn found() -> AsFound {
        AsFound {
            engine: vec!["docker.socket".to_owned(), "docker.service".to_owned()],
            dependents: vec!["app.service".to_owned()],
            containers: vec![named("plain"), Container { removed_at_end: true, ..named("shell") }],
            ..AsFound::default()
        }
    }

    #[test]
    fn the_list_is_found_until_it_is_removed_and_not_after_another_boot() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = Kept::path(&dir.path().join("state"));
        assert_eq!(Kept::read(&path).expect("reads"), None);
        let kept = Kept::new(Path::new("/run/docker.sock"), found()).expect("has a boot");
        kept.write(&path).expect("writes");
        assert_eq!(Kept::read(&path).expect("reads"), Some(kept.clone()));
        Kept { boot: "another".to_owned(), ..kept.clone() }.replace(&path).expect("writes");
        assert_eq!(Kept::read(&path).expect("reads"), None);
        Kept::remove(&path).expect("removes");
        Kept::remove(&path).expect("is gone already");
    }

    #[test]
    fn a_list_that_cannot_be_read_is_told_and_put_aside() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = Kept::path(dir.path());
        for spoil in [|path: &Path| fs::write(path, "{"), |path: &Path| fs::create_dir(path)] {
            spoil(&path).expect("spoils");
            Kept::read(&path).expect_err("cannot be read");
            assert_eq!(Kept::read_or_warn(&path), None);
            let aside = Kept::set_aside(&path).expect("renames");
            assert_eq!(aside, dir.path().join("found.json.unreadable"));
            assert_eq!(Kept::read(&path).expect("reads"), None);
            let _ = fs::remove_file(aside);
        }
    }

    #[test]
    fn the_same_list_needs_no_disk() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = Kept::path(dir.path());
        let kept = Kept::new(Path::new("/run/docker.sock"), found()).expect("has a boot");
        kept.write(&path).expect("writes");
        let before = fs::metadata(&path).expect("is there").modified().expect("has a time");
        Kept { at: Timestamp::UNIX_EPOCH, ..kept }.write(&path).expect("has nothing to do");
        assert_eq!(fs::metadata(&path).expect("is there").modified().expect("has a time"), before);
    }

    #[test]
    fn what_is_back_is_owed_no_longer_and_the_rest_still() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let (path, socket) = (Kept::path(dir.path()), Path::new("/run/docker.sock"));
        Kept::reduce(&path, socket, AsFound::default()).expect("there is no list");
        let kept = Kept { at: Timestamp::UNIX_EPOCH, ..Kept::new(socket, found()).expect("has a boot") };
        kept.write(&path).expect("writes");
        let rest = AsFound { dependents: Vec::new(), ..found() };
        Kept::reduce(&path, socket, rest.clone()).expect("writes");
        let left = Kept::read(&path).expect("reads").expect("is there");
        assert_eq!((left.found, left.at), (rest.clone(), Timestamp::UNIX_EPOCH), "found when it was");
        Kept { found: AsFound { containers: Vec::new(), ..found() }, ..kept }.write(&path).expect("owes more");
        assert_eq!(Kept::read(&path).expect("reads").expect("is there").found.dependents, ["app.service"]);
        Kept::reduce(&path, socket, AsFound { containers: Vec::new(), ..rest }).expect("removes");
        assert!(!path.exists(), "the engine alone is no debt");
        Kept::reduce(&path, socket, found()).expect("a list that was lost is written anew");
        assert!(path.exists());
    }

    #[test]
    fn what_an_earlier_run_owes_is_added_once() {
        let mut now = AsFound { dependents: vec!["app.service".to_owned()], ..AsFound::default() };
        now.engine.push("docker.service".to_owned());
        now.join(&found());
        now.join(&found());
        assert_eq!(now, found(), "and sockets come first");
    }

    #[test]
    fn an_engine_that_runs_is_not_owed() {
        assert_eq!(found().owed(false), found());
        let owed = found().owed(true);
        assert!(owed.engine.is_empty() && !owed.is_empty(), "a socket that somebody has stopped since stays so");
    }

    #[test]
    fn a_plan_says_what_becomes_of_each() {
        let lines = AsFound { starters: vec!["agent.service".to_owned()], ..found() }.lines();
        assert_eq!(lines.len(), 4);
        for (line, part) in lines.iter().zip([
            "app.service hangs on",
            "plain has no restart",
            "shell was run with --rm",
            "agent.service may start the engine",
        ]) {
            assert!(line.contains(part), "{line}");
        }
    }
}
