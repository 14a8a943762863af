//! The worker token on its way to new nodes: `node publish-token`, and `node rotate-tokens`, which makes new ones first.
//!
//! Only the leader does it, so that one manager of several does. The token is handed over on standard input; the one of
//! managers never leaves this function's caller: it is not even asked for by name.

use std::fmt;

use anyhow::Result;
use serde::Serialize;
use swarmdr_archive::{ClusterId, untrusted::shown};
use zeroize::Zeroizing;

use super::program;
use crate::{
    config::Config,
    host::{
        engine::{Engine, EngineFacts},
        shutdown::Shutdown,
    },
    outcome::{exit::Exit, failpoint, failure::Failure},
    restore::{images::leader, items::undelete::checks},
};

const SETTING: &str = "join.publish_command";

/// How often a token that changes while it is published is published again.
const TRIES: u32 = 3;

/// A request to publish.
#[derive(Debug)]
pub struct Publication<'a> {
    pub config: &'a Config,
    pub dry_run: bool,
}

/// The stable JSON form of `node publish-token --json` and `node rotate-tokens --json`.
#[derive(Debug, Serialize)]
pub struct Report {
    pub result: &'static str,
    #[serde(skip)]
    exit: Exit,
    pub cluster_id: ClusterId,
    pub dry_run: bool,
    /// Whether new tokens were made, or would be.
    pub rotated: bool,
    /// Whether the worker token was handed over, or would be.
    pub published: bool,
    /// What has to be looked after. Exit 6.
    pub attention: Vec<String>,
}

/// Hands the worker token to the configured program.
pub async fn publish(publication: &Publication<'_>) -> Result<Report> {
    if publication.config.join.publish_command.is_empty() {
        return Err(Failure::usage("there is no program to hand the token to")
            .advice(format!("name it with {SETTING}: it reads the token on its standard input"))
            .advice("or take the token to new nodes by hand: `docker swarm join-token -q worker`")
            .into());
    }
    let (engine, facts, cluster) = leading(publication.config, "publishes the token").await?;
    if !publication.dry_run {
        hand_over(publication.config, &engine).await?;
    }
    Ok(Report::new(cluster, publication.dry_run, (false, true), changing(&facts)))
}

/// Makes new tokens, and publishes the one of workers if a program is configured. A run that ends in between leaves
/// tokens that [`publish`] publishes.
pub async fn rotate(publication: &Publication<'_>, shutdown: &Shutdown) -> Result<Report> {
    let config = publication.config;
    let (engine, facts, cluster) = leading(config, "rotates the tokens").await?;
    let publishes = !config.join.publish_command.is_empty();
    let mut attention = changing(&facts);
    if publication.dry_run {
        return Ok(Report::new(cluster, true, (true, publishes), attention));
    }
    let worker = shutdown.shielded(engine.rotate_join_tokens()).await?.worker;
    tracing::info!("the join tokens of the swarm were rotated");
    failpoint::reach("tokens-rotated");
    if !publishes {
        return Ok(Report::new(cluster, false, (true, false), attention));
    }
    let published = hand_over_until_same(config, &engine, worker).await;
    if let Err(error) = &published {
        attention.push(format!(
            "the tokens were rotated, and the new one was not published: {error:#}; until `swarmdr-agent node \
             publish-token` has done it, no new node can join (those that are in the swarm are not affected)"
        ));
    }
    Ok(Report::new(cluster, false, (true, published.is_ok()), attention))
}

/// Returns the engine of this host if its manager leads.
async fn leading(config: &Config, does: &str) -> Result<(Engine, EngineFacts, ClusterId)> {
    let engine = Engine::at(&config.engine.socket);
    let facts = engine.facts().await?;
    let cluster = checks::cluster(&facts)?;
    leader::require(&engine, &facts, does).await?;
    Ok((engine, facts, cluster))
}

async fn hand_over(config: &Config, engine: &Engine) -> Result<()> {
    let worker = engine.join_tokens().await?.worker;
    hand_over_until_same(config, engine, worker).await
}

/// Hands the token over, and again if it was rotated meanwhile: what is published last must be what lets nodes in.
async fn hand_over_until_same(config: &Config, engine: &Engine, mut token: Zeroizing<String>) -> Result<()> {
    for _ in 0..TRIES {
        let line = Zeroizing::new(format!("{}\n", token.as_str()));
        program::hand_over(config, SETTING, &config.join.publish_command, &line).await?;
        failpoint::reach("token-published");
        let now = engine.join_tokens().await?.worker;
        if now == token {
            return Ok(());
        }
        token = now;
    }
    Err(Failure::failed("the token changes all the time").advice("see who rotates it, and run it again").into())
}

/// Warns of tokens that will not last: the engine makes new ones when a new root CA is in force everywhere.
fn changing(facts: &EngineFacts) -> Vec<String> {
    let told = "the root CA of the swarm is being rotated, and the tokens change again when that ends: then run \
                `swarmdr-agent node publish-token`";
    if facts.swarm.root_rotation { vec![told.to_owned()] } else { Vec::new() }
}

impl Report {
    fn new(cluster_id: ClusterId, dry_run: bool, (rotated, published): (bool, bool), attention: Vec<String>) -> Self {
        let exit = Exit::with_attention(!attention.is_empty());
        Self { result: exit.word(), exit, cluster_id, dry_run, rotated, published, attention }
    }

    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let swarm = shown(&self.cluster_id);
        let would = if self.dry_run { "would be" } else { "were" };
        if self.rotated {
            writeln!(f, "The join tokens of swarm {swarm} {would} rotated; those of before let nobody in any more.")?;
        }
        let would = if self.dry_run { "would be" } else { "was" };
        match (self.published, self.rotated) {
            (true, _) => writeln!(f, "The worker token of swarm {swarm} {would} published.")?,
            (false, true) if self.attention.is_empty() => {
                writeln!(
                    f,
                    "No program is configured to publish it ({SETTING}): `docker swarm join-token -q worker`."
                )?;
            }
            (false, _) => {}
        }
        for attention in &self.attention {
            writeln!(f, "! {}", shown(attention))?;
        }
        match self.dry_run {
            true => writeln!(f, "Nothing was changed."),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(dry_run: bool, done: (bool, bool), attention: &[&str]) -> Report {
        let cluster = "w1ymnkr1qaqfdkyvdpgekypgb".parse().expect("is an id");
        Report::new(cluster, dry_run, done, attention.iter().map(|it| (*it).to_owned()).collect())
    }

    #[test]
    fn the_report_says_what_was_done_and_where_the_token_is() {
        let text = report(false, (true, false), &[]).to_string();
        assert!(text.contains("were rotated") && text.contains("docker swarm join-token -q worker"), "{text}");
        let text = report(true, (true, true), &[]).to_string();
        assert!(text.contains("would be rotated") && text.contains("would be published"), "{text}");
        assert!(text.ends_with("Nothing was changed.\n"), "{text}");
        let failed = report(false, (true, false), &["it was not published"]);
        assert_eq!(failed.exit(), Exit::Attention);
        assert!(!failed.to_string().contains("No program"), "{failed}");
    }
}
