//! Makes a recovery point, once something is stored.

use std::{collections::BTreeSet, panic::AssertUnwindSafe, time::Duration};

use anyhow::{Context, Result, anyhow};
use futures_util::{FutureExt, future::join_all};
use jiff::Timestamp;
use swarmdr_archive::{
    BackupId, ClusterId, TrustedKeys,
    point::{self, ExternalPart, ImagesPart, Point},
    stream_archive::StreamName,
};
use swarmdr_vault::store_bytes;

use super::{
    PointNote,
    draft::{Maker, Seen},
    expected::Expected,
    known::{Look, Outline, extend},
};
use crate::{
    host::{name, random},
    keys::signing,
    run::Run,
    vaults::{Connected, Shared},
};

/// Time that the vaults may take, each of a few times.
const LIMIT: Duration = Duration::from_secs(60);

/// What a point is made after.
#[derive(Debug, Clone, Default)]
pub struct Occasion {
    /// URLs of the vaults that took what was stored; `None` for all.
    pub took: Option<BTreeSet<String>>,
    /// A snapshot that another tool made.
    pub external: Option<ExternalPart>,
    /// What this host's last check of the images found.
    pub images: Option<ImagesPart>,
}

/// The point that was made, and what to tell about it.
#[derive(Debug, Default)]
pub struct Made {
    /// `None` if nothing asks for a point, or none could be stored.
    pub point: Option<PointNote>,
    pub attention: Vec<String>,
}

/// Makes a point after something was stored, if there is data that belongs to the state. What fails is told, and undoes
/// nothing: what was stored is stored.
pub async fn after(run: &Run<'_>, vaults: &Shared, cluster: &ClusterId, occasion: Occasion) -> Made {
    let make = async { make(run, vaults.get(run.config).await?, cluster, occasion, Timestamp::now()).await };
    let guarded = AssertUnwindSafe(run.shutdown.or_interrupted(make)).catch_unwind();
    let made = guarded.await.unwrap_or_else(|_| Err(anyhow!("it ended with a panic, whose message was printed")));
    made.unwrap_or_else(|error| Made { point: None, attention: vec![not_made(&error)] })
}

fn not_made(error: &anyhow::Error) -> String {
    format!("no recovery point was stored: {error:#}")
}

/// Makes a point in each of these vaults that can be read.
pub(super) async fn make(
    run: &Run<'_>,
    vaults: &[Connected],
    cluster: &ClusterId,
    occasion: Occasion,
    at: Timestamp,
) -> Result<Made> {
    let Occasion { took, external, images } = occasion;
    if external.is_none() && signing::signs_streams_only(run.config, run.now) {
        // The next backup makes one, with a key that counts on points.
        return Ok(Made::default());
    }
    let expected = Expected::of(run.config)?;
    let keys = signing::trusted(run.config, &[])?;
    let on_streams = signing::trusted_on_streams(run.config, &[])?;
    let asked = vaults.iter().filter(|vault| took.as_ref().is_none_or(|took| took.contains(&vault.settings.url)));
    let look = Look { cluster, keys: &keys, on_streams: &on_streams, at };
    let mut reading = Reading::default();
    let outlines = join_all(asked.clone().map(|vault| within(look.outline(vault.vault.as_ref())))).await;
    let outlined = reading.sort(asked.collect(), outlines);
    let has_data = |outline: &Outline| !(outline.streams.is_empty() && outline.points.entries.is_empty());
    let is_wanted = external.is_some() || !expected.is_empty() || outlined.iter().any(|(_, it)| has_data(it));
    if !is_wanted {
        // Nobody who has no data hears of points.
        return Ok(Made::default());
    }
    let names: BTreeSet<StreamName> = outlined.iter().flat_map(|(_, outline)| outline.streams.clone()).collect();
    let parts = join_all(outlined.iter().map(|(vault, _)| within(look.parts(vault.vault.as_ref(), &names)))).await;
    let (readable, outlines): (Vec<&Connected>, Vec<Outline>) = outlined.into_iter().unzip();
    let mut seen = Seen::default();
    for outline in outlines {
        extend(&mut seen.points, outline.points);
        reading.told.extend(outline.told);
    }
    let mut kept = Vec::new();
    for (vault, parts) in reading.sort(readable, parts) {
        extend(&mut seen.state, parts.state);
        parts.streams.into_iter().for_each(|(name, view)| extend(seen.streams.entry(name).or_default(), view));
        reading.told.extend(parts.told);
        kept.push(vault);
    }
    let (id, hostname) = (BackupId::new(at, random::tag()?), name::hostname());
    let maker = Maker { cluster, id, at, hostname, expected: &expected, external, images };
    store(run, &kept, &maker.draft(&seen), reading.told).await
}

