//! Credential helpers of Docker: programs that print a login (docker/docker-credential-helpers, `credentials/`).

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use swarmdr_registry::Login;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Command,
};
use zeroize::Zeroizing;

/// Time that a helper may take; Amazon's asks a server.
const LIMIT: Duration = Duration::from_secs(60);

/// Longest output that is read.
const MOST: u64 = 64 << 10;

/// Time for the last of the output, once the program has ended.
const LAST: Duration = Duration::from_secs(1);

/// User name of a helper that gives an identity token in place of a password (`docker/cli`,
/// `cli/config/credentials/native_store.go`).
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    username: String,
    secret: String,
}

/// Runs a helper for a registry; its words are those of the configuration, `get` included. What it prints is secret, so
/// only its standard error is ever shown.
pub async fn ask(words: &[String], registry: &str, environment: &[(&'static str, String)]) -> Result<Login> {
    let (program, arguments) = words.split_first().context("auth_command is empty")?;
    let asked = tokio::time::timeout(LIMIT, run(program, arguments, registry, environment)).await;
    let answer = asked.unwrap_or_else(|_| bail!("it did not end within {} s", LIMIT.as_secs()));
    answer.with_context(|| format!("the credential helper {program} gives no login for {registry}"))
}

async fn run(
    program: &str,
    arguments: &[String],
    registry: &str,
    environment: &[(&'static str, String)],
) -> Result<Login> {
    let mut command = Command::new(program);
    command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("failed to run it")?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that knows its registry need not read this.
        let _ = stdin.write_all(format!("{}\n", server(registry)).as_bytes()).await;
    }
    let (mut stdout, mut said) = (Zeroizing::new(Vec::new()), Vec::new());
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let reads = async {
        tokio::join!(read(out, &mut stdout), read(err, &mut said));
    };
    let status = {
        tokio::pin!(reads);
        let mut ended = false;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                () = &mut reads, if !ended => ended = true,
            }
        };
        // A child of it may keep its outputs open, and has nothing to add.
        if !ended {
            let _ = tokio::time::timeout(LAST, &mut reads).await;
        }
        status.context("failed to wait for it")?
    };
    let said = String::from_utf8_lossy(&said);
    let said = if said.trim().is_empty() { "it says nothing" } else { said.trim() };
    ensure!(status.success(), "it ended with {status}: {said}");
    // The parser's message could repeat the secret.
    let given: Given = serde_json::from_slice(&stdout).map_err(|_| anyhow::anyhow!("what it prints is no login"))?;
    ensure!(!given.secret.is_empty(), "it prints a login without a secret");
    Ok(match given.username.as_str() {
        TOKEN_USER => Login::with_identity_token(given.secret),
        _ => Login::with_password(given.username, given.secret),
    })
}

/// Reads what a login may take. More is not read, so that a program which goes on writing ends.
async fn read(output: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) {
    if let Some(output) = output {
        // What was read until then counts.
        let _ = output.take(MOST).read_to_end(into).await;
    }
}

/// Returns the name under which helpers know a registry.
fn server(registry: &str) -> &str {
    match registry {
        // `docker/cli`, `cli/config/types`: the key of the Hub is this one for ever.
        "docker.io" => "https://index.docker.io/v1/",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Vec<String> {
        ["sh", "-c", text].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn a_helper_reads_the_registry_and_prints_a_login() {
        let words =
            script(r#"read host; printf '{"ServerURL":"%s","Username":"AWS","Secret":"for-%s"}' "$host" "$host""#);
        let login = ask(&words, "r:5000", &[]).await.expect("gives one");
        assert!(login == Login::with_password("AWS", "for-r:5000"));
        let hub = ask(&words, "docker.io", &[]).await.expect("gives one");
        assert!(hub == Login::with_password("AWS", "for-https://index.docker.io/v1/"));
        let token = script(r#"printf '{"Username":"<token>","Secret":"t"}'"#);
        assert!(ask(&token, "r", &[]).await.expect("gives one") == Login::with_identity_token("t"));
    }

    #[tokio::test]
    async fn what_it_prints_is_never_shown() {
        for text in
            ["echo planted", "echo planted; echo no such key >&2; exit 1", r#"echo '{"Username":"planted"}'"#, "exit 3"]
        {
            let error = format!("{:#}", ask(&script(text), "r", &[]).await.expect_err("gives none"));
            assert!(!error.contains("planted") && error.contains("sh gives no login for r"), "{error}");
        }
        let endless = ask(&script("yes planted"), "r", &[]).await.expect_err("is no login");
        assert!(!format!("{endless:#}").contains("planted"), "{endless:#}");
        let kept = r#"sleep 60 & printf '{"Username":"u","Secret":"s"}'"#;
        assert!(ask(&script(kept), "r", &[]).await.expect("gives one") == Login::with_password("u", "s"));
        let missing = ask(&["/no/such/helper".to_owned()], "r", &[]).await.expect_err("is not there");
        assert!(format!("{missing:#}").contains("/no/such/helper"));
    }
}
