//! Settings for data streams: what is stored beside the state of the swarm, and when.

use std::{collections::BTreeSet, fmt, str::FromStr};

use anyhow::Result;
use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use swarmdr_archive::stream_archive::StreamName;
use swarmdr_vault::settings::unit_length::Seconds;

use super::{Config, PingUrl, retention::Policy, schedule};
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
    /// Text that the stream has to end with; otherwise nothing is stored.
    pub expect_tail: Option<String>,
    /// Seconds after its start at which the newest one counts as too old; default: what `cron` and `timeout` say. A recovery
    /// point with an older one is not complete.
    pub max_age: Option<Seconds>,
    /// Address of a dead man's switch of its own, as `watch.ping_url` is that of backups.
    pub ping_url: Option<String>,
    /// Whether this host renews the lock of the newest one; `false` for a stream that was given up.
    pub renew: bool,
    /// Streams of this name that `prune` keeps; default: as `[retention]`.
    pub retention: Option<Policy>,
    /// Command that `restore --point` names for bringing it back.
    pub restore: Vec<String>,
    /// Where that command runs; default: where the stream is read, in the task with `exec` and on the host with `command`.
    pub restore_in: Option<Place>,
    /// Command on this host, without a shell, to which `drill` hands the newest one; whether it succeeds is the result.
    pub drill: Vec<String>,
    /// Seconds that the drill may take.
    pub drill_timeout: Seconds,
}

/// Where a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// In the container of the task of `service`.
    Task,
    Host,
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
            expect_tail: None,
            max_age: None,
            ping_url: None,
            renew: true,
            retention: None,
            restore: Vec::new(),
            restore_in: None,
            drill: Vec::new(),
            drill_timeout: Seconds::new(4 * 3600),
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

    /// The service in whose task the stream is brought back; `None` if that is done on the host.
    pub fn service_to_restore(&self) -> Option<&str> {
        let usual = if self.exec.is_empty() { Place::Host } else { Place::Task };
        let in_task = self.restore_in.unwrap_or(usual) == Place::Task;
        self.service.as_deref().filter(|_| in_task)
    }

    /// The dead man's switch of this stream.
    pub fn ping(&self) -> Result<Option<PingUrl>> {
        let key = || format!("ping_url of the stream `{}`", self.name);
        self.ping_url.as_deref().map(|text| PingUrl::parse(&key(), text)).transpose()
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
        if self.restore_in == Some(Place::Task) && self.service.is_none() {
            return Err(wrong("has `restore_in = \"task\"`, and no `service` whose task that is").into());
        }
        if let Some(cron) = &self.cron {
            schedule::require_cron(cron)?;
        }
        self.ping()?;
        if self.max_age.is_some_and(|age| age.count() == 0) {
            return Err(wrong("has a `max_age` of 0, so each one would be too old at once").into());
        }
        if self.retention == Some(Policy::default()) {
            return Err(wrong("has an empty `retention`, which would remove every one of them")
                .advice("write `keep_last`, `keep_daily`, `keep_weekly` or `keep_monthly`, or leave `retention` out")
                .into());
        }
        Ok(())
    }
}

impl Config {
    /// Returns the stream of this name, if it is configured.
    pub fn stream_named(&self, name: &str) -> Option<&StreamConfig> {
        self.stream.iter().find(|stream| stream.name == name)
    }

    /// Whether this host renews locks of streams of this name: unless its configuration says that it does not.
    pub fn renews(&self, name: &StreamName) -> bool {
        self.stream_named(name.as_str()).is_none_or(|stream| stream.renew)
    }

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
            max_age = "26h"
            renew = false
            drill = ["/usr/local/bin/restore-and-count"]
            drill_timeout = "1h"
            retention = { keep_daily = 14, keep_monthly = 12 }
            "#,
        )
        .expect("is valid");
        let stream = &config.stream[0];
        assert_eq!(stream.timeout.count(), 4 * 3600);
        assert_eq!(stream.expect.map(|size| size.as_u64()), Some(300_000_000_000));
        assert_eq!(stream.min_size.map(|size| size.as_u64()), Some(1_000_000));
        assert_eq!(stream.max_shrink.map(Percent::value), Some(50));
        assert_eq!(stream.max_age.map(Seconds::count), Some(26 * 3600));
        assert_eq!((stream.drill.len(), stream.drill_timeout.count()), (1, 3600));
        let renews = |name: &str| config.renews(&name.parse().expect("is a name"));
        assert_eq!((renews("shop-db"), renews("another")), (false, true));
        assert_eq!(stream.retention.map(|policy| (policy.keep_daily, policy.keep_monthly)), Some((14, 12)));
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
            (format!("{one}ping_url = \"ftp://x\"\n"), "ping_url of the stream `a` is no address"),
            (format!("{one}restore_in = \"task\"\n"), "no `service` whose task"),
            (format!("{one}restore_in = \"container\"\n"), "container"),
            (format!("{one}max_age = 0\n"), "`max_age` of 0"),
            (format!("{one}max_age = \"soon\"\n"), "soon"),
            (format!("{one}retention = {{}}\n"), "empty `retention`"),
            (format!("{one}retention = {{ keep_yearly = 1 }}\n"), "keep_yearly"),
        ] {
            let error = format!("{:#}", read(&text).expect_err(&text));
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
