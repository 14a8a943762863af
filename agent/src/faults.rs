//! Faults on purpose, at named points of a run, so that tests can end it exactly there.
//!
//! `SWARMDRTEST_FAULT=ACTION@POINT`, several with commas. Actions: `kill`, `term` and `int` (the signals, sent to
//! this process), `panic`, `hang` (this thread stands still for good), `pause5` (for five seconds). Points are
//! the phases of a run, at their beginning, and those that are named where [`reach`] is called.
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

#[cfg(debug_assertions)]
fn act(action: &str, point: &str) {
    use std::{process::Command, thread, time::Duration};

    // A test waits for this line.
    eprintln!("fault: {action} at {point}");
    match action {
        "kill" | "term" | "int" => {
            let command = format!("kill -s {} {}", action.to_uppercase(), std::process::id());
            let sent = Command::new("sh").args(["-c", &command]).status();
            assert!(sent.is_ok_and(|status| status.success()), "`{command}` failed");
        }
        "panic" => panic!("a panic was asked for at {point}"),
        "hang" => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        pause => match pause.strip_prefix("pause").and_then(|seconds| seconds.parse().ok()) {
            Some(seconds) => thread::sleep(Duration::from_secs(seconds)),
            None => panic!("there is no fault `{pause}`"),
        },
    }
}
