//! Identities of claims.

use std::{fmt, str::FromStr};

use anyhow::Result;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::host::random;

/// Random identity of one claim. The swarm that was claimed carries it as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClaimId([u8; 16]);

impl ClaimId {
    pub fn make() -> Result<Self> {
        Ok(Self(random::bytes()?))
    }

    #[cfg(test)]
    pub fn of(byte: u8) -> Self {
        Self([byte; 16])
    }
}

impl FromStr for ClaimId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("the id of a claim is 32 characters of 0-9 and a-f")
    }
}

impl TryFrom<String> for ClaimId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ClaimId> for String {
    fn from(id: ClaimId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_written_and_no_two_are_the_same() {
        let (one, two) = (ClaimId::make().expect("makes"), ClaimId::make().expect("makes"));
        assert_ne!(one, two);
        assert_eq!(one.to_string().parse(), Ok(one));
        assert_eq!(serde_json::from_str::<ClaimId>(&serde_json::to_string(&two).expect("writes")).expect("reads"), two);
        for wrong in ["", "0", "0123456789ABCDEF0123456789ABCDEF", "0123456789abcdef0123456789abcde", "../../x"] {
            wrong.parse::<ClaimId>().expect_err(wrong);
        }
    }
}
