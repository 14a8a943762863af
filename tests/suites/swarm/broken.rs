//! States that do not replay, on a real host: they are stored, marked and skipped, and no secret is ever printed.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use data_encoding::BASE64;
use serde_json::Value;
pub use swarmdr_tests::scenario::text;
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, IMAGE, addr},
    s3::Release,
    scenario::{IDENTITY, Site, agent_with_faults, describe_swarm},
    tree::capture,
};

use crate::{
    overheard::Overheard,
    rotten::{broken_log, broken_snapshot},
};

pub const LIVE: &str = "/var/lib/docker/swarm";
const UNLOCK_KEY: &str = "/root/unlock-key";
const SIGNING_KEY: &str = "/var/lib/swarmdr/keys/signing.key";
const CREDENTIALS: &str = "/etc/swarmdr/credentials";

/// One host for all of it: a swarm with planted values, healthy, autolocked, with a panicking agent, and damaged on
/// disk under its running engine, which notices nothing and must not be stopped: in a snapshot, and in the log.
#[tokio::test]
async fn a_state_that_does_not_replay_is_marked_and_passed_over_and_no_secret_is_ever_said() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", Engine::E26_1, addr(11)))?;
    let mut heard = Overheard::default();
    host.swarm_init()?;
    plant_swarm(&host, &mut heard)?;
    site.set_up_manager(&host)?;
    site.set_up_restorer(&host)?;
    plant_keys(&site, &host, &mut heard)?;

    healthy(&host, &mut heard)?;
    autolocked(&host, &mut heard)?;
    // After autolock the log has entries under two keys, so the engine cannot replay it in place of a snapshot.
    let by_snapshot = broken_snapshot(&host, &mut heard)?;
    mistaken(&host, &mut heard)?;
    panicking(&host, &mut heard)?;
    let proven = heard.say_json(&host, 0, &["backup"])?;
    let before = describe_swarm(&host)?;
    let by_log = broken_log(&host, &mut heard)?;

    let listed = heard.say_both(&host, 0, &["list"])?;
    assert_eq!(listed.0.matches("UNPROVEN").count(), 2, "{}", listed.0);
    assert_eq!(text(&listed.1, "/backups/0/id")?, by_log);
    for (id, place) in [(&by_snapshot, ".snap, byte 0"), (&by_log, ".wal, byte ")] {
        let (human, verified) = heard.say_both(&host, 6, &["verify", id, "--identity", IDENTITY])?;
        assert!(human.starts_with("UNPROVEN") && human.contains(place), "{human}");
        assert_eq!(text(&verified, "/results/0/verdict")?, "unproven");
        let (human, _) = heard.say_both(&host, 6, &["inspect", id, "--identity", IDENTITY])?;
        assert!(human.contains("NO: the raft log breaks") && human.contains(place), "{human}");
    }
    let latest = heard.say_json(&host, 6, &["verify", "--latest", "--identity", IDENTITY])?;
    assert_eq!(
        (text(&latest, "/results/0/id")?, text(&latest, "/results/0/verdict")?),
        (text(&proven, "/id")?, "proven")
    );
    what_lies_around(&site, &host, &mut heard).await?;
    for secret in [UNLOCK_KEY, SIGNING_KEY, &format!("{LIVE}/certificates/swarm-node.key")] {
        heard.would_notice(&host.read_file(secret)?)?;
    }
    host.destroy()?;

    let host = site.lab.boot(HostSpec::new("fresh", Engine::E26_1, addr(11)))?;
    host.load_image()?;
    site.set_up_restorer(&host)?;
    let refused = heard.say_json(&host, 4, &["restore", &by_log, "--identity", IDENTITY])?;
    assert!(text(&refused, "/error")?.contains("could not be replayed when it was made"), "{refused:#}");
    heard.say(&host, 6, &["restore", "--latest", "--identity", IDENTITY, "--dry-run"])?;
    let restored = heard.say_json(&host, 6, &["restore", "--latest", "--identity", IDENTITY])?;
    assert_eq!(text(&restored, "/id")?, text(&proven, "/id")?);
    let findings = restored["findings"].to_string();
    assert!(findings.contains(&by_log) && findings.contains("did not replay"), "{findings}");
    assert_eq!(describe_swarm(&host)?, before);
    heard.hear("the journal", host.sh("journalctl --no-pager -o export _COMM=swarmdr-agent")?);
    heard.would_notice(&host.read_file(IDENTITY)?)?;
    heard.would_notice(&host.read_file(CREDENTIALS)?)?;
    heard.check()
}

