//! Programs of the operator that run before and after a backup or a restore.
//!
//! `/etc/swarmdr/hooks.d/pre-backup` is an executable file, or a directory of them, which run in the order of their
//! names. The same holds for `post-` and `failed-`, and for `-restore`; `superseded` is called once for each claim of
//! another site on the swarm. A pre hook that fails stops the run before
//! anything is touched: that is its purpose. A post or failed hook that fails is logged and counted, and changes
//! nothing.

use std::{
    fmt,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::{Pid, Uid},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};

use super::verb::Verb;

/// Bytes of a hook's output that are logged; the rest is dropped.
const OUTPUT_LIMIT: usize = 4096;

/// Directory, time limit and environment of the hooks.
#[derive(Debug, Clone)]
pub struct Hooks {
    pub dir: PathBuf,
    /// Time limit of each program.
    pub limit: Duration,
    /// Variables that tell the programs which proxy to use.
    pub environment: Vec<(&'static str, String)>,
}

/// When in a run a hook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Pre,
    Post,
    Failed,
    /// Another site has taken the swarm over. This hook has a name of its own, without a verb.
    Superseded,
}

/// One hook; its programs are below [`Hooks::dir`] by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    pub moment: Moment,
    pub verb: Verb,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = match self.moment {
            Moment::Pre => "pre",
            Moment::Post => "post",
            Moment::Failed => "failed",
            Moment::Superseded => return f.write_str("superseded"),
        };
        write!(f, "{moment}-{}", self.verb)
    }
}

/// One hook program that failed or was not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookFailure {
    pub program: PathBuf,
    pub why: String,
}

impl fmt::Display for HookFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the hook {} {}", self.program.display(), self.why)
    }
}

impl Hooks {
    /// Runs the programs of one hook, one after the other. If one fails, the others still run.
    /// `facts` are added to the environment as `SWARMDR_HOOK_<NAME>`.
    pub async fn run(&self, hook: Hook, facts: &[(&str, String)]) -> Vec<HookFailure> {
        let mut failures = Vec::new();
        match self.programs(hook) {
            Ok(programs) => {
                for program in programs {
                    if let Err(why) = self.one(hook, &program, facts).await {
                        failures.push(HookFailure { program, why });
                    }
                }
            }
            Err(error) => {
                failures.push(HookFailure { program: self.path(hook), why: format!("cannot be looked for: {error}") })
            }
        }
        failures
    }

    fn path(&self, hook: Hook) -> PathBuf {
        self.dir.join(hook.to_string())
    }

    fn programs(&self, hook: Hook) -> io::Result<Vec<PathBuf>> {
        let path = self.path(hook);
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

    async fn one(&self, hook: Hook, program: &Path, facts: &[(&str, String)]) -> Result<(), String> {
        fs::metadata(program).map_err(|error| error.to_string()).and_then(|it| check_owner(&it))?;
        let mut command = Command::new(program);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("SWARMDR_HOOK_NAME", hook.to_string());
        for (name, value) in facts {
            command.env(format!("SWARMDR_HOOK_{name}"), value);
        }
        // The program gets its own process group, so that its children can be killed with it.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let child = command.spawn().map_err(|error| format!("cannot be started: {error}"))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        let (status, said) = match tokio::time::timeout(self.limit, ended(child)).await {
            Ok(ended) => ended.map_err(|error| format!("cannot be waited for: {error}"))?,
            Err(_) => {
                if let Some(group) = group {
                    // It may have ended in the meantime.
                    let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
                }
                return Err(format!("did not end within {} s and was killed", self.limit.as_secs()));
            }
        };
        if status.success() {
            tracing::info!(program = %program.display(), "hook done{said}");
            return Ok(());
        }
        Err(format!("failed ({status}){said}"))
    }
}

/// Refuses a program that is writable for others than root or this user: anyone who can write it can act as root.
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

