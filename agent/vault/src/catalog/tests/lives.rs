//! Findings of `restore`, `list`, `inspect` and `verify` in vaults without an attacker.

use super::*;
use crate::testkit::archives::lives;

#[tokio::test]
async fn a_vault_without_an_attacker_accuses_nobody() {
    for life in lives::all().await {
        let (vaults, filter) = (life.dyn_vaults(), Filter::cluster(cluster_id()));
        let latest = find_latest(&vaults, &filter, &life.keys, minute(life.now)).await.unwrap();
        assert_eq!(latest.head.manifest.id, life.newest, "{}: {}", life.name, latest.findings);
        life.assert_no_accusation("restore", &latest.findings.lines());

        let mut survey = Survey::new(&filter, &life.keys, minute(life.now));
        for vault in &vaults {
            let mut visit = survey.vault(vault.as_ref()).await;
            while visit.next().await.is_some() {}
        }
        let surveyed = survey.end();
        assert!(surveyed.silent.is_empty(), "{}: {surveyed:?}", life.name);
        life.assert_no_accusation("list", &surveyed.findings);
        life.assert_no_accusation("list", &surveyed.notes);
    }
}
