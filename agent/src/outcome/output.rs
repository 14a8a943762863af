//! Form in which results reach a person or a script: text on standard output, or JSON with a stable schema.

use std::fmt;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::outcome::terminal;

/// Output format of a verb; chosen by `--json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Human,
    Json,
}

impl Output {
    /// Prints a report. A closed pipe is not an error.
    pub fn print<T: Serialize + fmt::Display>(self, report: &T) -> Result<()> {
        let mut text = match self {
            Output::Human => report.to_string(),
            Output::Json => terminal::json(report).context("failed to write the report as JSON")?,
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        terminal::print(&text).context("failed to write to standard output")
    }
}
