//! Which services gain from a forced update, and why the others are left.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::Value;

use super::{
    bonds::{self, Cut},
    fit::{self, Reserved},
    host_network,
    level::is_even,
    memory,
    service::Wishes,
};
use crate::{
    nodes::roster::{Led, Listed},
    restore::images::renew::{
        living::{LivingService, Obstacle},
        slots,
    },
};

/// Services, nodes and tasks of a swarm at one moment.
#[derive(Debug, Default)]
pub struct View {
    pub nodes: Vec<Listed>,
    pub services: Vec<Value>,
    pub tasks: Vec<Value>,
    /// Ids of the networks of services that are the hosts' own.
    pub host_networks: BTreeSet<String>,
}

/// A service, and whether it is to be updated.
#[derive(Debug, Clone)]
pub struct Planned {
    pub id: String,
    pub name: String,
    /// Names of the nodes that may have its tasks, and how many each has.
    pub placed: BTreeMap<String, u64>,
    /// Ids of these nodes, sorted.
    pub nodes: Vec<String>,
    pub starts_first: bool,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// An update would spread it.
    Uneven,
    Even,
    /// There is nothing to spread: not replicated, a job, ended, or one task.
    NotMeant {
        why: String,
    },
    /// It is not at rest, or cannot be judged.
    Left {
        why: String,
    },
    /// An update would spread it, and something ties its tasks to their nodes.
    Held {
        why: String,
    },
    /// An update with the same nodes did not spread it.
    Tried,
}

impl View {
    pub async fn of(led: &Led) -> Result<Self> {
        let (nodes, services) = (led.nodes().await?, led.objects.services().await?);
        let host_networks = host_network::ids(&led.objects, &services).await?;
        Ok(Self { nodes, services, tasks: led.objects.all_tasks().await?, host_networks })
    }

