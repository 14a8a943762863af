//! The phases of a restore.

use serde::{Deserialize, Serialize};

/// The step that is being taken, or was about to be, in the order of a restore that succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The new state is staged; nothing of the host has changed.
    Ready,
    /// The engine is being stopped.
    Stop,
    /// The state that was there is being moved aside.
    Aside,
    /// The restored state is being moved to where the engine reads it.
    Place,
    /// The engine is being started on it.
    Start,
    /// The key file of an autolocked state is decrypted on disk.
    Unlock,
    /// The engine has been asked to force a new cluster, or is about to be: from here on it may run a swarm.
    Init,
    /// At another address: this host's engine joins the swarm of the second engine.
    Join,
    /// At another address: the old manager is being demoted; from here on the swarm may be this host's alone.
    Demote,
    /// At another address: the old manager has been demoted, and its node is being removed.
    Remove,
    /// The restored swarm is being compared with the backup.
    Confirm,
    /// The old state is being put back.
    Undo,
    /// The restore is complete.
    Done,
}

impl Phase {
    #[cfg(test)]
    const ALL: [Self; 13] = [
        Self::Ready,
        Self::Stop,
        Self::Aside,
        Self::Place,
        Self::Start,
        Self::Unlock,
        Self::Init,
        Self::Join,
        Self::Demote,
        Self::Remove,
        Self::Confirm,
        Self::Undo,
        Self::Done,
    ];

    /// Name of the phase, as in the file.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Ready => "ready",
            Phase::Stop => "stop",
            Phase::Aside => "aside",
            Phase::Place => "place",
            Phase::Start => "start",
            Phase::Unlock => "unlock",
            Phase::Init => "init",
            Phase::Join => "join",
            Phase::Demote => "demote",
            Phase::Remove => "remove",
            Phase::Confirm => "confirm",
            Phase::Undo => "undo",
            Phase::Done => "done",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_have_one_name() {
        for phase in Phase::ALL {
            assert_eq!(serde_json::to_value(phase).expect("serialises"), phase.word());
        }
    }
}
