//! The last known backup of each swarm, as this host's record files hold it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use swarmdr_archive::ClusterId;
use swarmdr_vault::catalog::lineage::Remembered;

/// A map of backups by swarm. An entry that cannot be read, as one with an ill-formed cluster id, is ignored when it is
/// read; the others of the file count.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BySwarm(#[serde(deserialize_with = "readable")] pub BTreeMap<ClusterId, Remembered>);

fn readable<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<ClusterId, Remembered>, D::Error> {
    let entries = BTreeMap::<String, Value>::deserialize(deserializer)?;
    let entry =
        |(cluster, backup): (String, Value)| Some((cluster.parse().ok()?, serde_json::from_value(backup).ok()?));
    Ok(entries.into_iter().filter_map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ill_formed_cluster_id_costs_its_own_entry_only() {
        let entry =
            |cluster: &str| format!(r#"{{"id":"20261121T100000Z-00000001","cluster":"{cluster}","sequence":1}}"#);
        let (good, bad) = (entry("good"), entry("b/d"));
        let text = format!(r#"{{"b/d":{good},"good":{good},"inside":{bad},"other":{},"":{good}}}"#, entry("other"));
        let read: BySwarm = serde_json::from_str(&text).expect("is a map");
        let clusters: Vec<&str> = read.0.keys().map(ClusterId::as_str).collect();
        assert_eq!(clusters, ["good", "other"]);
        let written = serde_json::to_string(&read).expect("is JSON");
        assert!(
            written.starts_with(r#"{"good":{"id":"20261121T100000Z-00000001","cluster":"good","sequence":1,"#),
            "{written}"
        );
        serde_json::from_str::<BySwarm>("[]").expect_err("is no map");
    }
}
