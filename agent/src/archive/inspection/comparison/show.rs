//! A comparison as text: + came, - went, ~ is not the same.

use std::fmt;

use super::{Comparison, FieldChange, ObjectChange, Side, What, fields::SPEC_VERSION, specs::REGISTRY_AUTH};
use crate::archive::inspection::{
    Basis,
    show::{DIGEST_SHOWN, human_time, plain, short_image},
};

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "A  {}", self.before)?;
        writeln!(f, "B  {}", self.after)?;
        if !self.same_swarm {
            writeln!(f, "! these are different swarms: {} and {}", self.before.cluster_id, self.after.cluster_id)?;
        }
        writeln!(f)?;
        let (written, changed): (Vec<_>, Vec<_>) = self.changes.iter().partition(|change| change.is_written());
        for change in &changed {
            writeln!(f, "{change}")?;
        }
        let count = |wanted: fn(&What) -> bool| self.changes.iter().filter(|change| wanted(&change.what)).count();
        match changed.is_empty() {
            true => writeln!(f, "No differences.")?,
            false => writeln!(
                f,
                "\n{} added, {} removed, {} changed, {} rotated",
                count(|what| matches!(what, What::Added { .. })),
                count(|what| matches!(what, What::Removed { .. })),
                count(|what| matches!(what, What::Changed { .. })),
                count(|what| matches!(what, What::Rotated { .. })),
            )?,
        }
        if !written.is_empty() {
            let names: Vec<String> = written.iter().map(|it| format!("{} {}", it.kind, plain(&it.name))).collect();
            writeln!(f, "Written again, without a difference in what is read here: {}", names.join(", "))?;
        }
        for finding in &self.findings {
            writeln!(f, "! {}", plain(finding))?;
        }
        if let Some(undelete) = &self.undelete {
            writeln!(f, "To bring back what was removed:  {undelete}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&plain(self.id.as_ref().unwrap_or(&self.source)))?;
        if let Some(at) = self.created_at {
            write!(f, "  {}", human_time(at))?;
        }
        write!(f, "  {}", plain(self.hostname.as_deref().unwrap_or(self.node_id.as_str())))?;
        if let Some(raft) = &self.raft {
            write!(f, "  raft term {}, index {}", raft.term, raft.commit)?;
        }
        if self.basis == Basis::Recorded {
            f.write_str("  (as recorded then; the log was not opened)")?;
        }
        Ok(())
    }
}

impl fmt::Display for ObjectChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = (self.kind, plain(&self.name));
        match &self.what {
            What::Added { detail } => write!(f, "+ {kind} {name}{}", after_colon(detail)),
            What::Removed { detail } => write!(f, "- {kind} {name}{}", after_colon(detail)),
            What::Rotated { from_id, from_name } if *from_name == self.name => {
                write!(f, "~ {kind} {name}: rotated under the same name ({} -> {})", plain(from_id), plain(&self.id))
            }
            What::Rotated { from_id, from_name } => {
                write!(
                    f,
                    "~ {kind} {name}: rotated from {} ({} -> {})",
                    plain(from_name),
                    plain(from_id),
                    plain(&self.id)
                )
            }
            What::Written { before, after } => write!(f, "= {kind} {name}: version {before} -> {after}"),
            What::Changed { fields } => {
                let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
                write!(f, "~ {kind} {name}: {}", fields.join("; "))
            }
        }
    }
}

fn after_colon(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {}", plain(detail)) }
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = (shown(&self.before), shown(&self.after));
        if self.field == SPEC_VERSION {
            let what = "something that is not listed here, as environment, command, mounts or limits";
            return write!(f, "{what} (spec version {before} -> {after})");
        }
        let what = match self.field.as_str() {
            "root_ca_digest" => "root CA, by digest",
            "join_token_digests.worker" => "join token of workers, by digest",
            "join_token_digests.manager" => "join token of managers, by digest",
            REGISTRY_AUTH => "registry credentials",
            field => field.strip_prefix("TaskTemplate.").unwrap_or(field),
        };
        write!(f, "{} {before} -> {after}", plain(what))
    }
}

fn shown(value: &str) -> String {
    let digest = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    match value {
        "" => "(none)".to_owned(),
        _ if digest => value[..DIGEST_SHOWN].to_owned(),
        _ => plain(&short_image(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        archive::removals::{removed::tests::removed, undelete::Undelete},
        outcome::terminal::tests::assert_tame,
    };
    use swarm_state::inventory::ObjectKind;

    fn comparison(undelete: Option<Undelete>) -> Comparison {
        let side = || Side {
            source: "/var/lib/docker/swarm".to_owned(),
            id: None,
            created_at: None,
            hostname: None,
            node_id: "n".parse().expect("is an id"),
            cluster_id: "c".parse().expect("is an id"),
            basis: Basis::Log,
            raft: None,
        };
        let (before, after) = (side(), side());
        Comparison { before, after, same_swarm: true, changes: Vec::new(), findings: vec!["x".to_owned()], undelete }
    }

    #[test]
    fn the_command_is_the_last_line_to_be_pasted_as_it_is() {
        let text = comparison(removed("shop_web", "tls_key").undelete).to_string();
        let line = "To bring back what was removed:  swarmdr-agent undelete 20261121T031500Z-1a2b3c4d --stack shop \
                    --secret tls_key";
        assert_eq!(text.lines().last(), Some(line));
        let none = comparison(None);
        assert!(!none.to_string().contains("undelete"), "{none}");
        assert_eq!(serde_json::to_value(&none).expect("is JSON")["undelete"], serde_json::Value::Null);
    }

    #[test]
    fn names_of_others_do_not_steer_the_terminal() {
        assert_tame(|text| {
            let own = || text.to_owned();
            let side = |id: Option<String>| Side {
                source: own(),
                id,
                created_at: None,
                hostname: Some(own()),
                node_id: "n".parse().expect("is an id"),
                cluster_id: "c".parse().expect("is an id"),
                basis: Basis::Recorded,
                raft: None,
            };
            let field = |field: &str| FieldChange { field: field.to_owned(), before: own(), after: own() };
            let changes = [
                What::Added { detail: own() },
                What::Removed { detail: own() },
                What::Changed { fields: vec![field(text), field(SPEC_VERSION)] },
                What::Written { before: own(), after: own() },
                What::Rotated { from_id: own(), from_name: own() },
                What::Rotated { from_id: own(), from_name: "another".to_owned() },
            ];
            let change = |what| ObjectChange { kind: ObjectKind::Secret, id: own(), name: own(), what };
            Comparison {
                before: side(Some(own())),
                after: side(None),
                same_swarm: false,
                changes: changes.into_iter().map(change).collect(),
                findings: vec![own()],
                undelete: removed(text, text).undelete,
            }
        });
    }
}
