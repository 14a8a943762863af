//! Failpoints: faults that tests inject at named points of a run.
//!
//! `SWARMDRTEST_FAULT=ACTION@POINT`; several are separated by commas. Actions: `kill`, `term`, `int`, `hup` and `quit`
//! (the signals, sent to this process), `panic`, `hang` (blocks this thread for ever), `pause5` (blocks it for five
//! seconds), `gate` (blocks it until the file that `SWARMDRTEST_GATE` names exists), `run` (runs the program that
//! `SWARMDRTEST_RUN` names to its end: a test fills the disk with it, or remounts it read-only). Points are the
//! beginnings of the phases of a run, and the names that are passed to [`reach`].
//!
//! Where [`fail`] is called, the actions are errors of the kernel: `enospc`, `eio` and `erofs`.
//!
//! Failpoints exist only in builds with debug assertions, not in an installed agent.

/// Performs the action that was requested for this point, if any.
#[cfg(not(debug_assertions))]
#[inline]
pub fn reach(_point: &str) {}

/// Performs the action that was requested for this point, if any.
#[cfg(debug_assertions)]
pub fn reach(point: &str) {
    let Ok(faults) = std::env::var("SWARMDRTEST_FAULT") else {
        return;
    };
    let wanted = faults.split(',').filter_map(|fault| fault.split_once('@'));
    for (action, _) in wanted.filter(|(_, at)| *at == point) {
        act(action, point);
    }
}

/// Returns the error that was requested for this point, if any.
#[cfg(not(debug_assertions))]
#[inline]
pub fn fail(_point: &str) -> std::io::Result<()> {
    Ok(())
}

/// Returns the error that was requested for this point, if any.
#[cfg(debug_assertions)]
pub fn fail(point: &str) -> std::io::Result<()> {
    let faults = std::env::var("SWARMDRTEST_FAULT").unwrap_or_default();
    let wanted = faults.split(',').filter_map(|fault| fault.split_once('@')).filter(|(_, at)| *at == point);
    for (action, _) in wanted {
        let error = match action {
            "enospc" => nix::errno::Errno::ENOSPC,
            "eio" => nix::errno::Errno::EIO,
            "erofs" => nix::errno::Errno::EROFS,
            _ => continue,
        };
        crate::outcome::terminal::tell(&format!("fault: {action} at {point}\n"));
        return Err(error.into());
    }
    Ok(())
}

#[cfg(debug_assertions)]
fn act(action: &str, point: &str) {
    use std::{process::Command, thread, time::Duration};

    // A test waits for this line.
    crate::outcome::terminal::tell(&format!("fault: {action} at {point}\n"));
    match action {
        "kill" | "term" | "int" | "hup" | "quit" => {
            let command = format!("kill -s {} {}", action.to_uppercase(), std::process::id());
            let sent = Command::new("sh").args(["-c", &command]).status();
            assert!(sent.is_ok_and(|status| status.success()), "`{command}` failed");
        }
        "run" => {
            let program = std::env::var("SWARMDRTEST_RUN").unwrap_or_default();
            let ended = Command::new(&program).arg(point).status();
            assert!(ended.is_ok_and(|status| status.success()), "`{program} {point}` failed");
        }
        "panic" => panic!("a panic was asked for at {point}"),
        "hang" => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        "gate" => {
            let gate = std::env::var_os("SWARMDRTEST_GATE").expect("a gate is named");
            while !std::path::Path::new(&gate).exists() {
                thread::sleep(Duration::from_millis(20));
            }
        }
        pause => match pause.strip_prefix("pause").and_then(|seconds| seconds.parse().ok()) {
            Some(seconds) => thread::sleep(Duration::from_secs(seconds)),
            None => panic!("there is no fault `{pause}`"),
        },
    }
}