/// Waits for the end of a program; returns its status and what it said.
async fn ended(mut child: Child) -> io::Result<(ExitStatus, String)> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (status, stdout, stderr) = tokio::try_join!(child.wait(), beginning(stdout), beginning(stderr))?;
    Ok((status, said(&stdout, &stderr)))
}

/// Reads a pipe to its end, so that its writer is never held up, and returns the part that is logged.
async fn beginning(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let Some(mut pipe) = pipe else { return Ok(Vec::new()) };
    let mut logged = Vec::new();
    (&mut pipe).take(OUTPUT_LIMIT as u64).read_to_end(&mut logged).await?;
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    Ok(logged)
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

    fn of_backup(moment: Moment) -> Hook {
        Hook { moment, verb: Verb::Backup }
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
        assert_eq!(hooks(dir.path()).run(of_backup(Moment::Post), &[("RESULT", "done".to_owned())]).await, []);
        let said = fs::read_to_string(out).expect("was written");
        assert_eq!(said, "10-first post-backup done\n20-second post-backup done\n");
        assert_eq!(hooks(dir.path()).run(of_backup(Moment::Pre), &[]).await, [], "none is there");
    }

    #[tokio::test]
    async fn programs_find_the_way_out() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let out = dir.path().join("out");
        hook(dir.path(), "post-backup", 0o755, &format!("echo $HTTPS_PROXY >> {}", out.display()));
        let environment = vec![("HTTPS_PROXY", "http://proxy:3128".to_owned())];
        assert_eq!(Hooks { environment, ..hooks(dir.path()) }.run(of_backup(Moment::Post), &[]).await, []);
        assert_eq!(fs::read_to_string(out).expect("was written"), "http://proxy:3128\n");
    }

    #[tokio::test]
    async fn each_failure_is_told() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        hook(dir.path(), "failed-backup/1", 0o755, "echo some words; exit 7");
        hook(dir.path(), "failed-backup/2", 0o644, "");
        hook(dir.path(), "failed-backup/3", 0o777, "");
        hook(dir.path(), "failed-backup/4", 0o755, "exit 0");
        let failures = hooks(dir.path()).run(of_backup(Moment::Failed), &[]).await;
        let said: Vec<&str> = failures.iter().map(|failure| failure.why.as_str()).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].contains("failed (exit status: 7): some words"), "{said:?}");
        assert!(said[1].contains("not executable") && said[2].contains("may write it"), "{said:?}");
    }

    #[tokio::test]
    async fn the_output_beyond_the_limit_is_read_and_not_kept() {
        let output = tokio::io::repeat(b'x').take(16 << 20);
        let kept = beginning(Some(output)).await.expect("reads");
        assert!(kept.len() == OUTPUT_LIMIT && kept.capacity() <= 4 * OUTPUT_LIMIT, "{} bytes", kept.capacity());
        // Far more than a pipe holds: a writer that nobody reads would not come to its end.
        let dir = tempfile::tempdir().expect("a scratch directory");
        hook(dir.path(), "pre-backup", 0o755, "head -c 4194304 /dev/zero | tr '\\0' x; echo to the other >&2; exit 7");
        let failures = hooks(dir.path()).run(of_backup(Moment::Pre), &[]).await;
        let why = &failures[0].why;
        assert!(why.contains("exit status: 7") && why.len() < OUTPUT_LIMIT + 100, "{} bytes", why.len());
    }

    #[tokio::test]
    async fn a_hook_that_hangs_is_killed_with_its_children() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let pid = dir.path().join("pid");
        hook(dir.path(), "pre-backup", 0o755, &format!("sleep 600 & echo $! > {}; wait", pid.display()));
        let hooks = Hooks { limit: Duration::from_secs(2), ..hooks(dir.path()) };
        let failures = hooks.run(of_backup(Moment::Pre), &[]).await;
        assert!(failures[0].why.contains("within 2 s and was killed"), "{failures:?}");
        let child: i32 = fs::read_to_string(pid).expect("was written").trim().parse().expect("is a number");
        // Its parent is gone, so another process reaps it: a zombie counts as ended.
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
