//! An interrupted restore: how the next run finds it, and the recovery action that it takes.

pub mod action;
mod decision;
mod recovery;
pub mod unfinished;
