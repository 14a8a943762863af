//! The reader of swarm states, without the rest of the agent, which would be 400 more crates to compile.

#[path = "../../src"]
#[allow(dead_code, reason = "what only the agent's tests use is compiled too")]
mod agent {
    pub mod swarm;
}

pub use agent::swarm;
