//! Damage, and the engine's own verdict on it: the reader's result before, what the engine makes of the state at its
//! next start, and the reader's result after.
//!
//! By default a sample of the kinds on one engine, which `SWARMDR_TEST_SEED=N` changes; `SWARMDR_TEST_FULL=1` tests all
//! of them on all three.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use swarm_state::{self, DamageKind, Examined, Proof};
use swarmdr_tests::{
    campaign::{full, generations, seed},
    lab::{Engine, Host, HostSpec, Lab, addr},
};

use crate::broken::LIVE;

const PRISTINE: &str = "/var/lib/pristine";
/// Number of kinds in a sample.
const SAMPLE: usize = 7;
/// Limit for an engine's verdict. An engine whose swarm does not start says so at once; one that starts has a leader
/// within seconds, on an idle machine.
const LIMIT: Duration = Duration::from_secs(240);

type Harm = fn(&Files) -> Result<()>;

const KINDS: [(&str, Harm); 19] = [
    ("nothing", |_| Ok(())),
    ("cut behind the last record", |files| files.cut(files.end()?)),
    ("cut behind the record before", |files| files.cut(files.record(1)?.0)),
    ("cut within a length", |files| files.cut(files.record(1)?.0 + 3)),
    ("cut within a record", |files| files.cut(files.record(1)?.0 + 12)),
    ("a sector of zeros in the last large record", |files| {
        let (at, len) = files.large()?;
        let from = (at + 8).next_multiple_of(512);
        files.zero(from, at + len - from)?;
        files.zero(at + len, files.end()? - at - len)
    }),
    ("a flipped byte in the last record", |files| files.flip(files.record(0)?.0 + 12)),
    ("a flipped byte in the middle", |files| files.flip(files.end()? / 2)),
    ("zeros where a record began", |files| files.zero(files.record(6)?.0, 8)),
    ("data behind the zeros", |files| files.write(files.end()? + 64, b"left by a torn write")),
    ("the log is missing", |files| Ok(fs::remove_file(&files.log)?)),
    ("the log is empty", |files| files.cut(0)),
    ("the log is all zeros", |files| files.zero(0, files.end()?)),
    ("junk as the next segment", |files| Ok(fs::write(files.log.with_file_name("0.tmp"), "junk")?)),
    ("junk of other names", |files| Ok(fs::write(files.log.with_file_name("notes.wal.broken"), "junk")?)),
    ("a flipped byte in the snapshot", |files| {
        let file = OpenOptions::new().read(true).write(true).open(&files.snapshot)?;
        flip(&file, file.metadata()?.len() / 2)
    }),
    ("half a snapshot", |files| {
        let file = OpenOptions::new().write(true).open(&files.snapshot)?;
        Ok(file.set_len(file.metadata()?.len() / 2)?)
    }),
    ("an empty snapshot", |files| Ok(fs::write(&files.snapshot, "")?)),
    ("the snapshot is missing", |files| Ok(fs::remove_file(&files.snapshot)?)),
];

#[tokio::test]
async fn the_reader_and_the_engine_agree_on_damage_before_and_after_its_repair() -> Result<()> {
    let mut table = Vec::new();
    for engine in generations() {
        on(*engine, &mut table).with_context(|| format!("engine {}\n{}", engine.version(), table.join("\n")))?;
    }
    println!("\n{}\n", table.join("\n"));
    Ok(())
}

fn on(engine: Engine, table: &mut Vec<String>) -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.boot(HostSpec::new("m1", engine, addr(11)))?;
    host.swarm_init()?;
    let snapshots = format!("ls {LIVE}/raft/snap-v3-encrypted");
    host.docker(&["swarm", "update", "--snapshot-interval=20"])?;
    host.wait_for("a snapshot", LIMIT, || {
        host.sh("docker secret create s-$(date +%N) /etc/hostname >/dev/null")?;
        Ok((!host.sh(&snapshots)?.is_empty()).then_some(()))
    })?;
    host.docker(&["swarm", "update", "--snapshot-interval=10000"])?;
    for n in 0..4 {
        host.create_config(&format!("large-{n}"), &[b'x'; 4000])?;
    }
    host.sh(&format!(
        "systemctl stop docker.socket docker.service; rm -rf {LIVE}/worker; cp -a --sparse=always {LIVE} {PRISTINE}"
    ))?;
    for (name, harm) in sample() {
        let row = try_one(&host, name, *harm).with_context(|| (*name).to_owned())?;
        table.push(format!("{:9} {name:45} {row}", engine.version()));
    }
    Ok(())
}

