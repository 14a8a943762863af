//! What the vaults hold about the sites of a cluster: which one took it over, and which ones live.
//!
//! Everything here is a small signed document. May import `vaults`, `keys`, `host`, `config` and `outcome`; the flows
//! `restore`, `backup` and those above them import this.

pub mod life;
