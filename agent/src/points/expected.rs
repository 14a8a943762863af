//! What the configuration of this host expects of a recovery point.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;
use swarmdr_archive::{
    point::{ExternalPart, Gap, Part, StatePart, StreamPart, Why},
    stream_archive::StreamName,
};
use swarmdr_vault::{clock::SKEW, settings::unit_length::Seconds};

use crate::config::Config;

/// Streams and external snapshots, with the age in seconds from which each is too old.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    pub streams: BTreeMap<StreamName, Option<u64>>,
    pub external: BTreeMap<StreamName, Option<u64>>,
}

impl Expected {
    pub fn of(config: &Config) -> Result<Self> {
        let age = |age: Option<Seconds>| age.map(|age| u64::from(age.count()));
        let streams = config.stream.iter().map(|stream| Ok((stream.stream_name()?, age(stream.max_age))));
        let external = config.external.iter().map(|external| Ok((external.part_name()?, age(external.max_age))));
        Ok(Self { streams: streams.collect::<Result<_>>()?, external: external.collect::<Result<_>>()? })
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
        state.into_iter().chain(streams).chain(external).collect()
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
