//! A Ceph Object Gateway with a cluster of its own, up in about a second.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::cluster::Cluster;
use super::identity::{Identity, bucket_policy};
use super::listener::Listener;
use super::sandbox::{Daemon, Sandbox};
use super::{Bucket, Lock, tls};
use crate::tree::{Recipe, Tree};

/// What both servers are built from; no manager is needed.
const PACKAGES: &[&str] = &["radosgw", "ceph-mon", "ceph-osd", "openssl"];

/// Fixed, because each gateway has an address of its own.
/// Tells a program another time than the machine's (Debian package libfaketime).
pub const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

const PORT: u16 = 7480;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Ceph 20 (tentacle, Debian forky): keeps every promise tested for, and has accounts.
    V20,
    /// Ceph 16 (pacific, Debian bookworm): drops without an error what it does not know, such as the lock of a
    /// multipart upload or `If-None-Match`.
    ///
    /// Not 18 from trixie: it drops the same, and is as big and as quick; 16 refuses trailing checksums on top.
    /// It has no accounts, so its writer and reader may also make buckets of their own; and no rate limits.
    Old,
}

impl Release {
    fn recipe(self) -> Recipe<'static> {
        let (name, suite) = match self {
            Self::V20 => ("rgw-20", "forky"),
            Self::Old => ("rgw-16", "bookworm"),
        };
        Recipe { name, suite, packages: PACKAGES, tweaks: "" }
    }

    /// The root file system of its daemons, built on first use.
    pub fn tree(self) -> Result<PathBuf> {
        Tree::get(&self.recipe())
    }
}

/// How to start one. The default: release 20, plain HTTP, on this host's loopback.
#[derive(Debug, Clone)]
pub struct RgwOptions {
    pub release: Release,
    /// An address of the network namespace, which the gateway then has to itself.
    /// `None` is a loopback address of its own, so that any number can run at once.
    pub listen: Option<Ipv4Addr>,
    /// The daemons enter the network namespace at this path, as in `/run/netns/NAME`.
    pub netns: Option<PathBuf>,
    /// HTTPS, with a certificate by [`Rgw::authority`].
    pub tls: bool,
}

impl Default for RgwOptions {
    fn default() -> Self {
        Self { release: Release::V20, listen: None, netns: None, tls: false }
    }
}

/// A running gateway. Dropping it ends every process and frees all data.
///
/// So does the end of this process, also by SIGKILL: a gateway may live in a static.
#[derive(Debug)]
pub struct Rgw {
    release: Release,
    address: SocketAddrV4,
    /// Certificate of the authority, in PEM.
    authority: Option<String>,
    /// Id of the account that everybody belongs to; empty where there are none.
    account: String,
    owner: Identity,
    /// The users made so far, by name.
    users: Mutex<BTreeMap<String, Identity>>,
    gateway: Mutex<Daemon>,
    /// How this process gets to it, if it is in another network namespace.
    door: Option<Listener>,
    started_in: Duration,
    pub(super) cluster: Cluster,
}

impl Rgw {
    /// Starts one and waits until it listens. The first start on a machine also builds its tree, about a minute.
    pub fn start(options: RgwOptions) -> Result<Self> {
        let tree = options.release.tree()?;
        let begun = Instant::now();
        let sandbox = Sandbox::open(&tree, options.netns.as_deref())?;
        let listen = options.listen.unwrap_or(sandbox.address());
        let address = SocketAddrV4::new(listen, PORT);
        let authority = options.tls.then(|| tls::issue(&sandbox, listen)).transpose()?;
        let cluster = Cluster::start(sandbox).context("failed to start a Ceph cluster")?;
        let account = match options.release {
            Release::V20 => create_account(&cluster)?,
            Release::Old => String::new(),
        };
        let owner = create_user(&cluster, "owner", &account, true)?;
        let gateway = spawn_gateway(&cluster, address, options.tls, "")?;
        let door = options.netns.as_deref().map(|netns| Listener::door(netns, address)).transpose()?;
        Ok(Self {
            release: options.release,
            address,
            authority,
            account,
            owner,
            users: Mutex::default(),
            gateway: Mutex::new(gateway),
            door,
            started_in: begun.elapsed(),
            cluster,
        })
    }

    pub fn release(&self) -> Release {
        self.release
    }

    /// Where it listens, in its network namespace.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Where this process reaches it: [`address`](Self::address), or a relay into its network namespace.
    pub fn reach(&self) -> SocketAddrV4 {
        self.door.as_ref().map_or(self.address, Listener::address)
    }

    /// `http://ADDRESS:PORT` or `https://…`, for those in its network namespace. Buckets are in the path, the region
    /// is `us-east-1`.
    pub fn endpoint(&self) -> String {
        self.url(self.address)
    }

