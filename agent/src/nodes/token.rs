//! Join tokens: what can be read from one, and how they are kept out of messages.

use std::fmt;

use anyhow::{Result, bail};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Start of every token (swarmkit `ca/config.go`, `GenerateJoinToken`).
const PREFIX: &str = "SWMTKN-";

/// Lengths of the two parts in base 36.
const DIGEST_LENGTH: usize = 50;
const SECRET_LENGTH: usize = 25;

/// SHA-256 of the certificate of a root CA.
pub type CaDigest = [u8; 32];

/// A join token that has the right form. `Debug` does not show it. Whether it is a worker's or a manager's is in the
/// secret part, which only the swarm's managers understand.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    text: Zeroizing<String>,
    ca: CaDigest,
}

impl JoinToken {
    /// Parses `SWMTKN-1-<digest>-<secret>`, or `SWMTKN-2-<0 or 1>-<digest>-<secret>` of a swarm that requires FIPS;
    /// white space around it does not count. An error does not repeat the text.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() {
            bail!("it is empty");
        }
        let Some(ca) = ca_of(text) else { bail!("it is no join token, which is one line that begins with {PREFIX}") };
        Ok(Self { text: Zeroizing::new(text.to_owned()), ca })
    }

    pub fn text(&self) -> &Zeroizing<String> {
        &self.text
    }

    /// The digest of the root CA of the token's swarm.
    pub fn ca(&self) -> &CaDigest {
        &self.ca
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(..)")
    }
}

fn ca_of(text: &str) -> Option<CaDigest> {
    let rest = text.strip_prefix(PREFIX)?;
    let rest = rest.strip_prefix("1-").or_else(|| rest.strip_prefix("2-0-")).or_else(|| rest.strip_prefix("2-1-"))?;
    let (digest, secret) = rest.split_once('-')?;
    let is_secret = secret.len() == SECRET_LENGTH && secret.bytes().all(|it| value(it).is_some());
    (digest.len() == DIGEST_LENGTH && is_secret).then(|| number(digest))?
}

