//! However a command that opens an archive ends, the state that it decrypted is removed: at once, or by the next run.

use std::{
    fs::{self, File},
    io::{self, Read},
    ops::ControlFlow,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use ring::rand::SystemRandom;
use swarmdr_archive::{
    BackupId, EntryKind, EntryPath, SecretKey,
    manifest::{CertificateTimes, Counts, FORMAT, Manifest, Proof, RestoreHints, Snapshot, SnapshotMode},
    writer::{self, Packing, SourceEntry, SourceFile},
};
use swarmdr_tests::{lab::wait_for, scenario::agent_with_faults, tree::capture};
use tempfile::TempDir;

use crate::{
    fixture::{Fixture, PLANTED},
    overheard::Overheard,
};

const LIMIT: Duration = Duration::from_secs(120);
const GATE: &str = "gate@in-clear";
const NODE_KEY: &str = "certificates/swarm-node.key";

/// An archive of a real state, the identity that opens it, and directories for an agent on this machine.
struct Desk {
    dir: TempDir,
    fixture: Fixture,
    planted: Overheard,
}

/// An agent that has an archive open.
struct Running {
    agent: Child,
    /// File of its standard error.
    said: PathBuf,
}

#[test]
fn however_a_look_ends_nothing_of_the_state_stays_in_clear() -> Result<()> {
    let desk = Desk::new()?;
    let archive = desk.path("backup.swarmdr");
    let (inspect, verify) = (["inspect", "--file", &archive], ["verify", "--file", &archive]);
    let held = desk.start("hang@in-clear", &["diff", &archive, &archive], "exec")?;
    held.wait_in_clear()?;
    // All run at once, and each begins with sweeping: directories that others use stay.
    let hung_up = desk.start(GATE, &inspect, "exec")?;
    let quit = desk.start(GATE, &verify, "exec")?;
    let detached = desk.start(GATE, &inspect, "trap '' HUP; exec")?;
    for (running, signal) in [(&detached, "HUP"), (&hung_up, "HUP"), (&quit, "QUIT")] {
        running.wait_in_clear()?;
        running.signal(signal)?;
    }
    for running in [&hung_up, &quit] {
        running.wait_for("stop requested")?;
    }
    ensure!(desk.runs()? == 4, "four agents are at work, and there are {} directories", desk.runs()?);
    desk.planted.would_notice(&desk.everything()?)?;
    fs::write(desk.path("gate"), "")?;
    for running in [hung_up, quit] {
        let (code, said) = running.end()?;
        ensure!(code == Some(1) && said.contains("interrupted by a signal"), "{code:?}: {said}");
    }
    // As with nohup: an operator who makes it ignore that signal wants it to go on.
    let (code, said) = detached.end()?;
    ensure!(code == Some(0), "{code:?}: {said}");
    ensure!(desk.runs()? == 1, "one agent is left, and there are {} directories", desk.runs()?);

    held.signal("KILL")?;
    held.end()?;
    desk.planted.would_notice(&desk.everything()?)?;
    // This command needs no directory of its own.
    let state = desk.fixture.state();
    let (code, said) = desk.start("", &["inspect", "--dir", &state.display().to_string()], "exec")?.end()?;
    ensure!(code == Some(0) && said.contains("which an earlier run left in clear"), "{code:?}: {said}");
    ensure!(desk.runs()? == 0, "{} directories are left", desk.runs()?);
    let mut left = desk.planted;
    left.hear("the directories of the agent", everything_below(desk.dir.path(), &archive)?);
    left.check()
}

impl Desk {
    fn new() -> Result<Self> {
        let fixture = Fixture::unpack("28.5.2", "plain")?;
        let mut planted = Overheard::default();
        planted.plant("a value", PLANTED)?;
        planted.plant_pem("the TLS key", &fs::read_to_string(fixture.state().join(NODE_KEY))?)?;
        let desk = Self { dir: tempfile::tempdir_in("/var/tmp")?, fixture, planted };
        // The directory that is mounted over the one of root, and the one for temporary files.
        for directory in ["run", "tmp", "state"] {
            fs::create_dir(desk.dir.path().join(directory))?;
        }
        fs::create_dir_all("/run/swarmdr")?;
        let identity = desk.path("identity.txt");
        capture(Command::new("age-keygen").arg("-o").arg(&identity))?;
        let recipient = capture(Command::new("age-keygen").arg("-y").arg(&identity))?;
        let key = SecretKey::generate(&SystemRandom::new())?;
        let trusted = key.public().to_minisign_string();
        let trusted = trusted.lines().last().context("a public key has lines")?;
        fs::write(
            desk.path("agent.toml"),
            format!("state_dir = \"{}\"\ntrusted_keys = [\"{trusted}\"]\n", desk.path("state")),
        )?;
        pack(&desk.fixture, recipient.trim(), &key, &desk.path("backup.swarmdr"))?;
        Ok(desk)
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Starts an agent; `exec` holds the words of the shell before its command.
    fn start(&self, fault: &str, args: &[&str], exec: &str) -> Result<Running> {
        let said = tempfile::Builder::new().tempfile_in(self.path("tmp"))?.into_temp_path().keep()?;
        let script = format!("mount --bind \"$0\" /run/swarmdr; {exec} \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-euc", &script]).arg(self.path("run"));
        command.arg(agent_with_faults()?.path).args(["-v", "--config", &self.path("agent.toml")]).args(args);
        if args[0] != "inspect" || args[1] != "--dir" {
            command.args(["--identity", &self.path("identity.txt")]);
        }
        let agent = command
            // The tests' own variables look like the agent's settings.
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("SWARMDRTEST_FAULT", fault)
            .env("SWARMDRTEST_GATE", self.path("gate"))
            .env("TMPDIR", self.path("tmp"))
            .stdout(Stdio::null())
            .stderr(File::create(&said)?)
            .spawn()?;
        Ok(Running { agent, said })
    }

    fn scratch(&self) -> PathBuf {
        self.dir.path().join("run/scratch")
    }

    fn runs(&self) -> Result<usize> {
        Ok(fs::read_dir(self.scratch())?.count())
    }

    fn everything(&self) -> Result<String> {
        everything_below(&self.scratch(), "")
    }
}

impl Running {
    fn wait_in_clear(&self) -> Result<()> {
        self.wait_for("at in-clear")
    }

    fn wait_for(&self, words: &str) -> Result<()> {
        wait_for(&format!("the agent to say `{words}`"), LIMIT, || {
            Ok(fs::read_to_string(&self.said)?.contains(words).then_some(()))
        })
        .with_context(|| fs::read_to_string(&self.said).unwrap_or_default())
    }

    fn signal(&self, name: &str) -> Result<()> {
        capture(Command::new("kill").args(["-s", name, &self.agent.id().to_string()])).map(drop)
    }

    /// Waits for the end, and returns the exit code, if no signal ended it, and the standard error.
    fn end(mut self) -> Result<(Option<i32>, String)> {
        let ended = wait_for("the agent to end", LIMIT, || Ok(self.agent.try_wait()?))?;
        Ok((ended.code(), fs::read_to_string(&self.said)?))
    }
}

/// Returns the content of all files except one; files that vanish meanwhile are excluded.
fn everything_below(dir: &Path, without: &str) -> Result<String> {
    let mut text = String::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            text += &everything_below(&path, without)?;
        } else if path != Path::new(without) {
            let mut content = Vec::new();
            File::open(&path)?.take(1 << 26).read_to_end(&mut content)?;
            text += &String::from_utf8_lossy(&content);
        }
    }
    Ok(text)
}

