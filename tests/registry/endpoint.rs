//! What hosts need to use a registry: its address, its authority, and a login.

use anyhow::{Result, ensure};

use super::Account;
use crate::lab::Host;

/// A server that engines take for a registry.
pub trait Endpoint {
    /// `ADDRESS:PORT`, with which the names of its images begin.
    fn host(&self) -> String;

    /// Certificate of the authority that signed the server's, in PEM; `None` without TLS.
    fn authority(&self) -> Option<&str>;

    /// `https://ADDRESS:PORT`, or `http://…` without TLS.
    fn url(&self) -> String {
        let scheme = if self.authority().is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.host())
    }

    /// Puts the authority where the engine of a host looks for it, at every request. Does nothing without TLS.
    fn trust(&self, host: &Host) -> Result<()> {
        match self.authority() {
            Some(pem) => host.write_file(&format!("/etc/docker/certs.d/{}/ca.crt", self.host()), pem),
            None => Ok(()),
        }
    }

    /// Logs root of a host in, by the docker client. The error contains what that printed.
    fn log_in(&self, host: &Host, account: &Account) -> Result<()> {
        let server = self.host();
        let words = ["docker", "login", "--username", &account.user, "--password-stdin", &server];
        let output = host.run_with_input(&words, account.password.as_bytes())?;
        ensure!(output.status.success(), "docker login {server}: {}{}", output.stdout, output.stderr);
        Ok(())
    }
}
