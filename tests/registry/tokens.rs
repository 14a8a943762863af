//! A server of tokens, as large registries have one: it checks the login, and signs what the user may do.
//!
//! Protocol: distribution, docs/spec/auth/token.md and jwt.md. The registry verifies a token by the certificate in its
//! header (`x5c`), which has to be in the registry's `rootcertbundle`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};
use url::Url;

use super::{
    Account,
    authority::{Authority, certificate, self_signed},
    http::{self, Head},
    place::Place,
};
use crate::{listener::Listener, tree::capture};

const SERVICE: &str = "registry";
const ISSUER: &str = "tokens";

/// Actions of a user whose rights nobody has set.
const ALL: [&str; 3] = ["pull", "push", "delete"];

/// The registry accepts a token this long after its end (distribution 2.8, registry/auth/token/token.go, `Leeway`).
const LEEWAY: Duration = Duration::from_secs(60);

/// A request for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// User that the request names by a login; `None` without one.
    pub user: Option<String>,
    /// What was asked for, as in `repository:team/web:pull,push`.
    pub scopes: Vec<String>,
    pub status: u16,
}

/// A running server of tokens, which stops when dropped.
#[derive(Debug)]
pub struct TokenServer {
    listener: Listener,
    realm: String,
    certificate: PathBuf,
    desk: Arc<Desk>,
}

/// What the server knows, shared with its thread.
#[derive(Debug)]
struct Desk {
    signer: Signer,
    users: Mutex<BTreeMap<String, User>>,
    lifetime: Mutex<Duration>,
    anonymous: Mutex<BTreeSet<String>>,
    requests: Mutex<Vec<TokenRequest>>,
}

#[derive(Debug)]
struct User {
    password: String,
    rights: BTreeSet<String>,
}

#[derive(Debug)]
struct Signer {
    pair: EcdsaKeyPair,
    /// The certificate, in base64.
    certificate: String,
}

impl TokenServer {
    /// Starts a server with a signing key of its own. It serves HTTPS if there is an authority.
    pub(super) fn start(place: &Place, directory: &Path, authority: Option<&Authority>) -> Result<Self> {
        let certificate = directory.join("tokens.crt");
        let desk = Arc::new(Desk {
            signer: Signer::make(directory, &certificate)?,
            users: Mutex::default(),
            lifetime: Mutex::new(Duration::from_secs(300)),
            anonymous: Mutex::default(),
            requests: Mutex::default(),
        });
        let tls = authority.map(Authority::acceptor).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = place.within(|| {
            let desk = Arc::clone(&desk);
            Listener::start_at(place.ip(), None, move |client| {
                let (desk, tls) = (Arc::clone(&desk), tls.clone());
                async move {
                    let mut client = http::accept(tls, client).await?;
                    let (head, _) = Head::read(&mut client).await?;
                    let (status, body) = desk.serve(&head);
                    let answer = Head::answer(status).with("Content-Type", "application/json");
                    http::answer(client, answer, body.to_string().as_bytes()).await
                }
            })
        })??;
        let realm = format!("{scheme}://{}/token", listener.address());
        Ok(Self { listener, realm, certificate, desk })
    }

