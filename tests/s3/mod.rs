//! Object stores for tests: real Ceph gateways with Object Lock, and a proxy that injects faults on the way to them.
//!
//! A gateway starts in about a second, from trees that [`crate::tree`] caches, and leaves nothing behind:
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use std::time::Duration;
//! use swarmdr_tests::s3::{Lock, Mode, Retention, Rgw, RgwOptions};
//!
//! let rgw = Rgw::start(RgwOptions::default())?;
//! let vault = rgw.create_bucket("vault", Lock::On).await?;
//! let writer = vault.by(&rgw.writer()?)?;
//! let lock = Retention::new(Mode::Compliance, Duration::from_secs(3600));
//! let version = writer.put_locked("a", b"bytes", lock).await?;
//! assert_eq!(vault.delete_version("a", &version).await.unwrap_err().status, 403);
//! # Ok(())
//! # }
//! ```

mod bucket;
mod client;
mod cluster;
mod fault;
mod forward;
mod identity;
mod proxy;
mod rgw;
mod tls;

pub use bucket::{Bucket, Lock, Mode, Refusal, Retention, Version};
pub use forward::{ForwardProxy, PASSWORD as PROXY_PASSWORD};
pub use identity::Identity;
pub use proxy::{Fault, LossyProxy};
pub use rgw::{FAKETIME, Release, Rgw, RgwOptions};