/// Plants values in everything that a swarm holds, and its own keys: the CA key is made here.
fn plant_swarm(host: &Host, heard: &mut Overheard) -> Result<()> {
    let (secret, config, environment) =
        ("planted-secret-5f0c2a91d7e8", "planted-config-93be04c7f1aa", "planted-environment-c00d1e5f");
    for (what, value) in [("a secret", secret), ("a config", config), ("an environment", environment)] {
        heard.plant(what, value)?;
    }
    host.create_secret("db-password", secret.as_bytes())?;
    host.create_config("site.conf", config.as_bytes())?;
    let set = format!("--env=PASSWORD={environment}");
    let fixed = ["service", "create", "--detach", "--no-resolve-image", "--name=db", "--replicas=0"];
    host.docker(&[&fixed[..], &["--secret=db-password", "--config=site.conf", &set, IMAGE]].concat())?;

    let dir = tempfile::tempdir()?;
    let (key, certificate) = (dir.path().join("ca.key"), dir.path().join("ca.crt"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650"])
        .args(["-subj", "/CN=planted-ca", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()?;
    ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    let key = fs::read_to_string(key)?;
    heard.plant_pem("the CA key", &key)?;
    host.write_file("/run/ca.key", &key)?;
    host.write_file("/run/ca.crt", fs::read(certificate)?)?;
    host.docker(&["swarm", "ca", "--rotate", "--quiet", "--ca-cert=/run/ca.crt", "--ca-key=/run/ca.key"])?;
    host.sh("rm /run/ca.key /run/ca.crt")?;
    for role in ["worker", "manager"] {
        let token = host.docker(&["swarm", "join-token", "--quiet", role])?;
        // The part before that is the digest of the root CA, which is no secret.
        heard.plant("a join token", token.rsplit('-').next().context("a token has parts")?)?;
    }
    Ok(())
}

/// Plants the keys of the node, of the operator and of the vault.
fn plant_keys(site: &Site, host: &Host, heard: &mut Overheard) -> Result<()> {
    let node = host.read_file(&format!("{LIVE}/certificates/swarm-node.key"))?;
    heard.plant_pem("the TLS key", &node)?;
    plant_data_keys(&node, heard)?;
    let signing = host.read_file(SIGNING_KEY)?;
    let signing = BASE64.decode(signing.lines().nth(1).context("a minisign key")?.as_bytes())?;
    // The seed, which is between a public number and the public key.
    heard.plant("the signing key", &signing[62..94])?;
    let identity = host.read_file(IDENTITY)?;
    let identity = identity.lines().find_map(|line| line.strip_prefix("AGE-SECRET-KEY-1"));
    heard.plant("the identity", identity.context("an identity")?)?;
    heard.plant("the credentials of the vault", &site.writer.secret_key)
}

/// Plants the keys with which raft entries are encrypted.
fn plant_data_keys(key_file: &str, heard: &mut Overheard) -> Result<()> {
    let deks = key_file.lines().filter(|line| line.starts_with("raft-dek"));
    for dek in deks.filter_map(|line| line.split_once(": ")).filter(|(name, _)| !name.ends_with("rotation")) {
        // Field 2 of the record, after its tag and length.
        heard.plant("a data key", &BASE64.decode(dek.1.as_bytes())?[2..])?;
    }
    Ok(())
}

/// Runs all commands on a healthy swarm, one of them as a unit.
fn healthy(host: &Host, heard: &mut Overheard) -> Result<()> {
    host.sh("systemd-run --quiet --wait --collect --setenv=SWARMDR_LOG=trace swarmdr-agent -vv backup")?;
    heard.say(host, 0, &["backup", "--dry-run"])?;
    heard.say_json(host, 0, &["backup"])?;
    let (_, listed) = heard.say_both(host, 0, &["list"])?;
    let [newer, older] = [0, 1].map(|at| listed["backups"][at]["id"].as_str().unwrap_or_default().to_owned());
    heard.say_both(host, 0, &["inspect", "--latest"])?;
    let (human, _) = heard.say_both(host, 0, &["inspect", "--latest", "--identity", IDENTITY])?;
    assert!(human.contains("db-password") && human.contains("site.conf"), "names are shown: {human}");
    heard.say_both(host, 0, &["inspect", "--dir", LIVE])?;
    heard.say_both(host, 0, &["diff", &older, &newer, "--identity", IDENTITY])?;
    heard.say_both(host, 0, &["diff", "latest", LIVE, "--identity", IDENTITY])?;
    heard.say_both(host, 0, &["verify"])?;
    let (human, _) = heard.say_both(host, 0, &["verify", "--identity", IDENTITY])?;
    assert_eq!(human.matches("raft log replayed").count(), 2, "{human}");
    heard.say_both(host, 0, &["config"])?;
    heard.say_both(host, 0, &["keygen"])?;
    heard.say(host, 0, &["keygen", "--out", "/root/another.key"])?;
    heard.say(host, 0, &["restore", "--latest", "--identity", IDENTITY, "--dry-run"])?;
    Ok(())
}

/// Checks that a backup of an autolocked swarm is sealed without its key, and that a wrong key is not taken for damage.
fn autolocked(host: &Host, heard: &mut Overheard) -> Result<()> {
    host.docker(&["swarm", "update", "--autolock=true"])?;
    let key = host.docker(&["swarm", "unlock-key", "-q"])?;
    heard.plant_base64("the unlock key", key.strip_prefix("SWMKEY-1-").context("an unlock key")?)?;
    host.write_file(UNLOCK_KEY, format!("{key}\n"))?;
    host.write_file("/root/wrong-key", format!("SWMKEY-1-{}\n", "A".repeat(43)))?;
    host.write_file("/root/no-key", format!("{key}!\n"))?;
    heard.say_json(host, 0, &["backup"])?;
    host.wait_manager()?;

    let verify = ["verify", "--latest", "--identity", IDENTITY];
    let with = |file| [&verify[..], &["--unlock-key", file]].concat();
    let (human, sealed) = heard.say_both(host, 0, &verify)?;
    assert!(human.starts_with("sealed") && human.contains("give --unlock-key"), "{human}");
    assert_eq!((text(&sealed, "/results/0/verdict")?, &sealed["results"][0]["good"]), ("sealed", &Value::Bool(true)));
    let (human, opened) = heard.say_both(host, 0, &with(UNLOCK_KEY))?;
    assert!(human.starts_with("good") && human.contains("raft log replayed"), "{human}");
    assert_eq!(text(&opened, "/results/0/verdict")?, "proven");
    let (human, wrong) = heard.say_both(host, 6, &with("/root/wrong-key"))?;
    assert!(human.starts_with("sealed") && human.contains("the unlock key does not open"), "{human}");
    assert_eq!(text(&wrong, "/results/0/verdict")?, "wrong-unlock-key");
    heard.say_both(host, 2, &with("/root/no-key"))?;
    heard.say_both(host, 0, &["inspect", "--dir", LIVE])?;
    heard.say_both(host, 0, &["inspect", "--dir", LIVE, "--unlock-key", UNLOCK_KEY])?;
    let (human, _) = heard.say_both(host, 6, &["inspect", "--dir", LIVE, "--unlock-key", "/root/wrong-key"])?;
    assert!(human.contains("! the unlock key does not open certificates/swarm-node.key"), "{human}");
    let latest = ["inspect", "--latest", "--identity", IDENTITY, "--unlock-key", "/root/wrong-key"];
    let (human, _) = heard.say_both(host, 6, &latest)?;
    assert!(human.contains("! the unlock key does not open") && human.contains("db-password"), "{human}");
    let configured = [&format!("SWARMDR_RESTORE__UNLOCK_KEY_FILE={UNLOCK_KEY}")[..]];
    let mut say = |args: &[&str]| heard.say_with(host, "swarmdr-agent", &configured, 0, args);
    assert!(say(&verify)?.contains("raft log replayed"));
    assert!(say(&["inspect", "--latest", "--identity", IDENTITY])?.contains("as read from the raft log"));
    say(&["diff", "latest", LIVE, "--identity", IDENTITY])?;
    host.docker(&["swarm", "update", "--autolock=false"])?;
    let file = format!("{LIVE}/certificates/swarm-node.key");
    let opened = host.wait_for("the key file to be open again", Duration::from_secs(60), || {
        Ok(Some(host.read_file(&file)?).filter(|text| !text.contains("ENCRYPTED")))
    })?;
    // Autolock gave the log another data key.
    plant_data_keys(&opened, heard)
}

/// Runs commands with key files that have a typing error, and on states with damaged or missing files.
fn mistaken(host: &Host, heard: &mut Overheard) -> Result<()> {
    host.sh(&format!("sed 's/^\\(AGE-SECRET-KEY-1..........\\)./\\1!/' {IDENTITY} > /root/typo.txt"))?;
    heard.say_both(host, 2, &["verify", "--latest", "--identity", "/root/typo.txt"])?;
    for (file, script) in
        [(SIGNING_KEY, "2s/^\\(....................\\)./\\1!/"), (CREDENTIALS, "s/access_key_id = ./&!/")]
    {
        host.sh(&format!("cp -a {file} /root/kept && sed -i '{script}' {file}"))?;
        heard.say_json(host, 1, &["backup"])?;
        host.sh(&format!("cp -a /root/kept {file}"))?;
    }
    host.sh(&format!("rm -rf /root/state && cp -a --sparse=always {LIVE} /root/state"))?;
    let state = ["inspect", "--dir", "/root/state"];
    for (script, expected) in [
        ("sed -i 's/^raft-dek: /raft-dek /' certificates/swarm-node.key", 6),
        ("sed -i 's/^raft-dek: .*/raft-dek: %%%/' certificates/swarm-node.key", 6),
        ("head -c 150 /root/whole/certificates/swarm-node.key > certificates/swarm-node.key", 6),
        ("rm certificates/swarm-node.key", 1),
        ("echo AAAA > certificates/swarm-node.crt", 1),
        ("truncate -s 900 raft/wal-v3-encrypted/*.wal", 6),
        ("rm raft/wal-v3-encrypted/*.wal", 1),
    ] {
        host.sh(&format!(
            "[ -d /root/whole ] || cp -a --sparse=always /root/state /root/whole; cd /root/state && {script}"
        ))?;
        heard.say_both(host, expected, &state).with_context(|| script.to_owned())?;
        host.sh("rm -r /root/state && cp -a --sparse=always /root/whole /root/state")?;
    }
    Ok(())
}

/// Checks a panic, which unwinds past all keys: the engine runs again. Only a build for tests can be made to panic, so
/// it is installed next to the agent under test.
fn panicking(host: &Host, heard: &mut Overheard) -> Result<()> {
    let program = "/usr/bin/swarmdr-agent-debug";
    let built = agent_with_faults()?.path;
    host.write_file(program, fs::read(&built).with_context(|| built.display().to_string())?)?;
    host.sh(&format!("chmod 755 {program}"))?;
    for phase in ["examine", "store"] {
        let fault = format!("SWARMDRTEST_FAULT=panic@{phase}");
        heard.say_with(host, program, &[&fault], 1, &["backup"])?;
        let (who, said) = heard.last();
        ensure!(said.contains(&format!("a panic was asked for at {phase}")), "{who}: {said}");
        host.wait_manager()?;
    }
    host.sh("rm -f /var/lib/swarmdr/spool/*")?;
    Ok(())
}

/// Searches everything that is stored: manifests in clear, archives, names in the spool and in the bucket, and the
/// agent's own records.
async fn what_lies_around(site: &Site, host: &Host, heard: &mut Overheard) -> Result<()> {
    let dir = tempfile::tempdir()?;
    // The connections of the first client have been idle for longer than the server keeps them open.
    let owner = site.owner.by(site.rgw.owner())?;
    let versions = owner.versions("").await.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    ensure!(versions.len() >= 6, "{versions:?}");
    for version in versions {
        let archive = owner.get(&version.key, None).await.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
        let file = dir.path().join("archive");
        fs::write(&file, &archive)?;
        let head = ["manifest.json", "manifest.json.minisig"];
        let clear = capture(Command::new("tar").arg("-xOf").arg(&file).args(head))?;
        heard.hear(format!("the manifest of {}", version.key), clear);
        heard.hear(format!("the archive {}", version.key), String::from_utf8_lossy(&archive));
    }
    let own = "find /var/lib/swarmdr /run/swarmdr /var/lib/docker/.swarmdr ! -path '*/keys/*' 2>/dev/null || true";
    heard.hear("names of files", host.sh(own)?);
    heard.hear("files", host.sh(&format!("{own} | while read f; do [ ! -f $f ] || cat $f; done"))?);
    let journal = host.sh("journalctl --no-pager -o export _COMM=swarmdr-agent")?;
    ensure!(journal.contains("phase"), "the backup that ran as a unit is in the journal");
    heard.hear("the journal", journal);
    Ok(())
}