    /// Settings of a registry that trusts this server.
    pub(super) fn trusted(&self) -> Value {
        json!({"realm": self.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": self.certificate})
    }

    /// `ADDRESS:PORT` of this server.
    pub fn host(&self) -> String {
        self.listener.address().to_string()
    }

    pub(super) fn set_account(&self, account: &Account) {
        let mut users = self.desk.users.lock().expect("no holder panics");
        let user = users.entry(account.user.clone()).or_insert_with(|| User::with(&ALL));
        user.password.clone_from(&account.password);
    }

    pub(super) fn remove_account(&self, user: &str) {
        self.desk.users.lock().expect("no holder panics").remove(user);
    }

    /// Sets the actions that a user may do in every repository: of `pull`, `push` and `delete`.
    pub fn set_rights(&self, user: &str, rights: &[&str]) {
        if let Some(user) = self.desk.users.lock().expect("no holder panics").get_mut(user) {
            user.rights = User::with(rights).rights;
        }
    }

    /// Sets the actions that are granted without a login. There are none at first, and such a request is refused.
    pub fn set_anonymous_rights(&self, rights: &[&str]) {
        *self.desk.anonymous.lock().expect("no holder panics") = User::with(rights).rights;
    }

    /// Sets how long the registry accepts tokens that are made from now on.
    pub fn set_lifetime(&self, lifetime: Duration) {
        *self.desk.lifetime.lock().expect("no holder panics") = lifetime;
    }

    /// Returns the requests so far.
    pub fn requests(&self) -> Vec<TokenRequest> {
        self.desk.requests.lock().expect("no holder panics").clone()
    }
}

impl User {
    fn with(rights: &[&str]) -> Self {
        Self { password: String::new(), rights: rights.iter().map(|&it| it.to_owned()).collect() }
    }
}

impl Desk {
    /// Returns the status and the body of the answer.
    fn serve(&self, head: &Head) -> (u16, Value) {
        let Some(query) = query(head) else { return (404, json!({})) };
        // Each scope is a parameter, or a word of one.
        let scopes = query.iter().filter(|(name, _)| name == "scope").flat_map(|(_, value)| value.split(' '));
        let scopes: Vec<String> = scopes.map(str::to_owned).collect();
        let login = head.get("Authorization").and_then(login);
        let rights = self.rights(login.as_ref());
        let user = login.map(|it| it.user);
        let status = if rights.is_some() { 200 } else { 401 };
        let request = TokenRequest { user: user.clone(), scopes: scopes.clone(), status };
        self.requests.lock().expect("no holder panics").push(request);
        let Some(rights) = rights else {
            let errors = json!([{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]);
            return (status, json!({"errors": errors}));
        };
        let access: Vec<Value> = scopes.iter().filter_map(|scope| granted(scope, &rights)).collect();
        (status, self.token(user.as_deref().unwrap_or_default(), &access))
    }

    /// Returns the rights of the user, or of nobody; `None` if the login is refused.
    fn rights(&self, login: Option<&Account>) -> Option<BTreeSet<String>> {
        let Some(login) = login else {
            let anonymous = self.anonymous.lock().expect("no holder panics").clone();
            return (!anonymous.is_empty()).then_some(anonymous);
        };
        let users = self.users.lock().expect("no holder panics");
        users.get(&login.user).filter(|user| user.password == login.password).map(|user| user.rights.clone())
    }

    fn token(&self, user: &str, access: &[Value]) -> Value {
        let lifetime = *self.lifetime.lock().expect("no holder panics");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("now is after 1970");
        let seconds = |time: Duration| time.as_secs();
        let claims = json!({
            "iss": ISSUER, "sub": user, "aud": SERVICE, "jti": format!("{}", now.as_nanos()),
            "iat": seconds(now), "nbf": seconds(now) - 10,
            "exp": (now + lifetime).saturating_sub(LEEWAY).as_secs(), "access": access,
        });
        let token = self.signer.sign(&claims);
        json!({"token": token, "access_token": token, "expires_in": lifetime.as_secs()})
    }
}

impl Signer {
    fn make(directory: &Path, certificate_file: &Path) -> Result<Self> {
        self_signed(directory, &["-subj", "/CN=tokens"], "tokens.key", "tokens.crt")?;
        let key = directory.join("tokens.key");
        // In the form that has the public key in it.
        let key = capture(Command::new("openssl").args(["pkey", "-in"]).arg(key))?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).context("openssl wrote no key")?;
        let document = key.secret_pkcs8_der();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document, &SystemRandom::new());
        let pair = pair.map_err(|reason| anyhow::anyhow!("the key of the tokens is refused: {reason}"))?;
        Ok(Self { pair, certificate: BASE64.encode(&certificate(certificate_file)?) })
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [self.certificate]});
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("the kernel gives random bytes");
        format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }
}

/// Returns the parameters of a request for a token; `None` for other requests.
fn query(head: &Head) -> Option<Vec<(String, String)>> {
    let url = Url::parse("http://tokens").ok()?.join(head.path()).ok()?;
    let is_for_token = head.method() == "GET" && url.path() == "/token";
    is_for_token.then(|| url.query_pairs().into_owned().collect())
}

/// Returns the user and password of an Authorization header.
fn login(header: &str) -> Option<Account> {
    let encoded = header.strip_prefix("Basic ")?;
    let pair = String::from_utf8(BASE64.decode(encoded.as_bytes()).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    Some(Account::new(user, password))
}

/// Returns what a token grants of a scope, as in `repository:team/web:pull,push`. The name may contain colons.
fn granted(scope: &str, rights: &BTreeSet<String>) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let actions: Vec<&str> = actions.split(',').filter(|&action| rights.contains(action)).collect();
    (kind == "repository").then(|| json!({"type": kind, "name": name, "actions": actions}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_granted_as_far_as_the_rights_go() {
        let rights = User::with(&["pull"]).rights;
        let expected = json!({"type": "repository", "name": "host:5000/a", "actions": ["pull"]});
        assert_eq!(granted("repository:host:5000/a:pull,push", &rights), Some(expected));
        assert_eq!(granted("registry:catalog:*", &rights), None);
        assert_eq!(granted("nonsense", &rights), None);
    }

    #[test]
    fn a_password_may_contain_colons() {
        let header = format!("Basic {}", BASE64.encode(b"user:pass:word"));
        assert_eq!(login(&header), Some(Account::new("user", "pass:word")));
        assert_eq!(login("Bearer abc"), None);
    }
}
