//! An inspection as text. Names come from the backed-up swarm, so characters that could control a terminal are escaped.

use std::fmt;

use comfy_table::{Table, presets};
use jiff::Timestamp;
use swarm_state::{Inventory, inventory::Member};
use swarmdr_archive::{manifest::Proof, untrusted::shown};
use swarmdr_vault::Lock;

use super::{Backup, Basis, Inspection, Position, Restorable};
use crate::{
    archive::proof::counts,
    host::files::space::human_bytes,
    outcome::{count::human_counts, elapsed::human_ms},
};

/// Number of digits of a digest that are shown: as many as a person compares.
pub const DIGEST_SHOWN: usize = 12;

/// Returns untrusted text for one line of a terminal: escape sequences and line breaks are shown in escaped form.
pub fn plain(text: &str) -> String {
    shown(text).to_string()
}

/// Shortens the digest in `name:tag@sha256:<64>` to [`DIGEST_SHOWN`] digits.
pub fn short_image(image: &str) -> String {
    match image.split_once("@sha256:") {
        Some((name, digest)) if digest.len() > DIGEST_SHOWN && digest.is_ascii() => {
            format!("{name}@sha256:{}", &digest[..DIGEST_SHOWN])
        }
        _ => image.to_owned(),
    }
}

/// Formats a time to the minute, in UTC.
pub fn human_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.backup {
            Some(backup) => writeln!(f, "Backup {}", backup.id)?,
            None => writeln!(f, "State directory {}", plain(&self.source))?,
        }
        for (what, text) in self.facts() {
            writeln!(f, "  {what:<14}{}", plain(&text))?;
        }
        if let Some(inventory) = &self.inventory {
            for table in tables(inventory) {
                write!(f, "\n{table}\n")?;
            }
        }
        if !self.warnings.is_empty() || !self.findings.is_empty() {
            writeln!(f)?;
        }
        for warning in self.warnings.iter().map(|told| &told.text).chain(&self.findings) {
            writeln!(f, "! {}", plain(warning))?;
        }
        Ok(())
    }
}

impl Inspection {
    /// Returns names and values of the facts. The most important ones in an emergency come first.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if let Some(backup) = &self.backup {
            let down = human_ms(backup.engine_down_ms);
            facts.push(("taken", format!("{}, engine down {down}", human_time(backup.created_at))));
        }
        facts.push(("restorable", self.restorable.words(self.looked_at)));
        facts.push(("proof", self.proof_words()));
        let counts = self.inventory.as_ref().map(counts).or(self.backup.as_ref().map(|backup| backup.counts));
        facts.extend(counts.map(|counts| ("holds", human_counts(&counts))));
        facts.push(("shown", self.basis_words()));
        facts.push(("node", self.node_words()));
        facts.push(("swarm", self.cluster_id.to_string()));
        if let Some(raft) = &self.raft {
            facts.push(("raft", raft.words(self.inventory.as_ref())));
        }
        let end = |at: Option<Timestamp>| at.map_or_else(|| "unknown".to_owned(), human_time);
        let (node, root) = (end(self.certificate.node_not_after), end(self.certificate.root_not_after));
        facts.push(("certificates", format!("node until {node}, root CA until {root}")));
        if let Some(backup) = &self.backup {
            facts.push(("lock", lock_words(backup.lock, backup.in_vault, backup.lock_unread)));
            facts.push(("stored in", self.source.clone()));
            facts.push(("archive", backup.words()));
        }
        facts
    }

    fn node_words(&self) -> String {
        let hostname = self.hostname.as_deref().unwrap_or("(unknown)");
        let addr = self.raft_addr.as_deref().unwrap_or("an unknown address");
        let engine = self.engine_version.as_ref().map_or_else(String::new, |version| format!(", engine {version}"));
        format!("{hostname} ({}) at {addr}{engine}", self.node_id)
    }

    fn basis_words(&self) -> String {
        match (self.basis, self.autolock) {
            (Basis::Log, _) => "as read from the raft log now".to_owned(),
            (Basis::Recorded, true) => {
                "as recorded when the backup was made: the log is autolocked and was not opened (--unlock-key)"
                    .to_owned()
            }
            (Basis::Recorded, false) => "as recorded when the backup was made: the log does not replay".to_owned(),
            (Basis::Manifest, _) => {
                "the unencrypted manifest only: the state is encrypted, and no --identity was given".to_owned()
            }
            (Basis::Files, true) => {
                "the unencrypted files only: the log is autolocked and was not opened (--unlock-key)".to_owned()
            }
            (Basis::Files, false) => "the unencrypted files only: the log does not replay".to_owned(),
        }
    }

    fn proof_words(&self) -> String {
        let word = match self.proof {
            Proof::Proven => "proven",
            Proof::Unproven => "UNPROVEN",
            Proof::Sealed => "sealed",
            Proof::Unchecked => "unchecked",
        };
        let when = if self.basis == Basis::Manifest { " when it was made" } else { "" };
        let reason = self.proof_reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        let lock = if self.autolock && !reason.contains("autolocked") { ", autolocked" } else { "" };
        format!("{word}{when}{lock}{reason}")
    }
}

