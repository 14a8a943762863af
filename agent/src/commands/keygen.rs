//! The verb `keygen`.

use std::{fmt, path::PathBuf};

use anyhow::Result;
use jiff::{SignedDuration, Timestamp, TimestampRound, Unit};
use serde::Serialize;
use swarmdr_archive::untrusted::shown;
use swarmdr_vault::clock::SKEW;

use super::Context;
use crate::{
    backup::spool::Spool,
    commands::cli::KeygenArgs,
    config::{Config, EndedKey, NarrowKey, Only, TrustedKey},
    host::lock::HostLock,
    keys::{identities, promoter::PURPOSE, rotation, signing},
    outcome::{exit::Exit, failure::Failure},
};

pub fn run(context: &Context, args: &KeygenArgs) -> Result<Exit> {
    let config = &context.loaded.config;
    if args.rotate {
        // A backup that runs meanwhile would be stored after the end of the key that signs it.
        let _lock = HostLock::acquire(&HostLock::default_path())?;
        context.output.print(&rotate(config, args.until, context.now)?)?;
        return Ok(Exit::Done);
    }
    if args.promoter {
        context.output.print(&promoter(config, &args.identity)?)?;
        return Ok(Exit::Done);
    }
    let secret = args.out.clone().unwrap_or_else(|| config.signing_key_path());
    let public_path = secret.with_extension("pub");
    let exists = args.out.is_none() && secret.exists();
    let key = if exists { signing::read(&secret)? } else { signing::make(&secret, &public_path)? };
    context.output.print(&Report {
        made: !exists,
        secret,
        public_path,
        key_id: key.public().key_id().to_string(),
        public: key.public().to_string(),
    })?;
    Ok(Exit::Done)
}

/// Returns the key that signs this host's claims. A configured one is made if there is none yet.
fn promoter(config: &Config, identities: &[PathBuf]) -> Result<PromoterReport> {
    let configured = config.standby.promoter_key.as_ref().filter(|_| identities.is_empty());
    let (public, source, made) = match configured {
        Some(path) if !path.exists() => {
            (signing::make(path, &path.with_extension("pub"))?.public(), path.display().to_string(), true)
        }
        Some(path) => (signing::read(path)?.public(), path.display().to_string(), false),
        None => {
            let identities = identities::find(identities, config)?;
            let key = identities.signing_keys(PURPOSE).into_iter().next().ok_or_else(|| {
                Failure::usage(
                    "there is neither an age identity nor standby.promoter_key to take a promoter's key from",
                )
                .advice("name the identity that opens the archives: `swarmdr-agent keygen --promoter --identity FILE`")
                .advice("or name a file in standby.promoter_key; it is made by the same command")
            })?;
            (key.public(), "derived from the age identity".to_owned(), false)
        }
    };
    Ok(PromoterReport { made, source, key_id: public.key_id().to_string(), public: public.to_string() })
}

#[derive(Serialize)]
struct PromoterReport {
    made: bool,
    /// File of the secret half, or what it is derived from.
    source: String,
    key_id: String,
    public: String,
}

impl fmt::Display for PromoterReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} promoter's key {}", if self.made { "Made" } else { "Using" }, self.key_id)?;
        writeln!(f, "  secret  {}", shown(&self.source))?;
        writeln!(f, "  public  {}", self.public)?;
        writeln!(f, "Name it on every manager and on every host that restores, in agent.toml there:")?;
        writeln!(f, "  [standby]")?;
        writeln!(f, "  promoters = [\"{}\"]", self.public)
    }
}

/// Default end of the old key. It is in the future by as much as the clocks of this host and of the vault may differ,
/// so that the last backup under the old key was stored before it.
fn default_end(now: Timestamp) -> Timestamp {
    let end = now.checked_add(SKEW + SignedDuration::from_secs(59)).unwrap_or(now);
    end.round(TimestampRound::new().smallest(Unit::Minute)).unwrap_or(end)
}

