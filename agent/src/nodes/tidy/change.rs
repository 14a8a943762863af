//! The acts on one node. Each asks for the node again right before: one that has come back is left alone.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, anyhow, bail};
use jiff::Timestamp;
use serde_json::Value;

use super::{plan::LABEL, report::Outcome, survey::Survey};
use crate::{
    backup::managers::{Agreement, Managers},
    host::{
        engine::Refusal,
        wait::{self, Probe},
    },
    nodes::roster::{Led, Listed, set_label},
    outcome::failpoint,
};

/// Time for an orchestrator to take tasks from drained nodes, and for the group of managers to become smaller.
const LIMIT: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    pub led: &'a Led,
    pub probe_limit: Duration,
}

impl Change<'_> {
    /// Drains a node, and notes on it since when it was down. Returns what became of it if it is not to go any more.
    pub async fn drain(&self, id: &str, since: Timestamp) -> Result<Option<Outcome>> {
        let drain = async || {
            let listed = match self.still_away(id).await? {
                Ok(listed) => listed,
                Err(outcome) => return Ok(Probe::Done(Some(outcome))),
            };
            if listed.node.labels.contains_key(LABEL) && listed.node.availability == "drain" {
                return Ok(Probe::Done(None));
            }
            if listed.node.availability != "active" {
                return Ok(Probe::Done(Some(Outcome::Operators { availability: listed.node.availability.clone() })));
            }
            self.update(&listed, |spec| {
                spec["Availability"] = "drain".into();
                set_label(spec, LABEL, Some(format!("{since}/{}", Timestamp::now())));
            })
            .await
            .map(|probe| probe.map(|()| None))
        };
        wait::until(LIMIT, POLL, "the node to take its drain", drain).await
    }

    /// Takes back what an earlier run set on a node that has come back.
    pub async fn give_back(&self, id: &str) -> Result<Outcome> {
        let give = async || {
            let Some(listed) = self.read(id).await? else { return Ok(Probe::Done(Outcome::Gone)) };
            if listed.node.is_down() || !listed.node.labels.contains_key(LABEL) {
                return Ok(Probe::Done(Outcome::CameBack));
            }
            self.update(&listed, |spec| {
                if spec["Availability"] == "drain" {
                    spec["Availability"] = "active".into();
                }
                set_label(spec, LABEL, None);
            })
            .await
            .map(|probe| probe.map(|()| Outcome::GivenBack))
        };
        wait::until(LIMIT, POLL, "the node to take its availability", give).await
    }

    /// Waits until no task is to run on these nodes. One on which tasks are still wanted after that stays in the swarm.
    pub async fn wait_let_go(&self, ids: impl Iterator<Item = &str>) -> Result<()> {
        let ids: BTreeSet<&str> = ids.collect();
        if ids.is_empty() {
            return Ok(());
        }
        let let_go = wait::poll(LIMIT, POLL, async || match self.led.objects.all_tasks().await {
            Ok(tasks) => (!tasks.iter().any(|task| is_wanted_on(task, &ids))).then_some(Ok(())),
            Err(error) => Some(Err(error)),
        });
        let_go.await.unwrap_or(Ok(()))
    }

    /// Removes a node on which no task is to run, after it has left the group of managers if it is in there.
    pub async fn remove(&self, id: &str) -> Result<Outcome> {
        let mut listed = match self.still_away(id).await? {
            Ok(listed) => listed,
            Err(Outcome::CameBack) => return self.give_back(id).await,
            Err(outcome) => return Ok(outcome),
        };
        if self.led.objects.all_tasks().await?.iter().any(|task| is_wanted_on(task, &BTreeSet::from([id]))) {
            bail!("tasks are still to run on it; `docker node ps {id}` shows them");
        }
        if listed.node.manager.is_some() {
            self.demote(id).await?;
            failpoint::reach("demoted");
            listed = match self.still_away(id).await? {
                Ok(listed) => listed,
                Err(outcome) => return Ok(outcome),
            };
        }
        match self.led.objects.remove_absent_node(listed.id()).await {
            Err(error) if Refusal::is_not_found(&error) => Ok(Outcome::Gone),
            Err(error) if Refusal::find(&error).is_some_and(|refusal| refusal.says("is not down")) => {
                self.give_back(id).await
            }
            removed => removed.map(|()| Outcome::Removed),
        }
    }

    /// Takes a dead manager out of the group if the others are a majority, and waits until it is no member.
    async fn demote(&self, id: &str) -> Result<()> {
        let demote = async || {
            let nodes = self.led.nodes().await?;
            let Some(listed) = nodes.iter().find(|listed| listed.id() == id) else { return Ok(Probe::Done(())) };
            if listed.node.manager.is_none() {
                return Ok(Probe::Done(()));
            }
            let mut managers = Managers::of(&nodes.iter().map(|listed| listed.node.clone()).collect::<Vec<_>>());
            managers.probe(&self.led.own).await;
            may_demote(&managers, id)?;
            if listed.node.is_manager_by_role() {
                let _ = self.update(listed, |spec| spec["Role"] = "worker".into()).await?;
            }
            Ok(Probe::NotYet(anyhow!("it is still a member of the group of managers")))
        };
        wait::until(LIMIT, POLL, "the dead manager to leave the group", demote).await
    }

    /// Asks for the node again: `Err` is what became of one that is not to go any more.
    async fn still_away(&self, id: &str) -> Result<Result<Listed, Outcome>> {
        let survey = Survey::of_one(self.led, self.probe_limit, id).await?;
        Ok(match survey.node(id) {
            None => Err(Outcome::Gone),
            Some(listed) if !listed.node.is_down() => Err(Outcome::CameBack),
            Some(_) if survey.answering.contains(id) => Err(Outcome::Answers),
            Some(listed) => Ok(listed.clone()),
        })
    }

    async fn read(&self, id: &str) -> Result<Option<Listed>> {
        match self.led.objects.node(id).await {
            Err(error) if Refusal::is_not_found(&error) => Ok(None),
            read => Ok(Listed::of(read?)),
        }
    }

    async fn update(&self, listed: &Listed, change: impl FnOnce(&mut Value)) -> Result<Probe<()>> {
        match listed.update(&self.led.objects, change).await {
            Err(error) if Refusal::is_out_of_sequence(&error) => Ok(Probe::NotYet(error)),
            updated => updated.map(Probe::Done),
        }
    }
}

