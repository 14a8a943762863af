//! Everything around a run: hooks, pings, its record in the history, metrics, and its entry in the journal.
//!
//! None of it changes the result of the run, except for a pre hook, which may forbid the run.

use std::{cell::RefCell, time::Instant};

use anyhow::Result;
use jiff::Timestamp;
use swarmdr_archive::stream_archive::StreamName;
use swarmdr_http::Proxies;

use crate::{
    config::{Config, PingUrl, stream::StreamConfig},
    observe::{
        history::{History, Made, Proved},
        hooks::{Hook, Hooks, Moment},
        journald,
        ping::{Ping, Signal},
        runs::{Run, StreamDrilled},
        textfile,
        verb::Verb,
    },
    outcome::{
        exit::Exit,
        failure::{Failure, Rendered},
    },
};

/// One run of one verb, watched.
#[derive(Debug)]
pub struct Watch<'a> {
    config: &'a Config,
    verb: Verb,
    /// Name of the stream that is stored or drilled.
    stream: Option<String>,
    hooks: Hooks,
    ping: Option<Ping>,
    proxies: Proxies,
    since: Instant,
    /// Facts for the hooks; `None` until the run begins to do something.
    begun: RefCell<Option<Vec<Fact>>>,
    failures: RefCell<Failures>,
}

