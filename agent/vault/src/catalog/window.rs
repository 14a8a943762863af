//! Windows of time that are searched for archives, newest first.
//!
//! A vault lists keys in ascending order only, starting at any key, and keys of a series sort by time. One listing of
//! all keys would cost the more, the more junk an attacker stores. So a vault that is larger than a page is listed in
//! windows, each of which reaches back twice as far as the one before. In a healthy vault the newest one is in the
//! first window. A window with too many pages is halved until it is a minute long, so that a crowd costs the search of
//! little more than that minute.

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};

/// Length of the first window: it holds the newest of daily backups.
const FIRST: SignedDuration = SignedDuration::from_hours(48);

/// Length of the shortest window, which is not halved.
const SHORTEST: SignedDuration = SignedDuration::from_mins(1);

/// The most pages that are listed of a window that can still be halved.
const PAGES: u32 = 20;
/// The most pages that are listed of a window that cannot be halved.
const PAGES_OF_SHORTEST: u32 = 1000;

/// A span of time, from `from` (included) to `to` (excluded).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub from: Timestamp,
    pub to: Timestamp,
    /// The most pages of the listing that its search may cost.
    pub pages: u32,
    /// Whether this is the whole span of the search, not yet cut into windows.
    is_whole: bool,
}

/// The windows that are still to be searched.
#[derive(Debug)]
pub struct Windows {
    now: Timestamp,
    /// Windows in ascending order.
    todo: Vec<Window>,
}

impl Windows {
    /// Makes the windows from `after` to `before`. `now` only decides where the search begins, and need not be right.
    pub fn new(now: Timestamp, after: Option<Timestamp>, before: Option<Timestamp>) -> Self {
        let from = after.unwrap_or(Timestamp::UNIX_EPOCH);
        // Names have whole seconds: a name with the second of `before` may still be earlier.
        let up = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Ceil);
        let to = before.map_or(Timestamp::MAX, |before| before.round(up).unwrap_or(Timestamp::MAX));
        let whole = Window { from, to, pages: 1, is_whole: true };
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        Self { now, todo: vec![whole] }
    }

    pub fn next(&mut self) -> Option<Window> {
        self.todo.pop()
    }

    /// Puts a window back as smaller ones. Returns false if it is the shortest.
    pub fn split(&mut self, window: Window) -> bool {
        if window.is_whole {
            self.todo.extend(doubling(self.now, window).into_iter().rev());
            return true;
        }
        let length = window.to.duration_since(window.from);
        if length <= SHORTEST {
            return false;
        }
        let middle = window.from + SignedDuration::from_secs(length.as_secs() / 2);
        self.todo.extend([between(window.from, middle), between(middle, window.to)]);
        true
    }
}

/// Cuts the whole span into windows, newest first.
fn doubling(now: Timestamp, whole: Window) -> Vec<Window> {
    let mut windows = Vec::new();
    let (mut to, mut reach) = (whole.to, FIRST);
    // Names in the future have a window of their own. Otherwise the halving of a crowd of today would begin with
    // thousands of years.
    let future = now.checked_add(FIRST).unwrap_or(whole.to);
    if whole.from < future && future < to {
        windows.push(between(future, to));
        to = future;
    }
    while to > whole.from {
        let edge = now.checked_sub(reach).unwrap_or(whole.from).max(whole.from);
        if edge < to {
            windows.push(between(edge, to));
            to = edge;
        }
        reach = reach.saturating_add(reach);
    }
    windows
}

fn between(from: Timestamp, to: Timestamp) -> Window {
    let pages = if to.duration_since(from) <= SHORTEST { PAGES_OF_SHORTEST } else { PAGES };
    Window { from, to, pages, is_whole: false }
}

impl Window {
    /// Returns this window with another limit of pages, and not to be cut into windows.
    pub fn as_one(self, pages: u32) -> Self {
        Self { pages, is_whole: false, ..self }
    }

    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Returns a key before all keys of the window with this prefix, after which the listing begins.
    pub fn before_first_key(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.from.strftime("%Y%m%dT%H%M%SZ"))
    }

    /// Returns a key after all keys of the window and before all later ones.
    pub fn end_key(&self, prefix: &str) -> String {
        match self.to == Timestamp::MAX {
            // `:` sorts after every digit.
            true => format!("{prefix}:"),
            false => format!("{prefix}{}", self.to.strftime("%Y%m%dT%H%M%SZ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Splits every `crowded` window, and returns the windows that are then listed, newest first.
    fn listed(mut windows: Windows, crowded: impl Fn(&Window) -> bool) -> Vec<Window> {
        let mut listed = Vec::new();
        while let Some(window) = windows.next() {
            if !crowded(&window) || !windows.split(window) {
                listed.push(window);
            }
        }
        listed
    }

    #[test]
    fn a_small_vault_is_one_window_and_a_large_one_a_dozen() {
        let windows = || Windows::new(time("2026-11-21T00:00:00Z"), None, None);
        assert_eq!(listed(windows(), |_| false).len(), 1);
        let parts = listed(windows(), Window::is_whole);
        let c = "c/";
        assert_eq!(parts[0].before_first_key(c), "c/20261123T000000Z");
        assert_eq!(parts[0].end_key(c), "c/:");
        assert_eq!(parts[1].before_first_key(c), "c/20261119T000000Z");
        assert_eq!(parts[1].end_key(c), "c/20261123T000000Z");
        assert_eq!(parts[2].before_first_key(c), "c/20261117T000000Z");
        assert_eq!(parts.last().unwrap().before_first_key(c), "c/19700101T000000Z");
        assert!(parts.len() < 18, "{}", parts.len());
    }

    #[test]
    fn a_crowded_minute_is_cornered_and_costs_a_bounded_number_of_pages() {
        let windows = Windows::new(time("2026-11-21T00:00:00Z"), None, None);
        let crowd = time("2026-11-20T12:34:56Z");
        let pages = std::cell::Cell::new(0);
        let parts = listed(windows, |window| {
            let crowded = window.from <= crowd && crowd < window.to;
            pages.set(pages.get() + if crowded { window.pages } else { 1 });
            crowded || window.is_whole
        });
        let cornered: Vec<_> = parts.iter().filter(|it| it.from <= crowd && crowd < it.to).collect();
        assert_eq!(cornered.len(), 1);
        assert!(cornered[0].to.duration_since(cornered[0].from) <= SHORTEST);
        assert!(pages.get() < 1400, "{}", pages.get());
    }

    proptest! {
        /// The windows cover the whole time, newest first, without a gap, for any clock and any cuts.
        #[test]
        fn windows_tile_the_time(
            now in -1_000_000_000..253_000_000_000_i64,
            after in prop::option::of(0..2_000_000_000_i64),
            before in prop::option::of(0..2_000_000_000_i64),
            crowd in 0..2_000_000_000_i64,
        ) {
            let second = |second| Timestamp::from_second(second).unwrap();
            let crowd = second(crowd);
            let windows = Windows::new(second(now), after.map(second), before.map(second));
            let parts = listed(windows, |it| it.is_whole || (it.from <= crowd && crowd < it.to));
            let (from, to) = (second(after.unwrap_or(0)), before.map_or(Timestamp::MAX, second));
            if from >= to {
                prop_assert!(parts.is_empty());
                return Ok(());
            }
            prop_assert_eq!(parts.first().unwrap().to, to);
            prop_assert_eq!(parts.last().unwrap().from, from);
            for pair in parts.windows(2) {
                prop_assert_eq!(pair[0].from, pair[1].to);
            }
        }
    }
}
