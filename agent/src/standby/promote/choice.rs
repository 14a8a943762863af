//! The backup that a promotion starts from: what this host keeps, or what a vault has.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use swarmdr_archive::{Digest, TrustedKeys};
use swarmdr_vault::catalog::Filter;

use super::age::Age;
use crate::{
    archive::{
        fetched::Fetched,
        kept::{Kept, Label, Shelf},
        source::{Choice, Found, Source},
    },
    claims::Carried,
    keys::Keyring,
    run::Run,
    standby::{keep::formed_source, seal},
};

/// Time that vaults get to say whether they have a newer backup than the one that is kept.
const VAULT_LIMIT: Duration = Duration::from_secs(15);

/// Time that each vault gets for each look and for the claim where the backup lies on this host: one that swallows packets
/// must not hold up a site that needs it for nothing else.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A backup that was chosen.
#[derive(Debug)]
pub struct Chosen {
    pub choice: Choice,
    /// The keys that open it.
    pub keyring: Keyring,
    /// True if its state was formed beforehand.
    pub formed: bool,
    /// What the swarm carries in that state.
    pub carried: Carried,
    /// True if it lies on this host.
    pub is_local: bool,
    /// True if no vault could be asked.
    pub is_vault_away: bool,
    pub age: Age,
    pub notes: Vec<String>,
    /// What the operator should see. Exit 6.
    pub attention: Vec<String>,
}

impl Chosen {
    /// Time that each vault gets; `None` if the backup comes from one of them, so that it gets what it needs.
    pub fn patience(&self) -> Option<Duration> {
        self.is_local.then_some(PATIENCE)
    }
}

/// Where the backup comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pick {
    Kept,
    Vault,
}

/// What the choice is made by.
#[derive(Debug, Clone, Copy)]
struct Facts {
    manifest: Digest,
    created_at: Timestamp,
}

/// Chooses the newer one of what is kept and what the vaults have. Returns what is to be told of it. `is_stored`: whether the
/// vaults have the kept one too. Their order counts then, as a manager's clock may have been wrong.
fn pick(kept: Option<Facts>, vault: Option<Facts>, is_stored: bool) -> Option<(Pick, Option<&'static str>)> {
    match (kept, vault) {
        (None, None) => None,
        (None, Some(_)) => Some((Pick::Vault, None)),
        (Some(_), None) => Some((Pick::Kept, None)),
        (Some(kept), Some(vault)) if kept.manifest == vault.manifest => Some((Pick::Kept, None)),
        (Some(kept), Some(vault)) if kept.created_at > vault.created_at && !is_stored => {
            Some((Pick::Kept, Some("the vaults have only older backups than the one that is kept on this host")))
        }
        (Some(_), Some(_)) => Some((
            Pick::Vault,
            Some("a vault has a newer backup than the one that is kept on this host, so it is fetched and formed now"),
        )),
    }
}

/// What the vaults answered.
struct Asked {
    found: Found,
    /// The time by the clock of the vault that has it.
    now: Option<Timestamp>,
}

