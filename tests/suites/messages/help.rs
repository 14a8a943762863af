//! Help texts, and messages about wrong command lines.

use anyhow::Result;

use super::desk::Desk;

const VERBS: [&str; 21] = [
    "backup",
    "restore",
    "undelete",
    "recover-quorum",
    "list",
    "inspect",
    "diff",
    "export",
    "images",
    "node",
    "standby",
    "promote",
    "step-down",
    "life",
    "verify",
    "drill",
    "status",
    "prune",
    "doctor",
    "keygen",
    "config",
];

pub fn cases(desk: &mut Desk) -> Result<()> {
    let line = "the command line";
    desk.terminal(line, 0, "what there is", &["--help"])?;
    desk.terminal(line, 0, "the version", &["--version"])?;
    desk.terminal(line, 2, "nothing is asked", &[])?;
    desk.terminal(line, 2, "a verb that does not exist", &["bakcup"])?;
    desk.terminal(line, 2, "an option that does not exist", &["backup", "--fast"])?;
    desk.terminal(line, 2, "loud and quiet", &["backup", "--quiet", "--verbose"])?;
    for verb in VERBS {
        desk.terminal(verb, 0, "help", &[verb, "--help"])?;
    }
    desk.terminal("completions", 0, "help", &["completions", "--help"])?;
    desk.terminal("completions", 2, "a shell that is not known", &["completions", "tcsh"])?;
    desk.terminal("completions", 1, "man pages to where nothing can be made", &["manual", "--out", "/proc/man"])?;
    for (verb, words) in [
        ("restore", &["restore"][..]),
        ("restore", &["restore", "--latest", "--file", "/x"]),
        ("restore", &["restore", "yesterday"]),
        ("restore", &["restore", "--latest", "--wait", "soon"]),
        ("restore", &["restore", "--latest", "--max-age", "tomorrow"]),
        ("restore", &["restore", "--latest", "--before", "noon"]),
        ("restore", &["restore", "--latest", "--readdress", "--wait-for-ip", "10s"]),
        ("undelete", &["undelete", "--stack", "shop"]),
        ("undelete", &["undelete", "--latest"]),
        ("undelete", &["undelete", "--latest", "--all-missing", "--secret", "db_password"]),
        ("undelete", &["undelete", "--latest", "--config", "/etc/swarmdr/agent.toml"]),
        ("inspect", &["inspect"]),
        ("inspect", &["inspect", "--latest", "--specs"]),
        ("drill", &["drill"]),
        ("diff", &["diff", "latest"]),
        ("export", &["export", "--latest"]),
        ("export", &["export", "--to", "/x"]),
        ("export", &["export", "--latest", "--to", "/x", "--image-map", "old:5000"]),
        ("prune", &["prune", "--keep-last", "many"]),
        ("status", &["status", "--json", "--nagios"]),
        ("keygen", &["keygen", "--until", "2026-11-21T10:15:00Z"]),
    ] {
        desk.terminal(verb, 2, "called wrongly", words)?;
    }
    Ok(())
}
