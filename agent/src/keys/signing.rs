//! Signing key of this host, made on first use, and the trusted keys.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use ring::rand::SystemRandom;
use swarmdr_archive::{PublicKey, SecretKey, TrustedKeys};

use crate::{
    config::{Config, TrustedKey},
    outcome::failure::Failure,
};

/// Signing key, and whether this run made it.
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

pub(super) fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Makes a key pair. Fails if one of the files exists: no key is ever replaced.
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
        file.sync_all()?;
        // The key must be on disk before it signs anything.
        path.parent().map_or(Ok(()), sync_directory)
    };
    write().map_err(|cause| {
        let exists = cause.kind() == io::ErrorKind::AlreadyExists;
        let failure = Failure::failed(format!("failed to write the key file {}", path.display())).because(cause);
        if exists {
            failure.advice("an existing key is never replaced: to make a new one here, move it away first").into()
        } else {
            failure.into()
        }
    })
}

pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

/// Returns the keys that flags name and the configured keys but for those of streams only, or the public half of this host's
/// own key if there are neither.
///
/// A host without any of them trusts no key. That is an error, since nothing could be verified. A key that a flag names
/// is trusted even if the configuration sets an end for it, or trusts it for streams only: the operator has decided so for
/// this run.
pub fn trusted(config: &Config, flags: &[String]) -> Result<TrustedKeys> {
    let keys = named(config, flags, |key| !key.is_for_streams_only())?;
    if keys.is_empty() {
        return Err(Failure::usage("each of trusted_keys is for streams only, so no backup can be verified")
            .advice(
                "write the public key of the managers (`RW…`, shown by `swarmdr-agent keygen` there) into trusted_keys",
            )
            .advice("or name it for this run with `--trust RW…`")
            .into());
    }
    Ok(keys)
}

/// Returns the keys whose signatures count on data streams: those that count on everything, and those for streams only.
pub fn trusted_on_streams(config: &Config, flags: &[String]) -> Result<TrustedKeys> {
    named(config, flags, |_| true)
}

fn named(config: &Config, flags: &[String], counts: impl Fn(&TrustedKey) -> bool) -> Result<TrustedKeys> {
    let mut keys = TrustedKeys::new();
    for named in flags {
        keys.insert(parse_public(named)?);
    }
    let flags = keys.clone();
    for configured in config.trusted_keys.iter().filter(|key| counts(key)) {
        let key = parse_public(configured.named())?;
        if !flags.iter().any(|flag| *flag == key) {
            keys.insert_until(key, configured.until());
        }
    }
    if keys.is_empty() && config.trusted_keys.is_empty() {
        let own = config.public_key_path();
        match fs::read_to_string(&own) {
            Ok(text) => {
                keys.insert(text.parse().with_context(|| format!("failed to read the public key {}", own.display()))?);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Failure::usage("no key is trusted on this host, so no backup can be verified")
                    .advice("write the public key of the managers (`RW…`, shown by `swarmdr-agent keygen` there) into trusted_keys")
                    .advice("or name it for this run with `--trust RW…`")
                    .into());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("failed to read the public key {}", own.display()));
            }
        }
    }
    Ok(keys)
}

/// Returns the keys whose backups count on a host that makes and watches backups: those that a restore with this
/// configuration trusts. If none are configured, this is this host's own key, if it exists yet.
pub fn trusted_for_watching(config: &Config) -> Result<TrustedKeys> {
    if !config.trusted_keys.is_empty() {
        return named(config, &[], |key| !key.is_for_streams_only());
    }
    match read(&config.signing_key_path()) {
        Ok(own) => Ok(own.public().into()),
        Err(error) if is_missing(&error) => Ok(TrustedKeys::new()),
        Err(error) => Err(error),
    }
}

/// Returns the keys whose streams count on a host that stores and watches them, as [`trusted_for_watching`] does.
pub fn trusted_on_streams_for_watching(config: &Config) -> Result<TrustedKeys> {
    if config.trusted_keys.is_empty() { trusted_for_watching(config) } else { trusted_on_streams(config, &[]) }
}

/// Whether the configuration trusts this host's own key on streams only, so that others sign what names them.
pub fn signs_streams_only(config: &Config, now: Timestamp) -> bool {
    require_signer_of_streams(config, now).is_ok() && require_trusted_signer(config, now).is_err()
}

/// Refuses to make backups whose signature a host with this configuration would not trust when it restores. Called
/// before the engine is touched.
pub fn require_trusted_signer(config: &Config, now: Timestamp) -> Result<()> {
    require_signer(config, &trusted_for_watching(config)?, now)
}

/// Refuses to store streams whose signature a host with this configuration would not trust.
pub fn require_signer_of_streams(config: &Config, now: Timestamp) -> Result<()> {
    require_signer(config, &trusted_on_streams_for_watching(config)?, now)
}

