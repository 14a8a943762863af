//! Which recovery point is meant.

use std::{fmt, str::FromStr};

use swarmdr_archive::BackupId;

/// A recovery point as a person names it: `latest`, `latest-complete`, or its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The newest one, complete or not.
    Latest,
    /// The newest one that is complete.
    LatestComplete,
    Id(BackupId),
}

impl Which {
    /// Whether the newest one is meant, and none by name.
    pub fn is_newest(self) -> bool {
        !matches!(self, Self::Id(_))
    }
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "latest" => Ok(Self::Latest),
            "latest-complete" => Ok(Self::LatestComplete),
            id => id.parse().map(Self::Id).map_err(|_| {
                "write `latest`, `latest-complete`, or the id of a point, which `swarmdr-agent list --points` shows"
                    .to_owned()
            }),
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::LatestComplete => f.write_str("latest-complete"),
            Self::Id(id) => write!(f, "{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_named_by_its_id_or_as_the_latest() {
        for text in ["latest", "latest-complete", "20261121T031500Z-1a2b3c4d"] {
            assert_eq!(text.parse::<Which>().expect("is a point").to_string(), text);
        }
        for wrong in ["", "newest", "Latest", "--latest", "20261121"] {
            wrong.parse::<Which>().expect_err("is none");
        }
    }
}
