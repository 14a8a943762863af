//! The configuration file that the engine reads when it starts: with one that it cannot read it does not start again.
//!
//! A running engine does not notice that the file became unreadable after its start. The rules are those of moby
//! `daemon/config/config.go`, `getConflictFreeConfiguration`: a byte order mark and blanks are cut off, an empty file
//! counts as none, and anything else must be a JSON object.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde_json::{Map, Value};

use crate::{host::systemd::Systemd, outcome::failure::Failure};

const DEFAULT: &str = "/etc/docker/daemon.json";

/// Refuses if the engine of this unit could not start again.
pub async fn require_readable(systemd: &Systemd, service: &str) -> Result<()> {
    let words = systemd.command_line(service).await?;
    let named = config_file(&words);
    let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT));
    let wrong = match fs::read(&path) {
        Ok(text) => what_is_wrong(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => None,
        Err(error) => Some(error.to_string()),
    };
    match wrong {
        None => Ok(()),
        Some(wrong) => Err(refusal(service, &path, &wrong).into()),
    }
}

fn refusal(service: &str, path: &Path, wrong: &str) -> Failure {
    Failure::refused(format!(
        "{service} runs, and would not start again: its configuration {} cannot be read ({wrong}); nothing was touched",
        path.display()
    ))
    .advice("put it right (`dockerd --validate` checks it, from 23.0 on), before this host is restarted too")
}

/// The file that a command line names; variables (`$…`) in it are not expanded.
fn config_file(words: &[String]) -> Option<PathBuf> {
    words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix("--config-file") {
        Some("") => words.get(at + 1).map(PathBuf::from),
        Some(value) => value.strip_prefix('=').map(PathBuf::from),
        None => None,
    })
}

fn what_is_wrong(text: &[u8]) -> Option<String> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii();
    if text.is_empty() {
        return None;
    }
    serde_json::from_slice::<Map<String, Value>>(text).err().map(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_an_engine_cannot_read_is_recognised() {
        for text in ["", " \n", "{}", "\u{feff}{\"debug\": true}\n"] {
            assert_eq!(what_is_wrong(text.as_bytes()), None, "{text:?}");
        }
        for text in ["{\"debug\": true,}", "[]", "{", "debug = true", "{} {}"] {
            assert!(what_is_wrong(text.as_bytes()).is_some(), "{text:?}");
        }
    }

    #[test]
    fn the_file_is_the_one_that_the_unit_names() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(config_file(&words("dockerd -H fd://")), None);
        for line in ["dockerd --config-file /etc/x.json -D", "dockerd --config-file=/etc/x.json"] {
            assert_eq!(config_file(&words(line)), Some(PathBuf::from("/etc/x.json")), "{line}");
        }
    }
}
