//! What an operator should know about a service that comes back.

use serde_json::Value;
use swarm_state::inventory::{self, ObjectKind};

use super::{conflict::mode, ports::Clash};
use crate::host::engine::view::Node;

/// The nodes that a constraint can name.
#[derive(Clone, Copy)]
pub struct Nodes<'a> {
    pub living: &'a [Node],
    /// Those of the backup.
    pub former: &'a [inventory::Node],
}

impl Nodes<'_> {
    /// Whether the swarm has a node that it had at the time of the backup.
    fn some_are_left(self) -> bool {
        self.former.iter().any(|former| self.living.iter().any(|node| node.id == former.id))
    }
}

/// What an operator should know.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// What is not as it was, or needs something to be done.
    pub attention: Vec<String>,
    pub notes: Vec<String>,
}

/// Returns constraints that no living node fulfils, ports of hosts, volumes, and jobs, which run as soon as they are
/// there. Volumes need attention if none of the nodes is left on which their content can be.
pub fn of_service(name: &str, spec: &Value, nodes: Nodes<'_>, clashes: &[Clash]) -> Hints {
    let gone = constraints(spec).filter(|constraint| names_no_node(constraint, nodes.living));
    let gone = gone.map(|constraint| {
        format!(
            "service `{name}` has the constraint `{constraint}`, and the swarm has no such node{}: its tasks stay \
             pending until it has, or until `docker service update --constraint-rm` takes the constraint away",
            former_name(constraint, nodes.former)
        )
    });
    let volumes = volumes(spec).into_iter().map(|volume| {
        format!(
            "service `{name}` mounts the volume `{volume}`: its content is no part of a backup, and is on those nodes \
             on which its tasks ran"
        )
    });
    let ports = clashes.iter().filter(|clash| !clash.is_refused).map(|clash| {
        format!(
            "service `{name}` publishes the port {} on its hosts, and so does `{}`: their tasks cannot run on the same \
             host",
            clash.port, clash.service
        )
    });
    let job = is_job(spec).then(|| format!("service `{name}` is a job, and runs once more"));
    let mut hints = Hints { attention: gone.chain(ports).collect(), notes: job.into_iter().collect() };
    match nodes.some_are_left() {
        true => hints.notes.extend(volumes),
        false => hints.attention.extend(volumes),
    }
    hints
}

fn is_job(spec: &Value) -> bool {
    matches!(mode(spec), Some("ReplicatedJob" | "GlobalJob"))
}

fn constraints(spec: &Value) -> impl Iterator<Item = &str> {
    let constraints = spec.pointer("/TaskTemplate/Placement/Constraints").and_then(Value::as_array);
    constraints.into_iter().flatten().filter_map(Value::as_str)
}

/// Whether the constraint names one node, and none has that id or name. Case is ignored (swarmkit
/// `manager/constraint/constraint.go`, `Match`).
fn names_no_node(constraint: &str, nodes: &[Node]) -> bool {
    let Some((key, wanted)) = constraint.split_once("==") else { return false };
    let (key, wanted) = (key.trim().to_ascii_lowercase(), wanted.trim());
    let is = |own: &str| own.eq_ignore_ascii_case(wanted);
    match key.as_str() {
        "node.id" => !nodes.iter().any(|node| is(&node.id)),
        "node.hostname" => !nodes.iter().any(|node| is(&node.hostname)),
        _ => false,
    }
}

/// Returns the hostname that the node of a constraint had, in words; empty if that is not known.
fn former_name(constraint: &str, former: &[inventory::Node]) -> String {
    let wanted = constraint.split_once("==").map(|(_, id)| id.trim()).unwrap_or_default();
    let found = former.iter().find(|node| node.id.eq_ignore_ascii_case(wanted) && !node.hostname.is_empty());
    found.map_or_else(String::new, |node| format!(" (it was `{}`)", node.hostname))
}

fn volumes(spec: &Value) -> Vec<&str> {
    let mut volumes: Vec<&str> =
        mounts(spec).filter(|mount| mount["Type"] == "volume").filter_map(|mount| mount["Source"].as_str()).collect();
    volumes.sort_unstable();
    volumes.dedup();
    volumes
}

