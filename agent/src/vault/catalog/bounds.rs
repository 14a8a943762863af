//! What a search of a vault may cost, whatever lies in it.

/// What a walk may spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Versions in memory, some hundred bytes each.
    pub batch: usize,
    /// Objects of one stretch of time that are read and are no backup, before it is left; twice, see [`super::Walk`].
    pub bad_of_window: u32,
    /// The same over all stretches. Beyond it each has [`Self::bad_when_spent`].
    pub bad: u32,
    pub bad_when_spent: u32,
    /// Pages of listings, a thousand versions each. Beyond it each stretch has [`Self::pages_when_spent`].
    pub pages: u32,
    pub pages_when_spent: u32,
}

impl Default for Bounds {
    /// At some 100 requests a second and 16 KiB a head: two minutes and 64 MiB for the worst flood of forged heads, as
    /// long again for ten million keys of junk.
    fn default() -> Bounds {
        Bounds { batch: 4096, bad_of_window: 1024, bad: 4096, bad_when_spent: 64, pages: 10_000, pages_when_spent: 10 }
    }
}

impl Bounds {
    /// The part of one of `walks` that together may spend this much.
    #[must_use]
    pub fn shared_by(self, walks: usize) -> Bounds {
        let walks = u32::try_from(walks.max(1)).unwrap_or(u32::MAX);
        let share = |all: u32| (all / walks).max(self.bad_when_spent);
        Bounds { bad: share(self.bad), bad_of_window: share(self.bad_of_window * 4).min(self.bad_of_window), ..self }
    }
}
