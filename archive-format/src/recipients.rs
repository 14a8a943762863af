//! Age X25519 recipients of an archive, and the identities that decrypt it.

use std::{fmt, str::FromStr};

use age::secrecy::ExposeSecret;
use ring::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

use crate::{
    error::{Error, Result},
    key::SecretKey,
};

/// Salt of the keys that are derived from identities.
const SALT: &[u8] = b"swarmdr derived signing key v1";

/// A public `age1…` key that archives are encrypted to.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(age::x25519::Recipient);

impl Recipient {
    /// Parses a file with one recipient per line; skips empty lines and `#` comments. Errors name the line and do
    /// not quote it.
    pub fn parse_file(text: &str) -> Result<Vec<Self>> {
        significant_lines(text)
            .map(|(line, text)| parse_recipient(text).map_err(|reason| Error::InvalidRecipient { line, reason }))
            .collect()
    }

    pub(crate) fn as_age(&self) -> &dyn age::Recipient {
        &self.0
    }
}

fn parse_recipient(text: &str) -> std::result::Result<Recipient, &'static str> {
    if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
        return Err("it is a secret identity; give the public recipient (`age-keygen -y FILE` prints it)");
    }
    if text.starts_with("ssh-") {
        return Err("ssh keys are not supported; make a key with `age-keygen` and give its age1… line");
    }
    match text.parse() {
        Ok(recipient) => Ok(Recipient(recipient)),
        Err(_) if text.starts_with("age1") && text.len() != 62 => {
            Err("it is cut, or for a plugin; only native recipients are supported, which are age1 and 58 characters")
        }
        Err(_) => Err("it is not an age recipient, which starts with age1, or it is mistyped"),
    }
}

impl FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse_recipient(text.trim()).map_err(|reason| Error::InvalidRecipient { line: 1, reason })
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({self})")
    }
}

serde_as_string!(Recipient);

/// Secret keys that may decrypt an archive. `Debug` shows only their number.
#[derive(Default)]
pub struct Identities(Vec<age::x25519::Identity>);

impl Identities {
    /// Returns no identity at all: only unencrypted archives can be read.
    pub fn none() -> Self {
        Self::default()
    }

    /// Generates one identity from the randomness of the system.
    pub fn generate() -> Self {
        Self(vec![age::x25519::Identity::generate()])
    }

    /// Parses the output of `age-keygen`: one identity per line; skips empty lines and `#` comments.
    ///
    /// A text without any identity is an error. Errors name the line and never quote it.
    pub fn parse_file(text: &str) -> Result<Self> {
        let identities: Vec<_> = significant_lines(text)
            .map(|(line, text)| parse_identity(text).map_err(|reason| Error::InvalidIdentity { line, reason }))
            .collect::<Result<_>>()?;
        if identities.is_empty() {
            let reason = "there is no identity up to here; `age-keygen` writes one";
            return Err(Error::InvalidIdentity { line: text.lines().count().max(1), reason });
        }
        Ok(Self(identities))
    }

    /// Adds the identities of another file.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether there is no identity, so that only unencrypted archives can be read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the public halves, in the same order.
    pub fn recipients(&self) -> Vec<Recipient> {
        self.0.iter().map(|identity| Recipient(identity.to_public())).collect()
    }

    /// Returns an identity file as `age -d -i` takes it. It contains the secrets: protect it accordingly.
    pub fn to_file_string(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for identity in &self.0 {
            text.push_str(&format!("# public key: {}\n", identity.to_public()));
            text.push_str(identity.to_string().expose_secret());
            text.push('\n');
        }
        text
    }

    /// Returns the signing key that each identity gives for a purpose, in the same order: whoever has an identity has
    /// its key, and nobody else.
    ///
    /// The seed is HKDF-SHA256 of the identity's line as `age-keygen` prints it (`AGE-SECRET-KEY-1…`), with the salt
    /// `swarmdr derived signing key v1` and the purpose as info.
    pub fn signing_keys(&self, purpose: &str) -> Vec<SecretKey> {
        self.0.iter().map(|identity| derived(identity.to_string().expose_secret().as_bytes(), purpose)).collect()
    }

    pub(crate) fn as_age(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(|identity| identity as &dyn age::Identity)
    }
}