/// A fact for hooks: the name in `SWARMDR_HOOK_<NAME>`, and its value.
pub type Fact = (&'static str, String);

#[derive(Debug, Default)]
struct Failures {
    hooks: u64,
    pings: u64,
}

/// Result of a run.
#[derive(Debug)]
pub struct Ended {
    pub exit: Exit,
    pub error: Option<anyhow::Error>,
    /// Facts for the hooks, in addition to those that were known when the run began.
    pub facts: Vec<Fact>,
    pub made: Option<Made>,
    /// Whether there was nothing to do; such a run does not show whether backups are made.
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

    /// Returns the exit or the error to the caller of the verb, after [`Watch::end`].
    pub fn into_exit(self) -> Result<Exit> {
        self.error.map_or(Ok(self.exit), Err)
    }
}

impl<'a> Watch<'a> {
    /// Begins to watch a run before it does anything; reports nothing yet.
    pub fn over(config: &'a Config, verb: Verb) -> Result<Self> {
        // The dead man's switch watches one thing only: that backups are made.
        let ping = if verb == Verb::Backup { config.watch.ping()? } else { None };
        Self::with(config, verb, None, ping)
    }

    /// Begins to watch a run that stores the stream of this name. It may have a dead man's switch of its own.
    pub fn over_stream(config: &'a Config, name: &StreamName) -> Result<Self> {
        let ping = config.stream_named(name.as_str()).map_or(Ok(None), StreamConfig::ping)?;
        Self::with(config, Verb::Put, Some(name.to_string()), ping)
    }

    /// Begins to watch the drill of the stream of this name.
    pub fn over_drill(config: &'a Config, name: &StreamName) -> Result<Self> {
        Self::with(config, Verb::Drill, Some(name.to_string()), None)
    }

    fn with(config: &'a Config, verb: Verb, stream: Option<String>, ping: Option<PingUrl>) -> Result<Self> {
        let watch = &config.watch;
        let (limit, environment) = (watch.hook_timeout.duration(), config.proxies_for_children()?);
        Ok(Self {
            config,
            verb,
            stream,
            hooks: Hooks { dir: watch.hooks_dir.clone(), limit, environment },
            proxies: config.proxies()?,
            ping: ping.map(Ping),
            since: Instant::now(),
            begun: RefCell::default(),
            failures: RefCell::default(),
        })
    }

    /// Reports the start and runs the pre hooks. Called when it is certain that the run has something to do, and before
    /// it touches anything.
    pub async fn begin(&self, facts: Vec<Fact>) -> Result<()> {
        self.ping(Signal::Start, &self.what()).await;
        let hook = self.hook(Moment::Pre);
        let good = self.run_hooks(hook, &facts).await;
        self.begun.replace(Some(facts));
        if good {
            return Ok(());
        }
        Err(Failure::failed(format!("a {hook} hook failed, so nothing was touched"))
            .advice(format!("see the log lines above; the hooks are in {}", self.hooks.dir.display()))
            .into())
    }

    /// Reports the end of the run. Failures of hooks and pings are logged and counted.
    pub async fn end(&self, ended: &Ended) {
        let error = ended.error.as_ref().map(|error| Rendered::of(error).what);
        let begun = self.begun.take();
        let has_begun = begun.is_some();
        let mut facts = begun.unwrap_or_default();
        facts.extend(ended.facts.iter().cloned());
        let fact = |named: &str| facts.iter().find(|(name, _)| *name == named).map(|(_, value)| value.clone());
        let id = fact(if self.stream.is_some() { "STREAM_ID" } else { "BACKUP_ID" });
        let cluster = fact("CLUSTER_ID");
        if !ended.idle {
            journald::ended(self.verb, self.stream.as_deref(), ended.exit, id.as_deref(), error.as_deref());
        }
        facts.push(("RESULT", ended.exit.word().to_owned()));
        facts.push(("EXIT", (ended.exit as u8).to_string()));
        facts.push(("ERROR", error.clone().unwrap_or_default()));
        let line = error.clone().unwrap_or_else(|| format!("{} {}", self.what(), ended.exit.word()));
        match ended.exit {
            // What a pre hook began, a post hook ends, even if another manager made the backup meanwhile.
            Exit::NotOurTurn if !has_begun => {}
            _ if ended.idle && !has_begun => {}
            Exit::Done | Exit::Attention | Exit::NotOurTurn => {
                if has_begun {
                    self.run_hooks(self.hook(Moment::Post), &facts).await;
                }
                self.ping(Signal::Success, &line).await;
            }
            _ => {
                self.run_hooks(self.hook(Moment::Failed), &facts).await;
                self.ping(Signal::Fail, &line).await;
            }
        }
        // A restore leaves no trace but what it restored; its host may not even be a manager yet.
        if self.verb != Verb::Restore && self.config.state_dir.exists() {
            match &self.stream {
                Some(name) if self.verb == Verb::Drill => self.remember_drill(name, ended, id, error),
                _ => self.remember(ended, error, cluster),
            }
            textfile::write(self.config).await;
        }
    }

    /// The hooks of this host.
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// Tells the hooks that another site has the swarm. Returns true if none of them failed.
    pub async fn superseded(&self, facts: Vec<Fact>) -> bool {
        self.run_hooks(self.hook(Moment::Superseded), &facts).await
    }

    fn hook(&self, moment: Moment) -> Hook {
        Hook { moment, verb: self.verb }
    }

    async fn run_hooks(&self, hook: Hook, facts: &[Fact]) -> bool {
        let failures = self.hooks.run(hook, facts).await;
        for failure in &failures {
            tracing::warn!("{failure}");
            journald::hook_failed(hook, &failure.program.display().to_string(), &failure.why);
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

    /// The verb, and the name of a stream.
    fn what(&self) -> String {
        self.stream.as_ref().map_or_else(|| self.verb.to_string(), |stream| format!("{} {stream}", self.verb))
    }

    fn remember(&self, ended: &Ended, error: Option<String>, cluster: Option<String>) {
        let mut history = History::read(&self.config.state_dir);
        let run = Run {
            at: Timestamp::now(),
            seconds: self.since.elapsed().as_secs_f64(),
            exit: ended.exit.into(),
            result: ended.exit.word().to_owned(),
            error,
        };
        if let Some(stream) = &self.stream {
            history.ended_stream(stream, cluster, ended.exit, run.clone());
        }
        match ended.idle {
            true => history.idled(self.verb, ended.exit, run),
            false => history.ended(self.verb, ended.exit, run),
        }
        history.backup = ended.made.clone().or(history.backup);
        history.proof = ended.proved.clone().or(history.proof);
        self.write(history);
    }

    /// Remembers the drill of a stream. One that had no stream to drill, or no identity, says nothing about a stream.
    fn remember_drill(&self, name: &str, ended: &Ended, id: Option<String>, error: Option<String>) {
        let mut history = History::read(&self.config.state_dir);
        if id.is_some() || ended.exit == Exit::NothingUsable {
            let good = matches!(ended.exit, Exit::Done | Exit::Attention);
            history.drilled_stream(name, StreamDrilled::now(id, good, error));
        }
        self.write(history);
    }

    fn write(&self, mut history: History) {
        let failures = self.failures.take();
        history.hook_failures += failures.hooks;
        history.ping_failures += failures.pings;
        if let Err(error) = history.write(&self.config.state_dir) {
            tracing::warn!("{error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
        path::Path,
    };

    use swarmdr_vault::settings::unit_length::Seconds;

    use super::*;

    fn config(dir: &Path) -> Config {
        let mut config = Config { state_dir: dir.join("state"), ..Config::default() };
        config.watch.hooks_dir = dir.join("hooks");
        config.watch.hook_timeout = Seconds::new(1);
        for made in [&config.state_dir, &config.watch.hooks_dir] {
            fs::create_dir_all(made).expect("makes");
        }
        config
    }

    fn hook(config: &Config, name: &str, script: &str) {
        let path = config.watch.hooks_dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("writes");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("sets the mode");
    }

    #[tokio::test]
    async fn a_hook_that_hangs_after_a_recovery_changes_nothing() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = config(dir.path());
        hook(&config, "post-recover-quorum", "sleep 600");
        let watch = Watch::over(&config, Verb::RecoverQuorum).expect("is valid");
        watch.begin(Vec::new()).await.expect("no hook forbids it");
        let ended = Ended::with(Exit::Done);
        watch.end(&ended).await;
        assert_eq!(ended.into_exit().expect("went well"), Exit::Done);
        let history = History::read(&config.state_dir);
        assert_eq!(history.hook_failures, 1);
        let runs = history.runs.of(Verb::RecoverQuorum).expect("is remembered");
        assert_eq!((runs.ended["done"], runs.last_good.is_some()), (1, true));
    }

    #[tokio::test]
    async fn a_recovery_that_was_refused_calls_its_failed_hook_only() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = config(dir.path());
        for name in ["pre", "post"] {
            hook(&config, &format!("{name}-recover-quorum"), "exit 1");
        }
        let watch = Watch::over(&config, Verb::RecoverQuorum).expect("is valid");
        watch.end(&Ended::failed(Failure::refused("a manager lives").into())).await;
        let history = History::read(&config.state_dir);
        assert_eq!(history.hook_failures, 0, "nothing had begun");
        let runs = history.runs.of(Verb::RecoverQuorum).expect("is remembered");
        assert_eq!((runs.ended["refused"], runs.last_good), (1, None));
    }

    #[tokio::test]
    async fn a_swarm_that_works_calls_no_hook() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = config(dir.path());
        for name in ["pre", "post", "failed"] {
            hook(&config, &format!("{name}-recover-quorum"), "exit 1");
        }
        let watch = Watch::over(&config, Verb::RecoverQuorum).expect("is valid");
        watch.end(&Ended { idle: true, ..Ended::with(Exit::Done) }).await;
        assert_eq!(History::read(&config.state_dir).hook_failures, 0);
    }
}
