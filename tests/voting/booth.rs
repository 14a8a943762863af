//! People who vote without a pause, and what became of their votes.

use std::{
    collections::BTreeSet,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Result, anyhow};

use super::{pages::ask, site::FRONT};
use crate::lab::Lab;

/// Between two votes: some dozens in a second, so that the database is not the measure of the machine.
const PACE: Duration = Duration::from_millis(20);

/// What was cast, and what of it was acknowledged.
#[derive(Debug, Default)]
pub struct Cast {
    pub sent: BTreeSet<String>,
    pub acknowledged: BTreeSet<String>,
}

/// What became of the votes on a new site.
#[derive(Debug)]
pub struct Fate {
    /// Stored, and not counted.
    pub missing: Vec<String>,
    /// Acknowledged, and not counted.
    pub lost: Vec<String>,
    /// Counted, and cast by nobody.
    pub foreign: Vec<String>,
}

impl Cast {
    /// Compares what a new site counts with what was stored, and with what was cast.
    pub fn fate(&self, stored: &BTreeSet<String>, came: &BTreeSet<String>) -> Fate {
        Fate {
            missing: stored.difference(came).cloned().collect(),
            lost: self.acknowledged.difference(came).cloned().collect(),
            foreign: came.difference(&self.sent).filter(|id| *id != FIRST).cloned().collect(),
        }
    }
}

/// The vote that shows that a new application counts. It is cast outside of a booth.
pub(super) const FIRST: &str = "first";

/// A thread that votes until it is told to stop.
#[derive(Debug)]
pub struct Booth {
    stop: Sender<()>,
    thread: JoinHandle<Cast>,
}

impl Booth {
    pub fn open(lab: &Lab) -> Self {
        let (stop, stopped) = mpsc::channel();
        let lab = lab.clone();
        let thread = std::thread::spawn(move || {
            let mut cast = Cast::default();
            while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                let id = format!("vote-{:06}", cast.sent.len());
                if vote(&lab, &id).is_ok() {
                    cast.acknowledged.insert(id.clone());
                }
                cast.sent.insert(id);
            }
            cast
        });
        Self { stop, thread }
    }

    pub fn close(self) -> Result<Cast> {
        // A thread that has ended needs no word.
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| anyhow!("the booth panicked"))
    }
}

/// Casts one vote, and fails unless it is acknowledged.
pub fn vote(lab: &Lab, id: &str) -> Result<()> {
    let choice = if id.ends_with(['0', '1', '2', '3', '4', '5']) { "cats" } else { "dogs" };
    ask(lab, FRONT, "POST", &format!("/vote?id={id}&choice={choice}")).map(drop)
}
