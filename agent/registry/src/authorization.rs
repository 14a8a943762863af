//! What a registry wants to see with a request: `WWW-Authenticate` (RFC 9110, section 11.6.1) and the tokens of the
//! distribution project's `docs/spec/auth/token.md`.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use data_encoding::BASE64;
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use crate::login::{Login, Sent};

/// Lifetime of a token whose server does not tell it (token.md, `expires_in`).
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

/// A token is not used in the last part of its lifetime, in which it could end on its way.
const MARGIN: Duration = Duration::from_secs(10);

/// How a registry wants to know who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// Nobody is asked.
    Open,
    Basic,
    /// Tokens of this server, for this service.
    Bearer {
        realm: Url,
        service: Option<String>,
    },
}

impl Challenge {
    /// Reads the headers of an answer with the status 401. A bearer token is preferred, as engines do.
    pub fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut basic = false;
        for header in headers {
            let challenges =
                http_auth::parse_challenges(header).map_err(|_| "its challenge cannot be read".to_owned())?;
            for challenge in challenges {
                let value = |name: &str| {
                    challenge
                        .params
                        .iter()
                        .find(|(key, _)| key.eq_ignore_ascii_case(name))
                        .map(|(_, it)| it.to_unescaped())
                };
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    let realm = value("realm").ok_or("its challenge names no token server")?;
                    let realm = Url::parse(&realm).map_err(|_| "its token server has no valid address".to_owned())?;
                    return Ok(Self::Bearer { realm, service: value("service") });
                }
                basic |= challenge.scheme.eq_ignore_ascii_case("basic");
            }
        }
        if basic { Ok(Self::Basic) } else { Err("it wants a kind of login that is not known here".to_owned()) }
    }
}

/// What is done in a repository; each token is for one of these.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    pub repository: String,
    pub push: bool,
}

impl Scope {
    pub fn pull(repository: &str) -> Self {
        Self { repository: repository.to_owned(), push: false }
    }

    pub fn push(repository: &str) -> Self {
        Self { repository: repository.to_owned(), push: true }
    }

    fn words(&self) -> String {
        let actions = if self.push { "pull,push" } else { "pull" };
        format!("repository:{}:{actions}", self.repository)
    }
}

/// A request for a token.
#[derive(Debug)]
pub struct TokenRequest {
    pub url: Url,
    /// Value of `Authorization`.
    pub authorization: Option<Zeroizing<String>>,
    /// Body of a POST, of the type `application/x-www-form-urlencoded`; a GET if there is none.
    pub form: Option<Zeroizing<String>>,
}

impl TokenRequest {
    pub fn new(realm: &Url, service: Option<&str>, scope: &Scope, login: Option<&Login>) -> Self {
        let mut url = realm.clone();
        if let Some(Sent::Identity(token)) = login.map(Login::sent) {
            return Self { url, authorization: None, form: Some(refresh(service, scope, token)) };
        }
        let mut query = url.query_pairs_mut();
        query.extend_pairs(service.map(|service| ("service", service)));
        query.append_pair("scope", &scope.words());
        drop(query);
        Self { url, authorization: login.and_then(basic), form: None }
    }
}

/// The body of `POST /token` (distribution `docs/spec/auth/oauth.md`).
fn refresh(service: Option<&str>, scope: &Scope, token: &str) -> Zeroizing<String> {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token").append_pair("client_id", "swarmdr-agent");
    form.extend_pairs(service.map(|service| ("service", service)));
    form.append_pair("scope", &scope.words()).append_pair("refresh_token", token);
    Zeroizing::new(form.finish())
}

/// Returns the value of `Authorization` for a login with a password.
pub fn basic(login: &Login) -> Option<Zeroizing<String>> {
    match login.sent() {
        Sent::Password { username, password } => {
            let pair = Zeroizing::new(format!("{username}:{password}"));
            Some(Zeroizing::new(format!("Basic {}", BASE64.encode(pair.as_bytes()))))
        }
        Sent::Bearer(token) => Some(bearer(token)),
        Sent::Identity(_) => None,
    }
}

