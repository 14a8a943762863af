//! The old manager, alive once more: in a [second engine](crate::host::second_engine) that has its address.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use swarmdr_archive::manifest::Manifest;
use zeroize::Zeroizing;

use crate::{
    host::{
        key_file,
        link::Link,
        second_engine::{SecondEngine, Spec},
        systemd::Systemd,
    },
    restore::{Restore, compare_apart, form_apart, plan::RestorePlan},
    swarm::Inventory,
};

/// It ends with this process, and everything of it.
#[derive(Debug)]
pub struct Twin {
    second: SecondEngine,
    link: Option<Link>,
}

impl Twin {
    /// Makes its place; nothing runs there yet.
    pub async fn make(restore: &Restore<'_>, plan: &RestorePlan, addresses: Vec<IpAddr>) -> Result<Self> {
        let systemd = Systemd::connect().await?;
        let data_root = plan.state_dir.parent().context("the state directory has no parent")?;
        let own = [data_root.to_owned(), restore.config.engine.socket.clone()];
        let spec = Spec::new("readdress", plan.id, addresses, own);
        let second = SecondEngine::make(&systemd, restore.config, &spec).await?;
        Ok(Self { second, link: None })
    }

    pub fn state_dir(&self) -> PathBuf {
        self.second.state_dir()
    }

    /// Boots the state and compares what came back; the node runs no task.
    pub async fn form(&mut self, restore: &Restore<'_>, manifest: &Manifest, recorded: &Inventory) -> Result<()> {
        self.second.boot(Duration::from_secs(restore.config.engine.start_timeout)).await?;
        if key_file::is_locked_in(&self.state_dir())? {
            let key = restore.unlock_key.as_ref().context("the state is locked, and no unlock key was given")?;
            self.second.lay_open(key.for_state())?;
        }
        let limit = Duration::from_secs(restore.config.restore.init_timeout);
        let engine = self.second.engine();
        let formed = async {
            form_apart(engine, manifest, Some(recorded), limit).await?;
            compare_apart(engine, manifest, recorded).await
        };
        formed.await.map_err(|error| self.second.in_its_own_words(error))
    }

    /// Connects its network with this host.
    pub async fn plug(&mut self, near: IpAddr, far: IpAddr) -> Result<()> {
        self.link = Some(Link::plug(self.second.pid().await?, near, far).await?);
        Ok(())
    }

    /// The token with which this host becomes a manager beside it. Never shown.
    pub async fn token(&self) -> Result<Zeroizing<String>> {
        self.second.engine().manager_token().await
    }

    /// What it wrote last, for an error.
    pub fn in_its_own_words(&self, cause: anyhow::Error) -> anyhow::Error {
        self.second.in_its_own_words(cause)
    }

    /// When this returns nothing of it is left.
    pub async fn end(self) -> Result<()> {
        if let Some(link) = self.link {
            link.end().await?;
        }
        self.second.end().await
    }
}
