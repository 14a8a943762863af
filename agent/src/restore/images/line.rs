//! One image in a report.

use std::fmt;

use serde::{Deserialize, Serialize};
use swarmdr_archive::untrusted::shown;
use swarmdr_registry::{Checked, Digest, Platform, Problem};

use super::{logins::Origin, need::Need};

/// An image, and what was found out about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The name as the services have it.
    pub image: String,
    /// The name that a map gives it, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapped: Option<String>,
    /// The digest in its name, else the one that its tag leads to, if that was asked.
    pub digest: Option<Digest>,
    /// Whether its name has the digest: otherwise two nodes may run different images.
    pub pinned: bool,
    pub platforms: Vec<Platform>,
    pub services: Vec<String>,
    pub login: Origin,
    /// Why services that need it would not start, or soon may not.
    pub problems: Vec<Problem>,
    /// What could not be found out, and why.
    pub unknown: Vec<String>,
}

/// What was remembered of one image with problems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub image: String,
    pub services: Vec<String>,
    /// In words.
    pub problems: Vec<String>,
}

impl Line {
    pub fn of(need: &Need) -> Self {
        let digest = need.name.as_ref().ok().and_then(|name| name.digest().cloned());
        Self {
            image: need.image.clone(),
            mapped: None,
            pinned: digest.is_some(),
            digest,
            platforms: need.platforms.iter().cloned().collect(),
            services: need.services.clone(),
            login: need.origin,
            problems: Vec::new(),
            unknown: Vec::new(),
        }
    }

    pub fn take(&mut self, checked: Checked) {
        self.digest = self.digest.take().or(checked.digest);
        self.problems.extend(checked.problems);
        self.unknown.extend(checked.unknown);
    }

    /// The name that nodes pull it by.
    pub fn name(&self) -> &str {
        self.mapped.as_deref().unwrap_or(&self.image)
    }

    /// Whether nothing was found that keeps its services from starting.
    pub fn is_there(&self) -> bool {
        self.problems.is_empty() && self.unknown.is_empty()
    }

    /// Returns what keeps its services from starting, in words; `None` if nothing does.
    pub fn trouble(&self) -> Option<Trouble> {
        (!self.problems.is_empty()).then(|| Trouble {
            image: self.name().to_owned(),
            services: self.services.clone(),
            problems: self.problems.iter().map(words).collect(),
        })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.services.join(", "), self.image, self.problems.join("; "))
    }
}

/// Returns a problem in words that follow a colon.
fn words(problem: &Problem) -> String {
    match problem {
        Problem::NotThere { why } => format!("not there: {why}"),
        Problem::Denied { why } => format!("the login is refused: {why}"),
        Problem::NoPlatform { platform } => format!("not made for {platform}"),
        Problem::PartGone { digest } => format!("a part of it is gone: {digest}"),
        Problem::Damaged { why } => format!("damaged: {why}"),
        Problem::TagMoved { tag, now: None } => {
            format!("its tag `{tag}` is gone; it can be pulled as long as the registry keeps what has no tag")
        }
        Problem::TagMoved { tag, now: Some(now) } => {
            let other = now.short();
            format!(
                "its tag `{tag}` is another image now ({other}); it can be pulled as long as the registry keeps what has no tag"
            )
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_moved = |problem: &Problem| matches!(problem, Problem::TagMoved { .. });
        let state = match (self.problems.is_empty(), self.unknown.is_empty()) {
            (false, _) if self.problems.iter().all(is_moved) => "moved",
            (false, _) => "missing",
            (true, false) => "unknown",
            (true, true) => "there",
        };
        writeln!(f, "  {state:8} {}", shown(self.name()))?;
        if self.mapped.is_some() {
            writeln!(f, "           in place of {}", shown(&self.image))?;
        }
        writeln!(f, "           for {}; login: {}", shown(self.services.join(", ")), self.login.words())?;
        for problem in &self.problems {
            writeln!(f, "           {}", shown(words(problem)))?;
        }
        for unknown in &self.unknown {
            writeln!(f, "           not found out: {}", shown(unknown))?;
        }
        Ok(())
    }
}