/// Returns all kinds, or a sample of them; the seed is printed.
fn sample() -> Vec<&'static (&'static str, Harm)> {
    if full() {
        return KINDS.iter().collect();
    }
    let seed = seed(0) as usize;
    KINDS.iter().cycle().skip(seed * SAMPLE % KINDS.len()).take(SAMPLE).collect()
}

/// An engine's verdict: the names of all secrets and configs, if it lists any.
type Verdict = Option<BTreeSet<String>>;

fn try_one(host: &Host, name: &str, harm: Harm) -> Result<String> {
    host.sh(&format!(
        "systemctl stop docker.socket docker.service; rm -rf {LIVE}; cp -a --sparse=always {PRISTINE} {LIVE}
         systemctl reset-failed docker.socket docker.service 2>/dev/null || true"
    ))?;
    let state = host.root()?.join(LIVE.trim_start_matches('/'));
    let whole = names(&swarm_state::examine(&state, None)?).context("the state is whole")?;
    harm(&Files::of(&state)?)?;
    let before = swarm_state::examine(&state, None);
    // A first start failed once on a busy machine (26.1.5, cut within a length), which says nothing about the state.
    let made = match start(host)? {
        None => start(host)?,
        made => made,
    };
    let said = host.sh("journalctl --unit docker.service --since -3min --output cat | tail -n 30")?;
    host.sh("systemctl stop docker.socket docker.service")?;
    let after = swarm_state::examine(&state, None);

    let foretold = before.as_ref().ok().and_then(names);
    match (&before, &made) {
        // Nothing is lost, or only what the reader reports: the engine has what the reader has.
        (Ok(examined), made) if examined.proof == Proof::Proven => {
            ensure!(*made == foretold, "the engine has {made:?}, the reader {foretold:?}\n{said}");
        }
        // The torn end is cut off, with what was in it; or this engine does not start.
        (Ok(Examined { proof: Proof::Unproven(damage), .. }), made) if damage.kind == DamageKind::TornTail => {
            let refused = host.engine() == Engine::E26_1 && damage.why.contains("engines 23 to 27 do not start");
            ensure!(made.is_none() == refused, "{damage}: {made:?}\n{said}");
            ensure!(made.iter().all(|made| made.is_subset(&whole)), "{damage}: {made:?}");
        }
        (_, made) => ensure!(made.as_ref() != Some(&whole), "the engine has it all: {before:?}"),
    }
    if made.as_ref().is_some_and(|made| !made.is_empty()) {
        agree_after(host, &state, &after, &made)?;
    }
    let shown = |examined: &Result<Examined, swarm_state::Error>| match examined {
        Ok(Examined { proof: Proof::Proven, .. }) => "proven".to_owned(),
        Ok(Examined { proof: Proof::Unproven(damage), .. }) => format!("{}", damage.kind),
        Ok(_) => "sealed".to_owned(),
        Err(_) => "no state".to_owned(),
    };
    let has = made.map_or("does not start".to_owned(), |made| format!("{} of {}", made.len(), whole.len()));
    println!("{name}: {} | {has} | {}", shown(&before), shown(&after));
    Ok(format!("{:12} {has:15} {:12}", shown(&before), shown(&after)))
}

/// Checks that a log which an engine has repaired is proven, with and without the files that the repair left.
fn agree_after(host: &Host, state: &Path, after: &Result<Examined, swarm_state::Error>, made: &Verdict) -> Result<()> {
    ensure!(after.as_ref().is_ok_and(|after| after.proof == Proof::Proven), "after the engine's repair: {after:?}");
    ensure!(after.as_ref().ok().and_then(names) == *made, "the engine had {made:?}: {after:?}");
    host.sh(&format!("find {LIVE}/raft -name '*.broken' -delete"))?;
    let without = swarm_state::examine(state, None)?;
    ensure!(without.proof == Proof::Proven && names(&without) == *made, "without what the repair left: {without:?}");
    Ok(())
}