/// Whether a service mounts volumes that a cluster manages, which are objects of their own.
pub fn mounts_cluster_volumes(spec: &Value) -> bool {
    mounts(spec).any(|mount| mount["Type"] == "cluster")
}

fn mounts(spec: &Value) -> impl Iterator<Item = &Value> {
    spec.pointer("/TaskTemplate/ContainerSpec/Mounts").and_then(Value::as_array).into_iter().flatten()
}

/// Returns what it means that a service which is updated has the failure action `rollback`.
pub fn of_revert(name: &str) -> String {
    format!(
        "if tasks of service `{name}` fail with the spec that it gets, the swarm gives it the one that it has now again, \
         as the failure action of its updates says: see `docker service ps {name}` some time after this"
    )
}

/// Returns what a new name means for the services that use the object.
pub fn of_rename(kind: ObjectKind, before: &str, now: &str) -> String {
    match kind {
        ObjectKind::Network => format!(
            "network `{before}` comes back as `{now}`, since another one has its name: the services that come back are \
             attached to `{now}`, and do not meet those on `{before}`"
        ),
        _ => format!(
            "{kind} `{before}` comes back as `{now}`, since another one has its name: the services that come back use \
             `{now}` under the same path in their containers"
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hints_with(former: &str, spec: &Value, clashes: &[Clash]) -> Hints {
        let node = Node { id: "n1".to_owned(), hostname: "Manager-1".to_owned(), ..Node::default() };
        let former = inventory::Node { id: former.to_owned(), hostname: "worker-2".to_owned(), ..Default::default() };
        of_service("web", spec, Nodes { living: &[node], former: &[former] }, clashes)
    }

    fn hints(spec: Value, clashes: &[Clash]) -> Vec<String> {
        hints_with("n2", &spec, clashes).attention
    }

    #[test]
    fn constraints_on_nodes_that_are_gone_are_named() {
        let all =
            |constraint: &str| hints(json!({ "TaskTemplate": { "Placement": { "Constraints": [constraint] } } }), &[]);
        let of = |constraint: &str| all(constraint).len();
        assert!(all("node.id==n2")[0].contains("no such node (it was `worker-2`)"));
        for (constraint, gone) in [
            ("node.id==n1", 0),
            ("node.id == n2", 1),
            ("node.hostname==manager-1", 0),
            ("Node.Hostname==manager-2", 1),
            ("node.hostname!=manager-2", 0),
            ("node.role==worker", 0),
            ("node.labels.zone==z1", 0),
        ] {
            assert_eq!(of(constraint), gone, "{constraint}");
        }
    }

    #[test]
    fn volumes_and_ports_of_hosts_are_named_once() {
        let mounts = json!([
            { "Type": "volume", "Source": "data", "Target": "/a" },
            { "Type": "volume", "Source": "data", "Target": "/b" },
            { "Type": "volume", "Target": "/anonymous" },
            { "Type": "bind", "Source": "/srv", "Target": "/srv" },
        ]);
        let clash = |is_refused| Clash { port: "53/udp".to_owned(), service: "dns".to_owned(), is_refused };
        let spec = json!({ "TaskTemplate": { "ContainerSpec": { "Mounts": mounts } } });
        let found = hints(spec.clone(), &[clash(false), clash(true)]);
        assert!(found.len() == 2 && found[0].contains("53/udp") && found[1].contains("`data`"), "{found:?}");
        assert!(!mounts_cluster_volumes(&spec));
        let near = hints_with("n1", &spec, &[]);
        assert!(near.attention.is_empty() && near.notes[0].contains("`data`"), "its node is there: {near:?}");
        let job = hints_with("n2", &json!({ "Mode": { "ReplicatedJob": {} } }), &[]);
        assert!(job.attention.is_empty() && job.notes[0].contains("runs once more"), "{job:?}");
        let cluster = json!({ "TaskTemplate": { "ContainerSpec": { "Mounts": [{ "Type": "cluster" }] } } });
        assert!(mounts_cluster_volumes(&cluster));
    }
}
