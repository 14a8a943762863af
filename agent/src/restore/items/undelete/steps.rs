//! Steps of a run at which tests end it.

use swarm_state::inventory::ObjectKind;

use crate::outcome::failpoint;

/// A step, in the order of a run. Its failpoint is `undelete-` and its name; where it has a kind of object, as in
/// `undelete-created-secret`, the kind follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The plan is made, and nothing is changed.
    Planned,
    /// The journal is begun.
    Begun,
    /// The journal says what is about to be created or replaced.
    Noted(ObjectKind),
    /// It is created or replaced; the journal does not say so yet.
    Created(ObjectKind),
    /// The journal has its id.
    Made(ObjectKind),
    /// Everything is back; the journal is still there.
    Complete,
    /// The journal is removed.
    Finished,
    /// The undo begins.
    Undo,
    /// One object is removed, to be replaced or to be undone. The journal does not say so yet, or said so before.
    Removed(ObjectKind),
    /// The undo is complete.
    Undone,
}

/// Performs the action that a test requested for this step.
pub fn reach(step: Step) {
    failpoint::reach(&name(step));
}

fn name(step: Step) -> String {
    match step {
        Step::Planned => "undelete-planned".to_owned(),
        Step::Begun => "undelete-begun".to_owned(),
        Step::Noted(kind) => format!("undelete-noted-{kind}"),
        Step::Created(kind) => format!("undelete-created-{kind}"),
        Step::Made(kind) => format!("undelete-made-{kind}"),
        Step::Complete => "undelete-complete".to_owned(),
        Step::Finished => "undelete-finished".to_owned(),
        Step::Undo => "undelete-undo".to_owned(),
        Step::Removed(kind) => format!("undelete-removed-{kind}"),
        Step::Undone => "undelete-undone".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_named_after_the_verb() {
        assert_eq!(name(Step::Planned), "undelete-planned");
        assert_eq!(name(Step::Created(ObjectKind::Secret)), "undelete-created-secret");
    }
}
