//! Which streams of the configuration are to be stored now.

use std::time::Duration;

use anyhow::Result;

use super::{expectation::Expectation, put::Order, site::Site};
use crate::{
    config::{
        Config,
        schedule::{Schedule, ScheduleConfig},
        stream::StreamConfig,
    },
    outcome::failure::Failure,
};

/// Time that a command may take where nothing else is said.
const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Returns the stream of this name, or an error that names those that there are.
pub fn require<'a>(config: &'a Config, name: &str) -> Result<&'a StreamConfig> {
    config.stream_named(name).ok_or_else(|| {
        let streams = config.stream.iter().map(|stream| stream.name.as_str());
        let names: Vec<&str> = streams.chain(config.external.iter().map(|external| external.name.as_str())).collect();
        let failure = Failure::usage(format!("the configuration has no stream `{name}`, and no command is given"))
            .advice(format!("give the command: swarmdr-agent put {name} -- COMMAND"));
        match names.is_empty() {
            true => failure.into(),
            false => failure.advice(format!("or use one of those that it has: {}", names.join(", "))).into(),
        }
    })
}

/// Returns the order of a stream by its configuration; without one, by the defaults.
pub fn order(site: Site, name: &str, stream: Option<&StreamConfig>) -> Result<Order> {
    let plain = StreamConfig { name: name.to_owned(), ..StreamConfig::default() };
    let limit = stream.map_or(LIMIT, |stream| stream.timeout.duration());
    let stream = stream.unwrap_or(&plain);
    Ok(Order {
        cluster: site.cluster,
        node: site.node,
        name: stream.stream_name()?,
        as_of: None,
        words: stream.words().to_vec(),
        limit,
        patience: stream.patience.duration(),
        expect: stream.expect.map(|size| size.as_u64()),
        expected_end: stream.expect_tail.clone(),
        expected: Expectation::of(stream),
    })
}

/// Returns the due times of a stream, in the time zone of the schedule; `None` if it has none.
pub fn schedule(config: &Config, stream: &StreamConfig) -> Result<Option<Schedule>> {
    match &stream.cron {
        None => Ok(None),
        Some(cron) => of_cron(config, cron),
    }
}

/// Returns the due times of a cron expression, in the time zone of the schedule.
pub fn of_cron(config: &Config, cron: &str) -> Result<Option<Schedule>> {
    Schedule::from_config(&ScheduleConfig { cron: Some(cron.to_owned()), ..config.schedule.clone() })
}
