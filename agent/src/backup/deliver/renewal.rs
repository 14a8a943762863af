//! Locks of the newest archives, which are renewed while no newer ones come.

use swarmdr_archive::{ClusterId, stream_archive::StreamName};
use swarmdr_vault::{Renewed, VaultError, renew, renew_points, renew_streams};

use super::Uploader;

impl Uploader {
    /// Renews the lock of the newest good backup in each vault, whether or not a new backup follows. Returns a line for
    /// each renewed lock. A failure is only reported: it is no reason to make no backup.
    pub async fn renew_locks(&mut self, cluster: &ClusterId) -> Vec<String> {
        let mut done = Vec::new();
        for route in self.routes.iter().filter(|route| route.trouble.is_none()) {
            let renewed = renew(route.to.vault.as_ref(), Some(cluster), &self.keys, self.now).await;
            done.extend(told(renewed, "backup", &mut self.attention));
        }
        done
    }

    /// Renews the lock of the newest good stream of each name as [`Self::renew_locks`] does, and of the newest complete
    /// recovery point with what it names. There may be many, so only the manager whose turn it is does this.
    pub async fn renew_locks_of_data(
        &mut self,
        cluster: &ClusterId,
        wanted: impl Fn(&StreamName) -> bool,
    ) -> Vec<String> {
        let mut done = Vec::new();
        for route in self.routes.iter().filter(|route| route.trouble.is_none()) {
            let (vault, keys) = (route.to.vault.as_ref(), &self.on_streams);
            let renewed = renew_streams(vault, Some(cluster), keys, self.now, &wanted).await;
            done.extend(told(renewed, "streams", &mut self.attention));
            let renewed = renew_points(vault, Some(cluster), (&self.keys, keys), self.now, &wanted).await;
            done.extend(told(renewed, "recovery point", &mut self.attention));
        }
        done
    }
}

/// Returns a line for each renewed lock, and adds the failure to what needs attention.
fn told(renewed: Result<Vec<Renewed>, VaultError>, of: &str, attention: &mut Vec<String>) -> Vec<String> {
    let lines = match renewed {
        Ok(renewed) => renewed.iter().map(ToString::to_string).collect(),
        Err(error) => {
            attention.push(format!("the lock of the newest {of} was not renewed: {error}"));
            Vec::new()
        }
    };
    lines.iter().for_each(|line| tracing::info!("{line}"));
    lines
}
