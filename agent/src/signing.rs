//! The signing key of this host, made on first use, and the keys whose signatures are believed.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result};
use ring::rand::SystemRandom;
use swarmdr_archive::{PublicKey, SecretKey, TrustedKeys};

use crate::{config::Config, fault::Fault};

/// The key that signs, and whether this run made it.
#[derive(Debug)]
pub struct SigningKey {
    pub key: Arc<SecretKey>,
    pub made: bool,
}

/// Reads the configured key, or makes one if there is none yet.
pub fn load_or_make(config: &Config) -> Result<SigningKey> {
    let path = config.signing_key_path();
    match read(&path) {
        Err(error) if is_missing(&error) => {
            Ok(SigningKey { key: Arc::new(make(&path, &config.public_key_path())?), made: true })
        }
        key => Ok(SigningKey { key: Arc::new(key?), made: false }),
    }
}

/// Reads a minisign secret key.
pub fn read(path: &Path) -> Result<SecretKey> {
    let load = || -> Result<SecretKey> {
        let text = fs::read_to_string(path)?;
        Ok(SecretKey::from_minisign_str(&text)?)
    };
    load().with_context(|| format!("failed to read the signing key {}", path.display()))
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Makes a key pair; refuses to replace either file.
pub fn make(secret_path: &Path, public_path: &Path) -> Result<SecretKey> {
    let key = SecretKey::generate(&SystemRandom::new())?;
    if let Some(directory) = secret_path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .with_context(|| format!("failed to create {}", directory.display()))?;
    }
    write_new(secret_path, 0o600, &key.to_minisign_string())?;
    write_new(public_path, 0o644, &key.public().to_minisign_string())?;
    Ok(key)
}

fn write_new(path: &Path, mode: u32, text: &str) -> Result<()> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|cause| {
        let exists = cause.kind() == io::ErrorKind::AlreadyExists;
        let fault = Fault::failed(format!("failed to write the key file {}", path.display())).because(cause);
        if exists {
            fault.advice("an existing key is never replaced: move it away first if you mean it").into()
        } else {
            fault.into()
        }
    })
}

/// The configured keys, those named by flags, and the public half of this host's own key.
///
/// A host that has none of them believes nobody: that is an error, since nothing could verify.
pub fn trusted(config: &Config, flags: &[String]) -> Result<TrustedKeys> {
    let mut keys = Vec::new();
    for named in config.trusted_keys.iter().chain(flags) {
        keys.push(parse_public(named)?);
    }
    if config.trusted_keys.is_empty() && flags.is_empty() {
        let own = config.public_key_path();
        match fs::read_to_string(&own) {
            Ok(text) => {
                keys.push(text.parse().with_context(|| format!("failed to read the public key {}", own.display()))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Fault::usage("no key is trusted on this host, so no backup could be believed")
                    .advice("write the public key of the managers (`RW…`, shown by `swarmdr-agent keygen` there) into trusted_keys")
                    .advice("or name it for this run with `--trust RW…`")
                    .into());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("failed to read the public key {}", own.display()));
            }
        }
    }
    Ok(keys.into_iter().collect())
}

/// Whose earlier backups count as this cluster's history: this host's own key, if there is one yet,
/// and the configured ones.
pub fn own_and_trusted(config: &Config) -> Result<TrustedKeys> {
    let mut keys = config.trusted_keys.iter().map(|named| parse_public(named)).collect::<Result<Vec<_>>>()?;
    if config.signing_key_path().exists() {
        keys.push(read(&config.signing_key_path())?.public());
    }
    Ok(keys.into_iter().collect())
}

/// A key as `RW…`, or the path of a `.pub` file. A key is tried first: base64 has slashes too.
fn parse_public(named: &str) -> Result<PublicKey> {
    let as_key = named.parse::<PublicKey>();
    let cause = match as_key {
        Ok(key) => return Ok(key),
        Err(cause) if !Path::new(named).is_absolute() => anyhow::Error::new(cause),
        Err(_) => match fs::read_to_string(named).map(|text| text.parse()) {
            Ok(Ok(key)) => return Ok(key),
            Ok(Err(cause)) => anyhow::Error::new::<swarmdr_archive::Error>(cause),
            Err(cause) => anyhow::Error::new(cause),
        },
    };
    Err(Fault::usage(format!("`{named}` is no minisign public key"))
        .advice("give the `RW…` line, or the absolute path of a .pub file")
        .because(cause)
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Rendered;

    /// With a slash in its base64.
    const KEY: &str = "RWT3gRjtdFgGn/+LWOWSfj/3VhQgHy1tT+mOyS9zgLk/DZYTMpPY9y4d";

    #[test]
    fn a_trusted_key_is_a_line_or_a_file() {
        let key = parse_public(KEY).expect("is a key");
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = dir.path().join("signing.pub");
        fs::write(&path, key.to_minisign_string()).expect("writes");
        let read = parse_public(path.to_str().expect("UTF-8")).expect("is a key file");
        assert_eq!(read.to_string(), KEY);
        for wrong in ["RWjunk", "/no/such/file", "signing.pub"] {
            let error = parse_public(wrong).expect_err(wrong);
            assert!(Rendered::of(&error).what.contains(wrong));
        }
    }

    #[test]
    fn a_key_is_made_once_and_never_replaced() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = Config { state_dir: dir.path().to_owned(), ..Config::default() };
        let first = load_or_make(&config).expect("makes it");
        assert!(first.made);
        let second = load_or_make(&config).expect("reads it");
        assert!(!second.made);
        assert_eq!(first.key.public().to_string(), second.key.public().to_string());
        make(&config.signing_key_path(), &config.public_key_path()).expect_err("is there");
        let trusted = trusted(&config, &[]).expect("trusts its own");
        assert_eq!(trusted.iter().count(), 1);
    }
}
