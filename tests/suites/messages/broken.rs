//! Configurations that cannot be used.

use anyhow::Result;

use super::desk::{AGENT_TOML, Desk};

const VAULT: &str = "[[vault]]\nurl = \"s3://vault/prod\"\n";
const PROXY: &str = "[network]\nproxy = \"proxy:3128\"\n[[vault]]\nurl = \"s3://vault/prod\"\n";
const CREDENTIALS: &str =
    "[[vault]]\nurl = \"s3://vault/prod\"\nregion = \"us-east-1\"\ncredentials_file = \"/root/none\"\n";

pub fn cases(desk: &mut Desk) -> Result<()> {
    let section = "config";
    desk.both(section, 0, "no file", &["config"])?;
    desk.terminal(section, 2, "a file that is not there", &["config", "--config", "/root/none.toml"])?;
    let vault = |more: &str| format!("encryption = \"none\"\n{VAULT}{more}");
    for (title, text) in [
        ("broken TOML", "recipients = [\n[backup]\n".to_owned()),
        ("a key that does not exist", "recipents = []\n".to_owned()),
        ("a key that does not exist in a section", "[backup]\nmax_puase = 60\n".to_owned()),
        ("a section that does not exist", "[bakcup]\nmode = \"cold\"\n".to_owned()),
        ("a text where a number belongs", "[backup]\nmax_pause = \"a minute\"\n".to_owned()),
        ("a mode that does not exist", "[backup]\nmode = \"warm\"\n".to_owned()),
        ("a pause that is too long", "[backup]\nmax_pause = 86400\n".to_owned()),
        ("a freeze that is too long", "[backup]\nmax_freeze_ms = 60000\n".to_owned()),
        ("a level that does not exist", "[backup]\ncompression_level = 30\n".to_owned()),
        ("no room in the spool", "[spool]\nmax_count = 0\n".to_owned()),
        ("a path that is not absolute", "state_dir = \"swarmdr\"\n".to_owned()),
        ("a vault in clear that nobody wrote down", VAULT.to_owned()),
        ("encrypted for nobody", format!("encryption = \"age\"\n{VAULT}")),
        ("in clear for somebody", format!("encryption = \"none\"\nrecipients = [\"age1x\"]\n{VAULT}")),
        ("a vault without a url", vault("[[vault]]\nregion = \"eu-central-1\"\n")),
        ("a vault of another kind", vault("[[vault]]\nurl = \"ftp://host/path\"\n")),
        ("a vault in a relative directory", vault("[[vault]]\nurl = \"file://vault\"\n")),
        ("a bucket without a name", vault("[[vault]]\nurl = \"s3:///prod\"\n")),
        ("a url that is none", vault("[[vault]]\nurl = \"my bucket\"\n")),
        ("a lock of no days", vault("lock = { mode = \"COMPLIANCE\", days = 0 }\n")),
        ("a lock that does not exist", vault("lock = { mode = \"LEGAL\", days = 1 }\n")),
        (
            "a lock for a directory",
            "[[vault]]\nurl = \"file:///srv/vault\"\nlock = { mode = \"COMPLIANCE\", days = 1 }\n".to_owned(),
        ),
        ("an endpoint that is none", vault("endpoint = \"s3.example.net\"\n")),
        ("parts that are too small", vault("part_size = 1024\n")),
    ] {
        desk.configure(&text)?;
        desk.terminal(section, 2, title, &["config"])?;
    }
    desk.json(section, 2, "parts that are too small", &["config"])?;
    let trusted = format!("trusted_keys = [\"{}\"]\n", desk.site.public_key);
    for (title, text, exit, words) in [
        ("an engine elsewhere", "[engine]\nsocket = \"tcp://10.77.0.11:2375\"\n", 1, &["backup"][..]),
        ("a proxy that is none", PROXY, 5, &["list"]),
        ("a bucket without a region", VAULT, 5, &["list"]),
        ("a schedule that is none", "[schedule]\ncron = \"daily\"\n", 2, &["backup", "--if-due"]),
        ("a time zone that does not exist", "[schedule]\ntimezone = \"Mars/Olympus\"\n", 2, &["backup", "--if-due"]),
        ("a recipient that is none", "recipients = [\"age1nobody\"]\n", 2, &["backup"]),
        ("identities in a file that is not there", "identity_file = \"/root/none.txt\"\n", 2, &["verify"]),
        ("credentials in a file that is not there", CREDENTIALS, 5, &["list"]),
    ] {
        let clear = if text.starts_with("recipients") { "" } else { "encryption = \"none\"\n" };
        desk.configure(&format!("{clear}{trusted}{text}"))?;
        desk.terminal(section, exit, title, words)?;
    }
    for (title, text) in [
        ("a trusted key that is none", "trusted_keys = [\"RWnothing\"]\n"),
        ("a trusted key in a file that is not there", "trusted_keys = [\"/root/none.pub\"]\n"),
    ] {
        desk.configure(text)?;
        desk.terminal(section, 2, title, &["list"])?;
    }
    desk.host.sh(&format!("rm -rf {AGENT_TOML} /var/lib/swarmdr"))?;
    desk.terminal(
        section,
        2,
        "a setting of the environment that does not exist",
        &["SWARMDR_BAKCUP__MODE=cold", "config"],
    )?;
    desk.terminal(
        section,
        2,
        "a setting of the environment that is wrong",
        &["SWARMDR_BACKUP__MAX_PAUSE=long", "config"],
    )
}
