//! What this host found out last about the images of its swarm.

use std::{fmt, fs, io, path::Path};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use swarmdr_archive::ClusterId;

use super::line::{Line, Trouble};
use crate::{host::files::whole_file, outcome::count::count};

/// Age from which a check counts for nothing: another manager may make the backups by now.
const RECENT: SignedDuration = SignedDuration::from_hours(8 * 24);

const FILE: &str = "images.json";

/// The last check of the images of a swarm. It holds names and no login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagesChecked {
    pub at: Timestamp,
    pub cluster: ClusterId,
    pub images: usize,
    /// Images that services would not start without, or soon may not.
    pub missing: Vec<Trouble>,
    /// Images of which it could not be found out.
    pub unknown: Vec<String>,
}

impl ImagesChecked {
    pub fn new(at: Timestamp, cluster: ClusterId, lines: &[Line]) -> Self {
        let is_unknown = |line: &&Line| line.problems.is_empty() && !line.unknown.is_empty();
        Self {
            at,
            cluster,
            images: lines.len(),
            missing: lines.iter().filter_map(Line::trouble).collect(),
            unknown: lines.iter().filter(is_unknown).map(|line| line.image.clone()).collect(),
        }
    }

    /// Returns the last check of this host; `None` if there is none, or it cannot be read.
    pub fn read(state_dir: &Path) -> Option<Self> {
        let path = state_dir.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .inspect_err(|error| tracing::warn!("{} cannot be read: {error}", path.display()))
                .ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!("{} cannot be read: {error}", path.display());
                None
            }
        }
    }

    /// Takes the place of the check before. A failure is only logged.
    pub fn write(&self, state_dir: &Path) {
        let path = state_dir.join(FILE);
        if let Err(error) = whole_file::replace_json(&path, self) {
            tracing::warn!("`status` will not know of this check: failed to write {}: {error}", path.display());
        }
    }

    /// Whether it says something about the swarm of today.
    pub fn is_recent(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) < RECENT
    }

    /// Returns in one line what is missing; `None` if nothing is.
    pub fn words(&self) -> Option<String> {
        let first = self.missing.first()?;
        let more = match self.missing.len() - 1 {
            0 => String::new(),
            others => format!(", and {} more", count(others as u64, "image")),
        };
        Some(format!("an image cannot be pulled, or soon cannot: {first}{more}"))
    }
}

impl fmt::Display for ImagesChecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} checked: ", self.images)?;
        match (self.missing.len(), self.unknown.len()) {
            (0, 0) => f.write_str("all there"),
            (missing, 0) => write!(f, "{missing} missing"),
            (missing, unknown) => write!(f, "{missing} missing, {unknown} not found out"),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn checked(missing: &[&str]) -> ImagesChecked {
        let trouble = |service: &&str| Trouble {
            image: format!("old:5000/{service}:1"),
            services: vec![(*service).to_owned()],
            problems: vec!["not there: manifest unknown".to_owned()],
        };
        ImagesChecked {
            at: "2026-11-21T03:15:00Z".parse().expect("is a time"),
            cluster: "c".parse().expect("is an id"),
            images: 3,
            missing: missing.iter().map(trouble).collect(),
            unknown: Vec::new(),
        }
    }

    #[test]
    fn the_last_check_is_remembered_and_a_damaged_one_is_none() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        assert_eq!(ImagesChecked::read(dir.path()), None);
        checked(&["web"]).write(dir.path());
        assert_eq!(ImagesChecked::read(dir.path()), Some(checked(&["web"])));
        fs::write(dir.path().join(FILE), "{").expect("writes");
        assert_eq!(ImagesChecked::read(dir.path()), None);
    }

    #[test]
    fn one_line_names_the_first_service() {
        assert_eq!(checked(&[]).words(), None);
        let words = checked(&["web", "db"]).words().expect("something is missing");
        assert!(words.ends_with("web (old:5000/web:1): not there: manifest unknown, and 1 image more"), "{words}");
    }
}