fn rotate(config: &Config, until: Option<Timestamp>, now: Timestamp) -> Result<RotatedReport> {
    let until = until.unwrap_or_else(|| default_end(now));
    // A file that is named, as that of this host's own key, holds another key afterwards.
    let as_text =
        |it: &TrustedKey| signing::parse_public(it.named()).map_or(it.clone(), |key| it.written(key.to_string()));
    let before: Vec<TrustedKey> = config.trusted_keys.iter().map(as_text).collect();
    let rotated = rotation::rotate(config)?;
    let (new, old) = (rotated.new.to_string(), rotated.old.to_string());
    let is_own = |it: &&TrustedKey| it.named() == new || it.named() == old;
    let others = before.iter().filter(|it| !is_own(it)).cloned();
    let ended = before.iter().find(|it| it.named() == old).and_then(TrustedKey::until);
    let until = ended.map_or(until, |ended| ended.min(until));
    // The key of a worker must not become one that counts on everything.
    let mut own = before.iter().filter(is_own).peekable();
    let only = (own.peek().is_some() && own.all(TrustedKey::is_for_streams_only)).then_some(Only::Streams);
    let trusted = |key: &str, until: Option<Timestamp>| match (only, until) {
        (Some(only), until) => TrustedKey::Only(NarrowKey { key: key.to_owned(), only, until }),
        (None, None) => TrustedKey::Always(key.to_owned()),
        (None, Some(until)) => TrustedKey::Until(EndedKey { key: key.to_owned(), until }),
    };
    let mut trusted_keys = vec![trusted(&new, None)];
    trusted_keys.extend(others);
    trusted_keys.push(trusted(&old, Some(until)));
    Ok(RotatedReport {
        secret: config.signing_key_path(),
        public: new,
        ended: old,
        kept: rotated.kept,
        until,
        trusted_keys,
        waiting: Spool::at(&config.spool_dir()).waiting()?.len(),
    })
}

#[derive(Serialize)]
struct Report {
    made: bool,
    secret: PathBuf,
    public_path: PathBuf,
    key_id: String,
    public: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} signing key {}", if self.made { "Made" } else { "Using" }, self.key_id)?;
        writeln!(f, "  secret  {}", shown(self.secret.display()))?;
        writeln!(f, "  public  {}", self.public)?;
        writeln!(f, "Trust it where you restore, in agent.toml there:")?;
        writeln!(f, "  trusted_keys = [\"{}\"]", self.public)
    }
}

/// The stable JSON form of `keygen --rotate --json`.
#[derive(Debug, Serialize)]
struct RotatedReport {
    secret: PathBuf,
    public: String,
    /// The key that signed until now.
    ended: String,
    /// Path at which its secret half is kept.
    kept: PathBuf,
    until: Timestamp,
    /// The value for the configuration of every host.
    trusted_keys: Vec<TrustedKey>,
    /// Number of archives in the spool, which the old key has signed.
    waiting: usize,
}

