//! Freezes the engine in its cgroup and thaws it, through systemd, and checks that this can work on this host.
//!
//! `packaging/docs/freeze.md` says why a copy of a frozen engine's files is sound, what that assumes and what the
//! evidence is. In short: one process writes the directory, a frozen process is in no system call, the page cache shows
//! every write that had returned, and of the files that are copied the raft log is append-only with checksums and all
//! others are replaced by rename.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use swarm_state::state_dir::WAL_DIR;

use super::engine_units::EngineControl;
use crate::{
    host::{
        engine::log_lock,
        systemd::{Freezable, Systemd},
        wait::{self, Probe},
    },
    outcome::failure::Failure,
};

/// The first systemd with `FreezeUnit` and `CanFreeze` (NEWS of systemd 246).
const FIRST_SYSTEMD: u32 = 246;

const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Time for which a thaw is tried again: systemd refuses it while a freeze is in progress.
const THAW_LIMIT: Duration = Duration::from_secs(30);
const THAW_RETRY: Duration = Duration::from_millis(50);

/// An engine that can be frozen.
#[derive(Debug, Clone)]
pub struct Freezer {
    systemd: Systemd,
    service: String,
    cgroup: PathBuf,
}

impl Freezer {
    /// Checks that freezing works on this host, and that it would freeze the writer of `state_dir` and no container.
    /// Changes nothing.
    pub async fn prepare(control: &EngineControl, state_dir: &Path) -> Result<Self> {
        let (systemd, service) = (control.systemd(), control.service());
        check_version(&systemd.version().await?)?;
        let state = control.state().await?;
        if !state.is_active() || state.main_pid == 0 {
            return Err(unsuitable(&format!("{service} is {}, with no process to freeze", state.active)));
        }
        let freezable = systemd.freezable(service).await?;
        check_unit(service, &freezable)?;
        let cgroup = Path::new(CGROUP_ROOT).join(freezable.control_group.trim_start_matches('/'));
        if !cgroup.join("cgroup.freeze").exists() {
            return Err(unsuitable("cgroup v2 is not the host's only hierarchy"));
        }
        check_process(state.main_pid, &cgroup)?;
        check_writer(state.main_pid, state_dir)?;
        if let Some(inner) = populated_below(&cgroup)? {
            return Err(unsuitable(&format!(
                "there are processes in {}, below the engine's own cgroup: containers would be frozen with it",
                inner.display()
            )));
        }
        Ok(Self { systemd: systemd.clone(), service: service.to_owned(), cgroup })
    }

    pub fn service(&self) -> &str {
        &self.service
    }

    pub fn systemd(&self) -> &Systemd {
        &self.systemd
    }

    /// Freezes the engine. Returns when the kernel says that every process of it is frozen.
    pub async fn freeze(&self) -> Result<()> {
        self.systemd.freeze(&self.service).await?;
        if self.is_frozen()? {
            return Ok(());
        }
        anyhow::bail!("systemd froze {} but the kernel does not call it frozen", self.service)
    }

    /// True if the kernel reports the engine as frozen; systemd only remembers its own request.
    pub fn is_frozen(&self) -> Result<bool> {
        let path = self.cgroup.join("cgroup.events");
        let events = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        Ok(parse_event(&events, "frozen"))
    }

    /// Thaws the engine. Returns when it runs.
    pub async fn thaw(&self) -> Result<()> {
        let attempt = async || {
            let thawed = self.systemd.thaw(&self.service).await;
            Ok(Probe::retry(thawed.inspect_err(|error| tracing::warn!("systemd is asked again: {error:#}"))))
        };
        wait::until(THAW_LIMIT, THAW_RETRY, "systemd to thaw the engine", attempt).await.map_err(|cause| {
            Failure::failed(format!("{} stays frozen", self.service))
                .advice(format!("thaw it by hand: `systemctl thaw {}`", self.service))
                .because(cause)
                .into()
        })
    }
}

fn unsuitable(why: &str) -> anyhow::Error {
    Failure::usage(format!("freeze mode cannot work on this host: {why}"))
        .advice("write `mode = \"cold\"` below `[backup]`: that works everywhere")
        .into()
}

fn check_version(version: &str) -> Result<()> {
    let number: String = version.chars().take_while(char::is_ascii_digit).collect();
    match number.parse::<u32>() {
        Ok(number) if number >= FIRST_SYSTEMD => Ok(()),
        Ok(_) => {
            Err(unsuitable(&format!("its systemd is {version}, and {FIRST_SYSTEMD} is the first that freezes units")))
        }
        Err(_) => Err(unsuitable(&format!("its systemd calls itself `{version}`"))),
    }
}