/// Chooses the backup. `elsewhere`: the swarm gets another address, for which it is formed on the day in any case.
pub async fn choose(run: &Run<'_>, keyring: &Keyring, filter: &Filter, elsewhere: bool) -> Result<Chosen> {
    let (mut notes, mut attention): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let shelf = Shelf::of(run.config);
    let kept = shelf.read().unwrap_or_else(|error| {
        attention.push(format!("{error:#}"));
        None
    });
    let kept = kept.filter(Kept::waits).filter(|kept| filter.cluster.as_ref().is_none_or(|it| *it == kept.cluster_id));
    // At once: somebody waits for the swarm.
    let verify = async {
        let Some(kept) = &kept else { return (None, None) };
        let local = whole(run, keyring, &shelf, kept, &mut attention).await;
        let formed = match &local {
            Some(_) if !elsewhere => formed(run, keyring, kept, &mut attention).await,
            _ => None,
        };
        (local, formed)
    };
    let ((local, formed), asked) = futures_util::join!(verify, ask_vaults(run, keyring, filter, kept.is_some()));
    let asked = match (&local, asked) {
        // What is kept is of no use, so the vaults get all the time that they need.
        (None, Err(_)) if kept.is_some() => ask_vaults(run, keyring, filter, false).await,
        (_, asked) => asked,
    };
    let facts =
        |found: &Found| Facts { manifest: found.head.manifest_digest, created_at: found.head.manifest.created_at };
    let (of_kept, of_vault) = (local.as_ref().map(facts), asked.as_ref().ok().map(|asked| facts(&asked.found)));
    let is_stored = match (&kept, of_kept.zip(of_vault)) {
        (Some(kept), Some((local, vault))) if local.created_at > vault.created_at => {
            is_stored(run, keyring, filter, kept).await
        }
        _ => false,
    };
    let picked = pick(of_kept, of_vault, is_stored);
    notes.extend(picked.and_then(|(_, told)| told).map(str::to_owned));
    let is_vault_away = asked.is_err();
    match (picked, local, kept, asked) {
        (Some((Pick::Kept, _)), Some(local), Some(kept), asked) => {
            if let Err(error) = &asked {
                attention.push(format!(
                    "no vault said whether there is a newer backup than the one that is kept here ({}): {error:#}",
                    kept.backup
                ));
            }
            let same = asked.as_ref().ok().filter(|it| it.found.head.manifest_digest == kept.manifest);
            let stored = same.and_then(|same| same.found.stored);
            let age = Age::of(kept.created_at, stored, asked.as_ref().ok().and_then(|it| it.now), run.now);
            let (source, keyring, formed) = match formed {
                Some(found) => (found.source, seal::keyring_with(run.config, keyring), true),
                None => (local.source, keyring_for(kept.stored, keyring), false),
            };
            let carried = kept.formed.as_ref().map(|formed| carried(&formed.claim)).unwrap_or_default();
            let Source::File(path) = source else { return Err(anyhow!("what is kept is no file")) };
            let choice = Choice::File(path);
            Ok(Chosen { choice, keyring, formed, carried, is_local: true, is_vault_away, age, notes, attention })
        }
        (_, _, _, Ok(Asked { found, now })) => Ok(Chosen {
            choice: Choice::Vaults(filter.clone()),
            keyring: keyring.clone(),
            formed: false,
            carried: Carried::Nothing,
            is_local: false,
            is_vault_away: false,
            age: Age::of(found.head.manifest.created_at, found.stored, now, run.now),
            notes,
            attention,
        }),
        (_, _, _, Err(error)) => Err(error),
    }
}

/// A state of which nobody noted a label may carry any claim.
fn carried(label: &Label) -> Carried {
    match label {
        Label::Nothing => Carried::Nothing,
        Label::Claim(id) => id.parse().map_or(Carried::Unknown, Carried::Claim),
        Label::Unknown => Carried::Unknown,
    }
}

/// Asks the vaults for their newest backup. Where a backup is kept they do not get for ever.
async fn ask_vaults(run: &Run<'_>, keyring: &Keyring, filter: &Filter, is_kept: bool) -> Result<Asked> {
    let choice = Choice::Vaults(filter.clone());
    let ask = async {
        let found = Source::find(run.config, &choice, &keyring.trusted, run.now).await?;
        let now = match &found.source {
            Source::Vault { vault, .. } => vault.clock().await.ok().flatten(),
            Source::File(_) => None,
        };
        Ok(Asked { found, now })
    };
    let ask = run.shutdown.or_interrupted(ask);
    if !is_kept {
        return ask.await;
    }
    let asked = tokio::time::timeout(VAULT_LIMIT, ask).await;
    let asked = asked.with_context(|| format!("no vault answered within {} s", VAULT_LIMIT.as_secs()))?;
    run.shutdown.check()?;
    asked
}

/// Whether the vaults have the kept backup, as far as that is known in time.
async fn is_stored(run: &Run<'_>, keyring: &Keyring, filter: &Filter, kept: &Kept) -> bool {
    let filter = Filter { id: Some(kept.backup), any_vault: true, ..filter.clone() };
    let asked = ask_vaults(run, keyring, &filter, true).await;
    asked.is_ok_and(|asked| asked.found.head.manifest_digest == kept.manifest)
}

/// Verifies every byte of the kept archive; `None` if it is not whole.
async fn whole(
    run: &Run<'_>,
    keyring: &Keyring,
    shelf: &Shelf,
    kept: &Kept,
    attention: &mut Vec<String>,
) -> Option<Found> {
    let look = async {
        let (choice, keyring) = (Choice::File(kept.path(shelf)), keyring_for(kept.stored, keyring));
        let found = Source::find(run.config, &choice, &keyring.trusted, run.now).await?;
        verify(run, &keyring, &found).await?;
        anyhow::ensure!(found.head.manifest_digest == kept.manifest, "it is another backup than the record says");
        Ok(found)
    };
    look.await.inspect_err(|error| attention.push(format!("what is kept on this host is not whole: {error:#}"))).ok()
}

