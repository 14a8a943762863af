//! Pressing Tab in a real bash: the shipped script, this program behind it, and a vault with backups.

use std::{fs, path::Path, process::Command};

const NEWER: &str = "20261121T031500Z-00000001";
const OLDER: &str = "20261120T031500Z-00000002";

/// What bash would offer for the last of these words.
fn offered(state_dir: &Path, words: &str) -> Vec<String> {
    let program = Path::new(env!("CARGO_BIN_EXE_swarmdr-agent"));
    let script = format!(
        r#". <(swarmdr-agent completions bash)
           COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) COMP_TYPE=9
           _clap_complete_swarmdr_agent swarmdr-agent "${{COMP_WORDS[COMP_CWORD]}}"
           printf '%s\n' "${{COMPREPLY[@]}}""#
    );
    let path = format!(
        "{}:{}",
        program.parent().expect("it is in a directory").display(),
        std::env::var("PATH").expect("is set")
    );
    let output = Command::new("bash")
        .args(["-c", &script])
        // What tells tests how to run is no setting of the program.
        .env_clear()
        .env("PATH", path)
        .env("SWARMDR_STATE_DIR", state_dir)
        .output()
        .expect("bash runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("is text").lines().map(str::to_owned).collect()
}

#[test]
fn ids_are_offered_from_the_vault_newest_first() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let cluster = dir.path().join("vault/q9x0h2k7m1c4v8b6n3z5a7s2d");
    fs::create_dir_all(&cluster).expect("is created");
    for id in [OLDER, NEWER] {
        // A name is enough to be offered: what it holds is looked at when it is chosen.
        fs::write(cluster.join(format!("{id}.swarmdr")), "").expect("is written");
    }
    for verb in ["restore", "inspect", "verify"] {
        assert_eq!(offered(dir.path(), &format!("swarmdr-agent {verb} 2026")), [NEWER, OLDER], "{verb}");
        assert_eq!(offered(dir.path(), &format!("swarmdr-agent {verb} {}", &OLDER[..9])), [OLDER], "{verb}");
    }
    assert_eq!(offered(dir.path(), "swarmdr-agent diff ''")[..3], ["latest", NEWER, OLDER]);
    assert_eq!(offered(dir.path(), "swarmdr-agent list --cluster ''"), ["q9x0h2k7m1c4v8b6n3z5a7s2d"]);
    assert_eq!(offered(dir.path(), "swarmdr-agent ba"), ["backup"]);
    assert_eq!(offered(dir.path(), "swarmdr-agent restore --fen"), ["--fenced"]);
}

#[test]
fn a_vault_that_cannot_be_listed_offers_nothing_and_says_nothing() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    fs::write(dir.path().join("agent.toml"), "no such key = 1").expect("is written");
    let words = format!("swarmdr-agent --config {} restore 2026", dir.path().join("agent.toml").display());
    assert_eq!(offered(dir.path(), &words), [""]);
}
