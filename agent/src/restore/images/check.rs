//! The check whether images can be pulled: from their registry, or from the one that a map leads to.

use std::time::Duration;

use anyhow::Result;
use futures_util::{StreamExt, stream};
use swarmdr_registry::{Checked, ImageMap, ImageName, ManifestCache, Platform, Problem, Wanted, split_registry};

use super::{line::Line, logins::Logins, need::Need, registries::Registries};
use crate::config::{Config, images::ImagesConfig};

/// Number of images that are asked for at a time.
const TOGETHER: usize = 8;

/// Time for which a busy registry may ask to come back later, in all.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// What is asked of each image.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub map: ImageMap,
    /// Platforms that are asked for instead of those that services want.
    pub platforms: Vec<Platform>,
    /// Whether each blob is asked for.
    pub deep: bool,
    /// Whether tags that lead elsewhere now are reported.
    pub moved_tags: bool,
}

impl Options {
    /// What the configuration asks.
    pub fn of(images: &ImagesConfig) -> Self {
        Self { map: images.map_with(&[]), moved_tags: images.moved_tags, ..Self::default() }
    }
}

/// Checks images as a restored swarm would pull them. Returns a line for each, in their order.
pub async fn run(config: &Config, needs: &[Need], options: &Options, patience: Duration) -> Vec<Line> {
    let logins = Logins::new(config, patience);
    let cache = ManifestCache::at(&config.state_dir.join("manifests"));
    let checker = Checker { registries: Registries::new(&logins), cache: &cache, options };
    let lines = stream::iter(needs).map(|need| checker.line(need)).buffered(TOGETHER).collect().await;
    cache.trim();
    lines
}

struct Checker<'a> {
    registries: Registries<'a>,
    cache: &'a ManifestCache,
    options: &'a Options,
}

impl Checker<'_> {
    async fn line(&self, need: &Need) -> Line {
        let mut line = Line::of(need);
        if !self.options.platforms.is_empty() {
            line.platforms.clone_from(&self.options.platforms);
        }
        let other = self.options.map.apply(&need.image);
        let name = match &other {
            Some(other) => other.parse(),
            None => need.name.clone(),
        };
        line.mapped = other;
        match name {
            Ok(name) => match self.image(need, &name, &mut line).await {
                Ok(checked) => line.take(checked),
                Err(error) => line.unknown.push(format!("{error:#}")),
            },
            Err(why) => line.problems.push(Problem::NotThere { why: why.to_string() }),
        }
        line
    }

    async fn image(&self, need: &Need, name: &ImageName, line: &mut Line) -> Result<Checked> {
        let is_same = split_registry(&need.image).0 == name.registry();
        // The login of a registry is not for another one.
        let recorded = need.recorded.as_ref().filter(|_| is_same);
        line.login = self.registries.logins.origin(name.registry(), recorded.is_some());
        let registry = self.registries.get(name.registry(), recorded).await?;
        let wanted =
            Wanted { image: name, platforms: &line.platforms, deep: self.options.deep, tag: self.options.moved_tags };
        Ok(swarmdr_registry::check(registry.as_ref(), self.cache, wanted).await)
    }
}
