//! Random parts of names, which differ for things made in the same second.

use anyhow::{Result, anyhow};
use ring::rand::{SecureRandom, SystemRandom};

/// Returns the random second part of an id.
pub fn tag() -> Result<[u8; 4]> {
    let mut random = [0; 4];
    SystemRandom::new().fill(&mut random).map_err(|_| anyhow!("the system gives no random bytes"))?;
    Ok(random)
}
