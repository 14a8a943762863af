//! This machine: its engine, systemd, files and network. Parsers are kept apart from calls.
//!
//! May import `config` and `outcome`.

pub mod engine;
pub mod files;
pub mod lock;
pub mod name;
pub mod network;
pub mod process_group;
pub mod random;
pub mod second_engine;
pub mod shutdown;
pub mod systemd;
pub mod tail;
pub mod wait;
