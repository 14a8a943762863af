//! Backups that follow changes, made by the agent's own unit on a real object store.

mod follow;
mod lost;
mod site;
mod turns;