fn names(examined: &Examined) -> Verdict {
    let inventory = examined.inventory.as_ref()?;
    let secrets = inventory.secrets.iter().map(|it| it.name.clone());
    Some(secrets.chain(inventory.configs.iter().map(|it| it.name.clone())).collect())
}

/// Starts the engine, and returns its verdict; `None` if it does not come up as a manager.
fn start(host: &Host) -> Result<Verdict> {
    // The engine may fail, or panic, again and again.
    host.sh("systemctl stop docker.socket docker.service; systemctl reset-failed docker.socket docker.service 2>/dev/null || true")?;
    host.run(&["systemctl", "start", "--no-block", "docker.socket", "docker.service"])?;
    let state = "timeout 20 docker info --format '{{.Swarm.LocalNodeState}}' 2>/dev/null || true";
    let works = host.wait_for("the engine's verdict", LIMIT, || {
        if host.run(&["timeout", "20", "docker", "node", "ls"])?.status.success() {
            return Ok(Some(true));
        }
        let failed = host.sh("systemctl show --property=NRestarts --value docker.service")? != "0";
        Ok((failed || ["error", "inactive"].contains(&host.sh(state)?.trim())).then_some(false))
    })?;
    if !works {
        return Ok(None);
    }
    let listed = host.sh("docker secret ls --format '{{.Name}}'; docker config ls --format '{{.Name}}'")?;
    Ok(Some(listed.lines().map(str::to_owned).collect()))
}

/// The log and the snapshot of a small swarm.
struct Files {
    log: PathBuf,
    snapshot: PathBuf,
}

impl Files {
    fn of(state: &Path) -> Result<Self> {
        let only = |dir: &str, ending: &str| -> Result<PathBuf> {
            let paths = fs::read_dir(state.join(dir))?.map(|entry| Ok(entry?.path()));
            let mut paths = paths.collect::<Result<Vec<PathBuf>>>()?;
            paths.retain(|path| path.extension().is_some_and(|found| found == ending));
            paths.sort();
            paths.pop().with_context(|| format!("no {ending} in {dir}"))
        };
        Ok(Self { log: only("raft/wal-v3-encrypted", "wal")?, snapshot: only("raft/snap-v3-encrypted", "snap")? })
    }

    /// Returns the offsets of the records, and their lengths with their frames.
    fn records(&self) -> Result<Vec<(u64, u64)>> {
        let bytes = fs::read(&self.log)?;
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(head) = bytes.get(at..at + 8) {
            let head = u64::from_le_bytes(head.try_into()?);
            if head == 0 {
                break;
            }
            let len = 8 + (head & ((1 << 56) - 1)).next_multiple_of(8);
            found.push((at as u64, len));
            at += usize::try_from(len)?;
        }
        Ok(found)
    }

    /// Returns a record, counted from the end.
    fn record(&self, before: usize) -> Result<(u64, u64)> {
        self.records()?.into_iter().nth_back(before).context("a record")
    }

    fn large(&self) -> Result<(u64, u64)> {
        self.records()?.into_iter().rfind(|(_, len)| *len > 2048).context("a large record")
    }

    fn end(&self) -> Result<u64> {
        let (at, len) = self.record(0)?;
        Ok(at + len)
    }

    fn file(&self) -> Result<File> {
        Ok(OpenOptions::new().read(true).write(true).open(&self.log)?)
    }

    fn cut(&self, len: u64) -> Result<()> {
        Ok(self.file()?.set_len(len)?)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        Ok(self.file()?.write_all_at(bytes, at)?)
    }

    fn zero(&self, at: u64, len: u64) -> Result<()> {
        self.write(at, &vec![0; usize::try_from(len)?])
    }

    fn flip(&self, at: u64) -> Result<()> {
        flip(&self.file()?, at)
    }
}

fn flip(file: &File, at: u64) -> Result<()> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    Ok(file.write_all_at(&[byte[0] ^ 1], at)?)
}
