//! Parts that the whole-agent tests and the demo share: a lab with an object store in it, and managers that are set up
//! the way an operator would set them up.

use std::{env, fs, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    lab::{Host, Lab, Network, Output, Program, Service},
    s3::{Bucket, Identity, Lock, Release, Rgw, RgwOptions},
};

/// The bucket and prefix of the vault.
pub const VAULT: &str = "s3://vault/prod";
const BUCKET: &str = "vault";

/// Paths of the agent's files on a host.
pub const CONFIG: &str = "/etc/swarmdr/agent.toml";
pub const CREDENTIALS: &str = "/etc/swarmdr/credentials";
const SIGNING_KEY: &str = "/var/lib/swarmdr/keys/signing.key";
/// Identity that opens the archives. It is not on the managers.
pub const IDENTITY: &str = "/root/identity.txt";

/// A lab, an object store on its network, and the keys that a careful operator keeps elsewhere.
#[derive(Debug)]
pub struct Site {
    pub rgw: Rgw,
    pub lab: Lab,
    pub owner: Bucket,
    pub writer: Identity,
    /// The minisign key pair of the managers.
    signing_key: String,
    pub public_key: String,
    /// The age key pair of the operator.
    identity: String,
    pub recipient: String,
}

impl Site {
    /// Makes an empty lab with a locked bucket on its network.
    pub async fn new(release: Release) -> Result<Self> {
        Self::with(RgwOptions { release, ..RgwOptions::default() }).await
    }

    /// Makes a site whose server has these options, apart from its address.
    pub async fn with(options: RgwOptions) -> Result<Self> {
        let lab = Lab::new()?;
        let options = RgwOptions { listen: Some(lab.gateway_ip()), netns: Some(lab.netns_path()), ..options };
        let rgw = Rgw::start(options)?;
        let owner = rgw.create_bucket(BUCKET, Lock::On).await?;
        let writer = rgw.writer()?;
        let (identity, recipient) = age_key_pair()?;
        let (signing_key, public_key) = minisign_key_pair()?;
        Ok(Self { rgw, lab, owner, writer, signing_key, public_key, identity, recipient })
    }

    /// The managers' secret key, as minisign wrote it.
    pub fn signing_key(&self) -> &str {
        &self.signing_key
    }

    /// The operator's age identity.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Installs and configures the agent on a manager, ready for a backup.
    pub fn set_up_manager(&self, host: &Host) -> Result<()> {
        host.install(&agent_binary()?)?;
        self.configure_manager(host)
    }

    /// Writes the configuration of a manager, its credentials and its signing key.
    pub fn configure_manager(&self, host: &Host) -> Result<()> {
        self.set_up(host)?;
        write_private(host, SIGNING_KEY, &self.signing_key)
    }

    /// Installs and configures the agent on a host that is to restore: it trusts the managers' key and can open their
    /// archives.
    pub fn set_up_restorer(&self, host: &Host) -> Result<()> {
        host.install(&agent_binary()?)?;
        self.set_up(host)?;
        self.write_identity(host)
    }

    /// Writes the identity that opens the archives to [`IDENTITY`].
    pub fn write_identity(&self, host: &Host) -> Result<()> {
        write_private(host, IDENTITY, &self.identity)
    }

    fn set_up(&self, host: &Host) -> Result<()> {
        self.write_credentials(host)?;
        host.write_file(CONFIG, self.config(VAULT))
    }

    /// Writes the S3 keys of a user who may store and lock, to the file that configurations name.
    pub fn write_credentials(&self, host: &Host) -> Result<()> {
        self.write_credentials_of(host, &self.writer)
    }

    pub fn write_credentials_of(&self, host: &Host, user: &Identity) -> Result<()> {
        let Identity { access_key, secret_key, .. } = user;
        let credentials =
            format!("[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n");
        write_private(host, CREDENTIALS, &credentials)
    }

    /// Returns a configuration with one vault at `url` on this site's server.
    pub fn config(&self, url: &str) -> String {
        format!(
            "recipients = [\"{}\"]\ntrusted_keys = [\"{}\"]\n\n[[vault]]\nurl = \"{url}\"\nendpoint = \"{}\"\n\
             region = \"us-east-1\"\ncredentials_file = \"{CREDENTIALS}\"\nlock = {{ mode = \"COMPLIANCE\", days = 1 }}\n",
            self.recipient,
            self.public_key,
            self.rgw.endpoint(),
        )
    }

