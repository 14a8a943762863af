//! The twin: the old manager, running again in a [second engine](crate::host::second_engine) that has its address.

use std::{net::IpAddr, path::PathBuf};

use anyhow::{Context, Result};
use swarm_state::Inventory;
use swarmdr_archive::manifest::Manifest;
use zeroize::Zeroizing;

use crate::{
    host::{
        files::key_file,
        second_engine::{SecondEngine, Spec, link::VethPair},
        systemd::Systemd,
    },
    restore::{Restore, compare_apart, form_apart, plan::RestorePlan},
};

/// The second engine of a move. It ends with this process, and so does everything in it.
#[derive(Debug)]
pub struct Twin {
    second: SecondEngine,
    link: Option<VethPair>,
}

impl Twin {
    /// Prepares the second engine; nothing runs there yet.
    pub async fn make(restore: &Restore<'_>, plan: &RestorePlan, addresses: Vec<IpAddr>) -> Result<Self> {
        let systemd = Systemd::connect().await?;
        let data_root = plan.data_root()?;
        let own = [data_root.to_owned(), restore.run.config.engine.socket.clone()];
        let spec = Spec::new("readdress", plan.id, addresses, own);
        let second = SecondEngine::make_in_turn(&systemd, restore.run.config, &spec).await?;
        Ok(Self { second, link: None })
    }

    pub fn state_dir(&self) -> PathBuf {
        self.second.state_dir()
    }

    /// Starts the engine on the state and compares what came back; the node runs no task.
    pub async fn form(&mut self, restore: &Restore<'_>, manifest: &Manifest, recorded: &Inventory) -> Result<()> {
        self.second.boot(restore.run.config.engine.start_timeout.duration()).await?;
        if key_file::is_locked_in(&self.state_dir())? {
            let key =
                restore.keyring.unlock_key.as_ref().context("the state is locked, and no unlock key was given")?;
            self.second.decrypt_key(key.for_state())?;
        }
        let limit = restore.run.config.restore.init_timeout.duration();
        let engine = self.second.engine();
        let formed = async {
            form_apart(engine, manifest, Some(recorded), limit).await?;
            compare_apart(engine, manifest, recorded).await
        };
        formed.await.map_err(|error| self.second.with_engine_log(error))
    }

    /// Connects its network with this host.
    pub async fn plug(&mut self, near: IpAddr, far: IpAddr) -> Result<()> {
        self.link = Some(VethPair::make(self.second.pid().await?, near, far).await?);
        Ok(())
    }

    /// Returns the token with which this host joins it as a manager. Never shown.
    pub async fn token(&self) -> Result<Zeroizing<String>> {
        self.second.engine().manager_token().await
    }

    /// Returns the last lines of its log, for an error.
    pub fn with_engine_log(&self, cause: anyhow::Error) -> anyhow::Error {
        self.second.with_engine_log(cause)
    }

    /// Ends the second engine; nothing of it is left when this returns.
    pub async fn end(self) -> Result<()> {
        if let Some(link) = self.link {
            link.remove().await?;
        }
        self.second.end().await
    }
}
