//! What the configuration of this host expects of a recovery point.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;
use swarmdr_archive::{
    point::{ExternalPart, Gap, ImagesPart, Part, StatePart, StreamPart, Why},
    stream_archive::StreamName,
};
use swarmdr_vault::{clock::SKEW, settings::unit_length::Seconds};

use crate::config::{Config, images::Check};

/// Age in seconds from which a check of the images is too old: one is made each day at least.
const IMAGES_MAX_AGE: u64 = 50 * 3600;

/// Streams and external snapshots, with the age in seconds from which each is too old.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    pub streams: BTreeMap<StreamName, Option<u64>>,
    pub external: BTreeMap<StreamName, Option<u64>>,
    /// Whether the images of services are checked with backups.
    pub images: bool,
}

impl Expected {
    pub fn of(config: &Config) -> Result<Self> {
        let age = |age: Option<Seconds>| age.map(|age| u64::from(age.count()));
        let streams = config.stream.iter().map(|stream| Ok((stream.stream_name()?, age(stream.max_age))));
        let external = config.external.iter().map(|external| Ok((external.part_name()?, age(external.max_age))));
        Ok(Self {
            streams: streams.collect::<Result<_>>()?,
            external: external.collect::<Result<_>>()?,
            images: config.images.check != Check::Off,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.external.is_empty()
    }

    /// Returns what these parts lack at a time.
    pub fn gaps(
        &self,
        at: Timestamp,
        state: Option<&StatePart>,
        streams: &[StreamPart],
        external: &[ExternalPart],
        images: Option<ImagesPart>,
    ) -> Vec<Gap> {
        let state = state.is_none().then_some(Gap { part: Part::State, name: None, why: Why::Missing, max_age: None });
        let streams = self.streams.iter().filter_map(|(name, max_age)| {
            let found = streams.iter().find(|part| part.name == *name).map(|part| part.as_of);
            gap(Part::Stream, name, *max_age, found, at)
        });
        let external = self.external.iter().filter_map(|(name, max_age)| {
            let found = external.iter().find(|part| part.name == *name).map(|part| part.as_of);
            gap(Part::External, name, *max_age, found, at)
        });
        let images = self.images.then(|| gap_of_images(images, at)).flatten();
        state.into_iter().chain(streams).chain(external).chain(images).collect()
    }
}

fn gap_of_images(images: Option<ImagesPart>, at: Timestamp) -> Option<Gap> {
    let gap = |why, max_age| Some(Gap { part: Part::Images, name: None, why, max_age });
    match images {
        None => gap(Why::Missing, None),
        Some(part) if part.missing > 0 => gap(Why::Lacking, None),
        Some(part) if at.duration_since(part.checked_at).as_secs() > IMAGES_MAX_AGE as i64 => {
            gap(Why::Late, Some(IMAGES_MAX_AGE))
        }
        Some(_) => None,
    }
}

/// Judges one part by the time of its data, which is a claim of its writer.
fn gap(part: Part, name: &StreamName, max_age: Option<u64>, as_of: Option<Timestamp>, at: Timestamp) -> Option<Gap> {
    let gap = |why, max_age| Some(Gap { part, name: Some(name.clone()), why, max_age });
    let Some(as_of) = as_of else { return gap(Why::Missing, None) };
    let age = at.duration_since(as_of);
    if age < -SKEW {
        return gap(Why::Future, None);
    }
    let is_late = max_age.is_some_and(|most| u64::try_from(age.as_secs()).is_ok_and(|age| age > most));
    if is_late { gap(Why::Late, max_age) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_of_images_is_judged_by_what_it_found_and_when() {
        let at = "2026-11-21T10:00:00Z".parse::<Timestamp>().expect("is a time");
        let why = |checked: Option<(i64, u64)>| {
            let part = checked.map(|(hours, missing)| ImagesPart {
                checked_at: at - jiff::SignedDuration::from_hours(hours),
                images: 12,
                missing,
                unknown: 1,
            });
            gap_of_images(part, at).map(|gap| gap.to_string())
        };
        assert_eq!(why(None).as_deref(), Some("the check of the images is missing"));
        assert_eq!(why(Some((1, 0))), None);
        assert_eq!(why(Some((1, 2))).as_deref(), Some("the check of the images found some of them missing"));
        assert_eq!(why(Some((51, 0))).as_deref(), Some("the check of the images is older than 50h"));
    }

    #[test]
    fn a_part_is_judged_by_the_time_of_its_data() {
        let at = "2026-11-21T10:00:00Z".parse::<Timestamp>().expect("is a time");
        let name: StreamName = "shop-db".parse().expect("is a name");
        let why = |as_of: Option<&str>, max_age| {
            let as_of = as_of.map(|text| text.parse().expect("is a time"));
            gap(Part::Stream, &name, max_age, as_of, at).map(|gap| gap.to_string())
        };
        let day = Some(24 * 3600);
        assert_eq!(why(Some("2026-11-20T10:00:00Z"), day), None);
        assert_eq!(why(Some("2026-11-20T09:59:59Z"), day).as_deref(), Some("stream shop-db is older than 24h"));
        assert_eq!(why(Some("2020-01-01T00:00:00Z"), None), None, "nobody says how old it may be");
        assert_eq!(why(None, day).as_deref(), Some("stream shop-db is missing"));
        assert_eq!(why(Some("2026-11-21T10:15:00Z"), day), None, "a clock that is a little ahead");
        assert_eq!(why(Some("2026-11-21T10:15:01Z"), day).as_deref(), Some("stream shop-db is dated after the point"));
    }
}
