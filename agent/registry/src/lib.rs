//! Container registries, as far as a restored swarm needs them: is an image there, may this host pull it, and a copy of it
//! that keeps its digest.
//!
//! [`ImageName`] and [`ImageMap`] are about names; [`Registry`] speaks to a server and [`Layout`] reads and writes a
//! directory, both behind the traits [`Source`] and [`Target`]; [`check`](check()) and [`Copying`] are written once,
//! on top of these. Nothing here knows of swarms.
//!
//! Why no registry library: `oci-client` 0.18 can be had with rustls and ring only (`rustls-tls-no-provider`), and was
//! read. Its `fetch_manifest_digest` sends a GET, which counts as a pull, after each HEAD that is answered with 404 or 429;
//! `Retry-After` does not get out of it; a token server's refusal is dropped, and the request sent without a login
//! (`get_auth_token`); and `push_manifest_raw` by digest panics where the answer has no `Location`, as Amazon's has none.
//! Challenges are parsed by `http-auth`, requests are made by the HTTP client that the vaults use.

mod authorization;
mod busy;
mod check;
mod copy;
mod destination;
mod digest;
mod error;
mod image_map;
mod image_name;
mod layout;
mod login;
mod manifest;
mod manifest_cache;
mod message;
mod place;
mod platform;
mod refusal;
mod registry;
mod transport;
mod upload;

pub use check::{Checked, Problem, Wanted, check};
pub use copy::{Copied, Copying, Job};
pub use destination::{Destination, Mirror, NotADestination, tags};
pub use digest::{Digest, NotADigest};
pub use error::{ErrorKind, RegistryError};
pub use image_map::{ImageMap, NotARule, Rule};
pub use image_name::{DEFAULT_REGISTRY, ImageName, NotAnImage, split_registry};
pub use layout::Layout;
pub use login::{Login, NotALogin};
pub use manifest::{Child, Descriptor, Manifest, NotAManifest};
pub use manifest_cache::ManifestCache;
pub use place::{Fetched, Found, Pieces, Source, Target};
pub use platform::{NotAPlatform, Platform};
pub use registry::Registry;
pub use transport::Access;
