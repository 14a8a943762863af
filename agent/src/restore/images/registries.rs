//! Connections to registries, each made once.

use std::sync::Arc;

use anyhow::Result;
use swarmdr_registry::{Login, Registry, Source};
use tokio::sync::Mutex;

use super::logins::Logins;

/// Registries by host and login. A registry that is asked with two logins is two.
#[derive(Debug)]
pub struct Registries<'a> {
    pub logins: &'a Logins<'a>,
    made: Mutex<Vec<(Option<Login>, Arc<Registry>)>>,
}

impl<'a> Registries<'a> {
    pub fn new(logins: &'a Logins<'a>) -> Self {
        Self { logins, made: Mutex::default() }
    }

    /// Returns the registry with the login that is configured for it, else with this one.
    pub async fn get(&self, registry: &str, recorded: Option<&Login>) -> Result<Arc<Registry>> {
        let configured = self.logins.configured(registry).await;
        let login = match (configured, recorded) {
            (Ok(configured), recorded) => configured.or_else(|| recorded.cloned()),
            // A helper that fails on this host need not fail on the next one, and what is recorded may be good.
            (Err(error), Some(recorded)) => {
                tracing::warn!("{error:#}; the recorded login is tried");
                Some(recorded.clone())
            }
            (Err(error), None) => return Err(error),
        };
        let mut made = self.made.lock().await;
        let is_it = |(of, it): &&(Option<Login>, Arc<Registry>)| it.name() == registry && *of == login;
        if let Some((_, registry)) = made.iter().find(is_it) {
            return Ok(Arc::clone(registry));
        }
        let registry = Arc::new(Registry::new(self.logins.access(registry, login.clone())?)?);
        made.push((login, Arc::clone(&registry)));
        Ok(registry)
    }
}