impl Backup {
    fn words(&self) -> String {
        let sealed = match (self.encrypted, self.recipients.len()) {
            (false, _) => "in clear".to_owned(),
            (true, 1) => "encrypted to 1 recipient".to_owned(),
            (true, count) => format!("encrypted to {count} recipients"),
        };
        let (size, number) = (human_bytes(self.size), self.sequence);
        format!("number {number}, {size}, {sealed}, signed by {}, agent {}", self.key_id, self.agent_version)
    }
}

fn lock_words(lock: Option<Lock>, in_vault: bool, unread: bool) -> String {
    match (lock, in_vault) {
        (Some(lock), _) => format!("{} until {}", lock.mode, human_time(lock.until)),
        (None, true) if unread => "not known".to_owned(),
        (None, true) => "not locked: it may be deleted at any time".to_owned(),
        (None, false) => "not in a vault".to_owned(),
    }
}

impl Restorable {
    fn words(&self, now: Timestamp) -> String {
        let ended = |until: Timestamp| until <= now;
        match (&self.obstacle, self.limits.first()) {
            (Some(obstacle), _) => format!("NO: {obstacle}"),
            (None, None) => "no end is known".to_owned(),
            (None, Some(first)) if ended(first.until) => format!("ENDED {}: {}", human_time(first.until), first.what),
            (None, Some(first)) => format!("until {}: then {}", human_time(first.until), first.what),
        }
    }
}

impl Position {
    fn words(&self, inventory: Option<&Inventory>) -> String {
        let mut words = format!("term {}, commit {}", self.term, self.commit);
        if let Some(last) = self.last_index.filter(|last| *last != self.commit) {
            words.push_str(&format!(" of {last}"));
        }
        if self.last_index.is_some() {
            match self.snapshot_index {
                Some(index) => words.push_str(&format!(", snapshot at {index}")),
                None => words.push_str(", no snapshot"),
            }
        }
        if let Some(members) = &self.members {
            let named: Vec<String> = members.iter().map(|member| member_words(member, inventory)).collect();
            words.push_str(&format!(", members: {}", named.join(", ")));
        }
        words
    }
}

fn member_words(member: &Member, inventory: Option<&Inventory>) -> String {
    let node = member.node_id.as_ref().and_then(|id| {
        let nodes = &inventory?.nodes;
        nodes.iter().find(|node| node.id == *id && !node.hostname.is_empty())
    });
    let name = node.map(|node| &node.hostname).or(member.node_id.as_ref());
    match (name, &member.addr) {
        (Some(name), Some(addr)) => format!("{name} {addr}"),
        (Some(name), None) => name.clone(),
        (None, _) => format!("{:x}", member.raft_id),
    }
}

