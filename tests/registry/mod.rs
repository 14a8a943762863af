//! Container registries for tests: real ones, with logins, tokens and TLS; faults on the way to them; and images that
//! are made without any network.
//!
//! ```no_run
//! # fn example() -> anyhow::Result<()> {
//! use swarmdr_tests::{
//!     lab::Lab,
//!     registry::{Endpoint, Front, Image, Layout, Login, Registry, RegistryOptions},
//! };
//!
//! let lab = Lab::new()?;
//! let options = RegistryOptions { login: Login::Token, tls: true, ..RegistryOptions::default() };
//! let registry = Registry::in_lab(&lab, options)?;
//! let layout = Layout::create(&registry.directory().join("images"))?;
//! let image = layout.add("web", &Image::index("first"))?;
//! registry.push(&image, "team/web", "1")?;
//! let front = Front::start(&registry)?;
//! println!("docker pull {}/team/web@{}", front.host(), image.digest);
//! # Ok(())
//! # }
//! ```

mod account;
mod authority;
mod blob_host;
mod daemon;
mod endpoint;
mod fault;
mod front;
mod http;
mod image;
mod place;
mod program;
mod server;
mod skopeo;
mod storage;
mod tokens;

pub use account::Account;
pub use blob_host::BlobHost;
pub use endpoint::Endpoint;
pub use fault::{Fault, Seen};
pub use front::Front;
pub use image::{Child, Image, Layout, Made, Media, Platform};
pub use server::{Login, Registry, RegistryOptions};
pub use tokens::{TokenRequest, TokenServer};
