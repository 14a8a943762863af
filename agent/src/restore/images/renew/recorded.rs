//! Logins that are recorded with services: no API returns them, the log of a manager has them.

use std::{collections::HashMap, path::Path};

use swarm_state::inventory::ObjectKind;
use swarmdr_registry::Login;

use crate::{archive::open_state, host::shutdown::Shutdown, keys::Keyring, restore::on_disk::OnDisk};
use swarmdr_archive::SwarmNode;

/// What is needed to read the state directory of a manager.
#[derive(Debug)]
pub struct Recorded<'a> {
    /// The manager whose services are changed.
    pub own: SwarmNode,
    pub keyring: &'a Keyring,
    pub shutdown: &'a Shutdown,
}

/// Recorded logins by service, as far as they could be read.
#[derive(Debug, Default)]
pub struct Known(HashMap<String, Login>);

impl Known {
    pub fn of(&self, service: &str) -> Option<&Login> {
        self.0.get(service)
    }

    #[cfg(test)]
    pub fn one(service: &str, login: Login) -> Self {
        Self(HashMap::from([(service.to_owned(), login)]))
    }
}

impl Recorded<'_> {
    /// Reads the logins of these services. The leader's log has all that it has listed before. Nothing is known of a
    /// directory that is another node's, or that cannot be read: it only saves updates.
    pub async fn read(&self, dir: &Path, services: Vec<String>) -> Known {
        let is_own = OnDisk::read(dir).held().is_some_and(|held| held.own == self.own);
        if services.is_empty() || !is_own {
            return Known::default();
        }
        let wanted = services.iter().map(|id| (ObjectKind::Service, id.clone())).collect();
        let values = match open_state::read_values(dir, self.keyring, self.shutdown, wanted).await {
            Ok(values) => values,
            Err(error) => {
                tracing::info!("the recorded logins are not known, so each is renewed: {error:#}");
                return Known::default();
            }
        };
        let login = |id: &String| {
            let text = std::str::from_utf8(values.get(ObjectKind::Service, id)?).ok()?;
            Login::of_engine(text).ok().flatten()
        };
        Known(services.iter().filter_map(|id| Some((id.clone(), login(id)?))).collect())
    }
}