fn tables(inventory: &Inventory) -> Vec<Table> {
    let name_and_size = |name: &str, size: Option<u64>| vec![name.to_owned(), size.map_or_else(unknown, human_bytes)];
    let services = inventory.services.iter().map(|service| {
        let replicas = service.replicas.map_or_else(unknown, |count| count.to_string());
        vec![service.name.clone(), short_image(&service.image), service.mode.clone(), replicas]
    });
    let networks = inventory.networks.iter().map(|network| {
        let kinds = [("ingress", network.ingress), ("attachable", network.attachable), ("internal", network.internal)];
        let kinds: Vec<&str> = kinds.iter().filter(|(_, is)| *is).map(|(word, _)| *word).collect();
        vec![network.name.clone(), network.driver.clone(), network.subnets.join(", "), kinds.join(", ")]
    });
    let nodes = inventory.nodes.iter().map(|node| {
        let known = |text: &Option<String>| text.clone().unwrap_or_else(unknown);
        let columns = [&node.hostname, &node.role, &node.availability].map(Clone::clone);
        let rest = [known(&node.state), known(&node.addr), known(&node.engine_version), node.id.clone()];
        columns.into_iter().chain(rest).collect()
    });
    let secrets = inventory.secrets.iter().map(|secret| name_and_size(&secret.name, secret.size));
    let configs = inventory.configs.iter().map(|config| name_and_size(&config.name, config.size));
    let volumes = inventory.volumes.iter().flatten();
    let volumes = volumes.map(|volume| vec![volume.name.clone(), volume.driver.clone().unwrap_or_else(unknown)]);
    [
        table(&["SERVICE", "IMAGE", "MODE", "REPLICAS"], services.collect()),
        table(&["SECRET", "SIZE"], secrets.collect()),
        table(&["CONFIG", "SIZE"], configs.collect()),
        table(&["NETWORK", "DRIVER", "SUBNETS", "KIND"], networks.collect()),
        table(&["VOLUME", "DRIVER"], volumes.collect()),
        table(&["NODE", "ROLE", "AVAILABILITY", "STATE", "LAST ADDRESS", "ENGINE", "ID"], nodes.collect()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns a table in the order of the first column, or `None` if it has no rows.
fn table(header: &[&str], mut rows: Vec<Vec<String>>) -> Option<Table> {
    rows.sort();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    for row in &rows {
        table.add_row(row.iter().map(|text| plain(text)));
    }
    (!rows.is_empty()).then_some(table)
}

fn unknown() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::inspection::{Ends, Limit};
    use swarm_state::inventory::{Cluster, Network, Node, Secret, Service};

    fn inspection() -> Inspection {
        let at = |text: &str| text.parse::<Timestamp>().expect("is a time");
        let mut inventory = Inventory::empty(Cluster::default());
        let image = format!("nginx:1@sha256:{}", "ab".repeat(32));
        inventory.services = vec![
            Service { name: "web".into(), image, mode: "replicated".into(), replicas: Some(3), ..Service::default() },
            Service { name: "agent".into(), mode: "global".into(), ..Service::default() },
        ];
        inventory.secrets = vec![Secret { name: "db-password".into(), size: Some(28), ..Secret::default() }];
        let subnets = vec!["10.0.1.0/24".to_owned()];
        inventory.networks = vec![Network { name: "backend".into(), subnets, ..Network::default() }];
        inventory.nodes = vec![Node {
            id: "n1".into(),
            hostname: "m1\u{1b}[2J\nfake".into(),
            role: "manager".into(),
            addr: Some("10.77.0.11".into()),
            ..Node::default()
        }];
        let member = Member { raft_id: 0xbeef, node_id: None, addr: None };
        Inspection {
            source: "/var/lib/docker/swarm".into(),
            looked_at: at("2026-11-21T03:15:00Z"),
            basis: Basis::Log,
            backup: None,
            cluster_id: "c1".parse().expect("is an id"),
            node_id: "n1".parse().expect("is an id"),
            hostname: Some("m1".into()),
            raft_addr: Some("10.77.0.11:2377".into()),
            engine_version: None,
            autolock: false,
            proof: Proof::Proven,
            proof_reason: None,
            raft: Some(Position {
                term: 2,
                commit: 40,
                last_index: Some(41),
                snapshot_index: Some(30),
                members: Some(vec![member]),
            }),
            certificate: Default::default(),
            restorable: Restorable {
                until: Some(at("2046-11-20T00:00:00Z")),
                obstacle: None,
                limits: vec![Limit { until: at("2046-11-20T00:00:00Z"), what: Ends::RootCa }],
            },
            inventory: Some(inventory),
            specs: None,
            warnings: Vec::new(),
            findings: vec!["something forged".into()],
        }
    }

    #[test]
    fn everything_is_said_and_nothing_steers_the_terminal() {
        let text = inspection().to_string();
        for said in [
            "m1 (n1) at 10.77.0.11:2377",
            "term 2, commit 40 of 41, snapshot at 30, members: beef",
            "until 2046-11-20 00:00 UTC: then the root CA ends",
            "nginx:1@sha256:abababababab ",
            "db-password",
            "28 B",
            "10.0.1.0/24",
            "! something forged",
        ] {
            assert!(text.contains(said), "`{said}` is not in:\n{text}");
        }
        assert!(!text.contains('\u{1b}') && !text.contains("\nfake"), "{text:?}");
        assert!(text.find("agent").expect("is there") < text.find("web ").expect("is there"), "sorted:\n{text}");
    }

    #[test]
    fn an_inventory_of_others_does_not_steer_the_terminal() {
        crate::outcome::terminal::tests::assert_tame(|text| {
            let mut all = inspection();
            all.inventory = all.inventory.map(|inventory| crate::outcome::terminal::tests::forged(&inventory, text));
            all.source = text.into();
            for own in [&mut all.hostname, &mut all.raft_addr, &mut all.engine_version, &mut all.proof_reason] {
                *own = Some(text.into());
            }
            all.restorable.obstacle = Some(text.into());
            all.findings = vec![text.into()];
            all
        });
    }

    #[test]
    fn what_could_not_be_read_is_said() {
        let words =
            [(true, true), (true, false), (false, false)].map(|(vault, unread)| lock_words(None, vault, unread));
        assert_eq!(words, ["not known", "not locked: it may be deleted at any time", "not in a vault"]);
        let sealed = Inspection { basis: Basis::Files, autolock: true, inventory: None, ..inspection() };
        assert!(sealed.to_string().contains("autolocked and was not opened (--unlock-key)"), "{sealed}");
        let broken = Restorable { obstacle: Some("the raft log breaks".into()), ..inspection().restorable };
        let broken = Inspection { restorable: broken, ..inspection() };
        assert!(broken.to_string().contains("NO: the raft log breaks"), "{broken}");
    }
}
