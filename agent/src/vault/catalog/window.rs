//! The stretches of time in which backups are looked for, newest first.
//!
//! A vault lists keys in ascending order only, from any key on, and our keys sort by time. One listing of all keys would
//! cost as many requests as somebody cares to store junk. So a vault that is larger than a page is listed by stretches
//! that reach back twice as far each: the newest backup of a healthy vault is in the first. A crowded stretch is
//! halved until it is a minute long; only that minute is ever given up.

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};

/// Daily backups have their newest in it.
const FIRST: SignedDuration = SignedDuration::from_hours(48);

/// Not halved any more.
const SHORTEST: SignedDuration = SignedDuration::from_mins(1);

/// Most pages of a stretch that can still be halved, and of one that cannot.
const PAGES: u32 = 20;
const PAGES_OF_SHORTEST: u32 = 1000;

/// Times from `from` on and before `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub from: Timestamp,
    pub to: Timestamp,
    /// Pages of a listing that it is worth.
    pub pages: u32,
    /// The whole search: not yet cut into stretches.
    is_whole: bool,
}

/// What is still to be searched.
#[derive(Debug)]
pub struct Windows {
    now: Timestamp,
    /// Newest last.
    todo: Vec<Window>,
}

impl Windows {
    /// `now` need not be right: it says only where to look first.
    pub fn new(now: Timestamp, after: Option<Timestamp>, before: Option<Timestamp>) -> Windows {
        let from = after.unwrap_or(Timestamp::UNIX_EPOCH);
        // Names have whole seconds: one of the same second may still be before it.
        let up = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Ceil);
        let to = before.map_or(Timestamp::MAX, |before| before.round(up).unwrap_or(Timestamp::MAX));
        let whole = Window { from, to, pages: 1, is_whole: true };
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        Windows { now, todo: vec![whole] }
    }

    pub fn next(&mut self) -> Option<Window> {
        self.todo.pop()
    }

    /// Puts a window back in smaller ones; false if it is as small as they get.
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
        self.todo.extend([stretch(window.from, middle), stretch(middle, window.to)]);
        true
    }
}

/// Newest first.
fn doubling(now: Timestamp, whole: Window) -> Vec<Window> {
    let mut windows = Vec::new();
    let (mut to, mut reach) = (whole.to, FIRST);
    // What is named for the future is apart, or a crowd today would be cornered in thousands of years.
    let future = now.checked_add(FIRST).unwrap_or(whole.to);
    if whole.from < future && future < to {
        windows.push(stretch(future, to));
        to = future;
    }
    while to > whole.from {
        let edge = now.checked_sub(reach).unwrap_or(whole.from).max(whole.from);
        if edge < to {
            windows.push(stretch(edge, to));
            to = edge;
        }
        reach = reach.saturating_add(reach);
    }
    windows
}

fn stretch(from: Timestamp, to: Timestamp) -> Window {
    let pages = if to.duration_since(from) <= SHORTEST { PAGES_OF_SHORTEST } else { PAGES };
    Window { from, to, pages, is_whole: false }
}

impl Window {
    /// The same with so many pages, and never cut.
    pub fn as_one(self, pages: u32) -> Window {
        Window { pages, is_whole: false, ..self }
    }

    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// A key before all keys of the window, to list behind.
    pub fn before_first_key(&self, cluster: &str) -> String {
        format!("{cluster}/{}", self.from.strftime("%Y%m%dT%H%M%SZ"))
    }

    /// A key behind all keys of the window and before all that come later.
    pub fn end_key(&self, cluster: &str) -> String {
        match self.to == Timestamp::MAX {
            // Behind every digit.
            true => format!("{cluster}/:"),
            false => format!("{cluster}/{}", self.to.strftime("%Y%m%dT%H%M%SZ")),
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

    /// Splits everything that `crowded` names, and answers with what is then left to list, newest first.
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
        let stretches = listed(windows(), Window::is_whole);
        assert_eq!(stretches[0].before_first_key("c"), "c/20261123T000000Z");
        assert_eq!(stretches[0].end_key("c"), "c/:");
        assert_eq!(stretches[1].before_first_key("c"), "c/20261119T000000Z");
        assert_eq!(stretches[1].end_key("c"), "c/20261123T000000Z");
        assert_eq!(stretches[2].before_first_key("c"), "c/20261117T000000Z");
        assert_eq!(stretches.last().unwrap().before_first_key("c"), "c/19700101T000000Z");
        assert!(stretches.len() < 18, "{}", stretches.len());
    }

    #[test]
    fn a_crowded_minute_is_cornered_and_costs_a_bounded_number_of_pages() {
        let windows = Windows::new(time("2026-11-21T00:00:00Z"), None, None);
        let crowd = time("2026-11-20T12:34:56Z");
        let pages = std::cell::Cell::new(0);
        let stretches = listed(windows, |window| {
            let crowded = window.from <= crowd && crowd < window.to;
            pages.set(pages.get() + if crowded { window.pages } else { 1 });
            crowded || window.is_whole
        });
        let cornered: Vec<_> = stretches.iter().filter(|it| it.from <= crowd && crowd < it.to).collect();
        assert_eq!(cornered.len(), 1);
        assert!(cornered[0].to.duration_since(cornered[0].from) <= SHORTEST);
        assert!(pages.get() < 1400, "{}", pages.get());
    }

    proptest! {
        /// Whatever the clock says and however it is cut, the windows are the whole time, newest first, without gap.
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
            let stretches = listed(windows, |it| it.is_whole || (it.from <= crowd && crowd < it.to));
            let (from, to) = (second(after.unwrap_or(0)), before.map_or(Timestamp::MAX, second));
            if from >= to {
                prop_assert!(stretches.is_empty());
                return Ok(());
            }
            prop_assert_eq!(stretches.first().unwrap().to, to);
            prop_assert_eq!(stretches.last().unwrap().from, from);
            for pair in stretches.windows(2) {
                prop_assert_eq!(pair[0].from, pair[1].to);
            }
        }
    }
}
