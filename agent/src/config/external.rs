//! Settings for snapshots that other tools make and keep, and that recovery points name.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use swarmdr_archive::stream_archive::StreamName;
use swarmdr_vault::settings::unit_length::Seconds;

use super::{Config, schedule};
use crate::outcome::failure::Failure;

/// One `[[external]]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExternalConfig {
    /// Name under which recovery points have it; no stream has the same.
    pub name: String,
    /// Service whose running task on this host makes it this host's turn.
    pub service: Option<String>,
    /// Command on this host, without a shell. The last line of its output that is not empty is the id of the snapshot.
    pub command: Vec<String>,
    /// When it is due, as `schedule.cron`; default: only when somebody runs `put NAME`.
    pub cron: Option<String>,
    /// Seconds that the command may take.
    pub timeout: Seconds,
    /// Age of the newest one from which recovery points are not complete.
    pub max_age: Option<Seconds>,
}

impl Default for ExternalConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            service: None,
            command: Vec::new(),
            cron: None,
            timeout: Seconds::new(4 * 3600),
            max_age: None,
        }
    }
}

impl ExternalConfig {
    /// The name, which was checked when the configuration was read.
    pub fn part_name(&self) -> Result<StreamName> {
        self.name.parse().map_err(|cause: swarmdr_archive::Error| {
            Failure::usage(format!("`{}` cannot be the name of an external snapshot", self.name)).because(cause).into()
        })
    }

    fn validate(&self) -> Result<()> {
        self.part_name()?;
        if self.command.is_empty() {
            return Err(Failure::usage(format!("the external snapshot `{}` has no `command`", self.name)).into());
        }
        if let Some(cron) = &self.cron {
            schedule::require_cron(cron)?;
        }
        Ok(())
    }
}

impl Config {
    pub(super) fn validate_externals(&self) -> Result<()> {
        let mut names: BTreeSet<&str> = self.stream.iter().map(|stream| stream.name.as_str()).collect();
        for external in &self.external {
            external.validate()?;
            if !names.insert(&external.name) {
                let what = format!("another stream or external snapshot has the name `{}`", external.name);
                return Err(Failure::usage(what).into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config> {
        let config: Config = toml::from_str(text)?;
        config.validate_externals()?;
        Ok(config)
    }

    #[test]
    fn an_external_snapshot_is_read_as_people_write_it() {
        let config = read(
            r#"
            [[external]]
            name = "uploads"
            command = ["/usr/local/bin/restic-uploads"]
            cron = "30 2 * * *"
            max_age = "26h"
            "#,
        )
        .expect("is valid");
        let external = &config.external[0];
        assert_eq!(external.timeout.count(), 4 * 3600);
        assert_eq!(external.max_age.map(Seconds::count), Some(26 * 3600));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let one = "[[external]]\nname = \"a\"\ncommand = [\"true\"]\n";
        let stream = "[[stream]]\nname = \"a\"\ncommand = [\"true\"]\n";
        for (text, said) in [
            ("[[external]]\nname = \"A b\"\ncommand = [\"true\"]\n".to_owned(), "cannot be the name"),
            ("[[external]]\nname = \"a\"\n".to_owned(), "no `command`"),
            (format!("{one}{one}"), "has the name `a`"),
            (format!("{one}{stream}"), "has the name `a`"),
            (format!("{one}cron = \"soon\"\n"), "cron"),
        ] {
            let error = format!("{:#}", read(&text).expect_err(&text));
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
