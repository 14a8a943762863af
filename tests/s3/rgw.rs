//! A Ceph Object Gateway with a cluster of its own, up in about a second.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    Bucket, Lock,
    cluster::Cluster,
    identity::{Identity, bucket_policy},
    tls,
};
use crate::{
    listener::Listener,
    sandbox::{Daemon, Sandbox},
};
pub use swarmdr_trees::Release;

/// Library that shows a program another time than the machine's (Debian package libfaketime).
pub const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// Port of every gateway, fixed because each has an address of its own.
const PORT: u16 = 7480;

/// Options of a gateway. The default is release 20, plain HTTP, on this host's loopback.
#[derive(Debug, Clone)]
pub struct RgwOptions {
    pub release: Release,
    /// Address to listen on, in the network namespace and for this gateway alone. `None` is a loopback address of its
    /// own, so that any number can run at once.
    pub listen: Option<Ipv4Addr>,
    /// Path of the network namespace that the daemons enter, as in `/run/netns/NAME`.
    pub netns: Option<PathBuf>,
    /// Whether to serve HTTPS, with a certificate signed by [`Rgw::authority`].
    pub tls: bool,
    /// Empty directory for the objects, if they are more than fit into memory. `None` holds them in memory.
    pub disk: Option<PathBuf>,
}

impl Default for RgwOptions {
    fn default() -> Self {
        Self { release: Release::V20, listen: None, netns: None, tls: false, disk: None }
    }
}

/// A running gateway. Dropping it ends every process and frees all data.
///
/// The end of this process does the same, even by SIGKILL, so a gateway may live in a static.
#[derive(Debug)]
pub struct Rgw {
    release: Release,
    address: SocketAddrV4,
    /// Certificate of the authority, in PEM.
    authority: Option<String>,
    /// Id of the account that all users belong to; empty if the release has no accounts.
    account: String,
    owner: Identity,
    /// The users made so far, by name.
    users: Mutex<BTreeMap<String, Identity>>,
    gateway: Mutex<Daemon>,
    /// Relay from this process to the gateway, if that is in another network namespace.
    door: Option<Listener>,
    started_in: Duration,
    pub(super) cluster: Cluster,
}

impl Rgw {
    /// Starts a gateway and waits until it listens. The first start on a machine also builds its tree, in about a
    /// minute.
    pub fn start(options: RgwOptions) -> Result<Self> {
        let tree = options.release.tree()?;
        let begun = Instant::now();
        let sandbox = Sandbox::open(&tree, options.netns.as_deref(), options.disk.as_deref())?;
        let listen = options.listen.unwrap_or(sandbox.address());
        let address = SocketAddrV4::new(listen, PORT);
        let authority = options.tls.then(|| tls::issue(&sandbox, listen)).transpose()?;
        let cluster = Cluster::start(sandbox, options.disk.is_some()).context("failed to start a Ceph cluster")?;
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

    /// Address that it listens on, in its network namespace.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Address at which this process reaches it: [`address`](Self::address), or a relay into its network namespace.
    pub fn reach(&self) -> SocketAddrV4 {
        self.door.as_ref().map_or(self.address, Listener::address)
    }

    /// `http://ADDRESS:PORT` or `https://…`, for clients in its network namespace. Buckets are in the path, the region
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

    /// Time from a built tree until it listened.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// The user who owns all buckets and may do anything that a lock does not forbid. For set-up and for attacks.
    pub fn owner(&self) -> &Identity {
        &self.owner
    }

    /// The user who may put, lock, list and read back in every bucket, but neither delete nor bypass.
    pub fn writer(&self) -> Result<Identity> {
        self.user("writer")
    }

    /// The user who may list versions and get them.
    pub fn reader(&self) -> Result<Identity> {
        self.user("reader")
    }

    /// Returns the user of this name, and creates it at the first call. Policies of buckets name only owner, writer and
    /// reader.
    pub fn user(&self, name: &str) -> Result<Identity> {
        let mut users = self.users.lock().expect("no holder panics");
        if let Some(known) = users.get(name) {
            return Ok(known.clone());
        }
        let made = create_user(&self.cluster, name, &self.account, false)?;
        users.insert(name.to_owned(), made.clone());
        Ok(made)
    }

    /// Creates a bucket with the policy for writer and reader, and returns it as the owner sees it.
    pub async fn create_bucket(&self, name: &str, lock: Lock) -> Result<Bucket> {
        let bucket = self.bucket(name, &self.owner)?;
        bucket.create(lock, &bucket_policy(name, &self.account)).await?;
        Ok(bucket)
    }

    /// Returns an existing bucket as this identity sees it, reached from this process.
    pub fn bucket(&self, name: &str, by: &Identity) -> Result<Bucket> {
        Bucket::new(&self.url(self.reach()), self.authority(), name, by)
    }

    /// Frees the space of everything that was deleted, instead of in some hours.
    pub fn collect_garbage(&self) -> Result<()> {
        self.cluster.sandbox.run("radosgw-admin", &["gc", "process", "--include-all"]).map(drop)
    }

    /// Kills the gateway, as a crash does. Connections are refused until [`restart_gateway`](Self::restart_gateway).
    pub fn kill_gateway(&self) -> Result<()> {
        self.cluster.sandbox.kill(&self.gateway.lock().expect("no holder panics"))
    }

    /// Starts the gateway again at the same address, on the same data.
    pub fn restart_gateway(&self) -> Result<()> {
        self.spawn_again("")
    }

    /// Starts the gateway again with a clock that is off by `offset`, such as `+100d`: its answers, checks of
    /// signatures and locks go by that clock.
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
    // Off by default: each answer in two pieces then waits 40 ms for the acknowledgement of the first, which the client
    // delays. No other server of note does that.
    let frontend = format!("{frontend} tcp_nodelay=1");
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

/// Creates a user. Policies name the users of an account by their display name, all others by their uid: both are
/// `name`.
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