/// Refuses to take a manager out of a group whose other members are no majority: it would not be agreed upon, or the
/// next one that fails would cost the majority of what is left.
fn may_demote(managers: &Managers, id: &str) -> Result<()> {
    if managers.member(id).is_some_and(|member| member.reachable) {
        bail!("it answers as a manager");
    }
    if !managers.joining.is_empty() {
        bail!("the group of managers is changing: {} is joining it", managers.joining.join(", "));
    }
    let agreement = managers.without(id);
    if !agreement.is_possible() {
        let Agreement { all, answering, majority } = agreement;
        bail!("{answering} of {all} managers answer, and {majority} have to agree when one leaves");
    }
    Ok(())
}

/// Whether a task is to run on one of these nodes.
fn is_wanted_on(task: &Value, ids: &BTreeSet<&str>) -> bool {
    const OVER: [&str; 6] = ["complete", "shutdown", "failed", "rejected", "remove", "orphaned"];
    let is_on = task["NodeID"].as_str().is_some_and(|id| ids.contains(id));
    let wanted = task["DesiredState"].as_str().unwrap_or_default();
    let state = task["Status"]["State"].as_str().unwrap_or_default();
    is_on && matches!(wanted, "ready" | "running") && !OVER.contains(&state)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::backup::managers::tests::cluster;

    #[test]
    fn a_manager_leaves_only_if_the_others_are_a_majority() {
        for (reachable, id, expected) in [
            (&[true, true, false][..], "m2", true),
            (&[true, false], "m1", false),
            (&[true, false, false], "m2", false),
            (&[true, true, true, false, false], "m4", true),
            (&[true, true, false, false, false], "m4", false),
            (&[true, true, true], "m2", false),
            (&[true, true, false, false], "m3", false),
        ] {
            assert_eq!(may_demote(&cluster(0, reachable), id).is_ok(), expected, "{reachable:?}");
        }
        let joining = Managers { joining: vec!["new".to_owned()], ..cluster(0, &[true, true, false]) };
        may_demote(&joining, "m2").expect_err("the group is changing");
    }

    #[test]
    fn a_task_that_is_to_be_shut_down_is_let_go() {
        let ids = BTreeSet::from(["n1"]);
        for (node, wanted, state, expected) in [
            ("n1", "running", "running", true),
            ("n1", "ready", "new", true),
            ("n1", "shutdown", "running", false),
            ("n1", "running", "orphaned", false),
            ("n2", "running", "running", false),
        ] {
            let task = json!({ "NodeID": node, "DesiredState": wanted, "Status": { "State": state } });
            assert_eq!(is_wanted_on(&task, &ids), expected, "{task}");
        }
    }
}
