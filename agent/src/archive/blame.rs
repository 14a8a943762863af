//! The distinction between errors about an archive and errors about this host or its connections.

use std::io;

use swarmdr_vault::VaultError;

/// Kinds of errors that a full disk, missing rights or a lack of memory cause, whatever the archive holds.
const OF_HOST: [io::ErrorKind; 6] = [
    io::ErrorKind::StorageFull,
    io::ErrorKind::QuotaExceeded,
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::ReadOnlyFilesystem,
    io::ErrorKind::OutOfMemory,
    io::ErrorKind::Interrupted,
];

/// Whether the error says nothing about the archive: this host could not hold it, or the vault was not reached.
pub fn is_of_host(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| OF_HOST.contains(&error.kind()))
            || cause.downcast_ref::<VaultError>().is_some_and(VaultError::is_inconclusive)
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use swarmdr_archive::Error;
    use swarmdr_vault::testkit::injector::broken;

    use super::*;

    #[test]
    fn a_full_disk_and_a_broken_connection_are_no_damage() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let visit = Error::Visit { path: "swarm/state.json".to_owned(), source: full() };
        for of_host in
            [full().into(), visit.into(), anyhow::Error::from(broken("v", "read")).context("failed to fetch")]
        {
            assert!(is_of_host(&of_host), "{of_host:?}");
        }
        let cut: Result<(), Error> = Err(Error::Truncated { within: "its end" });
        let cut = cut.context("failed to inspect").expect_err("is cut");
        let gone = VaultError::NotFound { vault: "v".into(), key: "k".into() };
        for of_archive in [cut, gone.into()] {
            assert!(!is_of_host(&of_archive), "{of_archive:?}");
        }
    }
}
