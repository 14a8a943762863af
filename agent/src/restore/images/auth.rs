//! `images auth`: the logins that are recorded with the services of a living swarm are renewed.

use std::time::Duration;

use anyhow::Result;
use swarmdr_registry::ImageMap;
use wildmatch::WildMatch;

use super::{
    leader,
    logins::Logins,
    renew::{Recorded, Renewal, Scope, report::Report},
};
use crate::{
    config::Config,
    host::engine::Engine,
    keys::Keyring,
    outcome::{exit::Exit, failure::Failure},
    restore::items::undelete,
    run::Run,
};

/// A run of `images auth`.
#[derive(Debug)]
pub struct Auth<'a> {
    pub run: Run<'a>,
    /// Opens the state of an autolocked manager, in which the recorded logins are.
    pub keyring: Keyring,
    /// Registries that are meant, as a pattern; all without it.
    pub only: Option<&'a str>,
    pub dry_run: bool,
}

impl Auth<'_> {
    /// Runs the whole flow. Refuses if no login is configured (exit 2), if the engine is no manager (exit 4) or not the
    /// leader (exit 3), and if no image is of a registry that is meant (exit 5).
    pub async fn run(&self) -> Result<Report> {
        let Run { config, shutdown, .. } = self.run;
        require_configured(config)?;
        let engine = Engine::at(&config.engine.socket);
        let facts = shutdown.or_interrupted(engine.facts()).await?;
        let cluster = undelete::checks::cluster(&facts)?;
        shutdown.or_interrupted(leader::require(&engine, &facts, "renews the logins")).await?;
        let objects = engine.objects().await?;
        let logins = Logins::new(config, Duration::ZERO);
        let scope = Scope::all(ImageMap::default());
        let only = self.only.map(WildMatch::new);
        let renewal = Renewal {
            config,
            objects: &objects,
            logins: &logins,
            scope: &scope,
            only,
            shutdown,
            dry_run: self.dry_run,
        };
        let plan = shutdown.or_interrupted(renewal.plan()).await?;
        if let Some(only) = self.only.filter(|_| plan.is_empty() && plan.without_login == 0) {
            return Err(nothing_of(only));
        }
        let recorded = Recorded { own: facts.swarm.swarm_node()?, keyring: &self.keyring, shutdown };
        let known = plan.recorded(&recorded, &facts.data_root.join("swarm")).await;
        let services = shutdown.or_interrupted(renewal.carry_out(&plan, &known)).await?;
        Ok(Report::of(cluster, self.dry_run, &plan, services))
    }
}

fn require_configured(config: &Config) -> Result<()> {
    if config.images.has_login() {
        return Ok(());
    }
    Err(Failure::usage("no login for a registry is configured, so there is none to renew")
        .advice("write one into the configuration: [[images.registry]] with host, and auth_command or login_file")
        .into())
}

fn nothing_of(only: &str) -> anyhow::Error {
    Failure::new(Exit::NothingUsable, format!("no service of the swarm has an image of a registry `{only}`"))
        .advice("give the host as in names of images, with its port; `*` stands for any number of characters")
        .into()
}
