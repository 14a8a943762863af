//! Parts of the user-data of `recovery.yaml`, run without a host: what it makes of the parameters that it reads.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};

use super::shipped;

/// Stands in for what the parts call. A parameter that is not there has no value; `READ` says whether any can be read.
const STUBS: &str = r#"
set -euo pipefail
sleep() { :; }
join() { echo "joins for $1"; return "$JOIN"; }
tell() { echo "tells $1"; }
ask_aws() {
    [ "$READ" = yes ] || { echo 'An error occurred (ThrottlingException)' >&2; return 254; }
    local value=$MANAGERS
    case $* in */state*) value=$STATE ;; esac
    [ -n "$value" ] || { echo 'An error occurred (ParameterNotFound)' >&2; return 254; }
    echo "$value"
}
"#;

/// Returns the lines from one that begins with these words up to another, which is not part of it.
fn part(from: &str, to: &str) -> Result<String> {
    let template = fs::read_to_string(shipped("recovery.yaml"))?;
    let lines = template.lines().map(str::trim_start);
    let mut lines = lines.skip_while(|line| !line.starts_with(from)).peekable();
    ensure!(lines.peek().is_some(), "there is no {from}");
    let taken: Vec<&str> = lines.take_while(|line| !line.starts_with(to)).collect();
    Ok(taken.join("\n").replace("${AWS::StackName}", "recovery"))
}

struct Case {
    state: &'static str,
    managers: &'static str,
    read: &'static str,
    /// Exit code of the attempt to join.
    join: &'static str,
    /// The state when the instance began.
    found: &'static str,
}

const EMPTY: Case = Case { state: "", managers: "", read: "yes", join: "0", found: "none" };

/// Runs the functions that read and write the state, and what follows; returns what was called.
fn run(case: &Case, then: &str) -> Result<String> {
    let scratch = tempfile::tempdir()?;
    let told = scratch.path().join("told").display().to_string();
    let functions = part("told() {", "step='the user-data began'")?.replace("/run/swarmdr-told", &told);
    let found = case.found;
    let script = format!("{STUBS}{functions}\nfound='{found}'\n{then}\n");
    let output = Command::new("bash")
        .args(["-c", &script])
        .envs([("STATE", case.state), ("MANAGERS", case.managers), ("READ", case.read), ("JOIN", case.join)])
        .output()
        .context("bash does not start")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().replace('\n', ", "))
}

#[test]
fn a_swarm_that_may_be_there_is_not_restored() -> Result<()> {
    let steps = part("state=$(told state)", "# 7.")? + "\necho restores";
    let waiting = "waiting for A";
    for (case, expected) in [
        (EMPTY, "restores"),
        (Case { read: "no", ..EMPTY }, ""),
        (Case { read: "no", state: "grown", ..EMPTY }, ""),
        (Case { state: "grown", join: "1", ..EMPTY }, "joins for 30m"),
        (Case { state: "restored", found: "restored", ..EMPTY }, "joins for 2m"),
        (Case { state: "restored", join: "1", ..EMPTY }, "joins for 2m, restores"),
        (Case { state: waiting, found: waiting, managers: "10.0.0.1:2377", ..EMPTY }, "joins for 2m, tells restored"),
        (Case { managers: "10.0.0.1:2377", join: "1", ..EMPTY }, "joins for 2m, restores"),
    ] {
        let seen = run(&case, &steps)?;
        assert_eq!(seen, expected, "state {:?}, read {}, join {}", case.state, case.read, case.join);
    }
    Ok(())
}

#[test]
fn an_instance_that_fails_answers_for_nobody_else() -> Result<()> {
    for (case, expected) in [
        (EMPTY, "tells failed"),
        (Case { state: "waiting for A", found: "waiting for A", ..EMPTY }, "tells failed"),
        (Case { state: "waiting for B", found: "waiting for A", ..EMPTY }, ""),
        (Case { state: "waiting for A", found: "", ..EMPTY }, ""),
        (Case { state: "grown", ..EMPTY }, ""),
        (Case { state: "restored", ..EMPTY }, ""),
        (Case { state: "grown", read: "no", ..EMPTY }, ""),
    ] {
        let seen = run(&case, "answer failed || true")?;
        assert_eq!(seen, expected, "state {:?}, found {:?}, read {}", case.state, case.found, case.read);
    }
    Ok(())
}
