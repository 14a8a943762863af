//! Programs of the operator's, run before and after a backup or a restore.
//!
//! `/etc/swarmdr/hooks.d/pre-backup` is an executable file, or a directory of them that run in the order of their
//! names; the same for `post-` and `failed-`, and for `-restore`. A pre hook that fails stops the run before anything
//! is touched: that is what it is for. A post or failed hook that fails is told and counted, and changes nothing.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::{Pid, Uid},
};
use tokio::process::Command;

/// What a hook may print; the rest is dropped.
const OUTPUT_LIMIT: usize = 4096;

/// The directory and the patience of one configuration.
#[derive(Debug, Clone)]
pub struct Hooks {
    pub dir: PathBuf,
    /// For each program.
    pub limit: Duration,
    /// The way out of this host, as programs look for it.
    pub environment: Vec<(&'static str, String)>,
}

/// One program that did not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub program: PathBuf,
    pub why: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the hook {} {}", self.program.display(), self.why)
    }
}

impl Hooks {
    /// Runs the programs of one hook, one after the other, all of them whatever becomes of the others.
    /// `facts` are added to the environment as `SWARMDR_HOOK_<NAME>`.
    pub async fn run(&self, hook: &str, facts: &[(&str, String)]) -> Vec<Failure> {
        let mut failures = Vec::new();
        match self.programs(hook) {
            Ok(programs) => {
                for program in programs {
                    if let Err(why) = self.one(hook, &program, facts).await {
                        failures.push(Failure { program, why });
                    }
                }
            }
            Err(error) => {
                failures.push(Failure { program: self.dir.join(hook), why: format!("cannot be looked for: {error}") })
            }
        }
        failures
    }

    fn programs(&self, hook: &str) -> io::Result<Vec<PathBuf>> {
        let path = self.dir.join(hook);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
            Ok(metadata) if metadata.is_dir() => {
                let mut programs: Vec<PathBuf> =
                    fs::read_dir(&path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
                programs.sort();
                Ok(programs)
            }
            Ok(_) => Ok(vec![path]),
        }
    }

    async fn one(&self, hook: &str, program: &Path, facts: &[(&str, String)]) -> Result<(), String> {
        fs::metadata(program).map_err(|error| error.to_string()).and_then(|it| check_owner(&it))?;
        let mut command = Command::new(program);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("SWARMDR_HOOK_NAME", hook);
        for (name, value) in facts {
            command.env(format!("SWARMDR_HOOK_{name}"), value);
        }
        // A group of its own, so that what it started ends with it.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let child = command.spawn().map_err(|error| format!("cannot be started: {error}"))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        let output = match tokio::time::timeout(self.limit, child.wait_with_output()).await {
            Ok(output) => output.map_err(|error| format!("cannot be waited for: {error}"))?,
            Err(_) => {
                if let Some(group) = group {
                    // It may have ended in this very moment.
                    let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
                }
                return Err(format!("did not end within {} s and was killed", self.limit.as_secs()));
            }
        };
        let said = said(&output.stdout, &output.stderr);
        if output.status.success() {
            tracing::info!(program = %program.display(), "hook done{said}");
            return Ok(());
        }
        Err(format!("ended with {}{said}", output.status))
    }
}

/// Whoever can write a hook of root's is root.
fn check_owner(metadata: &Metadata) -> Result<(), String> {
    let owner = metadata.uid();
    if owner != 0 && owner != Uid::effective().as_raw() {
        return Err(format!("was not run: it belongs to user {owner}, not to root"));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err("was not run: others than its owner may write it (chmod go-w)".to_owned());
    }
    if metadata.mode() & 0o111 == 0 {
        return Err("was not run: it is not executable (chmod +x)".to_owned());
    }
    Ok(())
}

fn said(stdout: &[u8], stderr: &[u8]) -> String {
    let all = [stdout, stderr].concat();
    let text = String::from_utf8_lossy(&all[..all.len().min(OUTPUT_LIMIT)]).trim().to_owned();
    if text.is_empty() { text } else { format!(": {text}") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn hook(dir: &Path, name: &str, mode: u32, script: &str) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().expect("has a parent")).expect("creates");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("sets the mode");
    }

    fn hooks(dir: &Path) -> Hooks {
        Hooks { dir: dir.to_owned(), limit: Duration::from_secs(60), environment: Vec::new() }
    }

    #[tokio::test]
    async fn programs_run_in_order_and_know_the_facts() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let out = dir.path().join("out");
        for name in ["20-second", "10-first"] {
            let script = format!("echo {name} $SWARMDR_HOOK_NAME $SWARMDR_HOOK_RESULT >> {}", out.display());
            hook(dir.path(), &format!("post-backup/{name}"), 0o755, &script);
        }
        assert_eq!(hooks(dir.path()).run("post-backup", &[("RESULT", "done".to_owned())]).await, []);
        let said = fs::read_to_string(out).expect("was written");
        assert_eq!(said, "10-first post-backup done\n20-second post-backup done\n");
        assert_eq!(hooks(dir.path()).run("pre-backup", &[]).await, [], "none is there");
    }

    #[tokio::test]
    async fn programs_find_the_way_out() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let out = dir.path().join("out");
        hook(dir.path(), "post-backup", 0o755, &format!("echo $HTTPS_PROXY >> {}", out.display()));
        let environment = vec![("HTTPS_PROXY", "http://proxy:3128".to_owned())];
        assert_eq!(Hooks { environment, ..hooks(dir.path()) }.run("post-backup", &[]).await, []);
        assert_eq!(fs::read_to_string(out).expect("was written"), "http://proxy:3128\n");
    }

    #[tokio::test]
    async fn each_failure_is_told() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        hook(dir.path(), "failed-backup/1", 0o755, "echo some words; exit 7");
        hook(dir.path(), "failed-backup/2", 0o644, "");
        hook(dir.path(), "failed-backup/3", 0o777, "");
        hook(dir.path(), "failed-backup/4", 0o755, "exit 0");
        let failures = hooks(dir.path()).run("failed-backup", &[]).await;
        let said: Vec<&str> = failures.iter().map(|failure| failure.why.as_str()).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].contains("exit status: 7: some words"), "{said:?}");
        assert!(said[1].contains("not executable") && said[2].contains("may write it"), "{said:?}");
    }

    #[tokio::test]
    async fn a_hook_that_hangs_is_killed_with_its_children() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let pid = dir.path().join("pid");
        hook(dir.path(), "pre-backup", 0o755, &format!("sleep 600 & echo $! > {}; wait", pid.display()));
        let hooks = Hooks { limit: Duration::from_secs(2), ..hooks(dir.path()) };
        let failures = hooks.run("pre-backup", &[]).await;
        assert!(failures[0].why.contains("within 2 s and was killed"), "{failures:?}");
        let child: i32 = fs::read_to_string(pid).expect("was written").trim().parse().expect("is a number");
        // Its parent is gone, so somebody else reaps it: a zombie counts as ended.
        let ended = || {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        for _ in 0..500 {
            if ended() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the child of the hook lives on");
    }
}
