//! Random bytes for names and ids, which differ for things made in the same second.

use anyhow::{Result, anyhow};
use ring::rand::{SecureRandom, SystemRandom};

/// Returns the random second part of an id.
pub fn tag() -> Result<[u8; 4]> {
    bytes()
}

/// Returns as many random bytes as the caller takes.
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut random = [0; N];
    SystemRandom::new().fill(&mut random).map_err(|_| anyhow!("the system gives no random bytes"))?;
    Ok(random)
}