impl fmt::Display for RotatedReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secret, kept, until) = (shown(self.secret.display()), shown(self.kept.display()), self.until);
        writeln!(f, "A new signing key is in {secret}; the old one is kept in {kept}.")?;
        writeln!(f, "What the vault stored before {until} under the old key stays usable; nothing later does.")?;
        writeln!(f, "1. On the hosts that restore, then on this one, in agent.toml:")?;
        writeln!(f, "   trusted_keys = [")?;
        for key in &self.trusted_keys {
            writeln!(f, "     {},", shown(key))?;
        }
        writeln!(f, "   ]")?;
        writeln!(f, "   Until this host has them, `backup` refuses (exit 2) and touches nothing.")?;
        writeln!(f, "2. On the other managers: the same lines, and this key in the place of theirs:")?;
        writeln!(f, "   {secret} and {}", shown(self.secret.with_extension("pub").display()))?;
        writeln!(f, "3. If the old key was stolen, so were the credentials of the vault: give the managers new ones,")?;
        writeln!(
            f,
            "   and abort unfinished uploads, which keep the time at which they were begun (`doctor` lists them)."
        )?;
        writeln!(f, "4. swarmdr-agent backup && swarmdr-agent status && swarmdr-agent list")?;
        if self.waiting > 0 {
            writeln!(
                f,
                "! {} in the spool signed by the old key: what is stored after {until} will not be trusted",
                crate::outcome::count::count(self.waiting as u64, "archive")
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promoters_key_is_that_of_the_identity_or_a_file_that_is_made_once() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let mut config = Config { state_dir: dir.path().to_owned(), ..Config::default() };
        let error = promoter(&config, &[]).err().expect("there is none");
        assert_eq!(crate::outcome::failure::Rendered::of(&error).exit, Exit::Usage);
        let identities = swarmdr_archive::Identities::generate();
        let path = dir.path().join("identity.txt");
        std::fs::write(&path, identities.to_file_string().as_bytes()).expect("writes");
        let derived = promoter(&config, &[path]).expect("is derived");
        assert_eq!(derived.public, identities.signing_keys(PURPOSE)[0].public().to_string());
        assert!(!derived.made && !derived.to_string().contains("AGE-SECRET-KEY"), "{derived}");
        config.standby.promoter_key = Some(dir.path().join("keys/promoter.key"));
        let (first, second) = (promoter(&config, &[]).expect("makes"), promoter(&config, &[]).expect("reads"));
        assert_eq!((first.made, second.made, &first.public), (true, false, &second.public));
        let lines = first.to_string();
        let lines = lines.split_once("  [standby]").expect("is told").1;
        let read: Config = toml::from_str(&format!("[standby]{lines}")).expect("is a configuration");
        assert_eq!(read.standby.promoters, [TrustedKey::Always(first.public)]);
    }

    #[test]
    fn the_key_of_a_worker_is_replaced_by_one_that_counts_no_more() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let mut config = Config { state_dir: dir.path().to_owned(), ..Config::default() };
        let old = signing::load_or_make(&config).expect("makes it").key.public().to_string();
        config.trusted_keys = vec![TrustedKey::Only(NarrowKey { key: old.clone(), only: Only::Streams, until: None })];
        let now: Timestamp = "2026-11-21T10:00:01Z".parse().expect("is a time");
        let report = rotate(&config, None, now).expect("rotates");
        let kept: Vec<_> = report.trusted_keys.iter().map(|it| (it.named(), it.until())).collect();
        assert_eq!(kept, [(report.public.as_str(), None), (old.as_str(), Some(report.until))]);
        assert!(report.trusted_keys.iter().all(TrustedKey::is_for_streams_only), "{report}");
        // Also where the configuration names the file, which has the new key from then on.
        let key = config.public_key_path().to_str().expect("is UTF-8").to_owned();
        config.trusted_keys = vec![TrustedKey::Only(NarrowKey { key, only: Only::Streams, until: None })];
        let again = rotate(&config, None, now).expect("rotates");
        let kept: Vec<_> = again.trusted_keys.iter().map(|it| (it.named(), it.until())).collect();
        assert_eq!(kept, [(again.public.as_str(), None), (report.public.as_str(), Some(again.until))]);
        assert!(again.trusted_keys.iter().all(TrustedKey::is_for_streams_only), "{again}");
    }

    #[test]
    fn what_is_printed_is_what_the_configuration_reads() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let stranger = "RWT3gRjtdFgGn/+LWOWSfj/3VhQgHy1tT+mOyS9zgLk/DZYTMpPY9y4d";
        let trusted_keys = vec![TrustedKey::Always(stranger.into())];
        let mut config = Config { state_dir: dir.path().to_owned(), trusted_keys, ..Config::default() };
        let old = signing::load_or_make(&config).expect("makes it").key.public().to_string();
        let now: Timestamp = "2026-11-21T10:00:01Z".parse().expect("is a time");
        let report = rotate(&config, None, now).expect("rotates");
        assert_eq!(report.until, "2026-11-21T10:16:00Z".parse().expect("is a time"));
        let said = report.to_string();
        let lines =
            said.split_once("   trusted_keys = [").and_then(|(_, rest)| rest.split_once("   ]")).expect("is told");
        let text = format!("trusted_keys = [{}]", lines.0);
        config.trusted_keys = toml::from_str::<Config>(&text).expect("is a configuration").trusted_keys;
        let trusted = signing::trusted_for_watching(&config).expect("reads");
        assert_eq!(trusted.iter().map(ToString::to_string).collect::<Vec<_>>(), [&report.public, stranger, &old]);
        signing::require_trusted_signer(&config, now).expect("signs with a key that counts");
        assert_eq!(trusted.at(report.until).iter().count(), 2);
        // Rotated again, with the time of a break-in: the end of the first key stays as it is.
        let again = rotate(&config, "2026-11-21T09:00Z".parse().ok(), now).expect("rotates");
        assert_eq!((&again.ended, again.trusted_keys.len()), (&report.public, 4));
        assert!(again.trusted_keys.iter().any(|it| it.named() == old && it.until() == Some(report.until)));
    }
}
