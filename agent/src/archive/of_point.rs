//! The backup that a recovery point names.

use anyhow::{Context, Result};
use jiff::Timestamp;
use swarmdr_archive::TrustedKeys;
use swarmdr_vault::catalog::Filter;

use super::source::{Found, find_in_vaults};
use crate::{
    config::Config,
    outcome::{exit::Exit, failure::Failure},
    points::{self, Which},
    vaults::Shared,
};

/// Finds a recovery point, and then the very backup that it names, in whichever vault has it.
pub async fn find(config: &Config, which: Which, filter: &Filter, keys: &TrustedKeys, now: Timestamp) -> Result<Found> {
    let vaults = Shared::default();
    let points::Chosen { signed, mut findings } = points::find(config, &vaults, which, filter, keys, now).await?;
    let point = signed.point;
    let Some(state) = &point.state else {
        return Err(Failure::new(Exit::NothingUsable, format!("the recovery point {} names no backup", point.id))
            .advice("its streams can be fetched all the same: swarmdr-agent get NAME --point ID -- COMMAND")
            .into());
    };
    let of_state = Filter { id: Some(state.backup), ..Filter::cluster(point.cluster_id.clone()) };
    let of_state = Filter { except: filter.except.clone(), any_vault: filter.any_vault, ..of_state };
    let found = find_in_vaults(config, &vaults, &of_state, keys, now).await;
    let found = found.with_context(|| format!("the backup of the recovery point {} was not found", point.id))?;
    if found.head.manifest_digest != state.manifest_digest {
        return Err(Failure::new(
            Exit::NothingUsable,
            format!(
                "the backup {} in the vaults is not the one that the recovery point {} names",
                state.backup, point.id
            ),
        )
        .advice("choose another point, or restore the backup by its id if you know it to be right")
        .into());
    }
    findings.extend(found.findings);
    Ok(Found { findings, point: Some(Box::new(point)), ..found })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use swarmdr_archive::{
        BackupId, Digest, SecretKey,
        point::{Point, StatePart},
    };
    use swarmdr_vault::{
        Vault, make_directory,
        testkit::archives::{self, key, minute},
    };

    use super::*;
    use crate::{outcome::failure::Rendered, vaults};

    /// A vault in a directory, with one backup and a point that names what it is told to.
    struct Site {
        config: Config,
        vault: Arc<dyn Vault>,
        key: SecretKey,
        backup: BackupId,
        digest: Digest,
        _dir: tempfile::TempDir,
    }

    impl Site {
        async fn new() -> Self {
            let dir = tempfile::tempdir().expect("a scratch directory");
            let config = Config { state_dir: dir.path().to_owned(), ..Config::default() };
            let connected = vaults::connect(&config).await.expect("a directory");
            let vault = Arc::clone(&connected[0].vault);
            make_directory(&connected[0].settings.target().expect("is valid")).expect("is made");
            let key = key();
            let archive = archives::archive(archives::CLUSTER, 0, &key);
            archives::put(vault.as_ref(), &archive).await;
            Self { config, vault, key, backup: archive.name.id(), digest: archive.digest, _dir: dir }
        }

        async fn point(&self, state: Option<(BackupId, Digest)>) -> Which {
            let state =
                state.map(|(backup, manifest_digest)| StatePart { backup, manifest_digest, created_at: minute(0) });
            let point = Point { state, ..archives::points::invented(minute(5), 1) };
            archives::points::put(self.vault.as_ref(), &point, &self.key).await;
            Which::Id(point.id)
        }

        async fn find(&self, which: Which) -> Result<Found> {
            let keys = self.key.public().into();
            find(&self.config, which, &Filter::default(), &keys, Timestamp::now()).await
        }

        /// Finds nothing, and returns what is said with exit code 5.
        async fn refused(&self, which: Which) -> String {
            let rendered = Rendered::of(&self.find(which).await.expect_err("there is no backup to take"));
            assert_eq!(rendered.exit, Exit::NothingUsable, "{rendered}");
            rendered.to_string()
        }
    }

    #[tokio::test]
    async fn the_very_backup_of_the_point_is_found_and_no_other() {
        let site = Site::new().await;
        let named = site.point(Some((site.backup, site.digest))).await;
        let found = site.find(named).await.expect("is there");
        assert_eq!((found.head.manifest.id, found.point.is_some()), (site.backup, true));

        let site = Site::new().await;
        let other = site.point(Some((site.backup, Digest::of(b"another")))).await;
        assert!(site.refused(other).await.contains("is not the one that the recovery point"));

        let site = Site::new().await;
        let pruned = site.point(Some((BackupId::new(minute(-60), [9; 4]), site.digest))).await;
        assert!(site.refused(pruned).await.contains("the backup of the recovery point"));

        let site = Site::new().await;
        let stateless = site.point(None).await;
        assert!(site.refused(stateless).await.contains("names no backup"));
    }
}
