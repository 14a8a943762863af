//! What runs because the engine runs: written down before the engine is stopped, and brought back after it.
//!
//! systemd passes a stop of the engine on to whatever requires it, and a start to nobody. The engine ends every
//! container when it stops, and starts those again whose restart policy says so. So who stops an engine owes the rest.
//! The list lies in a file from before the stop until all is back: whoever comes next finds it, even after a kill.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{containers::Container, systemd::Systemd};
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
}

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub boot: String,
    pub at: Timestamp,
    /// Where the engine is asked for its containers.
    pub socket: PathBuf,
    pub found: AsFound,
}

impl AsFound {
    pub fn is_empty(&self) -> bool {
        self.dependents.is_empty() && self.containers.is_empty()
    }

    /// Adds what an earlier run had found and not brought back.
    pub fn join(&mut self, earlier: &AsFound) {
        join(&mut self.engine, &earlier.engine, |unit| unit.clone());
        // A socket does not start beside the service that it would start.
        self.engine.sort_by_key(|unit| !unit.ends_with(".socket"));
        join(&mut self.dependents, &earlier.dependents, |unit| unit.clone());
        join(&mut self.containers, &earlier.containers, |container| container.id.clone());
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
                (_, policy) => format!("the container {name} ends with the engine, which starts it again ({policy})"),
            }
        });
        units.chain(containers).collect()
    }
}

fn join<T: Clone>(to: &mut Vec<T>, from: &[T], id: impl Fn(&T) -> String) {
    let known: BTreeSet<String> = to.iter().map(&id).collect();
    to.extend(from.iter().filter(|it| !known.contains(&id(it))).cloned());
}

/// The units that a stop of `roots` stops too and that run now, transitively: nearest first. What hangs on a unit that is
/// off is stopped all the same, so the way leads through those too.
pub async fn dependents(systemd: &Systemd, roots: &[String]) -> Result<Vec<String>> {
    let (mut seen, mut queue): (BTreeSet<String>, Vec<String>) = (roots.iter().cloned().collect(), roots.to_vec());
    let (mut at, mut active) = (0, Vec::new());
    while let Some(unit) = queue.get(at).cloned() {
        at += 1;
        for next in systemd.stopped_with(&unit).await? {
            if !seen.insert(next.clone()) {
                continue;
            }
            if systemd.state(&next).await?.is_on() {
                active.push(next.clone());
            }
            queue.push(next);
        }
    }
    Ok(active)
}

impl Kept {
    pub fn new(socket: &Path, found: AsFound) -> Result<Self> {
        Ok(Self { boot: boot_id()?, at: Timestamp::now(), socket: socket.to_owned(), found })
    }

    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join(FILE)
    }

    /// What is still owed; nothing after a reboot. A file that cannot be read is nothing to go by, and is told.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("failed to read {}", path.display()))?,
        };
        match serde_json::from_slice::<Self>(&text) {
            Ok(kept) if kept.boot == boot_id()? => Ok(Some(kept)),
            Ok(_) => Ok(None),
            Err(error) => {
                tracing::warn!(
                    "{} cannot be understood, so what it lists is not brought back: {error}",
                    path.display()
                );
                Ok(None)
            }
        }
    }

    /// Durable when this returns. The same list is not written twice: the way back must not hang on a full disk.
    pub fn write(&self, path: &Path) -> Result<()> {
        if Self::read(path).ok().flatten().is_some_and(|there| there.found == self.found) {
            return Ok(());
        }
        let write = || -> io::Result<()> {
            if let Some(directory) = path.parent() {
                DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            }
            whole_file::replace_json(path, self)
        };
        write().with_context(|| format!("failed to write down what runs, in {}", path.display()))
    }

    /// Takes out what is back: it is owed no longer, and somebody may stop it from here on.
    pub fn reduce(path: &Path, is_owed: impl Fn(&AsFound) -> AsFound) {
        let reduce = || -> Result<()> {
            let Some(kept) = Self::read(path)? else { return Ok(()) };
            match is_owed(&kept.found) {
                rest if rest.is_empty() => Self::remove(path),
                rest => Self { found: rest, ..kept }.write(path),
            }
        };
        if let Err(error) = reduce() {
            tracing::warn!("what is back stays listed as missing: {error:#}");
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
        Kept { boot: "another".to_owned(), found: AsFound::default(), ..kept.clone() }.write(&path).expect("writes");
        assert_eq!(Kept::read(&path).expect("reads"), None);
        fs::write(&path, "{").expect("writes");
        assert_eq!(Kept::read(&path).expect("reads"), None);
        Kept::remove(&path).expect("removes");
        Kept::remove(&path).expect("is gone already");
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
    fn what_is_back_is_owed_no_longer() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = Kept::path(dir.path());
        Kept::reduce(&path, |_| unreachable!("there is no list"));
        Kept::new(Path::new("/run/docker.sock"), found()).expect("has a boot").write(&path).expect("writes");
        Kept::reduce(&path, |found| AsFound { dependents: Vec::new(), ..found.clone() });
        let left = Kept::read(&path).expect("reads").expect("is there").found;
        assert_eq!(left, AsFound { dependents: Vec::new(), ..found() });
        Kept::reduce(&path, |_| AsFound::default());
        assert!(!path.exists());
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
    fn a_plan_says_what_becomes_of_each() {
        let lines = found().lines();
        assert_eq!(lines.len(), 3);
        for (line, part) in
            lines.iter().zip(["app.service hangs on", "plain has no restart", "shell was run with --rm"])
        {
            assert!(line.contains(part), "{line}");
        }
    }
}
