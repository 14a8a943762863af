//! Reports of `images list` and `images check`.

use std::fmt;

use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::untrusted::shown;

use super::line::Line;
use crate::{
    archive::open_state::OpenState,
    outcome::{count::count, exit::Exit},
};

/// The stable JSON form of both.
#[derive(Debug, Serialize)]
pub struct Report {
    pub result: &'static str,
    #[serde(skip)]
    exit: Exit,
    /// What the images were read from.
    pub source: String,
    /// Time of the backup; absent for a directory.
    pub created_at: Option<Timestamp>,
    pub images: Vec<Line>,
    /// Problems in the vaults that the operator should look at.
    pub findings: Vec<String>,
    #[serde(skip)]
    checked: bool,
}

impl Report {
    /// The images of a state, of which nothing was asked.
    pub fn listed(state: &OpenState, images: Vec<Line>) -> Self {
        Self::new(state, images, false)
    }

    /// The images of a state after a check.
    pub fn checked(state: &OpenState, images: Vec<Line>) -> Self {
        Self::new(state, images, true)
    }

    fn new(state: &OpenState, images: Vec<Line>, checked: bool) -> Self {
        let exit = match () {
            () if images.iter().any(|line| !line.problems.is_empty()) => Exit::Attention,
            () if images.iter().any(|line| !line.unknown.is_empty()) => Exit::Failed,
            () if !state.findings.is_empty() => Exit::Attention,
            () => Exit::Done,
        };
        Self {
            result: exit.word(),
            exit,
            source: state.source.clone(),
            created_at: state.created_at,
            images,
            findings: state.findings.clone(),
            checked,
        }
    }

    /// Exits 6 if an image is missing, 1 if something could not be found out.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["IMAGE", "DIGEST", "PLATFORMS", "LOGIN", "SERVICES"]);
        for line in &self.images {
            let digest = line.digest.as_ref().map_or("not pinned", |digest| digest.short());
            let platforms: Vec<String> = line.platforms.iter().map(ToString::to_string).collect();
            let name = line.image.split('@').next().unwrap_or_default();
            table.add_row([
                shown(name).to_string(),
                digest.to_owned(),
                platforms.join(" "),
                line.login.words().to_owned(),
                shown(line.services.join(" ")).to_string(),
            ]);
        }
        table
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} of {}", count(self.images.len() as u64, "image"), shown(&self.source))?;
        match self.checked {
            true => self.images.iter().try_for_each(|line| line.fmt(f))?,
            false if self.images.is_empty() => {}
            false => writeln!(f, "{}", self.table())?,
        }
        for finding in &self.findings {
            writeln!(f, "  finding: {}", shown(finding))?;
        }
        Ok(())
    }
}
