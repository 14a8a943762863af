//! The voting application, which the suite `voting` and the demo store, destroy and bring back: its site, its stacks, the
//! people who vote, and what its services are to the swarm.
//!
//! `app` has what is in its images; what an operator deploys lies beside this file.

mod backend;
mod booth;
mod pages;
mod services;
mod site;

pub use backend::{deploy_backend, wait_backend};
pub use booth::{Booth, Cast, Fate, vote};
pub use pages::{counted, page};
pub use services::{Kept, followed, services};
pub use site::{
    FRONT, LIMIT, boot, copy, deploy, is_empty, join, push_images, recipe, registry, stock, wait_database, wait_open,
};
