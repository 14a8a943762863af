//! The sites that are alive, for a person or a monitor: `life --look`.

use std::{collections::BTreeSet, fmt};

use anyhow::Result;
use serde::Serialize;
use swarmdr_archive::{ClusterId, TrustedKeys, untrusted::shown};
use swarmdr_vault::catalog::{Filter, clusters_of};

use super::{Own, Sign, look};
use crate::{
    outcome::exit::Exit,
    run::Run,
    vaults::{self, Connected},
};

/// What the vaults say about the sites of one or all clusters.
#[derive(Debug, Default, Serialize)]
pub struct Sites {
    pub result: &'static str,
    /// Whether any site counts as alive.
    pub alive: bool,
    /// The newest sign of each node, the youngest first.
    pub signs: Vec<Sign>,
    /// Vaults that could not be asked, and what may hide a sign. Exit 6.
    pub attention: Vec<String>,
}

impl Sites {
    /// Looks into all vaults, for the sites of one cluster, or of all that have backups there.
    pub async fn look(run: &Run<'_>, keys: &TrustedKeys, cluster: Option<&ClusterId>) -> Result<Self> {
        let vaults = vaults::connect(run.config).await?;
        let mut sites = Self::default();
        let clusters = match cluster {
            Some(cluster) => BTreeSet::from([cluster.clone()]),
            None => sites.clusters(&vaults).await,
        };
        for cluster in &clusters {
            // Nothing is this host's own: it only looks.
            let seen = look(&vaults, cluster, keys, &Own::default(), run.now).await;
            sites.signs.extend(seen.signs);
            sites.attention.extend(seen.doubts);
        }
        sites.signs.sort_by_key(|sign| sign.age);
        sites.alive = sites.signs.iter().any(Sign::is_fresh);
        sites.result = sites.exit().word();
        Ok(sites)
    }

    async fn clusters(&mut self, vaults: &[Connected]) -> BTreeSet<ClusterId> {
        let mut clusters = BTreeSet::new();
        for connected in vaults {
            match clusters_of(connected.vault.as_ref(), &Filter::default()).await {
                Ok(found) => clusters.extend(found.names),
                Err(error) => self.attention.push(error.to_string()),
            }
        }
        clusters
    }

    pub fn exit(&self) -> Exit {
        match (self.alive, self.attention.is_empty()) {
            (true, true) => Exit::Done,
            (_, false) => Exit::Attention,
            (false, true) => Exit::NothingUsable,
        }
    }
}

impl fmt::Display for Sites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.alive {
            true => writeln!(f, "A site is alive.")?,
            false => writeln!(f, "No site is alive, as far as the vaults know.")?,
        }
        for sign in &self.signs {
            let word = if sign.is_fresh() { "fresh" } else { "old" };
            writeln!(f, "  {word:5}  {sign}")?;
        }
        for attention in &self.attention {
            writeln!(f, "! {}", shown(attention))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::life::look::tests::sign;

    #[test]
    fn a_monitor_sees_life_silence_and_doubt_by_the_exit_code() {
        let of = |age, attention: &[&str]| {
            let signs = vec![sign("fra1", age)];
            let alive = signs[0].is_fresh();
            Sites { alive, signs, attention: attention.iter().map(|it| (*it).to_owned()).collect(), ..Sites::default() }
        };
        assert_eq!(of(10, &[]).exit(), Exit::Done);
        assert_eq!(of(1000, &[]).exit(), Exit::NothingUsable);
        assert_eq!((of(10, &["x"]).exit(), of(1000, &["x"]).exit()), (Exit::Attention, Exit::Attention));
        let text = of(1000, &[]).to_string();
        assert!(text.starts_with("No site is alive") && text.contains("old    site fra1"), "{text}");
    }
}