/// What was told while vaults were read.
#[derive(Debug, Default)]
struct Reading {
    told: Vec<String>,
}

impl Reading {
    /// Returns the vaults that answered, and tells about the others.
    fn sort<'a, T>(&mut self, vaults: Vec<&'a Connected>, answers: Vec<Result<T>>) -> Vec<(&'a Connected, T)> {
        let mut good = Vec::new();
        for (vault, answer) in vaults.into_iter().zip(answers) {
            match answer {
                Ok(answer) => good.push((vault, answer)),
                Err(error) => self.told.push(format!(
                    "{} gets no recovery point: what it holds is not known: {error:#}",
                    vault.settings.url
                )),
            }
        }
        good
    }
}

async fn within<T>(work: impl Future<Output = Result<T, swarmdr_vault::VaultError>>) -> Result<T> {
    let limited = tokio::time::timeout(LIMIT, work).await;
    Ok(limited.map_err(|_| anyhow!("no end within {} s", LIMIT.as_secs()))??)
}

/// Signs the point and stores it in each vault, created only, and locked like a backup.
async fn store(run: &Run<'_>, vaults: &[&Connected], point: &Point, told: Vec<String>) -> Result<Made> {
    signing::require_trusted_signer(run.config, run.now)?;
    let key = signing::load_or_make(run.config)?.key;
    let packed = point::seal(point, &key).context("the recovery point could not be packed")?;
    let place = point.key().to_string();
    let puts = vaults.iter().map(async |vault| {
        let put = store_bytes(vault.vault.as_ref(), place.clone(), &packed, point.made_at);
        let limited = tokio::time::timeout(LIMIT, put).await;
        limited.unwrap_or_else(|_| Err(anyhow!("no end within {} s", LIMIT.as_secs())))
    });
    let (mut kept, mut attention) = (Vec::new(), told);
    for (vault, stored) in vaults.iter().zip(join_all(puts).await) {
        match stored {
            Ok(_) => kept.push(vault.settings.url.clone()),
            Err(error) => {
                attention.push(format!("{} does not have the recovery point: {error:#}", vault.settings.url));
            }
        }
    }
    if point.left_out > 0 {
        attention.push(format!(
            "the recovery point has no room for {} of the streams, so it is never complete: let several of them become one, or prune those that are not stored any more",
            point.left_out
        ));
    }
    let point = (!kept.is_empty()).then(|| PointNote::new(point, kept));
    if point.is_none() && attention.is_empty() {
        attention.push("no recovery point was stored: no vault took what it is about".to_owned());
    }
    Ok(Made { point, attention })
}

/// Returns when another tool last made a snapshot of this name, as far as the vaults that answer know. It decides when the
/// next one is due.
pub async fn due_since(
    run: &Run<'_>,
    vaults: &Shared,
    cluster: &ClusterId,
    name: &StreamName,
    keys: &TrustedKeys,
) -> Result<Option<Timestamp>> {
    let vaults = vaults.get(run.config).await?;
    let look = Look { cluster, keys, on_streams: keys, at: run.now };
    let views = vaults.iter().map(async |vault| within(look.points(vault.vault.as_ref(), &mut Vec::new())).await);
    let mut newest = None;
    for view in join_all(views).await.into_iter().filter_map(Result::ok) {
        let parts = view.entries.iter().flat_map(|(_, head)| &head.point.external).filter(|part| part.name == *name);
        newest = newest.max(parts.map(|part| part.as_of).filter(|as_of| *as_of <= run.now).max());
    }
    Ok(newest)
}
