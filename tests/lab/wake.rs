//! Keeps commands running in a host that is being shut down.

use std::fs;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Continues an `nsenter` that has stopped itself.
///
/// It stops itself when its command is stopped (util-linux, sys-utils/nsenter.c, `continue_as_child`), and systemd
/// stops all processes of a host for a moment at the shutdown, before it tells them to end (systemd,
/// src/shared/killall.c, `broadcast_signal`). It then continues those it sees, which do not include `nsenter`: that
/// would stay stopped for good, and the dead command with it. Nothing in these tests stops a command on purpose.
pub fn if_stopped(nsenter: u32) {
    let Ok(stat) = fs::read_to_string(format!("/proc/{nsenter}/stat")) else { return };
    if is_stopped(&stat) {
        let pid = Pid::from_raw(nsenter.cast_signed());
        // It may have been killed in between.
        let _ = kill(pid, Signal::SIGCONT);
    }
}

/// Whether the process is stopped. The state is the field after the name, which may contain anything, so it is searched
/// from the name's end (proc_pid_stat(5)).
fn is_stopped(stat: &str) -> bool {
    stat.rsplit_once(')').is_some_and(|(_, fields)| fields.trim_start().starts_with('T'))
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Command, Stdio},
        time::Duration,
    };

    use anyhow::Result;

    use super::*;
    use crate::lab::wait_for;

    #[test]
    fn what_has_stopped_itself_goes_on() -> Result<()> {
        let mut child = Command::new("sh").args(["-c", "kill -STOP $$; exit 7"]).stdout(Stdio::null()).spawn()?;
        let status = wait_for("it to end", Duration::from_secs(30), || {
            if_stopped(child.id());
            Ok(child.try_wait()?)
        })?;
        assert_eq!(status.code(), Some(7));
        Ok(())
    }

    #[test]
    fn a_name_does_not_pass_for_a_state() {
        assert!(is_stopped("42 (a) T b) T 1 42"));
        assert!(!is_stopped("42 (a) T b) S 1 42"));
    }
}
