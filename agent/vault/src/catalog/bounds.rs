//! Bounds on the cost of searching a vault, whatever it holds.

/// Upper bounds on the cost of one walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Versions that are kept in memory, a few hundred bytes each.
    pub batch: usize,
    /// Bad objects that are read in one window of time before the walk restricts itself to prompt ones, and again
    /// before it leaves the window; see [`super::Walk`].
    pub bad_of_window: u32,
    /// Bad objects that are read in all windows together. Beyond that, each window has only [`Self::bad_when_spent`].
    pub bad: u32,
    pub bad_when_spent: u32,
    /// Pages of listings, of a thousand versions each, in all windows together. Beyond that, each window has only
    /// [`Self::pages_when_spent`].
    pub pages: u32,
    pub pages_when_spent: u32,
}

impl Default for Bounds {
    /// Bounds that cost two minutes and 64 MiB in the worst flood of forged heads, at about 100 requests per second and
    /// 16 KiB per head, and two more minutes with ten million keys of junk.
    fn default() -> Self {
        Self { batch: 4096, bad_of_window: 1024, bad: 4096, bad_when_spent: 64, pages: 10_000, pages_when_spent: 10 }
    }
}

impl Bounds {
    /// Returns the bounds of each of several `walks` that share the bad objects. Pages and memory are not shared.
    #[must_use]
    pub fn shared_by(self, walks: usize) -> Self {
        let walks = u32::try_from(walks.max(1)).unwrap_or(u32::MAX);
        let share = |all: u32| (all / walks).max(self.bad_when_spent);
        Self { bad: share(self.bad), bad_of_window: share(self.bad_of_window * 4).min(self.bad_of_window), ..self }
    }
}