    fn url(&self, address: SocketAddrV4) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{address}")
    }

    /// The certificate that signed the gateway's, in PEM; `None` without TLS.
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// From a built tree to listening.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// Owns all buckets and may do anything that a lock does not forbid. For set-up and for attacks.
    pub fn owner(&self) -> &Identity {
        &self.owner
    }

    /// May put, lock, list and read back in every bucket; neither delete nor bypass.
    pub fn writer(&self) -> Result<Identity> {
        self.user("writer")
    }

    /// May list versions and get them.
    pub fn reader(&self) -> Result<Identity> {
        self.user("reader")
    }

    /// The user of this name, made at its first mention. No policy mentions any but owner, writer and reader.
    pub fn user(&self, name: &str) -> Result<Identity> {
        let mut users = self.users.lock().expect("no holder panics");
        if let Some(known) = users.get(name) {
            return Ok(known.clone());
        }
        let made = create_user(&self.cluster, name, &self.account, false)?;
        users.insert(name.to_owned(), made.clone());
        Ok(made)
    }

    /// Makes a bucket with the policy for writer and reader; the owner's view of it.
    pub async fn create_bucket(&self, name: &str, lock: Lock) -> Result<Bucket> {
        let bucket = self.bucket(name, &self.owner)?;
        bucket.create(lock, &bucket_policy(name, &self.account)).await?;
        Ok(bucket)
    }

    /// A bucket that is there, as somebody sees it; reached from this process.
    pub fn bucket(&self, name: &str, by: &Identity) -> Result<Bucket> {
        Bucket::new(&self.url(self.reach()), self.authority(), name, by)
    }

    /// Ends the gateway as a crash does. Connections are refused until [`restart_gateway`](Self::restart_gateway).
    pub fn kill_gateway(&self) -> Result<()> {
        self.cluster.sandbox.kill(&self.gateway.lock().expect("no holder panics"))
    }

    /// Starts the gateway again at the same address, on the same data.
    pub fn restart_gateway(&self) -> Result<()> {
        self.spawn_again("")
    }

    /// Starts it again with a clock that is off by so much, `+100d` say: what it answers, signs for and locks goes by that.
    pub fn restart_gateway_at(&self, offset: &str) -> Result<()> {
        let inside = "/run/faketime.so";
        fs::copy(FAKETIME, self.cluster.sandbox.path(inside))
            .with_context(|| format!("{FAKETIME}: install libfaketime"))?;
        self.kill_gateway()?;
        self.spawn_again(&format!("LD_PRELOAD={inside} FAKETIME={offset} FAKETIME_DONT_FAKE_MONOTONIC=1 "))
    }

    fn spawn_again(&self, environment: &str) -> Result<()> {
        *self.gateway.lock().expect("no holder panics") =
            spawn_gateway(&self.cluster, self.address, self.authority.is_some(), environment)?;
        Ok(())
    }
}

fn spawn_gateway(cluster: &Cluster, address: SocketAddrV4, tls: bool, environment: &str) -> Result<Daemon> {
    let frontend = if tls {
        format!("ssl_endpoint={address} ssl_certificate={} ssl_private_key={}", tls::CERTIFICATE, tls::KEY)
    } else {
        format!("endpoint={address}")
    };
    let command = format!("{environment}radosgw -f -n client.rgw --rgw-frontends 'beast {frontend}'");
    let gateway = cluster.sandbox.spawn("rgw", &command)?;
    cluster
        .sandbox
        .await_listener(&gateway, address)
        .with_context(|| format!("failed to start radosgw on {address}"))?;
    Ok(gateway)
}

fn create_account(cluster: &Cluster) -> Result<String> {
    let printed = cluster.sandbox.run("radosgw-admin", &["account", "create", "--account-name=swarmdr"])?;
    let account: Value = serde_json::from_str(&printed).context("radosgw-admin printed no JSON")?;
    let id = account["id"].as_str().context("radosgw-admin printed no id for the account")?;
    ensure!(!id.is_empty(), "radosgw-admin made an account with an empty id");
    Ok(id.to_owned())
}

/// An account's users are named in policies by their display name, all others by their uid: both are `name`.
fn create_user(cluster: &Cluster, name: &str, account: &str, root: bool) -> Result<Identity> {
    let (uid, display, account_id) =
        (format!("--uid={name}"), format!("--display-name={name}"), format!("--account-id={account}"));
    let mut args = vec!["user", "create", &uid, &display];
    if !account.is_empty() {
        args.push(&account_id);
        if root {
            args.push("--account-root");
        }
    }
    Identity::parse(name, &cluster.sandbox.run("radosgw-admin", &args)?)
}
