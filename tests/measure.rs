//! Cost of a command: time on one processor, and peak memory.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

/// Sampling interval, so short that the memory which a process takes after the last sample does not matter.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Unit of times in /proc (`USER_HZ`): 100 a second on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// Cost of one run of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    pub wall: Duration,
    /// Processor time, in the program and in the kernel.
    pub processor: Duration,
    /// Peak resident memory, in bytes.
    pub memory: u64,
}

impl Cost {
    /// Returns the throughput in megabytes per second of processor time.
    pub fn speed(&self, bytes: u64) -> u64 {
        (bytes as f64 / self.processor.as_secs_f64().max(0.001) / 1e6) as u64
    }
}

/// Runs a command to its end, on one processor. Fails unless it ends with one of these exit codes.
pub fn on_one_processor(program: &Path, args: &[&str], codes: &[i32]) -> Result<Cost> {
    let begun = Instant::now();
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0"]).arg(program).args(args).stdin(Stdio::null()).stdout(Stdio::null());
    // The variables that configure the tests must not reach the program under test.
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let mut child = command.spawn().context("failed to run taskset (Debian package util-linux)")?;
    let process = format!("/proc/{}", child.id());
    let mut memory = 0;
    // An ended process keeps its times, but not its memory, until its parent waits for it.
    let processor = loop {
        let stat = fs::read_to_string(format!("{process}/stat"))?;
        let status = fs::read_to_string(format!("{process}/status"))?;
        memory = memory.max(peak(&status));
        let (ended, processor) = state_and_times(&stat).with_context(|| stat.clone())?;
        if ended {
            break processor;
        }
        thread::sleep(LOOK_EVERY);
    };
    let wall = begun.elapsed();
    let status = child.wait()?;
    ensure!(status.code().is_some_and(|code| codes.contains(&code)), "{} {args:?}: {status}", program.display());
    Ok(Cost { wall, processor, memory })
}

/// Returns the peak resident memory of a process so far, in bytes, from its `status` file; 0 if it has ended.
pub fn peak(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Returns the processor time of a process so far, from its `stat` file.
pub fn processor(stat: &str) -> Option<Duration> {
    Some(state_and_times(stat)?.1)
}

/// Returns whether a process has ended, and its processor time: fields 3, 14 and 15 of proc_pid_stat(5). The second
/// field is a name in parentheses.
fn state_and_times(stat: &str) -> Option<(bool, Duration)> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let mut times = fields.skip(10).take(2).map(|field| field.parse::<u32>().ok());
    Some((state == "Z", TICK * (times.next()?? + times.next()??)))
}

#[test]
fn a_command_that_computes_and_one_that_fails_are_told_apart() {
    let cost = on_one_processor(Path::new("sh"), &["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"], &[0]);
    let cost = cost.unwrap();
    assert!(cost.processor >= TICK && cost.processor <= cost.wall + TICK && cost.memory > 100_000, "{cost:?}");
    assert!(on_one_processor(Path::new("false"), &[], &[0]).is_err());
}
