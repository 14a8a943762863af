//! All keys with which a run verifies and opens archives.

use std::sync::Arc;

use swarm_state::UnlockKey;
use swarmdr_archive::{Identities, Manifest, TrustedKeys};

use super::unlock_key::GivenKey;

/// The keys of a run. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keyring {
    /// Keys whose signatures are trusted.
    pub trusted: TrustedKeys,
    /// Identities that open encrypted archives; may be none.
    pub identities: Arc<Identities>,
    /// Unlock key of an autolocked state, if one was given.
    pub unlock_key: Option<GivenKey>,
}

impl Keyring {
    /// Makes a keyring for states of this host; it can verify and decrypt no archive.
    pub fn without_archives(unlock_key: Option<GivenKey>) -> Self {
        Self { trusted: TrustedKeys::new(), identities: Arc::new(Identities::none()), unlock_key }
    }

    /// Returns the unlock key in the form that opens a state on disk.
    pub fn state_key(&self) -> Option<&UnlockKey> {
        self.unlock_key.as_ref().map(GivenKey::for_state)
    }

    /// True if there is an identity to try on the archive, or if it needs none.
    pub fn may_open(&self, manifest: &Manifest) -> bool {
        !manifest.is_encrypted() || !self.identities.is_empty()
    }
}
