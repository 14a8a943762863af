//! A real forward proxy with a login (tinyproxy), which in many networks is the only way out.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::lab::Lab;

pub const USER: &str = "agent";
/// Occurs nowhere else, so that a test can search for it where it must not be.
pub const PASSWORD: &str = "planted-proxy-password";

const PATIENCE: Duration = Duration::from_secs(60);

/// A running tinyproxy, which ends when dropped.
#[derive(Debug)]
pub struct ForwardProxy {
    daemon: Child,
    address: SocketAddrV4,
    directory: TempDir,
}

impl ForwardProxy {
    /// Starts a proxy on a free port of 127.0.0.1.
    pub fn start() -> Result<Self> {
        let address = free(Ipv4Addr::LOCALHOST)?;
        Self::spawn(Command::new("tinyproxy"), address, || Ok(TcpStream::connect(address).is_ok()))
    }

    /// Starts a proxy that the hosts of a lab can reach.
    pub fn in_lab(lab: &Lab) -> Result<Self> {
        let address = lab.netns().within(|| free(lab.gateway_ip()))??;
        let listens = || lab.netns().within(|| TcpStream::connect(address).is_ok());
        Self::spawn(lab.command("tinyproxy"), address, listens)
    }

    fn spawn(mut command: Command, address: SocketAddrV4, listens: impl Fn() -> Result<bool>) -> Result<Self> {
        let directory = tempfile::tempdir().context("failed to make a directory")?;
        let (config, log) = (directory.path().join("tinyproxy.conf"), directory.path().join("log"));
        let lines = format!(
            "Port {}\nListen {}\nTimeout 600\nMaxClients 100\nLogLevel Connect\nLogFile \"{}\"\nBasicAuth {USER} {PASSWORD}\n",
            address.port(),
            address.ip(),
            log.display()
        );
        fs::write(&config, lines).context("failed to write the proxy's configuration")?;
        let daemon = command.args(["-d", "-c"]).arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let daemon = daemon.context("failed to run tinyproxy (Debian package tinyproxy-bin)")?;
        let mut proxy = Self { daemon, address, directory };
        let since = Instant::now();
        while !listens()? {
            ensure!(since.elapsed() < PATIENCE, "tinyproxy does not listen on {address}: {}", proxy.log());
            if let Some(status) = proxy.daemon.try_wait()? {
                bail!("tinyproxy ended with {status}: {}", proxy.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(proxy)
    }

    /// `http://ADDRESS:PORT`, without a login.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// URL with the login, as in environment variables.
    pub fn url_with_login(&self) -> String {
        format!("http://{USER}:{PASSWORD}@{}", self.address)
    }

    /// Content of a login file, one line.
    pub fn login() -> String {
        format!("{USER}:{PASSWORD}\n")
    }

    /// Log so far: a line contains `CONNECT host:port` for a tunnel, `GET http://…` for a forwarded request.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Returns a free port of an address in the network namespace of this thread.
fn free(listen: Ipv4Addr) -> Result<SocketAddrV4> {
    match TcpListener::bind((listen, 0))?.local_addr()? {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(address) => bail!("bound to {listen}, not {address}"),
    }
}
