//! What is done to a stored stream: the command gets what was signed, up to the place, and is killed before it sees an end.

use anyhow::{Result, ensure};
use swarmdr_tests::{
    lab::Engine,
    scenario::{IDENTITY, agent},
};

use super::site::{DATA, Streams, require};

/// Size of a chunk of a stored payload in bytes.
const CHUNK: u64 = 4 << 20;

/// A manager with a directory vault, so that a stored object can be altered.
async fn in_directory() -> Result<(Streams, String)> {
    let streams = Streams::new(Engine::E26_1, 20).await?;
    let host = &streams.host;
    streams.site.configure(host, &streams.site.directory_config())?;
    host.sh("mkdir -p /srv/vault")?;
    require(&agent(host, &["put", "db", "--", "cat", DATA])?, 0, &[])?;
    let path = host.sh("find /srv/vault -name '*.stream'")?;
    Ok((streams, path))
}

/// Runs `get` with a receiver that notes what it got and whether it saw an end. Fails unless it got a part of the data
/// and was killed.
fn got_a_part(streams: &Streams, said: &[&str]) -> Result<u64> {
    let host = &streams.host;
    host.sh("rm -f /run/got /run/end")?;
    let output = streams.get("db", "cat > /run/got; touch /run/end")?;
    require(&output, 1, said)?;
    host.sh("! test -e /run/end")?;
    let got: u64 = host.sh("cat /run/got 2>/dev/null | wc -c")?.trim().parse()?;
    host.sh(&format!("test ! -e /run/got || cmp -n {got} /run/got {DATA}"))?;
    Ok(got)
}

#[tokio::test]
async fn a_changed_byte_is_never_handed_on() -> Result<()> {
    let (streams, path) = in_directory().await?;
    let host = &streams.host;
    let size: u64 = host.sh(&format!("stat -c %s {path}"))?.parse()?;
    let head = size % (1 << 20);
    ensure!(head > 0, "a head has some size");
    host.sh(&format!("cp {path} /root/good"))?;
    for chunk in 0..5_u64 {
        // In the middle of each chunk, whatever the length of the head.
        let at = size - 20 * (1 << 20) + chunk * CHUNK + CHUNK / 2;
        host.sh(&format!(
            "cp /root/good {path}; printf '\\377' | dd of={path} bs=1 seek={at} conv=notrunc status=none"
        ))?;
        let same = host.sh(&format!("cmp -s /root/good {path} && echo same || true"))?;
        if same == "same" {
            host.sh(&format!("printf '\\376' | dd of={path} bs=1 seek={at} conv=notrunc status=none"))?;
        }
        let got = got_a_part(&streams, &["chunk", "killed before it saw the end"])
            .or_else(|_| got_a_part(&streams, &["chunk", "was not started"]))?;
        ensure!(got <= (chunk + 1) * CHUNK, "chunk {chunk}: {got} bytes were handed on");
        ensure!(got + CHUNK >= chunk * CHUNK, "chunk {chunk}: only {got} bytes were handed on");
    }
    // Two chunks that changed places.
    let first = size - 20 * (1 << 20) + CHUNK;
    host.sh(&format!(
        "cp /root/good {path}
         dd if=/root/good of={path} bs=1M iflag=skip_bytes,count_bytes oflag=seek_bytes skip={first} seek={} count={CHUNK} conv=notrunc status=none",
        first + CHUNK
    ))?;
    got_a_part(&streams, &["chunk"])?;
    // A cut is seen before anything is read.
    host.sh(&format!("cp /root/good {path}; truncate -s -{CHUNK} {path}"))?;
    let cut = streams.get("db", "touch /run/started")?;
    require(&cut, 5, &[])?;
    host.sh("! test -e /run/started; cp /root/good /root/again")?;
    host.sh(&format!("cp /root/good {path}"))?;
    ensure!(streams.sum_of("db")? == streams.sum()?, "the whole one comes back");
    Ok(())
}

#[tokio::test]
async fn a_stream_in_another_place_is_no_stream() -> Result<()> {
    let (streams, path) = in_directory().await?;
    let host = &streams.host;
    require(&agent(host, &["put", "other", "--", "echo", "other"])?, 0, &[])?;
    // Replayed under another name, another cluster, and a later time.
    host.sh(&format!(
        "cd /srv/vault/streams/{0}
         mkdir -p shop ../abcdefghijklmnopqrstuvwxy/db
         cp {path} shop/; cp {path} ../abcdefghijklmnopqrstuvwxy/db/
         cp {path} db/20991121T101500Z-0a1b2c3d.stream
         cp other/*.stream db/20991121T101500Z-0a1b2c3e.stream
         for n in $(seq 100); do echo junk > db/20991121T1015${{n}}Z-0a1b2c3f.stream; done",
        streams.cluster
    ))?;
    let replayed = agent(host, &["get", "shop", "--latest", "--identity", IDENTITY, "--", "touch", "/run/started"])?;
    require(&replayed, 5, &[])?;
    host.sh("! test -e /run/started")?;
    let got = streams.get("db", "sha256sum > /run/sum")?;
    ensure!(matches!(got.status.code(), Some(0 | 6)), "the good one is under the junk: {}", got.stderr);
    ensure!(host.read_file("/run/sum")?.starts_with(&streams.sum()?), "another stream came back");
    Ok(())
}