fn bearer(token: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("Bearer {token}"))
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Tokens that were granted, until shortly before they end.
#[derive(Default)]
pub struct Tokens(HashMap<Scope, (Zeroizing<String>, Instant)>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

impl Tokens {
    pub fn get(&self, scope: &Scope) -> Option<Zeroizing<String>> {
        self.0.get(scope).filter(|(_, until)| Instant::now() < *until).map(|(header, _)| header.clone())
    }

    /// The tokens themselves, to take them out of texts.
    pub fn secrets(&self) -> impl Iterator<Item = Zeroizing<String>> {
        let header = |value: &Zeroizing<String>| value.trim_start_matches("Bearer ").to_owned();
        self.0.values().map(move |(value, _)| Zeroizing::new(header(value)))
    }

    pub fn forget(&mut self, scope: &Scope) {
        self.0.remove(scope);
    }

    /// Keeps the token of an answer. Returns the value of `Authorization`.
    pub fn keep(&mut self, scope: &Scope, answer: &[u8]) -> Result<Zeroizing<String>, String> {
        // The parser's message could repeat a part of the token.
        let answer: Answer = serde_json::from_slice(answer).map_err(|_| "its answer cannot be read".to_owned())?;
        let token = Zeroizing::new(answer.token.or(answer.access_token).ok_or("its answer holds no token")?);
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("its token has characters that no token has".to_owned());
        }
        let header = bearer(&token);
        let lifetime = answer.expires_in.map_or(DEFAULT_LIFETIME, Duration::from_secs).min(Duration::from_secs(86_400));
        self.0.insert(scope.clone(), (header.clone(), Instant::now() + lifetime.saturating_sub(MARGIN)));
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(headers: &[&str]) -> Result<Challenge, String> {
        Challenge::parse(headers.iter().copied())
    }

    #[test]
    fn a_bearer_token_is_preferred() {
        let realm = Url::parse("https://auth.example/token").expect("is one");
        let bearer = r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a:pull""#;
        let expected = Challenge::Bearer { realm, service: Some("r.example".to_owned()) };
        assert_eq!(parse(&["Basic realm=\"x\"", bearer]), Ok(expected.clone()));
        assert_eq!(parse(&[&format!("Basic realm=x, {bearer}")]), Ok(expected));
        assert_eq!(parse(&["basic realm=\"x\""]), Ok(Challenge::Basic));
        for wrong in ["", "Negotiate", "Bearer service=\"x\"", "Bearer realm=\"x\"", "\u{0}"] {
            assert!(parse(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tokens_are_asked_for_one_repository() {
        let realm = Url::parse("https://auth.example/token?x=1").expect("is one");
        let scope = Scope { repository: "shop/web".to_owned(), push: true };
        let login = Login::with_password("shop", "p");
        let request = TokenRequest::new(&realm, Some("r"), &scope, Some(&login));
        let url = request.url.as_str();
        assert!(url.ends_with("?x=1&service=r&scope=repository%3Ashop%2Fweb%3Apull%2Cpush"), "{url}");
        assert_eq!(request.authorization.as_deref().map(String::as_str), Some("Basic c2hvcDpw"));
        let refresh = TokenRequest::new(&realm, None, &scope, Some(&Login::with_identity_token("t")));
        assert!(refresh.form.expect("is posted").ends_with("refresh_token=t") && refresh.authorization.is_none());
    }

    #[test]
    fn a_token_is_kept_until_shortly_before_its_end() {
        let scope = Scope { repository: "a".to_owned(), push: false };
        let mut tokens = Tokens::default();
        assert_eq!(*tokens.keep(&scope, br#"{"access_token":"t"}"#).expect("is one"), "Bearer t");
        assert!(tokens.get(&scope).is_some());
        tokens.keep(&scope, br#"{"token":"u","expires_in":5}"#).expect("is one");
        assert!(tokens.get(&scope).is_none(), "it could end on its way");
        for wrong in [&b"{}"[..], b"planted", br#"{"token":"a\r\nb"}"#] {
            let why = tokens.keep(&scope, wrong).expect_err("is none");
            assert!(!why.contains("planted"), "{why}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_challenge_and_no_answer_panics(text: String, bytes: Vec<u8>) {
            let _ = Challenge::parse(std::iter::once(text.as_str()));
            let _ = Challenge::parse(std::iter::once(format!("Bearer realm=\"{text}\"").as_str()));
            let _ = Tokens::default().keep(&Scope { repository: text, push: false }, &bytes);
        }
    }
}
