//! An operand of `diff`.

use std::{convert::Infallible, path::PathBuf, str::FromStr};

use swarmdr_archive::BackupId;

/// One side of a comparison as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    Latest,
    Id(BackupId),
    /// Path of an archive or a directory; which of them is found out later from what is there.
    Path(PathBuf),
}

impl FromStr for Operand {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match (text, text.parse()) {
            ("latest", _) => Self::Latest,
            (_, Ok(id)) => Self::Id(id),
            (path, Err(_)) => Self::Path(path.into()),
        })
    }
}
