//! The backups of a cluster are one series.

use jiff::SignedDuration;
use swarmdr_archive::{
    BackupId, ClusterId, Error as ArchiveError, TrustedKeys,
    manifest::Proof,
    reader::{self, Head},
};

use super::{CheckedHead, Facts, Series, SignedHead, Words};
use crate::{
    Vault, VaultError,
    catalog::{Clusters, Filter, clusters_of},
    object_name::ObjectName,
};

impl Series for ClusterId {
    type Head = Head;
    type Wanted = ();

    const WORDS: Words = Words {
        one: "backup",
        many: "backups",
        maker: "manager",
        crowd: "clusters",
        narrow: "name yours with --cluster",
        passed_over: "its raft log did not replay when it was made",
    };

    /// Nothing: [`super::super::order::GRACE`] is enough for a backup.
    const LONGEST: SignedDuration = SignedDuration::ZERO;

    fn of(head: &Head) -> Self {
        head.manifest.cluster_id.clone()
    }

    fn cluster(&self) -> &ClusterId {
        self
    }

    fn prefix(&self) -> String {
        ObjectName::cluster_prefix(self)
    }

    fn key(&self, id: BackupId) -> String {
        ObjectName::new(self.clone(), id).key()
    }

    fn id_in(&self, key: &str) -> Option<BackupId> {
        let name = ObjectName::parse(key).ok()?;
        (name.cluster() == self).then(|| name.id())
    }

    fn check_head(bytes: &[u8], keys: &TrustedKeys) -> Result<CheckedHead<Head>, ArchiveError> {
        let head = reader::read_head(bytes)?;
        Ok(CheckedHead { digest: head.manifest_digest(), verified: head.verify(keys) })
    }

    async fn list(vault: &dyn Vault, (): &(), filter: &Filter) -> Result<Clusters, VaultError> {
        clusters_of(vault, filter).await
    }

    fn sought((): &()) -> String {
        Self::WORDS.one.to_owned()
    }

    fn one(&self) -> String {
        Self::WORDS.one.to_owned()
    }

    fn title(&self) -> String {
        format!("swarm {self}")
    }
}

impl SignedHead for Head {
    fn facts(&self) -> Facts<'_> {
        let manifest = &self.manifest;
        Facts {
            id: manifest.id,
            sequence: manifest.sequence,
            previous: manifest.previous,
            digest: self.manifest_digest,
            ended: manifest.id.created_at(),
            signer: &self.signer,
            archive_size: self.archive_size,
            hostname: &manifest.hostname,
            // An engine does not start from one whose raft log did not replay when it was made.
            is_usable: manifest.proof != Proof::Unproven,
            is_proven: manifest.proof == Proof::Proven,
            specs: manifest.specs,
        }
    }
}
