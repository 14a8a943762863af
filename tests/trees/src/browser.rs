//! A browser without a screen, for the pictures of the demo.

use std::path::PathBuf;

use anyhow::Result;

use crate::{Recipe, Tree};

/// Chromium without its window, and one family of fonts.
const PACKAGES: &[&str] = &["chromium-headless-shell", "fonts-dejavu-core"];

/// Returns the root file system of the browser, built on first use.
pub fn browser_tree() -> Result<PathBuf> {
    Tree::get(&Recipe { name: "browser", suite: "trixie", packages: PACKAGES, tweaks: "" })
}
