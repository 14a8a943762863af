//! Faults on purpose, at named points of a run, so that tests can end it exactly there.
//!
//! `SWARMDRTEST_FAULT=ACTION@POINT`, several with commas. Actions: `kill`, `term`, `int`, `hup` and `quit` (the
//! signals, sent to this process), `panic`, `hang` (this thread stands still for good), `pause5` (for five seconds), `gate`
//! (until the file that `SWARMDRTEST_GATE` names is there), `run` (the program that `SWARMDRTEST_RUN` names, to its end: a
//! test fills the disk with it, or mounts it read-only). Points are the phases of a run, at their beginning, and those that
//! are named where [`reach`] is called.
//!
//! Where [`fail`] is called, the actions are errors of the kernel: `enospc`, `eio` and `erofs`.
//!
//! Only in builds with debug assertions: an installed agent has no such points.

/// Acts if a fault was asked for at this point.
#[cfg(not(debug_assertions))]
#[inline]
pub fn reach(_point: &str) {}

/// Acts if a fault was asked for at this point.
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

/// The error that was asked for at this point, if one was.
#[cfg(not(debug_assertions))]
#[inline]
pub fn fail(_point: &str) -> std::io::Result<()> {
    Ok(())
}

/// The error that was asked for at this point, if one was.
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
        crate::terminal::tell(&format!("fault: {action} at {point}\n"));
        return Err(error.into());
    }
    Ok(())
}

#[cfg(debug_assertions)]
fn act(action: &str, point: &str) {
    use std::{process::Command, thread, time::Duration};

    // A test waits for this line.
    crate::terminal::tell(&format!("fault: {action} at {point}\n"));
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
