//! Drills of a stream: its newest one goes through a command, whose exit status says whether it can be used.

use std::{fmt, sync::Arc, time::Instant};

use anyhow::Result;
use serde::Serialize;
use swarmdr_archive::{Identities, stream_archive::StreamManifest, untrusted::shown};

use super::{
    get::{Chosen, get_within},
    output::Output,
};
use crate::{config::stream::StreamConfig, host::files::space::human_bytes, outcome::exit::Exit, run::Run};

/// The stable JSON form of one drill of `drill --json`.
#[derive(Debug, Serialize)]
pub struct StreamDrill {
    pub name: String,
    pub id: String,
    pub as_of: String,
    /// Bytes that the command got.
    pub size: u64,
    pub seconds: u64,
    /// What the operator should look at in the vaults, although the command succeeded.
    pub attention: Vec<String>,
}

/// Hands the stream to the drill command of its configuration, by the same rules as `get`: each byte is verified first, and
/// the command never sees an end that was not proven. Fails if the command fails, or does not end in time.
pub async fn drill(
    run: &Run<'_>,
    stream: &StreamConfig,
    chosen: Chosen,
    identities: Arc<Identities>,
) -> Result<StreamDrill> {
    let since = Instant::now();
    let attention = chosen.findings.clone();
    let mut environment = run.config.proxies_for_children()?;
    environment.extend(facts(&chosen.head.manifest));
    let output = Output::to_program_beside_report(&stream.drill, environment);
    let listed = get_within(run, chosen, identities, output, Some(stream.drill_timeout.duration())).await?;
    let manifest = &listed.head().manifest;
    Ok(StreamDrill {
        name: manifest.name.to_string(),
        id: manifest.id.to_string(),
        as_of: manifest.as_of.to_string(),
        size: manifest.payload.plain_size,
        seconds: since.elapsed().as_secs(),
        attention,
    })
}

/// What the command is told in its environment.
fn facts(manifest: &StreamManifest) -> [(&'static str, String); 3] {
    [
        ("SWARMDR_STREAM", manifest.name.to_string()),
        ("SWARMDR_STREAM_ID", manifest.id.to_string()),
        ("SWARMDR_STREAM_AS_OF", manifest.as_of.to_string()),
    ]
}

impl StreamDrill {
    pub fn exit(&self) -> Exit {
        Exit::with_attention(!self.attention.is_empty())
    }
}

/// What became of the streams that were to be drilled.
#[derive(Debug, Default, Serialize)]
pub struct StreamDrills {
    pub good: Vec<StreamDrill>,
    /// Those whose command failed, and those that it did not get.
    pub failed: Vec<String>,
    /// Those that another run drills.
    pub passed_over: Vec<String>,
}

impl StreamDrills {
    pub fn is_empty(&self) -> bool {
        self.good.is_empty() && self.failed.is_empty() && self.passed_over.is_empty()
    }

    pub fn exit(&self) -> Exit {
        match (self.failed.is_empty(), self.good.is_empty()) {
            (false, _) => Exit::Failed,
            (true, true) => Exit::NotOurTurn,
            (true, false) => Exit::with_attention(self.good.iter().any(|drill| !drill.attention.is_empty())),
        }
    }
}

impl fmt::Display for StreamDrills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for StreamDrill { name, id, size, seconds, attention, .. } in &self.good {
            writeln!(
                f,
                "stream {} {id}: its drill took {} and succeeded, {seconds} s",
                shown(name),
                human_bytes(*size)
            )?;
            for finding in attention {
                writeln!(f, "  attention: {}", shown(finding))?;
            }
        }
        for passed_over in &self.passed_over {
            writeln!(f, "{}", shown(passed_over))?;
        }
        for failed in &self.failed {
            writeln!(f, "FAILED: {}", shown(failed))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::terminal::tests::assert_tame;

    #[test]
    fn one_that_failed_fails_all_and_none_at_all_is_no_success() {
        let good = || StreamDrill {
            name: "db".to_owned(),
            id: "20261121T021500Z-00000001".to_owned(),
            as_of: String::new(),
            size: 1,
            seconds: 1,
            attention: Vec::new(),
        };
        let of = |good: Vec<StreamDrill>, failed: &[&str]| {
            let failed = failed.iter().map(|text| (*text).to_owned()).collect();
            StreamDrills { good, failed, passed_over: Vec::new() }.exit()
        };
        assert_eq!(of(vec![good()], &[]), Exit::Done);
        assert_eq!(of(vec![good()], &["files: ended with 1"]), Exit::Failed);
        assert_eq!(of(Vec::new(), &[]), Exit::NotOurTurn);
        assert_eq!(of(vec![StreamDrill { attention: vec!["x".to_owned()], ..good() }], &[]), Exit::Attention);
        assert_tame(|text| {
            let own = || text.to_owned();
            let drill = StreamDrill { name: own(), attention: vec![own()], ..good() };
            StreamDrills { good: vec![drill], failed: vec![own()], passed_over: vec![own()] }
        });
    }
}