/// Returns the keyring for a backup that a vault had stored by this time: a key that ended later counts for it, also where no
/// vault answers by now.
fn keyring_for(stored: Option<Timestamp>, keyring: &Keyring) -> Keyring {
    let mut trusted = TrustedKeys::new();
    for key in keyring.trusted.iter() {
        let until = keyring.trusted.until(key);
        trusted.insert_until(*key, until.filter(|until| stored.is_none_or(|stored| stored >= *until)));
    }
    Keyring { trusted, ..keyring.clone() }
}

/// Finds the state that was formed beforehand, and verifies every byte of it; `None` if there is none that is whole.
async fn formed(run: &Run<'_>, keyring: &Keyring, kept: &Kept, attention: &mut Vec<String>) -> Option<Found> {
    kept.formed.as_ref()?;
    let look = async {
        let found = formed_source(run.config, kept, keyring, run.now).await?;
        verify(run, &seal::keyring(run.config, keyring)?, &found).await?;
        Ok::<Found, anyhow::Error>(found)
    };
    let failed = "the state that was formed beforehand cannot be used, so it is formed now";
    look.await.inspect_err(|error| attention.push(format!("{failed}: {error:#}"))).ok()
}

async fn verify(run: &Run<'_>, keyring: &Keyring, found: &Found) -> Result<()> {
    let fetched = Fetched::get(run, found, &run.config.state_dir).await?;
    fetched.verify_stored(keyring).await??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("is a time")
    }

    fn facts(name: &str, hour: u8) -> Option<Facts> {
        let created_at = at(&format!("2026-11-21T{hour:02}:00:00Z"));
        Some(Facts { manifest: Digest::of(name.as_bytes()), created_at })
    }

    #[test]
    fn the_newer_one_is_taken_and_what_is_kept_where_no_vault_answers() {
        for (kept, vault, is_stored, expected) in [
            (None, None, false, None),
            (None, facts("a", 3), false, Some((Pick::Vault, false))),
            (facts("a", 3), None, false, Some((Pick::Kept, false))),
            (facts("a", 3), facts("a", 3), true, Some((Pick::Kept, false))),
            (facts("a", 3), facts("b", 4), true, Some((Pick::Vault, true))),
            (facts("b", 4), facts("a", 3), false, Some((Pick::Kept, true))),
            // The clock of the manager that made the next one is behind.
            (facts("b", 4), facts("a", 3), true, Some((Pick::Vault, true))),
            // Two of the same second: the vault's order decides which is the newest.
            (facts("a", 3), facts("b", 3), false, Some((Pick::Vault, true))),
        ] {
            let picked = pick(kept, vault, is_stored).map(|(pick, told)| (pick, told.is_some()));
            assert_eq!(picked, expected, "{kept:?} {vault:?} {is_stored}");
        }
    }

    /// The key that signed what is kept was replaced since, and no vault is left to say when it was stored.
    #[test]
    fn a_key_that_has_ended_counts_for_what_was_kept_before() {
        let key = swarmdr_vault::testkit::archives::key().public();
        let mut keyring = Keyring::without_archives(None);
        keyring.trusted.insert_until(key, Some(at("2026-11-21T04:00:00Z")));
        for (stored, counts) in
            [(Some("2026-11-21T03:59:59Z"), true), (Some("2026-11-21T04:00:00Z"), false), (None, false)]
        {
            let keyring = keyring_for(stored.map(at), &keyring);
            assert_eq!(keyring.trusted.until(&key).is_none(), counts, "{stored:?}");
        }
    }

    #[test]
    fn a_state_that_was_formed_before_claims_may_carry_any() {
        let id = crate::claims::ClaimId::of(7);
        for (label, expected) in [
            (Label::Unknown, Carried::Unknown),
            (Label::Nothing, Carried::Nothing),
            (Label::Claim(id.to_string()), Carried::Claim(id)),
            (Label::Claim("x".to_owned()), Carried::Unknown),
        ] {
            assert_eq!(carried(&label), expected, "{label:?}");
        }
    }
}