    /// Returns a configuration with one vault in `/srv/vault` of the host, whose objects can be altered there.
    pub fn directory_config(&self) -> String {
        format!(
            "recipients = [\"{}\"]\ntrusted_keys = [\"{}\"]\n[[vault]]\nurl = \"file:///srv/vault\"\n",
            self.recipient, self.public_key
        )
    }

    /// Writes another configuration for this host.
    pub fn configure(&self, host: &Host, config: &str) -> Result<()> {
        host.write_file(CONFIG, config)
    }
}

/// Returns the binary under test: `SWARMDR_AGENT`, or the one that was built along with this test.
pub fn agent_binary() -> Result<Program> {
    let path = match env::var_os("SWARMDR_AGENT") {
        Some(named) => named.into(),
        None => agent_with_faults()?.path,
    };
    // False whichever it is: no test asks this binary for a fault.
    Ok(Program { path, has_faults: false })
}

/// Returns the binary that was built along with this test, which has failpoints.
pub fn agent_with_faults() -> Result<Program> {
    // Programs are in the directory of their profile, tests one below.
    let own = env::current_exe()?;
    let beside = own.ancestors().skip(1).take(2).map(|directory| directory.join("swarmdr-agent"));
    let binary = beside.into_iter().find(|binary| binary.exists());
    let path = binary
        .context("the agent is not built: run `cargo build -p swarmdr-agent`, or name a binary with SWARMDR_AGENT")?;
    Ok(Program { path, has_faults: true })
}

/// Runs the agent with `--json` and returns its output. Fails if the exit code is not the expected one.
pub fn agent_json(host: &Host, expected: i32, args: &[&str]) -> Result<Value> {
    let output = agent(host, &[args, &["--json"]].concat())?;
    ensure!(
        output.status.code() == Some(expected),
        "swarmdr-agent {} exited {:?}, not {expected}\nstdout: {}\nstderr: {}",
        args.join(" "),
        output.status.code(),
        output.stdout,
        output.stderr
    );
    serde_json::from_str(&output.stdout)
        .with_context(|| format!("swarmdr-agent {} printed no JSON: {}", args.join(" "), output.stdout))
}

pub fn agent(host: &Host, args: &[&str]) -> Result<Output> {
    host.run(&[&["swarmdr-agent"], args].concat())
}

/// Waits for an entry with this MESSAGE_ID in the host's journal, and returns the newest.
pub fn journal_entry(host: &Host, message_id: &str) -> Result<Value> {
    let find = format!("journalctl --sync; journalctl --output=json MESSAGE_ID={message_id}");
    let entry = host.wait_for("the entry in the journal", Duration::from_secs(30), || {
        Ok(host.sh(&find)?.lines().last().filter(|line| !line.is_empty()).map(str::to_owned))
    })?;
    serde_json::from_str(&entry).with_context(|| format!("the entry is no JSON: {entry}"))
}

/// Returns the text at a JSON pointer.
pub fn text<'a>(document: &'a Value, pointer: &str) -> Result<&'a str> {
    let value = document.pointer(pointer).and_then(Value::as_str);
    value.with_context(|| format!("there is no text at {pointer} in {document:#}"))
}

/// Returns the number at a JSON pointer.
pub fn number(document: &Value, pointer: &str) -> Result<u64> {
    let value = document.pointer(pointer).and_then(Value::as_u64);
    value.with_context(|| format!("there is no number at {pointer} in {document:#}"))
}

/// Creates services, secrets, configs and a network, as a small production swarm has them.
pub fn populate(host: &Host) -> Result<()> {
    host.load_image()?;
    host.create_overlay("backend")?;
    host.create_secret("db-password", b"correct horse battery staple")?;
    host.create_secret("tls-key", b"-----BEGIN PRIVATE KEY----- not really")?;
    host.create_config("site.conf", b"listen 80;")?;
    let web =
        Service { name: "web", replicas: 2, secrets: &["tls-key"], configs: &["site.conf"], ..Service::default() };
    host.create_service(&web)?;
    let network = Network::Overlay("backend");
    host.create_service(&Service {
        name: "db",
        replicas: 1,
        network,
        secrets: &["db-password"],
        ..Service::default()
    })?;
    host.create_service(&Service { name: "cron", replicas: 1, ..Service::default() })?;
    wait_populated(host)
}

