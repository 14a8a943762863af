//! Checks of the keys of this host: its signing key, the trusted keys, and who can open the archives.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use jiff::Timestamp;
use swarmdr_archive::{PublicKey, Recipient};

use super::{Check, Diagnosis};
use crate::{
    config::{Config, Encryption},
    keys::{identities, signing},
    outcome::count::count as counted,
};

pub fn check(config: &Config, diagnosis: &mut Diagnosis) {
    let own = signing_key(config, diagnosis);
    pinned(config, own.as_ref(), diagnosis);
    let recipients = recipients(config, diagnosis);
    identity(config, &recipients, own.is_some(), diagnosis);
}

fn signing_key(config: &Config, diagnosis: &mut Diagnosis) -> Option<PublicKey> {
    let path = config.signing_key_path();
    if !path.exists() {
        diagnosis.add(
            Check::warn("keys.signing", format!("there is no signing key in {} yet", path.display()))
                .fix("`swarmdr-agent keygen` makes one; the first backup does too. All managers should share one"),
        );
        return None;
    }
    let key = match signing::read(&path) {
        Ok(key) => key.public(),
        Err(error) => {
            diagnosis.add(Check::failed("keys.signing", &error));
            return None;
        }
    };
    match open_to_others(&path) {
        Some(mode) => diagnosis.add(
            Check::fail("keys.signing", format!("{} has mode {mode:o}: others can sign as this host", path.display()))
                .fix(format!("chmod 600 {}", path.display())),
        ),
        None => diagnosis.add(Check::ok("keys.signing", format!("{key} in {}", path.display()))),
    }
    Some(key)
}

/// Mode of the file if its group or others have any access to it.
fn open_to_others(path: &Path) -> Option<u32> {
    let mode = fs::metadata(path).ok()?.mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

fn pinned(config: &Config, own: Option<&PublicKey>, diagnosis: &mut Diagnosis) {
    if let (Some(own), Ok(text)) = (own, fs::read_to_string(config.public_key_path()))
        && text.parse::<PublicKey>().ok().as_ref() != Some(own)
    {
        let path = config.public_key_path();
        diagnosis.add(
            Check::fail("keys.pair", format!("{} is not the public half of the signing key", path.display()))
                .fix("give restoring hosts the key that `swarmdr-agent keygen` shows"),
        );
    }
    let trusted = match signing::trusted(config, &[]) {
        Ok(trusted) => trusted,
        Err(error) => return diagnosis.add(Check::failed("keys.pinned", &error)),
    };
    if let Some((own, until)) = own.and_then(|own| Some((own, trusted.until(own)?))) {
        return diagnosis.add(
            Check::fail("keys.pinned", format!("this host's own key {own} is trusted until {until} only"))
                .fix("give this host the key that replaces it; `backup` refuses once this one has ended"),
        );
    }
    let count = trusted.iter().count();
    match own {
        Some(_) if signing::signs_streams_only(config, Timestamp::now()) => diagnosis.add(Check::ok(
            "keys.pinned",
            format!("{count} trusted; this host's own for streams only: it makes no backups, as on a worker"),
        )),
        Some(own) if !trusted.iter().any(|key| key == own) => diagnosis.add(
            Check::fail("keys.pinned", format!("this host's own key {own} is not among trusted_keys")).fix(
                "add it to trusted_keys on this host and on every host that restores: `backup` refuses until then",
            ),
        ),
        _ if config.trusted_keys.is_empty() => diagnosis.add(
            Check::warn("keys.pinned", "no trusted_keys are named: only this host's own key counts")
                .fix("write the managers' public keys into trusted_keys, and keep them with the disaster runbook"),
        ),
        _ => diagnosis.add(Check::ok("keys.pinned", format!("{count} trusted, this host's own among them"))),
    }
}

fn recipients(config: &Config, diagnosis: &mut Diagnosis) -> Vec<Recipient> {
    let mut good = Vec::new();
    for text in &config.recipients {
        match text.parse::<Recipient>() {
            Ok(recipient) => good.push(recipient),
            Err(error) => diagnosis.add(
                Check::fail("keys.recipients", format!("`{text}`: {error}"))
                    .fix("write the `age1…` line that `age-keygen -y identity.txt` prints"),
            ),
        }
    }
    let leaves = config.vaults().iter().any(|vault| vault.url.starts_with("s3://"));
    if config.recipients.is_empty() {
        let found = "archives are not encrypted: anyone who can read a vault has every secret and the swarm's CA key";
        diagnosis.add(match (leaves, config.encryption) {
            (false, _) => Check::ok("keys.recipients", "archives are not encrypted, and do not leave this host"),
            (true, Some(Encryption::None)) => {
                Check::warn("keys.recipients", found).fix("name recipients, and remove encryption = \"none\"")
            }
            (true, _) => Check::fail("keys.recipients", found).fix("name recipients"),
        });
    } else if good.len() == config.recipients.len() {
        diagnosis.add(Check::ok(
            "keys.recipients",
            format!("archives are encrypted to {}", counted(good.len() as u64, "age recipient")),
        ));
    }
    good
}

/// Whether the configured identity opens the archives that this host makes. On a manager there should be none.
fn identity(config: &Config, recipients: &[Recipient], signs: bool, diagnosis: &mut Diagnosis) {
    let identities = match identities::configured(config) {
        Ok(identities) if identities.is_empty() => {
            return diagnosis
                .add(Check::ok("keys.identity", "none here: this host cannot open its archives, as it should be"));
        }
        Ok(identities) => identities,
        Err(error) => return diagnosis.add(Check::failed("keys.identity", &error)),
    };
    let opens = identities.recipients().iter().filter(|own| recipients.contains(own)).count();
    let readable = config.identity_file.as_deref().and_then(|path| Some((path, open_to_others(path)?)));
    diagnosis.add(if let Some((path, mode)) = readable {
        Check::fail("keys.identity", format!("{} has mode {mode:o}", path.display()))
            .fix(format!("chmod 600 {}", path.display()))
    } else if opens == 0 && !recipients.is_empty() {
        Check::fail("keys.identity", "the identity of this host opens none of the archives that this host makes")
            .fix("compare `age-keygen -y` of the identity with recipients")
    } else if signs {
        Check::warn("keys.identity", "this host can open its own archives, and so can anyone who breaks into it")
            .fix("keep the identity on another machine; a manager needs none")
    } else {
        Check::ok("keys.identity", format!("opens archives of {opens} of the recipients"))
    });
}
