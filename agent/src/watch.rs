//! What surrounds a run: hooks, pings, the memory of it, metrics, and its entry in the journal.
//!
//! None of it changes what the run comes to, except for a pre hook, which may forbid it.

use std::{cell::RefCell, time::Duration, time::Instant};

use anyhow::Result;
use jiff::Timestamp;

use crate::{
    config::Config,
    exit::Exit,
    fault::{Fault, Rendered},
    history::{History, Made, Proved, Run},
    hooks::Hooks,
    http::Proxies,
    journal, metrics,
    ping::{Ping, Signal},
    signing, status,
};

/// One run of one verb, watched.
#[derive(Debug)]
pub struct Watch<'a> {
    config: &'a Config,
    verb: &'static str,
    hooks: Hooks,
    ping: Option<Ping>,
    proxies: Proxies,
    since: Instant,
    /// What hooks are told of the run, from when it began to do something.
    begun: RefCell<Option<Vec<Fact>>>,
    failures: RefCell<Failures>,
}

/// For hooks: `SWARMDR_HOOK_<NAME>` and its value.
pub type Fact = (&'static str, String);

#[derive(Debug, Default)]
struct Failures {
    hooks: u64,
    pings: u64,
}

/// What a run came to.
#[derive(Debug)]
pub struct Ended {
    pub exit: Exit,
    pub error: Option<anyhow::Error>,
    /// Beyond those that were known when it began.
    pub facts: Vec<Fact>,
    pub made: Option<Made>,
    /// Nothing was to be done: it says nothing of whether backups come.
    pub idle: bool,
    pub proved: Option<Proved>,
}

impl Ended {
    pub fn with(exit: Exit) -> Self {
        Self { exit, error: None, facts: Vec::new(), made: None, idle: false, proved: None }
    }

    pub fn failed(error: anyhow::Error) -> Self {
        let exit = Rendered::of(&error).exit;
        Self { error: Some(error), ..Self::with(exit) }
    }

    /// For the caller of the verb, after [`Watch::end`].
    pub fn into_exit(self) -> Result<Exit> {
        self.error.map_or(Ok(self.exit), Err)
    }
}

impl<'a> Watch<'a> {
    /// Before anything is done; nothing is told yet.
    pub fn over(config: &'a Config, verb: &'static str) -> Result<Self> {
        let watch = &config.watch;
        let (limit, environment) = (Duration::from_secs(watch.hook_timeout), config.proxies_for_children()?);
        Ok(Self {
            config,
            verb,
            hooks: Hooks { dir: watch.hooks_dir.clone(), limit, environment },
            proxies: config.proxies()?,
            // One switch for one thing: backups come.
            ping: watch.ping_url.as_deref().filter(|_| verb == "backup").map(Ping::parse).transpose()?,
            since: Instant::now(),
            begun: RefCell::default(),
            failures: RefCell::default(),
        })
    }

    /// When it is certain that the run has something to do, and nothing is touched yet.
    pub async fn begin(&self, facts: Vec<Fact>) -> Result<()> {
        self.ping(Signal::Start, self.verb).await;
        let hook = format!("pre-{}", self.verb);
        let good = self.run_hooks(&hook, &facts).await;
        self.begun.replace(Some(facts));
        if good {
            return Ok(());
        }
        Err(Fault::failed(format!("a {hook} hook failed, so nothing was touched"))
            .advice(format!("see the lines above; the hooks are in {}", self.hooks.dir.display()))
            .into())
    }

    /// When the run has ended. What fails here is told and counted.
    pub async fn end(&self, ended: &Ended) {
        let error = ended.error.as_ref().map(|error| Rendered::of(error).what);
        let begun = self.begun.take();
        let has_begun = begun.is_some();
        let mut facts = begun.unwrap_or_default();
        facts.extend(ended.facts.iter().cloned());
        let id = facts.iter().find(|(name, _)| *name == "BACKUP_ID").map(|(_, id)| id.as_str());
        journal::ended(self.verb, ended.exit, id, error.as_deref());
        facts.push(("RESULT", ended.exit.word().to_owned()));
        facts.push(("EXIT", (ended.exit as u8).to_string()));
        facts.push(("ERROR", error.clone().unwrap_or_default()));
        let line = error.clone().unwrap_or_else(|| format!("{} {}", self.verb, ended.exit.word()));
        match ended.exit {
            // What a hook has begun is ended, also where another manager made the backup meanwhile.
            Exit::NotOurTurn if !has_begun => {}
            _ if ended.idle && !has_begun => {}
            Exit::Done | Exit::Attention | Exit::NotOurTurn => {
                if has_begun {
                    self.run_hooks(&format!("post-{}", self.verb), &facts).await;
                }
                self.ping(Signal::Success, &line).await;
            }
            _ => {
                self.run_hooks(&format!("failed-{}", self.verb), &facts).await;
                self.ping(Signal::Fail, &line).await;
            }
        }
        // A restore leaves no trace but what it restored; its host may not even be a manager yet.
        if self.verb != "restore" && self.config.state_dir.exists() {
            self.remember(ended, error);
            self.write_metrics().await;
        }
    }

    async fn run_hooks(&self, hook: &str, facts: &[Fact]) -> bool {
        let failures = self.hooks.run(hook, facts).await;
        for failure in &failures {
            tracing::warn!("{failure}");
            journal::hook_failed(hook, &failure.program.display().to_string(), &failure.why);
        }
        self.failures.borrow_mut().hooks += failures.len() as u64;
        failures.is_empty()
    }

    async fn ping(&self, signal: Signal, line: &str) {
        let Some(ping) = &self.ping else { return };
        if let Err(error) = ping.send(signal, line, &self.proxies).await {
            tracing::warn!("{error:#}");
            self.failures.borrow_mut().pings += 1;
        }
    }

    fn remember(&self, ended: &Ended, error: Option<String>) {
        let mut history = History::read(&self.config.state_dir);
        let run = Run {
            at: Timestamp::now(),
            seconds: self.since.elapsed().as_secs_f64(),
            exit: ended.exit as u8,
            result: ended.exit.word().to_owned(),
            error,
        };
        match ended.idle {
            true => history.idled(self.verb, ended.exit, run),
            false => history.ended(self.verb, ended.exit, run),
        }
        history.backup = ended.made.clone().or(history.backup);
        history.proof = ended.proved.clone().or(history.proof);
        let failures = self.failures.take();
        history.hook_failures += failures.hooks;
        history.ping_failures += failures.pings;
        if let Err(error) = history.write(&self.config.state_dir) {
            tracing::warn!("{error:#}");
        }
    }

    async fn write_metrics(&self) {
        let Some(dir) = &self.config.watch.textfile_dir else { return };
        let write = async {
            let keys = signing::believed(self.config)?;
            metrics::write(dir, &status::gather(self.config, &keys, None, Timestamp::now()).await?)
        };
        if let Err(error) = write.await {
            tracing::warn!("{error:#}");
        }
    }
}
