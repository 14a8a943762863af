//! The key that signs the states that this host forms: it is made on first use, and trusted on this host only.

use std::sync::Arc;

use anyhow::Result;
use swarmdr_archive::SecretKey;

use crate::{
    archive::kept::Shelf,
    config::Config,
    keys::{Keyring, signing},
};

/// Reads the key, or makes it.
pub fn key(config: &Config) -> Result<Arc<SecretKey>> {
    let (secret, public) = Shelf::of(config).seal();
    let key = if secret.exists() { signing::read(&secret)? } else { signing::make(&secret, &public)? };
    Ok(Arc::new(key))
}

/// Returns a keyring that trusts this host's own key too, if there is one.
pub fn keyring_with(config: &Config, keyring: &Keyring) -> Keyring {
    let mut both = keyring.clone();
    if let Ok(own) = signing::read(&Shelf::of(config).seal().0) {
        both.trusted.insert(own.public());
    }
    both
}

/// Returns the keyring with which a state is opened that this host formed.
pub fn keyring(config: &Config, keyring: &Keyring) -> Result<Keyring> {
    let trusted = signing::read(&Shelf::of(config).seal().0)?.public().into();
    Ok(Keyring { trusted, ..keyring.clone() })
}
