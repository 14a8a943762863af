//! Vaults with damaged, strange and missing archives; keys that do not fit.

use anyhow::Result;

use super::desk::{Desk, OPEN, VAULT};

const DAMAGED: &str = "/srv/damaged";

pub fn cases(desk: &mut Desk) -> Result<()> {
    desk.host.sh(&format!("cp -a {VAULT} {DAMAGED}"))?;
    let config = desk.config().replace(VAULT, DAMAGED);
    desk.configure(&config)?;
    let newest = format!("$(find {DAMAGED} -name '*.swarmdr' | sort | tail -1)");
    desk.host.sh(&format!("cp {newest} /root/good.swarmdr"))?;
    // Damages the payload, behind a valid head.
    desk.host
        .sh(&format!("f={newest}; printf 'damage' | dd of=$f bs=1 seek=$(($(stat -c %s $f) - 4096)) conv=notrunc"))?;
    desk.both("verify", 1, "bytes that were changed", &["verify", "--latest"])?;
    desk.terminal(
        "restore",
        0,
        "bytes that were changed",
        &[&["restore", "--latest", "--dry-run"], &OPEN[..]].concat(),
    )?;
    desk.terminal("drill", 1, "bytes that were changed", &[&["drill", "--latest"], &OPEN[..]].concat())?;
    desk.host
        .sh(&format!("f={newest}; printf 'damage' | dd of=$f bs=1 seek=600 conv=notrunc; touch {DAMAGED}/notes.txt"))?;
    desk.both("list", 6, "a head that was changed", &["list"])?;
    desk.terminal("status", 1, "a head that was changed", &["status"])?;
    desk.terminal("verify", 6, "a head that was changed", &["verify"])?;
    desk.host.sh(&format!("rm {newest}"))?;
    desk.both("list", 6, "the newest was taken away", &["list"])?;
    desk.terminal("status", 1, "the newest was taken away", &["status"])?;
    desk.terminal("doctor", 1, "the newest was taken away", &["doctor"])?;
    strangers(desk)?;
    files(desk)?;
    desk.configure(&desk.config())
}

fn strangers(desk: &mut Desk) -> Result<()> {
    let config = desk.config();
    desk.configure(&format!("trusted_keys = [\"{}\"]\n{config}", desk.site.public_key))?;
    for verb in ["list", "status", "verify"] {
        desk.both(verb, 5, "nobody trusts the key that signed", &[verb])?;
    }
    desk.terminal("restore", 5, "nobody trusts the key that signed", &["restore", "--latest"])?;
    desk.terminal("doctor", 1, "nobody trusts the key that signs", &["doctor"])?;
    desk.configure(&config)?;
    desk.host.sh("umask 077; head -c 32 /dev/zero > /root/no-identity.txt")?;
    let other = swarmdr_archive::Identities::generate();
    desk.host.write_file("/root/stranger.txt", other.to_file_string().as_str())?;
    desk.host.sh("chmod 600 /root/stranger.txt")?;
    for (title, file) in [
        ("identities of somebody else", "/root/stranger.txt"),
        ("identities that are none", "/root/no-identity.txt"),
        ("identities that are not there", "/root/none.txt"),
    ] {
        let exit = if file == "/root/stranger.txt" { 1 } else { 2 };
        desk.terminal("verify", exit, title, &["verify", "--latest", "--identity", file])?;
        desk.terminal("inspect", exit, title, &["inspect", "--latest", "--identity", file])?;
    }
    Ok(())
}

fn files(desk: &mut Desk) -> Result<()> {
    desk.host.sh("echo no archive > /root/text.swarmdr; head -c 5000 /root/good.swarmdr > /root/short.swarmdr")?;
    for (title, exit, file) in [
        ("a file", 0, "/root/good.swarmdr"),
        ("a file that is not there", 5, "/root/none.swarmdr"),
        ("a file that is no archive", 5, "/root/text.swarmdr"),
        ("a file that is cut", 5, "/root/short.swarmdr"),
    ] {
        desk.terminal("verify", exit, title, &[&["verify", "--file", file], &OPEN[..]].concat())?;
        desk.terminal("inspect", exit, title, &[&["inspect", "--file", file], &OPEN[..]].concat())?;
    }
    Ok(())
}