fn check_unit(service: &str, unit: &Freezable) -> Result<()> {
    if unit.control_group.is_empty() || unit.control_group == "/" {
        return Err(unsuitable(&format!("{service} has no cgroup of its own")));
    }
    if !unit.can_freeze {
        return Err(unsuitable(&format!("systemd cannot freeze {service} (cgroup v1?)")));
    }
    if unit.freezer_state == "running" {
        return Ok(());
    }
    Err(Failure::failed(format!("{service} is `{}` already, and not by this run", unit.freezer_state))
        .advice(format!("thaw it with `systemctl thaw {service}`"))
        .into())
}

/// Checks that the unit's main process is in the cgroup that is frozen.
fn check_process(pid: u32, cgroup: &Path) -> Result<()> {
    let path = cgroup.join("cgroup.procs");
    let pids = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    if pids.lines().any(|line| line.parse() == Ok(pid)) {
        return Ok(());
    }
    Err(unsuitable(&format!("the engine's process {pid} is not in its unit's cgroup {}", cgroup.display())))
}

/// Checks that the process has the raft log open. Only a process that may trace it can see that. In the sandbox of
/// `swarmdr-backup.service`, which has no capability, it must be enough that any process has it open.
fn check_writer(pid: u32, state_dir: &Path) -> Result<()> {
    let log = state_dir.join(WAL_DIR);
    match log_lock::is_open_in(pid, state_dir)? {
        Some(true) => Ok(()),
        None if log_lock::is_held(state_dir)? => Ok(()),
        Some(false) | None => Err(unsuitable(&format!(
            "the engine's process {pid} has no file in {} open, so another one may write there",
            log.display()
        ))),
    }
}

/// Returns the value of a flag in `cgroup.events`.
fn parse_event(events: &str, key: &str) -> bool {
    events.lines().any(|line| line.split_once(' ') == Some((key, "1")))
}

/// Returns a cgroup below this one that has processes, if there is one.
fn populated_below(cgroup: &Path) -> Result<Option<PathBuf>> {
    let list = || -> io::Result<Option<PathBuf>> {
        for entry in fs::read_dir(cgroup)? {
            let path = entry?.path();
            let events = match fs::read_to_string(path.join("cgroup.events")) {
                Ok(events) => events,
                // It is not a directory, or it is gone.
                Err(_) => continue,
            };
            if parse_event(&events, "populated") {
                return Ok(Some(path));
            }
        }
        Ok(None)
    };
    list().with_context(|| format!("failed to look below {}", cgroup.display()))
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;
    use crate::outcome::{exit::Exit, failure::Rendered};

    fn said(result: Result<()>) -> String {
        let rendered = Rendered::of(&result.expect_err("is unsuitable"));
        assert_eq!(rendered.exit, Exit::Usage);
        assert!(rendered.advice.iter().any(|advice| advice.contains("mode = \"cold\"")), "{rendered}");
        rendered.to_string()
    }

    #[test]
    fn an_old_systemd_is_refused_and_cold_mode_is_named() {
        for good in ["246", "252.39-1~deb12u1"] {
            check_version(good).expect(good);
        }
        assert!(said(check_version("245.4-4ubuntu3.24")).contains("245.4"));
        assert!(said(check_version("")).contains("calls itself"));
    }

    #[test]
    fn a_unit_without_a_freezer_is_refused() {
        let unit = Freezable {
            can_freeze: true,
            freezer_state: "running".to_owned(),
            control_group: "/system.slice/docker.service".to_owned(),
        };
        check_unit("docker.service", &unit).expect("can be frozen");
        assert!(said(check_unit("docker.service", &Freezable { can_freeze: false, ..unit.clone() })).contains("v1"));
        assert!(
            said(check_unit("docker.service", &Freezable { control_group: String::new(), ..unit.clone() }))
                .contains("no cgroup")
        );
        let frozen = Freezable { freezer_state: "frozen".to_owned(), ..unit };
        let error = check_unit("docker.service", &frozen).expect_err("is frozen by another process");
        assert!(Rendered::of(&error).to_string().contains("systemctl thaw docker.service"));
    }

    #[test]
    fn the_kernels_words_are_read() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        fs::write(dir.path().join("cgroup.procs"), "17\n4711\n").expect("writes");
        check_process(4711, dir.path()).expect("is in it");
        assert!(said(check_process(471, dir.path())).contains("not in its unit's cgroup"));
        assert!(parse_event("populated 1\nfrozen 1\n", "frozen"));
        assert!(!parse_event("populated 1\nfrozen 0\n", "frozen"));
    }

    #[test]
    fn the_writer_is_the_one_with_the_file_open() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let own = process::id();
        fs::create_dir_all(dir.path().join(WAL_DIR)).expect("creates");
        assert!(said(check_writer(own, dir.path())).contains("another one may write"));
        let _open = fs::File::create(dir.path().join(WAL_DIR).join("0.wal")).expect("creates");
        check_writer(own, dir.path()).expect("has it open");
        // No process has this number: it cannot be examined, and no process has locked the file.
        assert!(said(check_writer(u32::MAX, dir.path())).contains("another one may write"));
    }
}
