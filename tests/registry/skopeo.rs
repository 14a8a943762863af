//! skopeo, which pushes images and judges what is in a registry.

use std::process::Command;

use anyhow::Result;
use sha2::{Digest, Sha256};

use super::{Account, Endpoint, Made, Registry, authority::Authority};
use crate::tree::capture;

impl Registry {
    /// Pushes an image with everything that it consists of, as the owner.
    pub fn push(&self, image: &Made, repo: &str, tag: &str) -> Result<()> {
        self.push_as(&self.owner().clone(), image, &self.host(), repo, tag)
    }

    /// Like [`Registry::push`], with another login, to this registry or to a front of it.
    pub fn push_as(&self, account: &Account, image: &Made, host: &str, repo: &str, tag: &str) -> Result<()> {
        let mut command = self.skopeo("copy", "dest-", account)?;
        command.args(["--all", "--preserve-digests"]).arg(image.reference());
        capture(command.arg(format!("docker://{host}/{repo}:{tag}"))).map(drop)
    }

    /// Returns the manifest or index behind a tag, or behind a digest with `@` before it, byte by byte.
    pub fn raw(&self, repo: &str, reference: &str) -> Result<String> {
        self.raw_as(&self.owner().clone(), &self.host(), repo, reference)
    }

    /// Like [`Registry::raw`], with another login, from this registry or from a front of it.
    pub fn raw_as(&self, account: &Account, host: &str, repo: &str, reference: &str) -> Result<String> {
        let mut command = self.skopeo("inspect", "", account)?;
        capture(command.arg("--raw").arg(named(host, repo, reference)))
    }

    /// Returns the digest of what is behind a tag, as computed here.
    pub fn digest(&self, repo: &str, reference: &str) -> Result<String> {
        Ok(digest_of(self.raw(repo, reference)?.as_bytes()))
    }

    /// Deletes a manifest or index, and with it the tags that point to it. Its layers stay, without a name.
    pub fn delete_manifest(&self, repo: &str, digest: &str) -> Result<()> {
        let mut command = self.skopeo("delete", "", self.owner())?;
        capture(command.arg(named(&self.host(), repo, &format!("@{digest}")))).map(drop)
    }

    /// Returns `skopeo WORD` with the options that reach this registry: `prefix` is `dest-`, `src-` or empty.
    pub fn skopeo(&self, word: &str, prefix: &str, account: &Account) -> Result<Command> {
        let mut command = self.command("skopeo");
        command.args(["--insecure-policy", word]);
        match self.own_authority().map(Authority::client_directory).transpose()? {
            Some(directory) => command.arg(format!("--{prefix}cert-dir={}", directory.display())),
            None => command.arg(format!("--{prefix}tls-verify=false")),
        };
        command.arg(format!("--{prefix}creds={}", account.pair()));
        // Nobody's own logins.
        command.env("REGISTRY_AUTH_FILE", self.directory().join("no-logins"));
        Ok(command)
    }

    /// Returns the answer to a request of curl, head and body. `path` begins with `/v2/`. Logs in as the owner, where
    /// a login is in the request itself.
    pub fn curl(&self, host: &str, path: &str, options: &[&str]) -> Result<String> {
        let mut command = self.command("curl");
        command.args(["--silent", "--show-error", "--include", "--user", &self.owner().pair()]);
        let scheme = match self.own_authority() {
            Some(authority) => {
                command.arg("--cacert").arg(authority.pem_file());
                "https"
            }
            None => "http",
        };
        capture(command.args(options).arg(format!("{scheme}://{host}{path}")))
    }
}

fn named(host: &str, repo: &str, reference: &str) -> String {
    let separator = if reference.starts_with('@') { "" } else { ":" };
    format!("docker://{host}/{repo}{separator}{reference}")
}

/// `sha256:` and the digest in hex.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", data_encoding::HEXLOWER.encode(&Sha256::digest(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_and_tags_are_named_differently() {
        assert_eq!(named("h:1", "a/b", "1"), "docker://h:1/a/b:1");
        assert_eq!(named("h:1", "a/b", "@sha256:0"), "docker://h:1/a/b@sha256:0");
    }
}
