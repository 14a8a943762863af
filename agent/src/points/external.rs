//! Runs another tool that makes a snapshot, and learns the id that it gave it.

use std::{
    io::{self, Read},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use swarmdr_archive::{
    point::{EXTERNAL_ID_MAX, is_external_id},
    untrusted::shown,
};
use tokio::sync::oneshot;

use crate::{
    host::{
        process_group::{ProcessGroup, require_success},
        shutdown::Shutdown,
        tail::Tail,
    },
    outcome::failure::Failure,
};

/// Bytes of the end of the output that are kept: an id of four bytes per character, and blank lines behind it.
const KEPT: usize = 4 * EXTERNAL_ID_MAX + 4096;

/// A program of this host that makes a snapshot.
#[derive(Debug, Clone)]
pub struct Tool {
    pub words: Vec<String>,
    /// Variables that its environment gets in addition.
    pub environment: Vec<(&'static str, String)>,
    /// Time that it may take.
    pub limit: Duration,
}

/// Runs the tool, without a shell and without input, and returns the last line of its output that is not empty. What it
/// writes to standard error goes to ours. One that fails, or does not end in time, has made no snapshot.
pub async fn run_tool(tool: &Tool, shutdown: &Shutdown) -> Result<String> {
    let (mut group, stdout) = ProcessGroup::reading(&tool.words, tool.environment.clone())?;
    let program = tool.words.first().map_or("", String::as_str);
    let killer = group.killer();
    let (told, ended) = oneshot::channel();
    // A thread of its own: one that waits for a program must not keep this process from ending.
    thread::spawn(move || {
        let said = last_bytes(stdout);
        // Nobody waits any more after an interruption.
        let _ = told.send(said.and_then(|said| Ok((said, group.wait()?))));
    });
    let wait = async {
        match tokio::time::timeout(tool.limit, ended).await {
            Ok(ended) => Ok(ended.context("the wait for the command ended unexpectedly")??),
            Err(_) => Err(too_long(tool.limit)),
        }
    };
    let ended = shutdown.or_interrupted(wait).await;
    if ended.is_err() {
        killer.kill();
    }
    let (said, status) = ended?;
    require_success(program, status)?;
    id_in(&said).with_context(|| format!("the command `{}` does not say what it made", shown(program)))
}

fn too_long(limit: Duration) -> anyhow::Error {
    Failure::failed(format!("the command did not end within {} s and was killed", limit.as_secs()))
        .advice("a longer time: `timeout` of the external snapshot in the configuration")
        .into()
}

/// Reads to the end, and returns the last bytes.
fn last_bytes(mut output: impl Read) -> io::Result<Vec<u8>> {
    let mut tail = Tail::new(KEPT);
    io::copy(&mut output, &mut tail)?;
    Ok(tail.into_bytes())
}

/// Returns the id in an output: its last line that is not empty, without the spaces around it.
fn id_in(said: &[u8]) -> Result<String> {
    let last = said.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).rfind(|line| !line.is_empty());
    let Some(last) = last else { bail!("its output is empty, and its last line must be the id of the snapshot") };
    let id = String::from_utf8_lossy(last);
    if std::str::from_utf8(last).is_err() || !is_external_id(&id) {
        let shown: String = shown(&id).to_string().chars().take(64).collect();
        bail!(
            "the last line of its output must be the id, 1 to {EXTERNAL_ID_MAX} printable characters; it is `{shown}`"
        );
    }
    Ok(id.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said_by(script: &str, limit: Duration) -> Result<String> {
        let words = ["sh", "-c", script].map(str::to_owned).to_vec();
        run_tool(&Tool { words, environment: Vec::new(), limit }, &Shutdown::default()).await
    }

    #[tokio::test]
    async fn the_last_line_is_the_id_if_the_tool_succeeded() {
        let long = Duration::from_secs(60);
        let said = said_by("yes progress | head -c 3000000; echo; echo '  3f9a1c07 '; echo", long).await;
        assert_eq!(said.expect("succeeds"), "3f9a1c07");
        for (bad, why) in [
            ("echo 3f9a1c07; exit 3", "status: 3"),
            ("true", "output is empty"),
            ("printf 'a\\033[2Jb\\n'", "printable characters"),
            ("printf 'a\\377b\\n'", "printable characters"),
            ("printf '%0300d\\n' 1", "printable characters"),
        ] {
            let error = format!("{:#}", said_by(bad, long).await.expect_err(bad));
            assert!(error.contains(why) && !error.contains('\u{1b}'), "{bad}: {error}");
        }
        let error = format!("{:#}", said_by("sleep 1000", Duration::from_millis(50)).await.expect_err("is too slow"));
        assert!(error.contains("was killed"), "{error}");
    }
}