/// The number that these digits of base 36 mean; `None` if it has more than 256 bits.
fn number(digits: &str) -> Option<CaDigest> {
    let mut bytes = CaDigest::default();
    for digit in digits.bytes() {
        let mut carry = u32::from(value(digit)?);
        for byte in bytes.iter_mut().rev() {
            carry += u32::from(*byte) * 36;
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(bytes)
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'z' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// The digests that tokens of a swarm with this root CA file may have: that of the file, and that of each certificate in
/// it. While a root CA is replaced, the file has the old and the new one.
pub fn ca_digests(pem: &[u8]) -> Vec<CaDigest> {
    const END: &str = "-----END CERTIFICATE-----\n";
    let text = String::from_utf8_lossy(pem);
    let mut digests = vec![Sha256::digest(pem).into()];
    digests.extend(text.split_inclusive(END).map(|block| CaDigest::from(Sha256::digest(block.as_bytes()))));
    digests.dedup();
    digests
}

/// Returns a text of another program, or of the engine, with everything that looks like a token cut out.
pub fn without_tokens(text: &str) -> String {
    let mut parts = text.split(PREFIX);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|it: char| it.is_ascii_alphanumeric() || it == '-');
        out.push_str(PREFIX);
        out.push('…');
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
pub mod testing {
    use super::*;

    /// A token of the swarm whose root CA has this digest.
    pub fn token_of(ca: &CaDigest, secret: &str) -> String {
        let mut number = ca.to_vec();
        let mut digits = vec![b'0'; DIGEST_LENGTH];
        for digit in digits.iter_mut().rev() {
            let mut rest = 0_u32;
            for byte in &mut number {
                let part = rest << 8 | u32::from(*byte);
                *byte = (part / 36) as u8;
                rest = part % 36;
            }
            *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[rest as usize];
        }
        format!("SWMTKN-1-{}-{secret:0>25}", String::from_utf8_lossy(&digits))
    }
}

#[cfg(test)]
pub mod tests {
    use super::{testing::token_of, *};

    /// A root CA and a token that engine 26.1.5 made with it; the swarm is gone.
    pub const ROOT: &str = "-----BEGIN CERTIFICATE-----\n\
        MIIBajCCARCgAwIBAgIUQj4PPmK74nHvDB1zPQdMg3s30w0wCgYIKoZIzj0EAwIw\n\
        EzERMA8GA1UEAxMIc3dhcm0tY2EwHhcNMjYxMTIxMTIyNTAwWhcNNDYxMTE2MTIy\n\
        NTAwWjATMREwDwYDVQQDEwhzd2FybS1jYTBZMBMGByqGSM49AgEGCCqGSM49AwEH\n\
        A0IABPYaUvcgFjBamHU0/J62gaqnVcjnpm2iB3JUnCDfkpH8RamF4+rwFcgshj2a\n\
        skbY7aO+8s+LNUXU7WGR/wx8vxCjQjBAMA4GA1UdDwEB/wQEAwIBBjAPBgNVHRMB\n\
        Af8EBTADAQH/MB0GA1UdDgQWBBTsW+M9TFSCzkPmrscEu66EJFNDZDAKBggqhkjO\n\
        PQQDAgNIADBFAiEAzXFZYRxf8dlUqJ7ZBgqPpc1RQRcXrl+wdGmRnjWTukkCIHTx\n\
        zXsM/nZz8bsFvnaJLT+ISCNcoQtqVKFG61jLPgQ5\n\
        -----END CERTIFICATE-----\n";
    const TOKEN: &str = "SWMTKN-1-52zd32l9z0k79f49qqjziygbyw9xjk8m7bob4rnysjaoaclhc4-5fs3uuo00mhax7prf4gzm49if";

    #[test]
    fn the_token_of_an_engine_names_its_root_ca() {
        let token = JoinToken::parse(TOKEN).expect("is a token");
        assert!(ca_digests(ROOT.as_bytes()).contains(token.ca()));
        let both = format!("{}{ROOT}", ROOT.replace("MII", "MIJ"));
        assert!(ca_digests(both.as_bytes()).contains(token.ca()), "it is one of two");
        assert!(!ca_digests(b"-----BEGIN CERTIFICATE-----\n").contains(token.ca()));
    }

    #[test]
    fn digests_are_read_back() {
        for ca in [[0; 32], [0xff; 32], CaDigest::from(Sha256::digest(b"x"))] {
            let token = JoinToken::parse(&token_of(&ca, "secret")).expect("is a token");
            assert_eq!(*token.ca(), ca);
            assert!(token_of(&ca, "").starts_with(&token.text()[..59]));
        }
    }

    #[test]
    fn what_is_no_token_is_told_without_showing_it() {
        let good = token_of(&[7; 32], "planted");
        for wrong in [
            "",
            "planted",
            &good[..good.len() - 1],
            &format!("{good}0"),
            &good.to_uppercase(),
            &good.replace("SWMTKN-1", "SWMKEY-1"),
            &good.replace("planted", "plant_d"),
            &format!("{good}\n{good}"),
            // Of more than 256 bits.
            &format!("SWMTKN-1-{}-{}", "z".repeat(50), "0".repeat(25)),
        ] {
            let error = format!("{:#}", JoinToken::parse(wrong).expect_err(wrong));
            assert!(!error.contains("plant"), "{error}");
        }
        let token = JoinToken::parse(&format!("  {good}\n")).expect("is a token");
        assert!(!format!("{token:?}").contains("planted") && token.text().as_str() == good);
        JoinToken::parse(&good.replace("SWMTKN-1-", "SWMTKN-2-1-")).expect("is one with FIPS");
    }

    #[test]
    fn tokens_are_cut_out_of_what_others_say() {
        let good = token_of(&[7; 32], "planted");
        let said = format!("+ put {good} x\nput: {good}: refused");
        assert_eq!(without_tokens(&said), "+ put SWMTKN-… x\nput: SWMTKN-…: refused");
        assert_eq!(without_tokens("nothing in it"), "nothing in it");
    }
}
