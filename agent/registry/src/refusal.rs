//! What a registry says when it refuses something.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde::Deserialize;

use crate::{RegistryError, transport::Transport};

/// The body of an error (distribution-spec, "Error Codes").
#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<OneError>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OneError {
    code: String,
    message: String,
}

impl Transport {
    /// Turns an answer that is no success into an error, with what the registry says.
    pub async fn refusal(&self, answer: HttpResponse, what: &str) -> RegistryError {
        let status = answer.status().as_u16();
        let said = self.read(answer, what).await.unwrap_or_default();
        let said = match said_of(&said) {
            Some(said) => Some(one_line(&self.without_secrets(&said).await)).filter(|said| !said.is_empty()),
            None => None,
        };
        match status {
            404 => self.not_there(what, said.unwrap_or_else(|| "it answered 404".to_owned())),
            401 | 403 => {
                let said = said.unwrap_or_else(|| format!("it answered {status}"));
                self.denied(what, format!("{said}{}", self.logged_in()))
            }
            _ => {
                let said = said.map(|said| format!(": {said}")).unwrap_or_default();
                self.refused(what, format!("it answered {status}{said}"))
            }
        }
    }
}

/// Returns what a registry says of an error.
fn said_of(body: &[u8]) -> Option<String> {
    let errors: Errors = serde_json::from_slice(body).ok()?;
    let first = errors.errors.into_iter().next()?;
    Some(if first.message.is_empty() { first.code } else { first.message })
}

fn one_line(said: &str) -> String {
    let line: String = said.chars().map(|it| if it.is_control() { ' ' } else { it }).take(200).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use swarmdr_http::Proxies;

    use super::*;
    use crate::{Login, transport::Access};

    #[tokio::test]
    async fn a_server_that_repeats_the_login_is_not_quoted() {
        let access = Access {
            registry: "r".to_owned(),
            login: Some(Login::with_password("user", "planted")),
            roots: None,
            proxies: Proxies::none(),
            insecure: false,
            patience: Duration::ZERO,
        };
        let transport = Transport::new(access).expect("is valid");
        for said in ["rejected header Authorization: Basic dXNlcjpwbGFudGVk", "no user with the password planted"] {
            let told = transport.without_secrets(said).await;
            assert!(!told.contains("planted") && !told.contains("dXNlcjpwbGFudGVk") && told.contains('…'), "{told}");
        }
    }

    #[test]
    fn what_a_registry_says_is_one_short_line() {
        for (body, said) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#,
                Some("manifest unknown"),
            ),
            (r#"{"errors":[{"code":"DENIED"}]}"#, Some("DENIED")),
            ("{\"errors\":[{\"message\":\"a\\nb\\u001b[31m\"}]}", Some("a b [31m")),
            (r#"{"errors":[]}"#, None),
            ("<html>", None),
        ] {
            let line = said_of(body.as_bytes()).map(|said| one_line(&said));
            assert_eq!(line.as_deref(), said, "{body}");
        }
    }
}
