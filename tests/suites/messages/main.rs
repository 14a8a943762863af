//! All messages of the agent that people read, by command and by outcome, in one file: `tests/messages.txt`.
//!
//! Each case is run on a real host, on a terminal of 80 columns and with `--json`. Stand-ins replace what differs from
//! run to run, and the rest must equal the file: a change of a message changes the file, in which it is read in its
//! context. `SWARMDR_TEST_ACCEPT=1` accepts the messages that were seen.

mod book;
mod broken;
mod bucket;
mod damaged;
mod desk;
mod help;
mod images;
mod json;
mod majority;
mod nodes;
mod nothing;
mod screen;
mod standin;
mod stored;
mod swarm;
mod wanted;

use anyhow::Result;

use desk::Desk;

#[tokio::test]
async fn every_message_is_the_one_that_was_reviewed() -> Result<()> {
    let mut desk = Desk::new().await?;
    let ended = all(&mut desk).await;
    // The messages that were seen until then can be read, whatever ended the run.
    let seen = desk.book.write()?;
    ended?;
    desk.book.compare(&seen)
}

async fn all(desk: &mut Desk) -> Result<()> {
    help::cases(desk)?;
    broken::cases(desk)?;
    nothing::cases(desk)?;
    images::cases(desk)?;
    swarm::cases(desk)?;
    stored::cases(desk)?;
    nodes::cases(desk)?;
    damaged::cases(desk)?;
    wanted::cases(desk)?;
    majority::cases(desk)?;
    bucket::cases(desk).await
}
