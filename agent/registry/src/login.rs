//! Logins for registries.

use std::fmt;

use data_encoding::{BASE64, BASE64URL, BASE64URL_NOPAD};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

/// Names a registry's user, and proves it. Neither is ever printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    username: String,
    secret: Secret,
}

#[derive(Clone, PartialEq, Eq)]
enum Secret {
    Password(Zeroizing<String>),
    /// A refresh token (RFC 6749, section 6), from which short-lived ones are made.
    Identity(Zeroizing<String>),
    /// A bearer token, sent as it is.
    Bearer(Zeroizing<String>),
}

/// How a login is sent with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent<'a> {
    Password { username: &'a str, password: &'a str },
    Identity(&'a str),
    Bearer(&'a str),
}

/// A recorded login that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the recorded login is not what an engine writes")]
pub struct NotALogin;

/// The engine's `registry.AuthConfig` (moby `api/types/registry/authconfig.go`).
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct AuthConfig {
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    password: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    auth: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    serveraddress: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    identitytoken: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    registrytoken: String,
}

impl Login {
    pub fn with_password(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: username.into(), secret: Secret::Password(Zeroizing::new(password.into())) }
    }

    pub fn with_identity_token(token: impl Into<String>) -> Self {
        Self { username: String::new(), secret: Secret::Identity(Zeroizing::new(token.into())) }
    }

    /// Reads what a service's spec holds (`PullOptions.RegistryAuth`) and what `X-Registry-Auth` carries; `None` if it
    /// holds no login, as after `--with-registry-auth` for a registry that nobody is logged in to.
    pub fn of_engine(text: &str) -> Result<Option<Self>, NotALogin> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let decoded = [BASE64URL, BASE64, BASE64URL_NOPAD].iter().find_map(|base| base.decode(text.as_bytes()).ok());
        let json = Zeroizing::new(decoded.ok_or(NotALogin)?);
        let config: AuthConfig = serde_json::from_slice(&json).map_err(|_| NotALogin)?;
        Self::of_config(config)
    }

    fn of_config(config: AuthConfig) -> Result<Option<Self>, NotALogin> {
        // Moved, not copied, so that each is wiped.
        let [password, auth, identity, bearer] =
            [config.password, config.auth, config.identitytoken, config.registrytoken].map(Zeroizing::new);
        let username = config.username;
        if !bearer.is_empty() {
            return Ok(Some(Self { username, secret: Secret::Bearer(bearer) }));
        }
        if !identity.is_empty() {
            return Ok(Some(Self { username, secret: Secret::Identity(identity) }));
        }
        if !username.is_empty() {
            return Ok(Some(Self { username, secret: Secret::Password(password) }));
        }
        if auth.is_empty() {
            return Ok(None);
        }
        let pair = Zeroizing::new(BASE64.decode(auth.as_bytes()).map_err(|_| NotALogin)?);
        let pair = std::str::from_utf8(&pair).map_err(|_| NotALogin)?;
        let (username, password) = pair.split_once(':').ok_or(NotALogin)?;
        Ok(Some(Self::with_password(username, password)))
    }

    /// Returns the login in the form of `X-Registry-Auth`, for images of this registry.
    pub fn for_engine(&self, registry: &str) -> Zeroizing<String> {
        let mut config = AuthConfig { serveraddress: registry.to_owned(), ..AuthConfig::default() };
        config.username.clone_from(&self.username);
        match &self.secret {
            Secret::Password(password) => config.password = password.as_str().to_owned(),
            Secret::Identity(token) => config.identitytoken = token.as_str().to_owned(),
            Secret::Bearer(token) => config.registrytoken = token.as_str().to_owned(),
        }
        let encoded = encode(&config);
        for secret in [&mut config.password, &mut config.identitytoken, &mut config.registrytoken] {
            secret.zeroize();
        }
        encoded
    }

    /// Returns the form of `X-Registry-Auth` that takes a recorded login away: without the header an engine keeps it.
    pub fn none_for_engine() -> Zeroizing<String> {
        encode(&AuthConfig::default())
    }

    /// Returns the texts that must not be shown: the secret, and what a header has of it.
    pub(crate) fn secrets(&self) -> Vec<Zeroizing<String>> {
        match self.sent() {
            Sent::Password { username, password } => {
                let pair = Zeroizing::new(format!("{username}:{password}"));
                vec![Zeroizing::new(BASE64.encode(pair.as_bytes())), Zeroizing::new(password.to_owned())]
            }
            Sent::Identity(token) | Sent::Bearer(token) => vec![Zeroizing::new(token.to_owned())],
        }
    }

    /// Returns what goes over the wire. Must not be logged.
    pub fn sent(&self) -> Sent<'_> {
        match &self.secret {
            Secret::Password(password) => Sent::Password { username: &self.username, password },
            Secret::Identity(token) => Sent::Identity(token),
            Secret::Bearer(token) => Sent::Bearer(token),
        }
    }
}

fn encode(config: &AuthConfig) -> Zeroizing<String> {
    let json = Zeroizing::new(serde_json::to_vec(config).unwrap_or_default());
    Zeroizing::new(BASE64URL.encode(&json))
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(json: &str) -> String {
        BASE64URL.encode(json.as_bytes())
    }

    #[test]
    fn what_an_engine_records_is_read() {
        let password = |password| Some(Sent::Password { username: "shop", password });
        for (json, expected) in [
            (r#"{"username":"shop","password":"a:b"}"#, password("a:b")),
            (r#"{"username":"shop","password":"x","serveraddress":"r:5000","email":"e"}"#, password("x")),
            (r#"{"auth":"c2hvcDphOmI="}"#, password("a:b")),
            (r#"{"username":"shop","identitytoken":"t"}"#, Some(Sent::Identity("t"))),
            (r#"{"registrytoken":"t"}"#, Some(Sent::Bearer("t"))),
            (r#"{"serveraddress":"r:5000"}"#, None),
            ("{}", None),
        ] {
            let login = Login::of_engine(&recorded(json)).expect(json);
            assert_eq!(login.as_ref().map(Login::sent), expected, "{json}");
            if let Some(login) = login {
                assert_eq!(Login::of_engine(&login.for_engine("r:5000")), Ok(Some(login)), "{json}");
            }
        }
        assert_eq!(Login::of_engine(""), Ok(None));
        assert_eq!(Login::of_engine(&Login::none_for_engine()), Ok(None));
        assert!(!Login::none_for_engine().is_empty(), "an empty header changes nothing");
        for wrong in ["%", "bm8=", &recorded("[1]"), &recorded(r#"{"auth":"bm8="}"#)] {
            assert_eq!(Login::of_engine(wrong), Err(NotALogin), "{wrong}");
        }
    }

    #[test]
    fn nothing_of_it_is_shown() {
        let login = Login::with_password("planted-user", "planted-password");
        assert!(!format!("{login:?}").contains("planted"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text: String, bytes: Vec<u8>) {
            let _ = Login::of_engine(&text);
            let _ = Login::of_engine(&BASE64URL.encode(&bytes));
        }
    }
}
