//! `backup --on-change`: hears of changes of the swarm, and starts a run of `backup --if-changed` for them.
//!
//! The backup is a process of its own, as it is with a timer: this one stays small for months, and outlives whatever
//! happens to a run.

use std::{
    env,
    ffi::OsString,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::Context;
use crate::{
    backup::{
        Belief, Saved,
        changes::{Changes, Next},
    },
    config::on_change::OnChange,
    host::engine::{Engine, swarm_events::SwarmEvents},
    outcome::exit::Exit,
};

/// Pause after an event before the swarm is looked at: one deployment makes dozens of them.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Time after which a run is asked to end: its own limits are far below.
const LONGEST_RUN: Duration = Duration::from_hours(1);

const THIS_FLAG: &str = "--on-change";
const FLAG_OF_A_RUN: &str = "--if-changed";

/// Runs until it is asked to end.
pub async fn run(context: &Context) -> Result<Exit> {
    let settings = context.config().schedule.require_on_change()?;
    let mut watcher = Watcher::new(context, settings);
    tracing::info!(
        "backups follow changes: {} s after the last one, and every {} s at most",
        settings.after.count(),
        settings.at_most_every.count()
    );
    while !context.shutdown.is_requested() {
        match watcher.look().await {
            Some(Next::BackUp) => watcher.back_up().await?,
            Some(Next::LookAt(at)) => watcher.wait(at).await,
            None => watcher.wait(Instant::now() + settings.at_most_every.duration()).await,
        }
    }
    Ok(Exit::Done)
}

struct Watcher<'a> {
    context: &'a Context,
    engine: Engine,
    events: Option<SwarmEvents>,
    changes: Changes,
    belief: Belief,
    /// Whether the swarm could be looked at the last time.
    sees: bool,
}

impl<'a> Watcher<'a> {
    fn new(context: &'a Context, settings: OnChange) -> Self {
        let (engine, belief) = (Engine::at(&context.config().engine.socket), Belief::begin(context.config()));
        Self { context, engine, events: None, changes: Changes::new(settings), belief, sees: true }
    }

    /// Looks at the swarm. Nothing if this host cannot: its engine is stopped, it is no manager, or there is no leader.
    async fn look(&mut self) -> Option<Next> {
        let looked = self.context.shutdown.or_interrupted(async {
            // Before the look, so that nothing comes between the two unheard.
            if self.events.is_none() {
                self.events = Some(SwarmEvents::listen(self.engine.socket()).await?);
            }
            self.engine.specs_digest().await
        });
        match looked.await {
            Ok(specs) => {
                if !self.sees {
                    tracing::info!("the swarm can be looked at again");
                }
                self.sees = true;
                let is_saved = self.belief.holds(Saved::read(self.context.config()), specs);
                Some(self.changes.look(specs, is_saved, Instant::now()))
            }
            Err(error) => {
                if self.sees && !self.context.shutdown.is_requested() {
                    tracing::warn!("changes of the swarm are not seen, and it is tried again: {error:#}");
                }
                self.sees = false;
                self.belief.looked_away(Saved::read(self.context.config()));
                None
            }
        }
    }

    /// Waits until a time, an event, or the request to end.
    async fn wait(&mut self, until: Instant) {
        let heard = async {
            match &mut self.events {
                Some(events) => events.next().await,
                None => std::future::pending().await,
            }
        };
        let until = tokio::time::Instant::from_std(until);
        let waited = self.context.shutdown.or_interrupted(async {
            let has_heard = tokio::select! {
                _ = heard => true,
                () = tokio::time::sleep_until(until) => false,
            };
            if has_heard {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            Ok(has_heard)
        });
        // One look is enough for all that came meanwhile, so the next one has a subscription of its own. An engine that
        // stopped ended this one, and takes no other until it is back.
        if let Ok(true) = waited.await {
            self.events = None;
        }
    }

    /// Runs a backup to its end, also if this process is asked to end meanwhile: the run is asked too, and may have to
    /// thaw an engine first.
    async fn back_up(&mut self) -> Result<()> {
        // What happens meanwhile is seen by the look after it, so events need not be kept.
        self.events = None;
        let program = env::current_exe().context("failed to find this program's own file")?;
        let mut child = Command::new(&program)
            .args(arguments(env::args_os()))
            .spawn()
            .with_context(|| format!("failed to start {}", program.display()))?;
        let run = self.context.shutdown.or_interrupted(async { Ok(timeout(LONGEST_RUN, child.wait()).await) });
        let ended = match run.await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) | Err(_) => {
                ask_to_end(&child);
                child.wait().await
            }
        };
        self.changes.ended(ended.context("failed to wait for the run")?.code(), Instant::now());
        Ok(())
    }
}

fn ask_to_end(child: &Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    // One that has ended needs no signal.
    let _ = pid.map(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM));
}

/// The arguments of a run: those of this process, with the other flag.
fn arguments(own: impl Iterator<Item = OsString>) -> Vec<OsString> {
    own.skip(1).map(|argument| if argument == THIS_FLAG { FLAG_OF_A_RUN.into() } else { argument }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_gets_the_same_settings() {
        let own = ["swarmdr-agent", "--quiet", "--config", "/x", "backup", "--on-change"];
        let run = arguments(own.iter().map(OsString::from));
        assert_eq!(run, ["--quiet", "--config", "/x", "backup", "--if-changed"]);
    }
}
