//! Settings for data streams: what is stored beside the state of the swarm, and when.

use std::{collections::BTreeSet, fmt, str::FromStr};

use anyhow::Result;
use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use swarmdr_archive::stream_archive::StreamName;
use swarmdr_vault::settings::unit_length::Seconds;

use super::{Config, schedule};
use crate::outcome::failure::Failure;

/// One `[[stream]]` of the configuration. Exactly one of `exec` and `command` says what writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamConfig {
    /// Name under which it is stored again and again.
    pub name: String,
    /// Service whose running task on this host makes it this host's turn. With `exec`, the command runs in that task.
    pub service: Option<String>,
    /// Command in the container of the task of `service`, without a shell.
    pub exec: Vec<String>,
    /// Command on this host, without a shell.
    pub command: Vec<String>,
    /// When it is due, as `schedule.cron`; default: only when somebody runs `put NAME`.
    pub cron: Option<String>,
    /// Seconds that the command may take.
    pub timeout: Seconds,
    /// Seconds for which a part is sent again that a vault does not take; the command waits meanwhile.
    pub patience: Seconds,
    /// Bytes that are expected; they choose the size of the parts of an upload.
    pub expect: Option<ByteSize>,
    /// Bytes below which it is stored and reported.
    pub min_size: Option<ByteSize>,
    /// Part of the size of the one before, by which it may be smaller without being reported.
    pub max_shrink: Option<Percent>,
    /// Age of the newest one from which `status` reports it.
    pub max_age: Option<Seconds>,
    /// Text that the stream has to end with; otherwise nothing is stored.
    pub expect_tail: Option<String>,
    /// Command that `restore --point` names for bringing it back.
    pub restore: Vec<String>,
}

/// A whole percentage, 0 to 100, written as `50%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(u8);

impl Percent {
    pub fn value(self) -> u8 {
        self.0
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').and_then(|number| number.trim_end().parse().ok());
        number.filter(|number| *number <= 100).map(Self).ok_or_else(|| format!("`{text}` is no percentage: write 50%"))
    }
}

impl TryFrom<String> for Percent {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl From<Percent> for String {
    fn from(percent: Percent) -> Self {
        percent.to_string()
    }
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            service: None,
            exec: Vec::new(),
            command: Vec::new(),
            cron: None,
            timeout: Seconds::new(4 * 3600),
            patience: Seconds::new(300),
            expect: None,
            min_size: None,
            max_shrink: None,
            max_age: None,
            expect_tail: None,
            restore: Vec::new(),
        }
    }
}

impl StreamConfig {
    /// The name, which was checked when the configuration was read.
    pub fn stream_name(&self) -> Result<StreamName> {
        self.name.parse().map_err(|cause: swarmdr_archive::Error| {
            Failure::usage(format!("`{}` cannot be the name of a stream", self.name)).because(cause).into()
        })
    }

    /// What is run: in the container of a task, or on this host.
    pub fn words(&self) -> &[String] {
        if self.exec.is_empty() { &self.command } else { &self.exec }
    }

    fn validate(&self) -> Result<()> {
        self.stream_name()?;
        let wrong = |why: &str| Failure::usage(format!("the stream `{}` {why}", self.name));
        match (self.exec.is_empty(), self.command.is_empty()) {
            (true, true) => return Err(wrong("has neither `exec` nor `command`").into()),
            (false, false) => return Err(wrong("has both `exec` and `command`; leave one").into()),
            (false, true) if self.service.is_none() => {
                return Err(wrong("has `exec`, and no `service` whose task it runs in").into());
            }
            _ => {}
        }
        if let Some(cron) = &self.cron {
            schedule::require_cron(cron)?;
        }
        Ok(())
    }
}

impl Config {
    pub(super) fn validate_streams(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        for stream in &self.stream {
            stream.validate()?;
            if !names.insert(&stream.name) {
                return Err(Failure::usage(format!("two streams have the name `{}`", stream.name)).into());
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
        config.validate_streams()?;
        Ok(config)
    }

    #[test]
    fn a_stream_is_read_as_people_write_it() {
        let config = read(
            r#"
            [[stream]]
            name = "shop-db"
            service = "shop_db"
            exec = ["pg_dump", "-Fc", "shop"]
            cron = "15 2 * * *"
            timeout = "4h"
            expect = "300GB"
            min_size = "1MB"
            max_shrink = "50%"
            "#,
        )
        .expect("is valid");
        let stream = &config.stream[0];
        assert_eq!(stream.timeout.count(), 4 * 3600);
        assert_eq!(stream.expect.map(|size| size.as_u64()), Some(300_000_000_000));
        assert_eq!(stream.min_size.map(|size| size.as_u64()), Some(1_000_000));
        assert_eq!(stream.max_shrink.map(Percent::value), Some(50));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let one = "[[stream]]\nname = \"a\"\ncommand = [\"true\"]\n";
        for (text, said) in [
            ("[[stream]]\nname = \"A/b\"\ncommand = [\"true\"]\n".to_owned(), "cannot be the name"),
            ("[[stream]]\nname = \"a\"\n".to_owned(), "neither `exec` nor `command`"),
            ("[[stream]]\nname = \"a\"\nexec = [\"true\"]\n".to_owned(), "no `service`"),
            (format!("{one}exec = [\"true\"]\n"), "both `exec` and `command`"),
            (format!("{one}{one}"), "two streams have the name `a`"),
            (format!("{one}cron = \"soon\"\n"), "cron"),
            (format!("{one}max_shrink = \"150%\"\n"), "no percentage"),
            (format!("{one}expect = \"many\"\n"), "many"),
        ] {
            let error = format!("{:#}", read(&text).expect_err(&text));
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
