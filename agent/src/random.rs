//! Randomness for names: what is made in the same second is told apart by it.

use anyhow::{Result, anyhow};
use ring::rand::{SecureRandom, SystemRandom};

/// The second half of an id.
pub fn tag() -> Result<[u8; 4]> {
    let mut random = [0; 4];
    SystemRandom::new().fill(&mut random).map_err(|_| anyhow!("the system gives no random bytes"))?;
    Ok(random)
}
