//! Progress bars on a terminal; none elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::outcome::terminal;

/// Whether bars are drawn; decided once, at the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    visible: bool,
}

impl Progress {
    /// Shows bars only if standard error is a terminal and `wanted` is true (no `--quiet`).
    pub fn detect(wanted: bool) -> Self {
        Self { visible: wanted && terminal::stderr().is_terminal() }
    }

    pub fn hidden() -> Self {
        Self { visible: false }
    }

    /// Returns a bar for `total` bytes, which is cleared when it is dropped.
    pub fn bytes(self, what: &'static str, total: u64) -> Bar {
        let target = if self.visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target).with_prefix(what);
        bar.set_style(
            ProgressStyle::with_template("{prefix:>10} [{bar:20}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
                .expect("the template is valid"),
        );
        Bar { bar }
    }
}

/// A progress bar in use.
#[derive(Debug, Clone)]
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    pub fn set(&self, position: u64) {
        self.bar.set_position(position);
    }

    pub fn advance(&self, by: u64) {
        self.bar.inc(by);
    }

    /// Advances a bar whose end is not known.
    pub fn advance_over(&self, by: u64) {
        self.bar.inc_length(by);
        self.bar.inc(by);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
