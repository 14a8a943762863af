//! Copies of all images that services need, to a registry or a directory; and from that directory to a registry.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use futures_util::{StreamExt, stream};
use swarmdr_registry::{
    Copied, Copying, Destination, Digest, ErrorKind, ImageName, Job, Layout, Mirror, Platform, Registry, RegistryError,
    Rule, Source, Target, tags,
};

use super::{
    copied::{Outcome, Report, Row},
    logins::Logins,
    need::Need,
    registries::Registries,
};
use crate::{
    config::Config,
    outcome::{exit::Exit, failure::Failure, progress::Progress},
};

/// Number of images, and of blobs, that are copied at a time.
const TOGETHER: usize = 4;

/// Inputs of a copy.
#[derive(Debug, Clone, Copy)]
pub struct Mirroring<'a> {
    pub config: &'a Config,
    pub progress: Progress,
    /// Platforms that are copied; all if none is named.
    pub platforms: &'a [Platform],
}

/// An image and where it is copied from.
struct Wanted {
    name: ImageName,
    services: Vec<String>,
    /// Logins that are recorded for it, each tried in turn.
    recorded: Vec<Option<swarmdr_registry::Login>>,
}

impl Mirroring<'_> {
    /// Copies what services need.
    pub async fn needs(&self, needs: &[Need], to: &Destination) -> Result<Report> {
        let logins = Logins::new(self.config, super::check::PATIENCE);
        let registries = Registries::new(&logins);
        let target = Place::open(&registries, to).await?;
        let bar = self.progress.bytes("copy", 0);
        let advance = |bytes: u64| bar.advance_over(bytes);
        let copy = Copying::new(target.as_target(), self.platforms, TOGETHER, &advance);
        let (wanted, mut rows) = wanted(needs);
        let one = |wanted: Wanted| self.one(&registries, &copy, to, wanted);
        rows.extend(stream::iter(wanted).map(one).buffer_unordered(TOGETHER).collect::<Vec<Row>>().await);
        Ok(Report::new(to, rules(to, &rows), rows))
    }

    async fn one(&self, registries: &Registries<'_>, copy: &Copying<'_>, to: &Destination, wanted: Wanted) -> Row {
        let Wanted { name, services, recorded } = wanted;
        let mut row = Row::new(name.to_string(), services);
        if matches!(to, Destination::Registry(mirror) if mirror.holds(&name)) {
            row.outcome = Outcome::Mirrored;
            return row;
        }
        let mut last = None;
        for login in &recorded {
            match copy_with(registries, copy, to, &name, login.as_ref(), &mut row).await {
                Ok(copied) => {
                    row.take(copied);
                    return row;
                }
                Err(error) => {
                    // A registry may hide from one login what it gives to another.
                    let may_differ = |it: &RegistryError| {
                        matches!(it.kind, ErrorKind::Denied | ErrorKind::NotThere) && it.place == name.registry()
                    };
                    let goes_on = error.downcast_ref().is_some_and(may_differ);
                    last = Some(error);
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        row.fail(last.unwrap_or_else(|| anyhow::anyhow!("there is no way to its registry")), name.registry());
        row
    }

    /// Copies everything that a directory holds into a registry.
    pub async fn push(&self, from: &std::path::Path, to: &Mirror) -> Result<Report> {
        let layout =
            Layout::to_read(from).with_context(|| format!("failed to open the images in {}", from.display()))?;
        let logins = Logins::new(self.config, super::check::PATIENCE);
        let registries = Registries::new(&logins);
        let registry = registries.get(to.registry(), None).await?;
        let bar = self.progress.bytes("copy", 0);
        let advance = |bytes: u64| bar.advance_over(bytes);
        let copy = Copying::new(registry.as_ref(), self.platforms, TOGETHER, &advance);
        let one = |(name, digest, tags): (ImageName, Digest, Vec<String>)| {
            let (copy, layout) = (&copy, &layout);
            async move {
                let mut row = Row::new(format!("{name}@{digest}"), Vec::new());
                row.digest = Some(digest.clone());
                let (place, repository) = (name.place(), to.repository(&name));
                row.to = Some(format!("{}/{repository}@{digest}", to.registry()));
                let tags = own_first(tags, &digest, copy.platforms);
                let job = Job { from: &place, to: &repository, digest: &digest, tags: &tags, proof: &tags[0] };
                match copy.image(layout, job).await {
                    Ok(copied) => row.take(copied),
                    Err(error) => row.fail(error.into(), &from.display().to_string()),
                }
                row
            }
        };
        let mut rows: Vec<Row> = stream::iter(layout.images()).map(one).buffer_unordered(TOGETHER).collect().await;
        rows.extend(layout.unnamed().into_iter().map(|name| {
            let mut row = Row::new(name, Vec::new());
            let why = "its name leads to no registry: give it one, as `registry.old:5000/shop/web:1`".to_owned();
            row.outcome = Outcome::Missing { why };
            row
        }));
        if rows.is_empty() {
            let what = format!("{} holds no image", from.display());
            return Err(Failure::new(Exit::NothingUsable, what).advice("`images mirror --to oci:…` fills it").into());
        }
        let to = Destination::Registry(to.clone());
        Ok(Report::new(&to, rules(&to, &rows), rows))
    }
}

/// Puts a tag first that belongs to the digest and to what is copied of it, before those that people know.
fn own_first(all: Vec<String>, digest: &Digest, platforms: &[Platform]) -> Vec<String> {
    let is_own = |tag: &&String| tag.contains(&format!("-{}", digest.short()));
    let known: Vec<String> = all.iter().filter(|tag| !is_own(tag)).cloned().collect();
    let made = tags(known.first().map(String::as_str), digest, platforms).remove(0);
    let end = made.find(&format!("-{}", digest.short())).map_or("", |at| &made[at..]);
    let own = all.iter().find(|tag| tag.ends_with(end)).cloned().unwrap_or(made);
    std::iter::once(own).chain(known).collect()
}

async fn copy_with(
    registries: &Registries<'_>,
    copy: &Copying<'_>,
    to: &Destination,
    name: &ImageName,
    login: Option<&swarmdr_registry::Login>,
    row: &mut Row,
) -> Result<Copied> {
    let source = registries.get(name.registry(), login).await?;
    let digest = match name.digest() {
        Some(digest) => digest.clone(),
        None => source.find(name.repository(), &name.reference()).await?.digest,
    };
    let repository = match to {
        Destination::Registry(mirror) => mirror.repository(name),
        Destination::Layout(_) => name.place(),
    };
    row.digest = Some(digest.clone());
    row.to = Some(match to {
        Destination::Registry(mirror) => format!("{}/{repository}@{digest}", mirror.registry()),
        Destination::Layout(_) => format!("{repository}@{digest}"),
    });
    let tag = name.tag().or(name.digest().is_none().then_some("latest"));
    let tags = tags(tag, &digest, copy.platforms);
    // Where services name a tag, the tag has to lead to what they would pull.
    let proof = if name.digest().is_some() { tags.first() } else { tags.last() };
    let proof = proof.map_or("latest", String::as_str);
    let job = Job { from: name.repository(), to: &repository, digest: &digest, tags: &tags, proof };
    Ok(copy.image(source.as_ref(), job).await?)
}

/// Joins needs for the same image. Names that are none are rows already.
fn wanted(needs: &[Need]) -> (Vec<Wanted>, Vec<Row>) {
    let mut rows = Vec::new();
    let mut all: BTreeMap<ImageName, Wanted> = BTreeMap::new();
    for need in needs {
        match &need.name {
            Err(why) => {
                let mut row = Row::new(need.image.clone(), need.services.clone());
                row.outcome = Outcome::Missing { why: why.to_string() };
                rows.push(row);
            }
            Ok(name) => {
                let wanted = all.entry(name.clone()).or_insert_with(|| Wanted {
                    name: name.clone(),
                    services: Vec::new(),
                    recorded: Vec::new(),
                });
                wanted.services.extend(need.services.iter().cloned());
                wanted.recorded.push(need.recorded.clone());
            }
        }
    }
    (all.into_values().collect(), rows)
}

/// Returns the rules for `--image-map` that lead to the copies; none for a directory.
fn rules(to: &Destination, rows: &[Row]) -> Vec<Rule> {
    let Destination::Registry(mirror) = to else { return Vec::new() };
    let names = rows.iter().filter(|row| row.is_copied()).filter_map(|row| row.image.parse::<ImageName>().ok());
    let registries: BTreeSet<String> = names.map(|name| name.registry().to_owned()).collect();
    registries.iter().map(|registry| mirror.rule(registry)).collect()
}

/// An open destination.
enum Place {
    Registry(std::sync::Arc<Registry>),
    Layout(Layout),
}

impl Place {
    async fn open(registries: &Registries<'_>, to: &Destination) -> Result<Self> {
        Ok(match to {
            Destination::Registry(mirror) => Self::Registry(registries.get(mirror.registry(), None).await?),
            Destination::Layout(directory) => Self::Layout(Layout::to_write(directory)?),
        })
    }

    fn as_target(&self) -> &dyn Target {
        match self {
            Self::Registry(registry) => registry.as_ref(),
            Self::Layout(layout) => layout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_the_digest_is_kept_and_comes_first() {
        let digest = Digest::of(b"x");
        let own = format!("1-{}", digest.short());
        let amd: Platform = "linux/amd64".parse().expect("is one");
        let all = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        assert_eq!(own_first(all(&["1", &own]), &digest, &[]), all(&[&own, "1"]));
        assert_eq!(own_first(all(&[&own]), &digest, &[]), all(&[&own]));
        assert_eq!(own_first(all(&["1"]), &digest, &[]), all(&[&own, "1"]));
        // A part of it has a tag of its own.
        let part = format!("{own}-linux-amd64");
        assert_eq!(own_first(all(&["1", &own]), &digest, std::slice::from_ref(&amd)), all(&[&part, "1"]));
        assert_eq!(own_first(all(&[&part]), &digest, &[amd]), all(&[&part]));
    }
}