/// Waits until the containers of [`populate`]'s services run on this host.
pub fn wait_populated(host: &Host) -> Result<()> {
    for (service, containers) in [("web", 2), ("db", 1), ("cron", 1)] {
        host.wait_containers(service, containers)?;
    }
    Ok(())
}

/// Describes the swarm in the engine's own words: one line for each fact, to compare before and after.
pub fn describe_swarm(host: &Host) -> Result<Vec<String>> {
    let script = r#"
        docker info --format 'cluster {{.Swarm.Cluster.ID}}'
        docker info --format 'node    {{.Swarm.NodeID}} at {{.Swarm.NodeAddr}}'
        docker service ls --format 'service {{.ID}} {{.Name}} {{.Image}}' | sort
        docker secret  ls --format 'secret  {{.ID}} {{.Name}}' | sort
        docker config  ls --format 'config  {{.ID}} {{.Name}}' | sort
        docker network ls --filter scope=swarm --format 'network {{.ID}} {{.Name}} {{.Driver}}' | sort
        echo "token   worker  $(docker swarm join-token -q worker | sha256sum | cut -c1-16) (digest)"
        echo "token   manager $(docker swarm join-token -q manager | sha256sum | cut -c1-16) (digest)"
    "#;
    Ok(host.sh(script)?.lines().map(str::to_owned).collect())
}

/// Returns a digest over every file of the host that an agent could touch: names, types, modes, owners and sizes, and
/// for /etc, /root and the swarm's state also the contents. `history.json`, the agent's record of its own runs, is
/// excluded.
pub fn fingerprint(host: &Host) -> Result<String> {
    host.sh("for d in /etc /root /usr/bin /var/lib/docker/swarm /var/lib/swarmdr /var/lib/docker/.swarmdr; do \
           [ -e $d ] && find $d -xdev ! -name history.json -printf '%p %y %m %U %G %s\\n' || echo \"no $d\"; \
         done | sort > /run/fingerprint; \
         find /etc /root /var/lib/docker/swarm -xdev -type f -exec sha256sum {} + | sort >> /run/fingerprint; \
         ls -A /var/lib/docker >> /run/fingerprint; \
         sha256sum < /run/fingerprint")
}

fn write_private(host: &Host, path: &str, content: &str) -> Result<()> {
    host.write_file(path, content)?;
    host.sh(&format!("chmod 600 {path}"))?;
    Ok(())
}

/// Makes a key pair as an operator would, with the stock tool.
fn age_key_pair() -> Result<(String, String)> {
    let made = Command::new("age-keygen").output().context("failed to run age-keygen (Debian package age)")?;
    ensure!(made.status.success(), "age-keygen failed: {}", String::from_utf8_lossy(&made.stderr));
    let identity = String::from_utf8(made.stdout)?;
    let recipient = identity.lines().find_map(|line| line.strip_prefix("# public key: "));
    let recipient = recipient.context("age-keygen printed no public key")?.to_owned();
    Ok((identity, recipient))
}

/// Makes a key pair as an operator would, with the stock tool: the secret file and the public key.
pub fn minisign_key_pair() -> Result<(String, String)> {
    let dir = tempfile::tempdir()?;
    let (secret, public) = (dir.path().join("s.key"), dir.path().join("s.pub"));
    let made = Command::new("minisign")
        .args(["-G", "-W", "-s"])
        .arg(&secret)
        .arg("-p")
        .arg(&public)
        .output()
        .context("failed to run minisign (Debian package minisign)")?;
    ensure!(made.status.success(), "minisign failed: {}", String::from_utf8_lossy(&made.stderr));
    let public = fs::read_to_string(public)?;
    let line = public.lines().nth(1).context("minisign wrote no public key")?;
    Ok((fs::read_to_string(secret)?, line.to_owned()))
}
