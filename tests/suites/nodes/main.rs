//! Nodes: hosts that join a swarm by themselves, whatever comes in between.

mod cut;
mod elsewhere;
mod join;
mod yard;
