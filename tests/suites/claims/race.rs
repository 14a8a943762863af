//! Sixteen agents claim a swarm at once, each a process of its own: on a gateway that enforces the condition of a put
//! now and then only, on an old one that ignores it, and behind a proxy that delays every put by another time.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_archive::{Identities, SecretKey};
use swarmdr_tests::{
    campaign::full,
    s3::{Bucket, Fault, Identity, Lock, LossyProxy, Mode, Release, Retention, Rgw, RgwOptions},
    scenario::agent_binary,
};
use swarmdr_vault::testkit::archives::{CLUSTER, archive, key};

const RACERS: usize = 16;

/// Seconds of `standby.claim_settle`: more than the longest delay of the proxy, and than a put takes in the gateway.
const SETTLE: u32 = 4;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A vault that many processes of this machine use.
struct Track {
    _rgw: Rgw,
    owner: Bucket,
    writer: Identity,
    endpoint: String,
    proxy: Option<LossyProxy>,
    dir: tempfile::TempDir,
    key: SecretKey,
}

impl Track {
    async fn new(release: Release, with_proxy: bool) -> Result<Self> {
        let rgw = Rgw::start(RgwOptions { release, ..RgwOptions::default() })?;
        let (owner, writer) = (rgw.create_bucket("vault", Lock::On).await?, rgw.writer()?);
        let proxy = with_proxy.then(|| LossyProxy::start(rgw.reach())).transpose()?;
        let endpoint = proxy.as_ref().map_or_else(|| rgw.endpoint(), LossyProxy::endpoint);
        let dir = tempfile::tempdir()?;
        let Identity { access_key, secret_key, .. } = &writer;
        fs::write(
            dir.path().join("credentials"),
            format!("[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"),
        )?;
        fs::write(dir.path().join("identity.txt"), Identities::generate().to_file_string().as_bytes())?;
        Ok(Self { _rgw: rgw, owner, writer, endpoint, proxy, dir, key: key() })
    }

    /// Stores a backup in a vault of its own below `prefix`.
    async fn stock(&self, prefix: &str) -> Result<()> {
        let made = archive(CLUSTER, 0, &self.key);
        let place = format!("{prefix}/{}", made.name.key());
        let bucket = self.owner.by(&self.writer)?;
        let put = bucket.put_locked(&place, &made.bytes, Retention::new(Mode::Compliance, DAY));
        put.await.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
        Ok(())
    }

    /// Writes the configuration of one racer, whose state directory is its own.
    fn config(&self, prefix: &str, racer: usize) -> Result<PathBuf> {
        let own = self.dir.path().join(format!("{prefix}-{racer}"));
        fs::create_dir_all(&own)?;
        let (dir, own_dir) = (self.dir.path().display(), own.display());
        let config = format!(
            "state_dir = \"{own_dir}\"\nencryption = \"none\"\ntrusted_keys = [\"{}\"]\nidentity_file = \"{dir}/identity.txt\"\n\
             [standby]\nsite = \"site-{racer}\"\nclaim_settle = {SETTLE}\n\
             [[vault]]\nurl = \"s3://vault/{prefix}\"\nendpoint = \"{}\"\nregion = \"us-east-1\"\n\
             credentials_file = \"{dir}/credentials\"\nlock = {{ mode = \"COMPLIANCE\", days = 1 }}\n",
            self.key.public(),
            self.endpoint
        );
        let path = own.join("agent.toml");
        fs::write(&path, config)?;
        Ok(path)
    }

    /// Lets all racers go at once, and returns what each said.
    fn race(&self, prefix: &str) -> Result<Vec<Output>> {
        let agent = agent_binary()?.path;
        let configs: Vec<PathBuf> = (0..RACERS).map(|racer| self.config(prefix, racer)).collect::<Result<_>>()?;
        let spawn = |config: &PathBuf| claim(&agent, config).spawn().context("failed to start a racer");
        let running: Vec<_> = configs.iter().map(spawn).collect::<Result<_>>()?;
        running.into_iter().map(|racer| Ok(racer.wait_with_output()?)).collect()
    }
}

/// The agent with this configuration and nothing else: it would read the variables of the test too.
fn with_config(agent: &Path, config: &Path) -> Command {
    let mut command = Command::new(agent);
    command.env_clear().env("AWS_EC2_METADATA_DISABLED", "true").arg("--config").arg(config);
    command
}

fn claim(agent: &Path, config: &Path) -> Command {
    let mut command = with_config(agent, config);
    command.args(["claim", "--latest", "--json"]).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Checks that one racer has the claim, that the others say why they do not, and that everybody who looks finds the same.
fn ensure_one(track: &Track, prefix: &str, outputs: &[Output]) -> Result<()> {
    let said = || {
        let line = |output: &Output| {
            format!(
                "{:?} {}",
                output.status.code(),
                String::from_utf8_lossy(&output.stderr).trim().replace('\n', " / ")
            )
        };
        outputs.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    let with = |code| outputs.iter().filter(move |output| output.status.code() == Some(code));
    ensure!((with(0).count(), with(3).count()) == (1, RACERS - 1), "{prefix}:\n{}", said());
    let won: Value = serde_json::from_slice(&with(0).next().context("nobody won")?.stdout)?;
    for lost in with(3) {
        let told: Value = serde_json::from_slice(&lost.stdout)?;
        // Whoever was first in the listing at that moment; where the condition is ignored it may be void by now.
        ensure!(
            told["error"].as_str().is_some_and(|error| error.contains("another site has this swarm: site-")),
            "{told:#}"
        );
    }
    let mut list = with_config(&agent_binary()?.path, &track.config(prefix, RACERS)?);
    let listed = list.args(["list", "--claims", "--json"]).output()?;
    let listed: Value = serde_json::from_slice(&listed.stdout)?;
    let holds = listed["claims"].as_array().into_iter().flatten().filter(|claim| claim["state"] == "holds");
    let holds: Vec<&Value> = holds.collect();
    ensure!(holds.len() == 1 && holds[0]["claim_id"] == won["claim_id"], "{prefix}: {listed:#}");
    Ok(())
}

async fn race(name: &str, release: Release, with_proxy: bool) -> Result<()> {
    let track = Track::new(release, with_proxy).await?;
    for round in 0..if full() { 20 } else { 2 } {
        let prefix = format!("{name}-{round}");
        track.stock(&prefix).await?;
        if let Some(proxy) = &track.proxy {
            proxy.heal();
            // Another delay for each put, and the longest ones for the first that come.
            for place in 0..3 * RACERS as u64 {
                let ms = 2500_u64.saturating_sub(place * 150) + place * 37 % 400;
                proxy.spoil(&format!("PUT /vault/{prefix}/claims/"), 0, 1, Fault::Late { ms });
            }
        }
        let begun = std::time::Instant::now();
        ensure_one(&track, &prefix, &track.race(&prefix)?)?;
        println!("{prefix}: one of {RACERS}, {:.1} s", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

#[tokio::test]
async fn of_sixteen_one_has_it_on_a_gateway_that_enforces_the_condition() -> Result<()> {
    race("new", Release::V20, false).await
}

#[tokio::test]
async fn of_sixteen_one_has_it_on_a_gateway_that_ignores_the_condition() -> Result<()> {
    race("old", Release::Old, false).await
}

#[tokio::test]
async fn of_sixteen_one_has_it_behind_a_proxy_that_delays_puts() -> Result<()> {
    race("late", Release::V20, true).await?;
    race("late-old", Release::Old, true).await
}
