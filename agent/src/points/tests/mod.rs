//! Recovery points in vaults in memory, with everything that others may put there.

mod choosing;
mod growth;
mod making;
mod recovering;

use std::{collections::BTreeSet, io::Write, sync::Arc};

use jiff::SignedDuration;
use swarmdr_archive::{
    BackupId, ClusterId, SecretKey, TrustedKeys,
    point::{self, Point, StreamPart},
    stream_archive::{StreamDraft, StreamEnding, StreamKey, StreamWriter},
    writer,
};
use swarmdr_vault::{
    Vault, VaultError, VaultSettings, store_bytes,
    testkit::{
        archives::{
            self, cluster_id, minute,
            points::{invented, packed},
            vault,
        },
        injector::{Call, Injected, InjectingVault, broken},
        memory::MemoryVault,
    },
};
use tempfile::TempDir;

use super::{
    Made, Occasion, PointNote, Which,
    find::{Chosen, find_in},
    make::make,
};
use crate::{
    config::Config, host::shutdown::Shutdown, keys::signing, outcome::progress::Progress, run::Run, vaults::Connected,
};

/// A host with a configuration and a signing key of its own.
struct Host {
    config: Config,
    key: Arc<SecretKey>,
    shutdown: Shutdown,
    _dir: TempDir,
}

impl Host {
    /// Makes a host with the streams and external snapshots that this text configures.
    fn with(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config: Config = toml::from_str(text).expect("is a configuration");
        let config = Config { state_dir: dir.path().to_owned(), ..config };
        let key = signing::load_or_make(&config).expect("makes a key").key;
        Self { config, key, shutdown: Shutdown::default(), _dir: dir }
    }

    /// The same host after somebody edited its configuration.
    fn edited(self, text: &str) -> Self {
        let config: Config = toml::from_str(text).expect("is a configuration");
        Self { config: Config { state_dir: self.config.state_dir.clone(), ..config }, ..self }
    }

    fn keys(&self) -> TrustedKeys {
        self.key.public().into()
    }

    fn run(&self, at: i64) -> Run<'_> {
        Run { config: &self.config, shutdown: &self.shutdown, progress: Progress::hidden(), now: minute(at) }
    }

    /// Makes a point after something was stored in all of these vaults.
    async fn make(&self, vaults: &[Connected], at: i64) -> Made {
        make(&self.run(at), vaults, &cluster_id(), Occasion::default(), minute(at)).await.expect("is made")
    }

    /// Makes a point after another tool made a snapshot.
    async fn snapshot(&self, vaults: &[Connected], name: &str, id: &str, at: i64) -> PointNote {
        let external = point::ExternalPart {
            name: name.parse().expect("is a name"),
            id: id.to_owned(),
            as_of: minute(at),
            host: crate::host::name::hostname(),
        };
        let occasion = Occasion { external: Some(external), ..Occasion::default() };
        let made = make(&self.run(at), vaults, &cluster_id(), occasion, minute(at)).await.expect("is made");
        made.point.expect("is stored")
    }

    async fn choose(&self, vaults: &[Connected], which: Which, at: i64) -> anyhow::Result<Chosen> {
        let vaults: Vec<Arc<dyn Vault>> = vaults.iter().map(|connected| Arc::clone(&connected.vault)).collect();
        find_in(&vaults, which, &Default::default(), &self.keys(), minute(at)).await
    }

    async fn latest(&self, vaults: &[Connected], at: i64) -> Point {
        self.choose(vaults, Which::Latest, at).await.expect("there is one").signed.point
    }
}

/// Two streams and another tool, as one host configures them.
const SHOP: &str = r#"
    [[stream]]
    name = "shop-db"
    command = ["true"]
    max_age = "26h"
    restore = ["pg_restore", "-d", "my shop"]

    [[stream]]
    name = "orders"
    command = ["true"]

    [[external]]
    name = "uploads"
    command = ["true"]
    max_age = "26h"
"#;

fn connected(vault: Arc<dyn Vault>, name: &str) -> Connected {
    Connected { settings: VaultSettings::new(format!("s3://{name}")), vault }
}

fn one() -> (Arc<MemoryVault>, Vec<Connected>) {
    let vault = Arc::new(vault("v"));
    (Arc::clone(&vault), vec![connected(vault, "v")])
}

fn away(name: &'static str) -> Connected {
    let inner: Arc<dyn Vault> = Arc::new(vault(name));
    connected(Arc::new(InjectingVault::new(inner, move |_| Injected::Before(broken(name, "any")))), name)
}

fn denying(inner: &Arc<MemoryVault>, name: &'static str) -> Connected {
    let inner: Arc<dyn Vault> = Arc::clone(inner) as Arc<dyn Vault>;
    let denied = move |call: &Call| match call {
        Call::Put { .. } => Injected::Before(VaultError::AccessDenied {
            vault: name.to_owned(),
            action: "store".to_owned(),
            detail: "403".to_owned(),
        }),
        _ => Injected::None,
    };
    connected(Arc::new(InjectingVault::new(inner, denied)), name)
}

async fn backup(vault: &dyn Vault, at: i64, key: &SecretKey) -> BackupId {
    let archive = archives::archive(archives::CLUSTER, at, key);
    archives::put(vault, &archive).await;
    archive.name.id()
}

/// The bytes of a stream that took five minutes, and its place.
fn stream(name: &str, at: i64, key: &SecretKey) -> (StreamKey, Vec<u8>) {
    let started_at = minute(at);
    let draft = StreamDraft {
        id: BackupId::new(started_at, [5; 4]),
        name: name.parse().expect("is a name"),
        cluster_id: cluster_id(),
        node_id: None,
        hostname: "w1".to_owned(),
        agent_version: "0.1.0".to_owned(),
        started_at,
        as_of: started_at,
        command: vec!["pg_dump".to_owned(), "my shop".to_owned()],
    };
    let place = StreamKey { cluster: cluster_id(), name: draft.name.clone(), id: draft.id };
    let mut writer = StreamWriter::new(draft, &[], writer::DEFAULT_LEVEL, Vec::new()).expect("begins");
    writer.write_all(name.as_bytes()).expect("takes it");
    let ended_at = started_at + SignedDuration::from_mins(5);
    let ending = StreamEnding { sequence: 1, previous: None, ended_at, exit_status: Some(0) };
    let sealed = writer.finish(ending, key, 0).expect("is sealed");
    (place, [&sealed.head[..], &sealed.sink, &sealed.tail].concat())
}

async fn put_stream(vault: &dyn Vault, name: &str, at: i64, key: &SecretKey) -> BackupId {
    let (place, bytes) = stream(name, at, key);
    store_bytes(vault, place.to_string(), &bytes, minute(at + 5)).await.expect("is stored");
    place.id
}

fn names(point: &Point) -> Vec<(&str, BackupId)> {
    point.streams.iter().map(|StreamPart { name, id, .. }| (name.as_str(), *id)).collect()
}
