//! One look at everything that a step depends on.

use std::path::PathBuf;

use anyhow::Result;
use swarm_state::state_dir::ROOT_CA;

use super::{Join, contact::Contact, pacing::Pacing, refusal::Heard, why};
use crate::{
    host::engine::{EngineFacts, SwarmState},
    nodes::{
        managers::{self, Found},
        standing::{OnDisk, Standing, Swarm, Wanted},
        token_source::TokenSource,
    },
};

/// What was seen, all at about the same time.
#[derive(Debug)]
pub struct Look {
    pub facts: EngineFacts,
    pub on_disk: OnDisk,
    pub found: Found,
    pub wanted: Wanted,
    pub standing: Standing,
    /// Why there is no token, where one was asked for.
    pub no_token: Option<anyhow::Error>,
    /// Whether the managers of its swarm refuse this node, a worker.
    pub heard: Heard,
    /// Whether a worker reaches a manager of its swarm.
    pub contact: Contact,
}

impl Look {
    /// Path of the root CA of this host's swarm.
    pub fn root_ca(&self) -> PathBuf {
        self.facts.data_root.join("swarm").join(ROOT_CA)
    }

    /// True if this host was in the wanted swarm before; a join that was cut off is still one.
    pub fn is_wanted_member(&self) -> bool {
        !self.on_disk.is_joining
            && matches!(self.standing, Standing::Member { swarm: Swarm::Wanted | Swarm::WantedByAddress, .. })
    }

    /// True if this host is a manager, or may be one. Only managers are ever locked.
    pub fn is_manager(&self) -> bool {
        let swarm = &self.facts.swarm;
        swarm.is_manager || swarm.state == SwarmState::Locked || self.on_disk.may_be_manager()
    }

    /// True if nothing says that the managers of this host's swarm do not keep it. An engine alone does not know: it stays
    /// `active` while no manager answers, and while all of them refuse its node (engine 26.1.5).
    fn is_kept(&self) -> bool {
        self.heard.refusal().is_none() && matches!(self.contact, Contact::NotAsked | Contact::Reached(_))
    }

    /// True if a manager at a wanted address shows that it is one of this host's swarm. That the two swarms know the same
    /// address shows nothing: a manager of another one may have it by now.
    pub fn is_reached_where_wanted(&self) -> bool {
        matches!(&self.contact, Contact::Reached(manager) if self.wanted.names([manager]))
    }

    /// Returns the look again with what the token tells.
    fn with(mut self, wanted: Wanted) -> Self {
        self.standing = Standing::of(&self.facts.swarm, &self.on_disk, &wanted);
        self.wanted = wanted;
        self
    }
}

impl Join<'_> {
    /// Looks at the host and asks for the managers. The token is asked for only if it says whose node this host is, or may
    /// be needed for another place: on a host that is where it should be, none is needed.
    pub(super) async fn look(&self, token: &mut TokenSource<'_>, pacing: &Pacing) -> Result<Look> {
        let facts = self.restore.await_engine(pacing.left(), !self.request.dry_run).await?;
        let found = managers::find(self.run.config, &self.request.managers).await;
        let look = self.look_at(facts, found);
        let Standing::Member { swarm, is_settled } = look.standing else { return Ok(look) };
        let contact = self.contact(&look).await;
        let heard = match contact {
            Contact::Reached(_) => self.heard(&look).await,
            _ => Heard::NoRefusal,
        };
        let look = Look { contact, heard, ..look };
        let is_sure = look.is_manager() || look.is_reached_where_wanted();
        if swarm == Swarm::Wanted && is_settled && look.is_kept() && is_sure {
            return Ok(look);
        }
        match token.get().await {
            Ok(token) => {
                let wanted = Wanted { ca: Some(*token.ca()), ..look.wanted.clone() };
                Ok(look.with(wanted))
            }
            // What is missing stops no host that is in its swarm.
            Err(error) if why::is_mistake(&error) && !look.is_wanted_member() => Err(error),
            Err(error) => Ok(Look { no_token: Some(error), ..look }),
        }
    }

    fn look_at(&self, facts: EngineFacts, found: Found) -> Look {
        let on_disk = OnDisk::read(&facts.data_root.join("swarm"));
        let wanted = Wanted { managers: found.addresses.clone(), ca: None };
        let standing = Standing::of(&facts.swarm, &on_disk, &wanted);
        Look {
            facts,
            on_disk,
            found,
            wanted,
            standing,
            no_token: None,
            heard: Heard::NoRefusal,
            contact: Contact::NotAsked,
        }
    }
}
