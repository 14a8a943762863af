//! Numbers of things, in words.

use swarmdr_archive::manifest::Counts;

/// Formats a count with its noun: `1 secret`, `2 secrets`.
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Formats the counts of a swarm's objects in words.
pub fn human_counts(counts: &Counts) -> String {
    [
        count(counts.services, "service"),
        count(counts.secrets, "secret"),
        count(counts.configs, "config"),
        count(counts.networks, "network"),
        count(counts.nodes, "node"),
    ]
    .join(", ")
}
