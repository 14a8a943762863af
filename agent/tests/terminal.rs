//! What the program prints about a name that would steer the terminal.

use std::process::{Command, Output};

const HOSTILE: &str = "nowhere\u{1b}[2J\r\nERROR \u{9b}2J\u{202e}\u{200b}";

fn run(dir: &std::path::Path, args: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_swarmdr-agent"));
    // What tells tests how to run is no setting of the program.
    program.env_clear().env("SWARMDR_STATE_DIR", dir).args(args).output().expect("the program runs")
}

fn is_tame(output: &[u8]) -> bool {
    let text = String::from_utf8(output.to_vec()).expect("is text");
    !text.chars().any(|c| (c.is_control() && c != '\n') || matches!(c, '\u{202e}' | '\u{200b}'))
}

#[test]
fn a_name_that_would_steer_the_terminal_is_shown() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    for args in [
        &["inspect", "--dir", HOSTILE][..],
        &["inspect", "--dir", HOSTILE, "--json"],
        &["--config", HOSTILE, "config"],
        &["restore", "--no-such-option", HOSTILE],
        &["verify", HOSTILE],
    ] {
        let output = run(dir.path(), args);
        assert!(!output.status.success(), "{args:?}");
        assert!(is_tame(&output.stdout) && is_tame(&output.stderr), "{args:?}: {output:?}");
        // Mistakes in the command line quote what was typed, with its lines.
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.starts_with("error: ") || !told.contains("\nERROR \\u"), "{args:?}: {told}");
    }
    let told = run(dir.path(), &["inspect", "--dir", HOSTILE]);
    assert!(String::from_utf8_lossy(&told.stderr).contains(r"nowhere\u{1b}[2J"), "{told:?}");
}