/// Seals the state as a backup does.
fn pack(fixture: &Fixture, recipient: &str, key: &SecretKey, out: &str) -> Result<()> {
    let state = fixture.state();
    let examined = fixture.examine()?;
    let mut entries = Vec::new();
    collect(&state, Path::new(""), &mut entries)?;
    let now = Timestamp::now();
    let manifest = Manifest {
        format: FORMAT,
        id: BackupId::new(now, [7; 4]),
        sequence: 1,
        previous: None,
        created_at: now,
        agent_version: "0.1.0".into(),
        engine_version: "28.5.2".into(),
        cluster_id: examined.identity.cluster_id.parse()?,
        node_id: examined.identity.node_id.parse()?,
        hostname: "m1".into(),
        raft_addr: examined.raft_address.context("an address")?,
        raft_addr_local: true,
        managers: Vec::new(),
        raft: None,
        certificate: CertificateTimes::default(),
        autolock: false,
        kek_version: None,
        proof: Proof::Proven,
        proof_reason: None,
        restore: RestoreHints::default(),
        snapshot: Snapshot { mode: SnapshotMode::Cold, engine_down_ms: 1, ours_ms: 1 },
        counts: Counts::default(),
        specs: None,
        payload: (),
    };
    let packing = Packing {
        manifest,
        entries,
        left_out: Vec::new(),
        inventory: serde_json::to_value(examined.inventory.context("an inventory")?)?,
        recipients: &[recipient.parse()?],
        level: writer::DEFAULT_LEVEL,
        key,
    };
    let open = |entry: &SourceEntry| -> io::Result<SourceFile<File>> {
        let file = File::open(state.join(entry.path.state_relative()))?;
        Ok(SourceFile { file, data: std::iter::once(0..entry.size).collect() })
    };
    let mut file = File::options().read(true).write(true).create_new(true).open(out)?;
    writer::seal(packing, open, |_| ControlFlow::Continue(()), &mut file)?;
    Ok(())
}

fn collect(root: &Path, relative: &Path, entries: &mut Vec<SourceEntry>) -> Result<()> {
    let metadata = fs::metadata(root.join(relative))?;
    entries.push(SourceEntry {
        path: EntryPath::in_state(relative)?,
        kind: if metadata.is_dir() { EntryKind::Dir } else { EntryKind::File },
        mode: metadata.mode() & 0o777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        size: if metadata.is_dir() { 0 } else { metadata.len() },
        mtime: 0,
    });
    if metadata.is_dir() {
        let mut names =
            fs::read_dir(root.join(relative))?.map(|it| it.map(|it| it.file_name())).collect::<Result<Vec<_>, _>>()?;
        names.sort();
        for name in names {
            collect(root, &relative.join(name), entries)?;
        }
    }
    Ok(())
}
