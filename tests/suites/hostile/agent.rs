//! The agent under test as a process of this machine, and the number of its requests to the server.

use std::{
    fs,
    io::Read,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use swarmdr_tests::{
    s3::LossyProxy,
    scenario::{Site, agent_binary},
};
use tempfile::TempDir;

/// Runs the agent with a configuration of its own, through a proxy that counts requests.
#[derive(Debug)]
pub struct LocalAgent {
    dir: TempDir,
    proxy: LossyProxy,
    pub identity: String,
    /// Value of `trusted_keys` in the configuration.
    pub trusted_keys: String,
}

#[derive(Debug)]
pub struct Ran {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
    pub requests: usize,
    /// Peak resident memory, in bytes.
    pub peak_memory: u64,
}

impl LocalAgent {
    pub fn new(site: &Site) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let identity = dir.path().join("identity.txt");
        fs::write(&identity, site.identity())?;
        let (access, secret) = (&site.writer.access_key, &site.writer.secret_key);
        fs::write(
            dir.path().join("credentials"),
            format!("[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"),
        )?;
        let identity = identity.to_str().context("a temporary path is UTF-8")?.to_owned();
        let trusted_keys = format!("[\"{}\"]", site.public_key);
        Ok(Self { dir, proxy: LossyProxy::start(site.rgw.reach())?, identity, trusted_keys })
    }

    /// Runs the agent with `--json`, on one vault.
    pub fn run(&self, site: &Site, url: &str, args: &[&str]) -> Result<Ran> {
        self.run_with(site, &[url.to_owned()], args)
    }

    /// Runs the agent without `--json`, on one vault.
    pub fn plain(&self, site: &Site, url: &str, args: &[&str]) -> Result<Ran> {
        self.spawn(site, &[url.to_owned()], args)
    }

    /// Runs the agent with `--json`, on several vaults.
    pub fn run_with(&self, site: &Site, urls: &[String], args: &[&str]) -> Result<Ran> {
        self.spawn(site, urls, &[args, &["--json"]].concat())
    }

    fn spawn(&self, site: &Site, urls: &[String], args: &[&str]) -> Result<Ran> {
        let config = self.dir.path().join("agent.toml");
        fs::write(&config, self.config(site, urls))?;
        let before = self.proxy.seen().len();
        let mut child = Command::new(agent_binary()?.path)
            .arg("--config")
            .arg(&config)
            .args(args)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TMPDIR", self.dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("failed to run the agent")?;
        let mut out = child.stdout.take().context("is piped")?;
        let mut err = child.stderr.take().context("is piped")?;
        let read = |pipe: &mut dyn Read| {
            let mut text = String::new();
            pipe.read_to_string(&mut text).map(|_| text)
        };
        let (stdout, stderr) = (thread::spawn(move || read(&mut out)), thread::spawn(move || read(&mut err)));
        let status = format!("/proc/{}/status", child.id());
        let mut peak_memory = 0;
        let ended = loop {
            peak_memory = peak_memory.max(peak(&status));
            match child.try_wait()? {
                Some(ended) => break ended,
                None => thread::sleep(Duration::from_millis(2)),
            }
        };
        Ok(Ran {
            exit: ended.code().context("the agent was killed")?,
            stdout: stdout.join().expect("does not panic")?,
            stderr: stderr.join().expect("does not panic")?,
            requests: self.proxy.seen().len() - before,
            peak_memory,
        })
    }

    fn config(&self, site: &Site, urls: &[String]) -> String {
        let dir = self.dir.path().display();
        let mut text = format!(
            "state_dir = \"{dir}/state\"\nrecipients = [\"{}\"]\ntrusted_keys = {}\n",
            site.recipient, self.trusted_keys
        );
        for url in urls {
            text += &format!(
                "[[vault]]\nurl = \"{url}\"\nendpoint = \"{}\"\nregion = \"us-east-1\"\nrequired = false\n\
                 credentials_file = \"{dir}/credentials\"\nlock = {{ mode = \"COMPLIANCE\", days = 1 }}\n",
                self.proxy.endpoint()
            );
        }
        text
    }
}

/// Returns the peak resident memory of the process, in bytes; 0 once it is gone.
fn peak(status: &str) -> u64 {
    let status = fs::read_to_string(status).unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.map_or(0, |kib: u64| kib * 1024)
}