fn require_signer(config: &Config, trusted: &TrustedKeys, now: Timestamp) -> Result<()> {
    if config.trusted_keys.is_empty() {
        return Ok(());
    }
    let path = config.signing_key_path();
    let own = match read(&path) {
        Ok(key) => key.public(),
        Err(error) if is_missing(&error) => {
            return Err(Failure::usage(format!("trusted_keys are configured, and there is no signing key in {}", path.display()))
                .advice("copy it from another manager, or out of your safe; no new one is made, since no host would trust it")
                .advice("or make one with `swarmdr-agent keygen`, and write its public half into trusted_keys here and on every host that restores")
                .into());
        }
        Err(error) => return Err(error),
    };
    if trusted.at(now).iter().any(|key| *key == own) {
        return Ok(());
    }
    let on_streams = trusted_on_streams_for_watching(config)?;
    if on_streams.at(now).iter().any(|key| *key == own) {
        return Err(Failure::usage(format!("the signing key {own} of this host is trusted for streams only"))
            .advice("backups, recovery points and external snapshots are for managers: run it on one")
            .advice("or trust the key without `only`, here and on every host that restores")
            .into());
    }
    let why = match trusted.until(&own) {
        Some(until) => format!("the signing key {own} of this host is trusted until {until} only"),
        None => format!("the signing key {own} of this host is not among trusted_keys"),
    };
    Err(Failure::usage(format!("{why}, so no host would trust a backup that it signs"))
        .advice(format!("give this host the key that is trusted, as {}", path.display()))
        .advice("or write its public half into trusted_keys, here and on every host that restores")
        .into())
}

/// Parses a key given as `RW…`, or reads the `.pub` file at an absolute path. The key is tried first, since base64
/// has slashes too.
pub fn parse_public(named: &str) -> Result<PublicKey> {
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
    Err(Failure::usage(format!("`{named}` is no minisign public key"))
        .advice("give the `RW…` line, or the absolute path of a .pub file")
        .because(cause)
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{EndedKey, NarrowKey, Only},
        outcome::{exit::Exit, failure::Rendered},
    };

    /// Key with a slash in its base64.
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

    fn host(trusted_keys: Vec<TrustedKey>) -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = Config { state_dir: dir.path().to_owned(), trusted_keys, ..Config::default() };
        (dir, config)
    }

    fn time(text: &str) -> Timestamp {
        text.parse().expect("is a time")
    }

    #[test]
    fn a_host_signs_only_what_its_own_configuration_would_believe() {
        let now = time("2026-11-21T10:00:00Z");
        let refused = |config: &Config, now| {
            let error = require_trusted_signer(config, now).expect_err("is refused");
            assert_eq!(Rendered::of(&error).exit, Exit::Usage);
            Rendered::of(&error).to_string()
        };
        let (_dir, config) = host(Vec::new());
        require_trusted_signer(&config, now).expect("it trusts itself, and may make a key");
        let (_dir, mut config) = host(vec![TrustedKey::Always(KEY.into())]);
        assert!(refused(&config, now).contains("there is no signing key in"));
        let own = load_or_make(&config).expect("makes it").key.public().to_string();
        assert!(refused(&config, now).contains("is not among trusted_keys"));
        let until = time("2026-11-21T10:15Z");
        config.trusted_keys.push(TrustedKey::Until(EndedKey { key: own.clone(), until }));
        require_trusted_signer(&config, now).expect("it has not ended");
        assert!(refused(&config, until).contains("is trusted until 2026-11-21T10:15:00Z only"));
        // A key that is named twice ends at the earlier of its ends.
        config.trusted_keys.push(TrustedKey::Always(own.clone()));
        assert!(refused(&config, until).contains("is trusted until"));
        // The operator who names it for this run has decided.
        let named = trusted(&config, &[own]).expect("reads");
        assert_eq!(named.at(until).iter().count(), 2);
    }

    #[test]
    fn a_key_for_streams_counts_on_nothing_else() {
        let now = time("2026-11-21T10:00:00Z");
        let (_dir, mut config) = host(vec![TrustedKey::Always(KEY.into())]);
        let own = load_or_make(&config).expect("makes it").key.public();
        let narrow = |until| TrustedKey::Only(NarrowKey { key: own.to_string(), only: Only::Streams, until });
        config.trusted_keys.push(narrow(None));
        let has = |keys: Result<TrustedKeys>| keys.expect("reads").at(now).iter().any(|key| *key == own);
        assert!(!has(trusted(&config, &[])) && !has(trusted_for_watching(&config)));
        assert!(has(trusted_on_streams(&config, &[])) && has(trusted_on_streams_for_watching(&config)));
        require_signer_of_streams(&config, now).expect("may store streams");
        let refused = require_trusted_signer(&config, now).expect_err("may make no backup");
        assert!(Rendered::of(&refused).what.contains("is trusted for streams only"), "{refused:#}");
        assert!(signs_streams_only(&config, now));
        // Who names it for a run has decided.
        assert!(has(trusted(&config, &[own.to_string()])));
        // Where no other key is trusted, this is no reason to trust the own one with more.
        config.trusted_keys = vec![narrow(None)];
        let error = trusted(&config, &[]).expect_err("no key is left");
        assert!(Rendered::of(&error).what.contains("for streams only"), "{error:#}");
        assert!(trusted_for_watching(&config).expect("reads").is_empty());
        config.trusted_keys = vec![narrow(Some(now))];
        require_signer_of_streams(&config, now).expect_err("has ended");
        let (_dir, everything) = host(Vec::new());
        load_or_make(&everything).expect("makes it");
        assert!(!signs_streams_only(&everything, now));
    }

    #[test]
    fn who_watches_believes_whom_a_restore_would() {
        let (_dir, mut config) = host(Vec::new());
        assert!(trusted_for_watching(&config).expect("reads").is_empty(), "no key yet");
        let own = load_or_make(&config).expect("makes it").key.public();
        assert_eq!(trusted_for_watching(&config).expect("reads").iter().collect::<Vec<_>>(), [&own]);
        config.trusted_keys.push(TrustedKey::Always(KEY.into()));
        let trusted = trusted_for_watching(&config).expect("reads");
        assert_eq!(trusted.iter().map(ToString::to_string).collect::<Vec<_>>(), [KEY]);
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
