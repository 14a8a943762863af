//! Programs of the configuration: those that print something for a join, and the one that gets the token.

use std::{
    io::{Read, Write},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
};
use zeroize::Zeroizing;

use super::token::without_tokens;
use crate::config::Config;

/// Time that a program may take; it may ask a server.
const LIMIT: Duration = Duration::from_secs(60);

/// Longest output that is read.
const MOST: u64 = 64 << 10;

/// Time for the last of the output, once the program has ended.
const LAST: Duration = Duration::from_secs(1);

/// Runs a program, without a shell and without input, and returns what it prints. That may be secret, so only its
/// standard error is ever shown, without tokens. `setting` is the key that names the program.
pub async fn output(config: &Config, setting: &str, words: &[String]) -> Result<Zeroizing<String>> {
    let run = async {
        let stdout = ended(config, words, Stdio::null(), true).await?;
        let text = std::str::from_utf8(&stdout).map_err(|_| anyhow!("it prints no text"))?;
        anyhow::Ok(Zeroizing::new(text.to_owned()))
    };
    run.await.with_context(|| failed(setting, words))
}

/// Runs a program, without a shell, with this text as its standard input. What it prints on standard output is ignored:
/// it could be the text. Fails if the program fails, or ends without having read all of it.
pub async fn hand_over(config: &Config, setting: &str, words: &[String], text: &str) -> Result<()> {
    let run = async {
        // The text is far shorter than a pipe holds, so this does not wait for a reader.
        let (mut kept, mut into) = std::io::pipe()?;
        into.write_all(text.as_bytes())?;
        drop(into);
        ended(config, words, Stdio::from(kept.try_clone()?), false).await?;
        let mut left = Zeroizing::new(Vec::new());
        kept.read_to_end(&mut left)?;
        ensure!(left.is_empty(), "it ended without reading its standard input");
        anyhow::Ok(())
    };
    run.await.with_context(|| failed(setting, words))
}

fn failed(setting: &str, words: &[String]) -> String {
    format!("{setting} failed (`{}`)", words.first().map_or("", String::as_str))
}

/// Runs a program to its end within [`LIMIT`], and returns what it printed if that is wanted.
async fn ended(config: &Config, words: &[String], stdin: Stdio, wants_output: bool) -> Result<Zeroizing<Vec<u8>>> {
    let environment = config.proxies_for_children()?;
    let (program, arguments) = words.split_first().context("it is empty")?;
    let mut command = Command::new(program);
    command.args(arguments).envs(environment).stdin(stdin).stderr(Stdio::piped()).kill_on_drop(true);
    command.stdout(if wants_output { Stdio::piped() } else { Stdio::null() });
    let run = async {
        let mut child = command.spawn().context("it cannot be run")?;
        // The command holds the child's end of the input.
        drop(command);
        let (mut stdout, mut said) = (Zeroizing::new(Vec::new()), Vec::new());
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let status = {
            let mut reads = std::pin::pin!(async { tokio::join!(read(out, &mut stdout), read(err, &mut said)) });
            let mut is_read = false;
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status,
                    _ = &mut reads, if !is_read => is_read = true,
                }
            };
            // A child of it may keep its outputs open, and has nothing to add.
            if !is_read {
                let _ = tokio::time::timeout(LAST, &mut reads).await;
            }
            status.context("it could not be waited for")?
        };
        let said = without_tokens(String::from_utf8_lossy(&said).trim());
        match (status.success(), said.as_str()) {
            (true, _) => Ok(stdout),
            (false, "") => bail!("it ended with {status}, and says nothing"),
            (false, said) => bail!("it ended with {status}: {said}"),
        }
    };
    let limited = tokio::time::timeout(LIMIT, run).await;
    limited.unwrap_or_else(|_| bail!("it did not end within {} s, and was killed", LIMIT.as_secs()))
}

/// Reads what a program may say. More is not read, so that one which goes on writing ends.
async fn read(output: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) {
    if let Some(output) = output {
        // What was read until then counts.
        let _ = output.take(MOST).read_to_end(into).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::token::testing::token_of;

    fn script(text: &str) -> Vec<String> {
        ["sh", "-c", text].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn what_a_program_prints_is_returned_and_never_shown() {
        let config = Config::default();
        let printed = output(&config, "join.x", &script("echo one; echo two")).await.expect("prints");
        assert_eq!(printed.as_str(), "one\ntwo\n");
        let kept = output(&config, "join.x", &script("sleep 60 & echo one")).await.expect("prints");
        assert_eq!(kept.as_str(), "one\n");
        let token = token_of(&[1; 32], "planted");
        for bad in [
            "echo planted; exit 3".to_owned(),
            format!("echo {token}; echo 'no such key: {token}' >&2; exit 1"),
            r"printf '\377planted'".to_owned(),
        ] {
            let error = format!("{:#}", output(&config, "join.x", &script(&bad)).await.expect_err("fails"));
            assert!(!error.contains("planted") && error.starts_with("join.x failed (`sh`)"), "{error}");
        }
        let error = output(&config, "join.x", &["/no/such/program".to_owned()]).await.expect_err("is not there");
        assert!(format!("{error:#}").contains("/no/such/program"), "{error:#}");
        let endless = output(&config, "join.x", &script("yes planted")).await;
        assert!(endless.is_err_and(|error| !format!("{error:#}").contains("planted")));
    }

    #[tokio::test]
    async fn a_text_is_handed_over_on_standard_input() {
        let (config, dir) = (Config::default(), tempfile::tempdir().expect("a scratch directory"));
        let path = dir.path().join("got");
        let words = script(&format!("cat > {}; echo planted", path.display()));
        hand_over(&config, "join.x", &words, "planted\n").await.expect("is read");
        assert_eq!(std::fs::read_to_string(&path).expect("was written"), "planted\n");
        for bad in ["true", "head -c 3", "cat >/dev/null; exit 1", "cat >&2; exit 1"] {
            let text = token_of(&[1; 32], "planted");
            let error = hand_over(&config, "join.x", &script(bad), &text).await.expect_err(bad);
            assert!(!format!("{error:#}").contains("planted"), "{bad}: {error:#}");
        }
    }
}
