//! Whole-agent tests on real hosts, engines and object stores.

pub mod aws;
pub mod browser;
pub mod campaign;
pub mod lab;
mod listener;
pub mod measure;
pub mod own_ca;
pub mod packages;
pub mod registry;
pub mod s3;
mod sandbox;
pub mod scenario;
pub mod states;
pub mod switch;
pub mod voting;
pub use swarmdr_trees as tree;
