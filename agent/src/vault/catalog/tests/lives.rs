//! What `restore`, `list`, `inspect` and `verify` say of honest lives.

use super::super::testing::lives;
use super::*;

#[tokio::test]
async fn honest_lives_accuse_nobody() {
    for life in lives::all().await {
        let (vaults, filter) = (life.dyn_vaults(), Filter::cluster(CLUSTER));
        let latest = find_latest(&vaults, &filter, &life.keys, minute(life.now)).await.unwrap();
        assert_eq!(latest.head.manifest.id, life.newest, "{}: {}", life.name, latest.findings);
        life.assert_tame("restore", &latest.findings.lines());

        let mut survey = Survey::new(&filter, &life.keys, minute(life.now));
        for vault in &vaults {
            let mut visit = survey.vault(vault.as_ref()).await;
            while visit.next().await.is_some() {}
        }
        let surveyed = survey.end();
        assert!(surveyed.silent.is_empty(), "{}: {surveyed:?}", life.name);
        life.assert_tame("list", &surveyed.findings);
        life.assert_tame("list", &surveyed.notes);
    }
}
