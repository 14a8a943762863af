//! The documents next to the code: the files that they name exist, the commands that the README shows are in the guide,
//! and the pictures are those that the sources make. Needs no host.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use swarmdr_tests::packages::checkout;

use super::documents::blocks;

/// Documents that name files, and the least number of paths in each.
const NAMING: [(&str, usize); 3] =
    [("packaging/docs/architecture.md", 50), ("CONTRIBUTING.md", 15), (".github/ISSUE_TEMPLATE/release.md", 4)];

/// Folders that a path may begin in: the architecture names the agent's modules without their parents.
const BEGINNINGS: [&str; 2] = ["", "agent/src"];

/// Returns the paths between backticks: the first word of each, if it has a slash and is neither absolute nor a
/// pattern.
fn named_paths(text: &str) -> impl Iterator<Item = &str> {
    // A fence is three backticks, so text that is not code is at even places anyway.
    let code = text.split('`').skip(1).step_by(2);
    let words = code.filter_map(|code| code.split_whitespace().next());
    words.filter(|word| word.contains('/') && !word.starts_with('/') && !word.contains(['<', '*', '…', '$', ':']))
}

fn exists(path: &str) -> bool {
    BEGINNINGS.iter().any(|beginning| checkout().join(beginning).join(path).exists())
}

#[test]
fn every_path_that_a_document_names_exists() -> Result<()> {
    for (document, at_least) in NAMING {
        let text = fs::read_to_string(checkout().join(document))?;
        let paths: Vec<&str> = named_paths(&text).collect();
        let missing: Vec<&&str> = paths.iter().filter(|path| !exists(path)).collect();
        assert!(missing.is_empty(), "{document} names what is not there: {missing:?}");
        assert!(paths.len() >= at_least, "{document} was read badly: {paths:?}");
    }
    Ok(())
}

#[test]
fn every_link_from_one_document_to_another_leads_somewhere() -> Result<()> {
    let mut documents = vec!["README.md".into(), "CONTRIBUTING.md".into(), "SECURITY.md".into()];
    for entry in fs::read_dir(checkout().join("packaging/docs"))? {
        documents.push(Path::new("packaging/docs").join(entry?.file_name()));
    }
    let mut links = 0;
    for document in documents.iter().filter(|document| document.extension().is_some_and(|ending| ending == "md")) {
        let path = checkout().join(document);
        let text = fs::read_to_string(&path)?;
        for link in text.split("](").skip(1) {
            let (target, _) = link.split_once(')').with_context(|| format!("{} has an open link", path.display()))?;
            if !target.contains("://") {
                let parent = path.parent().context("a document lies in a folder")?;
                assert!(parent.join(target).exists(), "{} links to {target}", document.display());
                links += 1;
            }
        }
    }
    assert!(links >= 15, "only {links} links were found");
    Ok(())
}

/// The guide and the runbook are followed on hosts, so the commands that the README takes from them work.
#[test]
fn the_readme_shows_what_the_guide_and_the_runbook_do() -> Result<()> {
    let mut tried = Vec::new();
    for document in ["operations.md", "runbook.md"] {
        tried.extend(blocks(document)?.into_iter().map(|block| block.text));
    }
    let tried: Vec<&str> = tried.iter().flat_map(|text| text.lines()).collect();
    let shown = blocks("../../README.md")?;
    for line in shown.iter().flat_map(|block| block.text.lines()) {
        assert!(tried.contains(&line), "neither the guide nor the runbook has `{line}`");
    }
    ensure!(shown.iter().any(|block| block.language == "toml"), "the README shows no settings");
    Ok(())
}

#[test]
fn the_pictures_are_drawn_from_these_sources() -> Result<()> {
    let drawn = Command::new(checkout().join("packaging/docs/draw")).arg("--check").output()?;
    assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
    Ok(())
}