    /// Judges all services, sorted by name.
    pub fn judge(&self, cut: Cut) -> Vec<Planned> {
        let reserved = fit::reserved(self.tasks.iter().filter(|task| is_wanted(task)));
        let mut all: Vec<Planned> = self.services.iter().map(|object| self.plan(object, &reserved, cut)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn plan(&self, object: &Value, reserved: &Reserved, cut: Cut) -> Planned {
        let id = object["ID"].as_str().unwrap_or_default().to_owned();
        let name = object["Spec"]["Name"].as_str().unwrap_or(&id).to_owned();
        let starts_first = object["Spec"]["UpdateConfig"]["Order"] == "start-first";
        let mut planned =
            Planned { id, name, placed: BTreeMap::new(), nodes: Vec::new(), starts_first, verdict: Verdict::Even };
        planned.verdict = self.verdict(object, reserved, &mut planned).unwrap_or_else(|verdict| verdict);
        if planned.verdict == Verdict::Uneven {
            planned.verdict = match bonds::why_held(&object["Spec"], cut, &self.host_networks) {
                Some(why) => Verdict::Held { why },
                None if memory::has_tried(&object["Spec"], &planned.nodes) => Verdict::Tried,
                None => Verdict::Uneven,
            };
        }
        planned
    }

    fn verdict(&self, object: &Value, reserved: &Reserved, planned: &mut Planned) -> Result<Verdict, Verdict> {
        let left = |why: String| Verdict::Left { why };
        let tasks: Vec<Value> = self.tasks.iter().filter(|task| task["ServiceID"] == planned.id).cloned().collect();
        require_at_rest(object, &tasks)?;
        let wishes = Wishes::of(&object["Spec"]).map_err(left)?;
        let on = running(&tasks);
        let running: u64 = on.values().sum();
        if running != wishes.replicas {
            return Err(left(format!("{running} of {} tasks run: it is updated when it is whole", wishes.replicas)));
        }
        let mut eligible = Vec::new();
        for listed in &self.nodes {
            let number = on.get(listed.id()).copied().unwrap_or_default();
            if fit::fits(listed, &wishes, reserved, number > 0).map_err(left)? {
                eligible.push((listed, number));
            }
        }
        planned.nodes = eligible.iter().map(|(listed, _)| listed.id().to_owned()).collect();
        for (listed, number) in &eligible {
            *planned.placed.entry(listed.name().to_owned()).or_default() += number;
        }
        let mut preferences = Vec::new();
        for text in &wishes.preferences {
            preferences.push(text.parse().map_err(|_| left(format!("its preference `{text}` is not understood")))?);
        }
        Ok(if is_even(&eligible, &preferences, wishes.most_on_a_node) { Verdict::Even } else { Verdict::Uneven })
    }
}

/// Returns the reason to leave a service that is not at rest, or that there is nothing to spread of.
fn require_at_rest(object: &Value, tasks: &[Value]) -> Result<(), Verdict> {
    let not_meant = |why: &str| Verdict::NotMeant { why: why.to_owned() };
    let service = LivingService::of(object).ok().flatten().ok_or_else(|| not_meant("it runs no containers"))?;
    let known = service.obstacle().or_else(|| slots::may_end(&service.spec).then(|| slots::obstacle(tasks)).flatten());
    match known {
        None => {}
        Some(Obstacle::UnderWay(state)) => {
            return Err(Verdict::Left { why: format!("its update is `{state}`, and another one would go on with it") });
        }
        Some(Obstacle::PartlyEnded) => {
            let why = "some of its tasks have ended for good, and every update begins them again".to_owned();
            return Err(Verdict::Left { why });
        }
        Some(obstacle) if obstacle.is_job() => return Err(not_meant("it is a job, and every update begins it again")),
        Some(_) => return Err(not_meant("its tasks have ended for good, and every update begins them again")),
    }
    match &object["Spec"]["Mode"]["Replicated"] {
        replicated if !replicated.is_object() => Err(not_meant("it has a task on each node")),
        replicated if replicated["Replicas"].as_u64().unwrap_or_default() < 2 => {
            Err(not_meant("it has one task at most"))
        }
        _ => Ok(()),
    }
}

/// Counts the tasks that run by their node.
fn running(tasks: &[Value]) -> BTreeMap<&str, u64> {
    let mut on = BTreeMap::new();
    let runs = |task: &&Value| task["Status"]["State"] == "running" && task["DesiredState"] == "running";
    for node in tasks.iter().filter(runs).filter_map(|task| task["NodeID"].as_str()) {
        *on.entry(node).or_default() += 1;
    }
    on
}

fn is_wanted(task: &Value) -> bool {
    const OVER: [&str; 6] = ["complete", "shutdown", "failed", "rejected", "remove", "orphaned"];
    let wanted = matches!(task["DesiredState"].as_str(), Some("ready" | "running"));
    wanted && !OVER.contains(&task["Status"]["State"].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(id: &str, zone: &str) -> Listed {
        Listed::of(json!({
            "ID": id, "Spec": { "Role": "worker", "Availability": "active", "Labels": { "zone": zone } },
            "Description": { "Hostname": format!("host-{id}") }, "Status": { "State": "ready" },
        }))
        .expect("is a node")
    }

    fn service(replicas: u64, more: Value) -> Value {
        let mut object = json!({
            "ID": "s", "Version": { "Index": 1 },
            "Spec": {
                "Name": "web", "Mode": { "Replicated": { "Replicas": replicas } },
                "TaskTemplate": { "ContainerSpec": { "Image": "web:1" }, "Placement": {}, "RestartPolicy": {} },
            },
        });
        for (path, value) in more.as_object().into_iter().flatten() {
            let mut place = &mut object;
            for part in path.split('/') {
                place = &mut place[part];
            }
            *place = value.clone();
        }
        object
    }

    fn tasks(on: &[(&str, u64)]) -> Vec<Value> {
        let task = |(node, number): &(&str, u64)| {
            let task = json!({ "ServiceID": "s", "NodeID": node, "DesiredState": "running", "Status": { "State": "running" } });
            vec![task; usize::try_from(*number).expect("fits")]
        };
        let mut tasks: Vec<Value> = on.iter().flat_map(task).collect();
        tasks.iter_mut().enumerate().for_each(|(at, task)| task["Slot"] = (at + 1).into());
        tasks
    }

    fn judge(nodes: &[(&str, &str)], object: Value, on: &[(&str, u64)]) -> Verdict {
        let nodes = nodes.iter().map(|(id, zone)| node(id, zone)).collect();
        let view = View { nodes, services: vec![object], tasks: tasks(on), ..View::default() };
        view.judge(Cut::default()).remove(0).verdict
    }

    #[test]
    fn a_service_is_uneven_if_a_node_has_two_fewer_than_another() {
        let three = [("a", "x"), ("b", "x"), ("c", "y")];
        for (on, expected) in [
            (&[("a", 3)][..], Verdict::Uneven),
            (&[("a", 1), ("b", 1), ("c", 1)], Verdict::Even),
            (&[("a", 2), ("b", 1)], Verdict::Uneven),
            (&[("a", 2), ("b", 2), ("c", 1)], Verdict::Even),
            (&[("a", 1), ("b", 1)], Verdict::Even),
        ] {
            let replicas = on.iter().map(|(_, number)| number).sum();
            assert_eq!(judge(&three, service(replicas, json!({})), on), expected, "{on:?}");
        }
        assert_eq!(judge(&three[..1], service(3, json!({})), &[("a", 3)]), Verdict::Even);
    }

    #[test]
    fn only_nodes_that_may_have_its_tasks_count() {
        let nodes = [("a", "x"), ("b", "y")];
        let here = json!({ "Spec/TaskTemplate/Placement": { "Constraints": ["node.labels.zone==x"] } });
        assert_eq!(judge(&nodes, service(4, here), &[("a", 4)]), Verdict::Even);
        let most = json!({ "Spec/TaskTemplate/Placement": { "MaxReplicas": 1 } });
        assert_eq!(judge(&nodes, service(2, most), &[("a", 1), ("b", 1)]), Verdict::Even);
        let odd = json!({ "Spec/TaskTemplate/Placement": { "Constraints": ["odd"] } });
        assert!(matches!(judge(&nodes, service(4, odd), &[("a", 4)]), Verdict::Left { .. }));
    }

    #[test]
    fn what_is_not_at_rest_or_not_meant_is_left() {
        let nodes = [("a", "x"), ("b", "x")];
        let judged = |more: Value, on: &[(&str, u64)]| judge(&nodes, service(4, more), on);
        let all = &[("a", 4)][..];
        for state in ["updating", "paused", "rollback_started", "rollback_paused"] {
            let verdict = judged(json!({ "UpdateStatus/State": state }), all);
            assert!(matches!(&verdict, Verdict::Left { why } if why.contains(state)), "{verdict:?}");
        }
        assert!(matches!(judged(json!({}), &[("a", 3)]), Verdict::Left { .. }), "a task is missing");
        for more in [
            json!({ "Spec/Mode": { "Global": {} } }),
            json!({ "Spec/Mode": { "ReplicatedJob": {} }, "JobStatus": {} }),
            json!({ "Spec/Mode/Replicated/Replicas": 1 }),
            json!({ "Spec/TaskTemplate/ContainerSpec": {} }),
        ] {
            assert!(matches!(judged(more.clone(), all), Verdict::NotMeant { .. }), "{more}");
        }
        let ended = json!({ "Spec/TaskTemplate/RestartPolicy": { "Condition": "none" } });
        let mut view = View {
            nodes: nodes.iter().map(|(id, zone)| node(id, zone)).collect(),
            services: vec![service(4, ended)],
            tasks: tasks(all),
            ..View::default()
        };
        assert_eq!(view.judge(Cut::default())[0].verdict, Verdict::Uneven, "all of them run still");
        for task in &mut view.tasks {
            task["DesiredState"] = "shutdown".into();
            task["Status"]["State"] = "complete".into();
        }
        assert!(matches!(view.judge(Cut::default())[0].verdict, Verdict::NotMeant { .. }));
    }

    #[test]
    fn a_service_that_an_update_did_not_spread_is_not_updated_for_the_same_nodes() {
        let view = |nodes: &[&str], object: Value| View {
            nodes: nodes.iter().map(|id| node(id, "")).collect(),
            services: vec![object],
            tasks: tasks(&[("a", 4)]),
            ..View::default()
        };
        let mut object = service(4, json!({}));
        let before = view(&["a", "b"], object.clone()).judge(Cut::default()).remove(0);
        assert_eq!(before.verdict, Verdict::Uneven);
        memory::force(&mut object["Spec"], &before.nodes);
        for (nodes, expected) in [(&["a", "b"][..], Verdict::Tried), (&["a", "b", "c"], Verdict::Uneven)] {
            assert_eq!(view(nodes, object.clone()).judge(Cut::default())[0].verdict, expected, "{nodes:?}");
        }
    }

    #[test]
    fn a_service_that_is_tied_to_its_nodes_is_held_if_it_is_uneven() {
        let nodes = [("a", "x"), ("b", "x")];
        let with_volume = || {
            let mounts = json!([{ "Type": "volume", "Source": "db", "Target": "/data" }]);
            service(2, json!({ "Spec/TaskTemplate/ContainerSpec/Mounts": mounts }))
        };
        let verdict = judge(&nodes, with_volume(), &[("a", 2)]);
        assert!(matches!(&verdict, Verdict::Held { why } if why.contains("`db`")), "{verdict:?}");
        assert_eq!(judge(&nodes, with_volume(), &[("a", 1), ("b", 1)]), Verdict::Even);
        let view = View {
            nodes: nodes.iter().map(|(id, zone)| node(id, zone)).collect(),
            services: vec![with_volume()],
            tasks: tasks(&[("a", 2)]),
            ..View::default()
        };
        assert_eq!(view.judge(Cut { volumes: true, host_ports: false })[0].verdict, Verdict::Uneven);
    }

    #[test]
    fn a_service_in_the_network_of_its_hosts_is_held() {
        let networks = json!([{ "Target": "h1" }]);
        let mut view = View {
            nodes: [("a", "x"), ("b", "x")].iter().map(|(id, zone)| node(id, zone)).collect(),
            services: vec![service(2, json!({ "Spec/TaskTemplate/Networks": networks }))],
            tasks: tasks(&[("a", 2)]),
            ..View::default()
        };
        assert_eq!(view.judge(Cut::default())[0].verdict, Verdict::Uneven, "an overlay network ties nothing");
        view.host_networks = ["h1".to_owned()].into();
        let verdict = view.judge(Cut::default()).remove(0).verdict;
        assert!(matches!(&verdict, Verdict::Held { why } if why.contains("network of their host")), "{verdict:?}");
    }
}
