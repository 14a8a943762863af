//! A real browser at the lab's end of the network, which takes pictures of pages.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{lab::Lab, sandbox::Sandbox, tree::browser_tree};

/// Files in the sandbox, which is where the browser can write to.
const PICTURE: &str = "/tmp/picture.png";
const PAGE: &str = "/tmp/page.html";

/// Chromium, with what it needs in a sandbox of another kind than its own, and without what only a desktop has.
const PROGRAM: &str = "exec timeout 60 chromium-headless-shell --no-sandbox --disable-gpu --disable-dev-shm-usage \
                       --user-data-dir=/tmp/profile --hide-scrollbars --window-size=\"$1\" --screenshot=\"$2\" \"$3\" 2>/tmp/log";

/// Width and height of a picture.
pub type Size = (u32, u32);

/// A browser in its own root file system. It holds nothing outside of it.
#[derive(Debug)]
pub struct Browser {
    sandbox: Sandbox,
}

impl Browser {
    /// Starts a sandbox with the browser, which reaches what listens in the lab.
    pub fn open(lab: &Lab) -> Result<Self> {
        Ok(Self { sandbox: Sandbox::open(&browser_tree()?, Some(&lab.netns_path()), None)? })
    }

    /// Writes a picture of a page to a file of this machine, as PNG.
    pub fn picture(&self, url: &str, (width, height): Size, to: &Path) -> Result<()> {
        let size = format!("{width},{height}");
        self.sandbox.run("sh", &["-c", PROGRAM, "sh", &size, PICTURE, url]).with_context(|| {
            let log = self.sandbox.read("/tmp/log").unwrap_or_default();
            format!("the browser took no picture of {url}; it printed:\n{}", log.trim_end())
        })?;
        fs::copy(self.sandbox.path(PICTURE), to).with_context(|| format!("failed to write {}", to.display()))?;
        fs::remove_file(self.sandbox.path(PICTURE)).context("failed to remove a picture from the sandbox")
    }

    /// Writes a picture with two pictures of this size side by side, and a line of text above each.
    pub fn beside(&self, pictures: [(&str, &Path); 2], (width, height): Size, to: &Path) -> Result<()> {
        let mut columns = String::new();
        for (number, (text, picture)) in pictures.into_iter().enumerate() {
            fs::copy(picture, self.sandbox.path(&format!("/tmp/{number}.png")))
                .with_context(|| format!("failed to read {}", picture.display()))?;
            columns += &format!("<figure><figcaption>{text}</figcaption><img src=\"{number}.png\"></figure>");
        }
        let style = "body,figure{margin:0}body{display:flex;background:#f6f7f9}\
                     figcaption{padding:14px 0 0;text-align:center;font:15px \"DejaVu Sans\",sans-serif;color:#5b6875}";
        let page = format!("<!doctype html><meta charset=\"utf-8\"><style>{style}</style>{columns}");
        self.sandbox.write(PAGE, &page)?;
        self.picture(&format!("file://{PAGE}"), (2 * width, height + 34), to)
    }
}
