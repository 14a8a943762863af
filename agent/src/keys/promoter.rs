//! Keys of promoters: those whose claims on a swarm count, and the one that signs the claims of this host.
//!
//! A promoter may say that its site has the swarm from now on. Managers do not have such a key: whoever owns a manager
//! could claim the swarm otherwise. A host that opens archives has the key that is derived from its age identity, so
//! two hosts with the same identity believe each other without a further setting.

use anyhow::{Context, Result};
use swarmdr_archive::{Identities, PublicKey, SecretKey, TrustedKeys};

use super::{identities, signing};
use crate::{config::Config, outcome::failure::Failure};

/// Purpose of the key that is derived from an identity, in the derivation.
pub const PURPOSE: &str = "promoter";

/// The promoters that this host believes, and what it signs with.
#[derive(Debug, Clone)]
pub struct Promoter {
    /// Keys whose claims count here: the configured ones, and those that are derived from this host's identities.
    pub trusted: TrustedKeys,
    /// Key that signs this host's claims; `None` on a host that can make none.
    pub signer: Option<SecretKey>,
    /// True if the operator asked for claims: `standby.promoters` or `standby.promoter_key` is set.
    pub is_configured: bool,
}

impl Promoter {
    /// Finds the keys in the configuration and those of the given identities.
    pub fn find(config: &Config, identities: &Identities) -> Result<Self> {
        let standby = &config.standby;
        let mut trusted = configured(config)?;
        let derived = identities.signing_keys(PURPOSE);
        derived.iter().for_each(|key| insert(&mut trusted, key.public()));
        let own = standby.promoter_key.as_ref().map(|path| signing::read(path)).transpose()?;
        let signer = own.or_else(|| derived.into_iter().next());
        if let Some(signer) = &signer {
            insert(&mut trusted, signer.public());
        }
        let is_configured = !standby.promoters.is_empty() || standby.promoter_key.is_some();
        Ok(Self { trusted, signer, is_configured })
    }

    /// Finds the keys in the configuration and those in the files of this host, for a run that nobody gave an identity. An
    /// `identity_command` is not asked, as it may ask a person.
    pub fn at_hand(config: &Config) -> Result<Self> {
        let identities = config.identity_file.as_ref().map(|path| identities::find(&[path], config)).transpose()?;
        Self::find(config, &identities.unwrap_or_else(Identities::none))
    }

    /// Finds the promoters that a manager believes: the configured ones, or else the keys that this host itself has. Of
    /// its identities only those in `identity_file` count: an `identity_command` may ask a person, or cost money each
    /// time. Own keys that cannot be read are no reason to make no backup.
    pub fn for_watching(config: &Config) -> Result<Self> {
        let mut trusted = configured(config)?;
        let is_configured = !trusted.is_empty();
        if !is_configured {
            match own(config) {
                Ok(keys) => keys.into_iter().for_each(|key| insert(&mut trusted, key)),
                Err(error) => tracing::warn!("claims of other sites are not noticed: {error:#}"),
            }
        }
        Ok(Self { trusted, signer: None, is_configured })
    }

    /// True if managers that know `standby.promoters` only would believe this host's claims, or if none are set.
    pub fn is_believed_by_managers(&self, config: &Config) -> Result<bool> {
        let (Some(signer), known) = (&self.signer, configured(config)?) else { return Ok(false) };
        Ok(known.is_empty() || known.iter().any(|key| *key == signer.public()))
    }
}

/// Returns the keys of `standby.promoters`.
pub fn configured(config: &Config) -> Result<TrustedKeys> {
    let mut keys = TrustedKeys::new();
    for promoter in &config.standby.promoters {
        if promoter.is_for_streams_only() {
            return Err(Failure::usage(format!(
                "standby.promoters names {promoter}, and who promotes signs no streams"
            ))
            .into());
        }
        let key = signing::parse_public(promoter.named()).context("failed to read standby.promoters")?;
        keys.insert_until(key, promoter.until());
    }
    Ok(keys)
}

/// Returns the promoters' keys in the files of this host.
fn own(config: &Config) -> Result<Vec<PublicKey>> {
    let mut keys = Vec::new();
    if let Some(path) = &config.identity_file {
        let identities = identities::find(&[path], config)?;
        keys.extend(identities.signing_keys(PURPOSE).iter().map(SecretKey::public));
    }
    if let Some(path) = &config.standby.promoter_key {
        keys.push(signing::read(path)?.public());
    }
    Ok(keys)
}

/// Adds a key that may be configured already; then an end that is configured for it stays.
fn insert(keys: &mut TrustedKeys, key: PublicKey) {
    if !keys.iter().any(|known| *known == key) {
        keys.insert(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EndedKey, TrustedKey};

    #[test]
    fn hosts_with_one_identity_believe_each_other_and_nobody_else() {
        let (ours, other) = (Identities::generate(), Identities::generate());
        let config = Config::default();
        let find = |identities| Promoter::find(&config, identities).expect("finds");
        let (one, two, stranger) = (find(&ours), find(&ours), find(&other));
        let signs = |promoter: &Promoter| promoter.signer.as_ref().expect("has one").public();
        assert!(two.trusted.iter().any(|key| *key == signs(&one)) && !one.is_configured);
        assert!(!two.trusted.iter().any(|key| *key == signs(&stranger)));
        assert!(one.is_believed_by_managers(&config).expect("reads"));
        let none = find(&Identities::none());
        assert!(none.signer.is_none() && none.trusted.is_empty());
    }

    #[test]
    fn a_manager_believes_the_configured_promoters_or_its_own_keys_and_a_broken_file_stops_nothing() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let (path, identities) = (dir.path().join("identity.txt"), Identities::generate());
        std::fs::write(&path, identities.to_file_string().as_bytes()).expect("writes");
        let mut config = Config { identity_file: Some(path.clone()), ..Config::default() };
        config.identity_command = vec!["/no/such/program".to_owned()];
        let trusted = |config: &Config| -> Vec<PublicKey> {
            Promoter::for_watching(config).expect("finds").trusted.iter().copied().collect()
        };
        assert_eq!(trusted(&config), [identities.signing_keys(PURPOSE)[0].public()]);
        let other = Identities::generate().signing_keys(PURPOSE)[0].public();
        config.standby.promoters = vec![TrustedKey::Always(other.to_string())];
        assert_eq!(trusted(&config), [other]);
        config.standby.promoters.clear();
        std::fs::write(&path, "junk").expect("writes");
        assert_eq!(trusted(&config), []);
    }

    #[test]
    fn a_key_of_its_own_signs_and_the_end_of_a_promoter_counts() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = dir.path().join("promoter.key");
        let own = signing::make(&path, &path.with_extension("pub")).expect("makes it").public();
        let until = "2026-11-21T10:15:00Z".parse().expect("is a time");
        let mut config = Config::default();
        config.standby.promoter_key = Some(path);
        config.standby.promoters = vec![TrustedKey::Until(EndedKey { key: own.to_string(), until })];
        let identities = Identities::generate();
        let found = Promoter::find(&config, &identities).expect("finds");
        assert_eq!(found.signer.as_ref().map(SecretKey::public), Some(own));
        assert!(found.is_configured && found.is_believed_by_managers(&config).expect("reads"));
        assert_eq!((found.trusted.iter().count(), found.trusted.at(until).iter().count()), (2, 1));
        config.standby.promoters = vec![TrustedKey::Always(identities.signing_keys(PURPOSE)[0].public().to_string())];
        let found = Promoter::find(&config, &identities).expect("finds");
        assert!(!found.is_believed_by_managers(&config).expect("reads"));
    }
}
