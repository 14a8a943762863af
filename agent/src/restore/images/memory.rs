//! What this host found out last about the images of its swarm.

use std::{fmt, path::Path};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use swarmdr_archive::{ClusterId, point::ImagesPart};

use super::line::{Line, Trouble};
use crate::{host::files::whole_file, outcome::count::count};

/// Age from which a check counts for nothing: another manager may make the backups by now.
const RECENT: SignedDuration = SignedDuration::from_hours(8 * 24);

/// Difference of clocks that is no mistake.
const SKEW: SignedDuration = SignedDuration::from_mins(10);

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
    /// Those of them of which the check before could not find it out either.
    #[serde(default)]
    pub still_unknown: Vec<String>,
}

impl ImagesChecked {
    /// What lines say. An image of which nothing was found out now keeps the problems that it had in the check before.
    pub fn new(at: Timestamp, cluster: ClusterId, lines: &[Line], before: Option<&Self>) -> Self {
        let before = before.filter(|before| before.cluster == cluster);
        let is_unknown = |line: &&Line| line.problems.is_empty() && !line.unknown.is_empty();
        let unknown: Vec<String> = lines.iter().filter(is_unknown).map(|line| line.name().to_owned()).collect();
        let had =
            before.into_iter().flat_map(|before| &before.missing).filter(|it| unknown.contains(&it.image)).cloned();
        let was_unknown = |image: &&String| before.is_some_and(|before| before.unknown.contains(image));
        Self {
            at,
            cluster,
            images: lines.len(),
            missing: lines.iter().filter_map(Line::trouble).chain(had).collect(),
            still_unknown: unknown.iter().filter(was_unknown).cloned().collect(),
            unknown,
        }
    }

    /// Returns the last check of this host; `None` if there is none, or it cannot be read.
    pub fn read(state_dir: &Path) -> Option<Self> {
        whole_file::read_json(&state_dir.join(FILE))
    }

    /// Takes the place of the check before. A failure is only logged.
    /// What a recovery point says of the last check that this host made for a swarm.
    pub fn for_point(state_dir: &Path, cluster: &ClusterId) -> Option<ImagesPart> {
        let checked = Self::read(state_dir).filter(|checked| checked.cluster == *cluster)?;
        Some(ImagesPart {
            checked_at: checked.at,
            images: checked.images as u64,
            missing: checked.missing.len() as u64,
            unknown: checked.unknown.len() as u64,
        })
    }

    pub fn write(&self, state_dir: &Path) {
        let path = state_dir.join(FILE);
        if let Err(error) = whole_file::replace_json(&path, self) {
            tracing::warn!("`status` will not know of this check: failed to write {}: {error}", path.display());
        }
    }

    /// Whether it says something about the swarm of today. A check of the future was made with a wrong clock.
    pub fn is_recent(&self, now: Timestamp) -> bool {
        self.at <= now + SKEW && now.duration_since(self.at) < RECENT
    }

    /// Whether the next check is due, if there is one each time that this has passed.
    pub fn is_due(&self, now: Timestamp, after: SignedDuration) -> bool {
        self.at > now + SKEW || now.duration_since(self.at) >= after
    }

    /// Returns in one line what has to be looked after; `None` if nothing has.
    pub fn words(&self) -> Option<String> {
        let more = |others: usize| match others {
            0 => String::new(),
            others => format!(", and {} more", count(others as u64, "image")),
        };
        if let Some(first) = self.missing.first() {
            let more = more(self.missing.len() - 1);
            return Some(format!("an image cannot be pulled, or soon cannot: {first}{more}"));
        }
        let first = self.still_unknown.first()?;
        let more = more(self.still_unknown.len() - 1);
        Some(format!("it could not be found out twice whether an image can be pulled: {first}{more}"))
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
    use std::fs;

    use super::*;
    use crate::restore::images::{logins::Origin, need::Need};

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
            still_unknown: Vec::new(),
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
    fn what_was_missing_stays_so_until_it_is_seen() {
        let line = |image: &str, unknown: bool| {
            let mut line = Line::of(&Need::new(image, Origin::Anonymous, None));
            line.unknown.extend(unknown.then(|| "it does not answer".to_owned()));
            line
        };
        let (before, at) = (checked(&["web"]), checked(&[]).at);
        let of = |lines: &[Line], before: &ImagesChecked| {
            ImagesChecked::new(at, before.cluster.clone(), lines, Some(before))
        };
        let silent = of(&[line("old:5000/web:1", true), line("old:5000/db:1", true)], &before);
        assert_eq!((silent.missing.clone(), silent.unknown.len()), (before.missing.clone(), 2));
        assert_eq!(silent.still_unknown, [""; 0]);
        let again = of(&[line("old:5000/db:1", true)], &silent);
        assert!(again.words().expect("is told").contains("twice") && again.missing.is_empty(), "{again:?}");
        let seen = of(&[line("old:5000/web:1", false)], &silent);
        assert_eq!((seen.words(), seen.unknown.len()), (None, 0));
    }

    #[test]
    fn a_check_of_the_future_counts_for_nothing() {
        let (checked, hour) = (checked(&[]), SignedDuration::from_hours(1));
        for (now, recent, due) in
            [(checked.at, true, false), (checked.at + hour, true, true), (checked.at - hour, false, true)]
        {
            assert_eq!((checked.is_recent(now), checked.is_due(now, hour)), (recent, due), "{now}");
        }
        assert!(!checked.is_recent(checked.at + SignedDuration::from_hours(200)));
    }

    #[test]
    fn one_line_names_the_first_service() {
        assert_eq!(checked(&[]).words(), None);
        let words = checked(&["web", "db"]).words().expect("something is missing");
        assert!(words.ends_with("web (old:5000/web:1): not there: manifest unknown, and 1 image more"), "{words}");
    }
}