fn derived(secret: &[u8], purpose: &str) -> SecretKey {
    let mut seed = Zeroizing::new([0; 32]);
    let info = [purpose.as_bytes()];
    let extracted = Salt::new(HKDF_SHA256, SALT).extract(secret);
    let expanded = extracted.expand(&info, HKDF_SHA256).and_then(|okm| okm.fill(seed.as_mut()));
    expanded.expect("HKDF-SHA256 gives 32 bytes");
    SecretKey::from_seed(seed)
}

fn parse_identity(text: &str) -> std::result::Result<age::x25519::Identity, &'static str> {
    if text.starts_with("age-encryption.org/") || text.starts_with("-----BEGIN AGE") {
        return Err("the file is itself encrypted; decrypt it with `age -d` and give the result");
    }
    if text.starts_with("-----BEGIN") {
        return Err("ssh keys are not supported; make an identity with `age-keygen`");
    }
    if text.starts_with("AGE-PLUGIN-") {
        return Err("plugins are not supported; only native identities, which start with AGE-SECRET-KEY-1");
    }
    if text.starts_with("age1") {
        return Err("it is a public recipient; give the secret identity, which starts with AGE-SECRET-KEY-1");
    }
    text.parse().map_err(|_| "it is not a native age identity, which starts with AGE-SECRET-KEY-1, or it is mistyped")
}

/// Returns the lines that are neither empty nor comments, numbered from 1.
fn significant_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().map(str::trim).enumerate();
    lines.map(|(index, line)| (index + 1, line)).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identities({})", self.0.len())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use super::*;

    #[test]
    fn identity_files_round_trip() {
        let mut identities = Identities::generate();
        identities.extend(Identities::generate());
        let text = identities.to_file_string();
        let again = Identities::parse_file(&text).unwrap();
        assert_eq!(again.recipients(), identities.recipients());
        assert_eq!(again.recipients().len(), 2);
        let listed: Vec<_> = again.recipients().iter().map(ToString::to_string).collect();
        let file = format!("# ours\n\n{}\n", listed.join("\n"));
        assert_eq!(Recipient::parse_file(&file).unwrap(), again.recipients());
    }

    /// By hand: `openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt key:AGE-SECRET-KEY-1… -kdfopt salt:… -kdfopt
    /// info:… HKDF`.
    #[test]
    fn a_derived_key_belongs_to_its_identity_and_purpose_for_ever() {
        const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
        let identities = Identities::parse_file(IDENTITY).unwrap();
        let key = |purpose| identities.signing_keys(purpose)[0].public().to_string();
        assert_eq!(key("promoter"), "RWTpLqagI/12bwcdQuM15JhsaYg9I4BsKTr0q+GRIQ1Rpgw82C7Fsxxr");
        assert_ne!(key("promoter"), key("another"));
        let other = Identities::generate().signing_keys("promoter");
        assert_ne!(other[0].public().to_string(), key("promoter"));
    }

    #[test]
    fn refusals_say_what_to_do_and_never_repeat_a_secret() {
        let secret = Identities::generate().to_file_string();
        let secret = secret.lines().nth(1).unwrap();
        let mistyped = secret.replace("AGE-SECRET-KEY-1", "AGE-SECRET-KEY-1Q");
        let recipient = |text: &str| Recipient::parse_file(text).unwrap_err().to_string();
        let identity = |text: &str| Identities::parse_file(text).map(drop).unwrap_err().to_string();
        for (message, wanted) in [
            (recipient(secret), "secret identity"),
            (recipient(&secret.to_lowercase()), "secret identity"),
            (recipient("\nssh-ed25519 AAAA"), "line 2"),
            (recipient("age1yubikey1qqq"), "plugin"),
            (recipient("nobody"), "age1"),
            (identity(&mistyped), "line 1"),
            (identity("# x\nAGE-PLUGIN-YUBIKEY-1Q"), "line 2"),
            (identity("-----BEGIN OPENSSH PRIVATE KEY-----"), "age-keygen"),
            (identity("-----BEGIN AGE ENCRYPTED FILE-----"), "age -d"),
            (identity("age1qqq"), "public recipient"),
            (identity(""), "no identity"),
        ] {
            assert!(message.contains(wanted), "{message}");
            assert!(!message.contains(&secret[16..]), "{message}");
        }
    }
}
