//! Recipients to whom archives are encrypted.

use anyhow::Result;
use swarmdr_archive::Recipient;

use crate::{config::Config, outcome::failure::Failure};

/// Returns the configured recipients; none if archives are not encrypted.
pub fn parse(config: &Config) -> Result<Vec<Recipient>> {
    let one = |text: &String| {
        text.parse().map_err(|cause: swarmdr_archive::Error| {
            Failure::usage(format!("`recipients` holds `{text}`, which is not an age recipient")).because(cause).into()
        })
    };
    config.recipients.iter().map(one).collect()
}
