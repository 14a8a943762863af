//! Examples of the `swarm-node.key` of an autolocked swarm.

use data_encoding::BASE64;

use super::states::{key, seal};
use crate::keys::{DEK, PENDING_DEK};

/// Unlock key of 32 bytes with the value 7.
pub const UNLOCK_KEY: &str = "SWMKEY-1-BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
/// Initialisation vector of the key file, which was made with `openssl ec -aes256` and these 32 bytes as password: the
/// form of engines before 17.12.
const VECTOR: &str = "0FE6A28FD03E4299ADCCEE4647C7F737";
const BODY: &str = "xWKwLN5PEjZQuNndrx6Ne3Pwux4JxOYU5TqZzxcItSNYLc1u5J5uf4howz9L/zjt\n\
    o2zMKMTGDDorLg9vieNKznMkl1v47Rhs2Oo3MeDBC5JlZS1Do7N2Ek3IW+osiT59\n\
    uSs/x2GEwq/KnTaRULXTOm2RzVDxq7YR+4Ua1XjOs3k=";
/// Public half of the TLS key in it.
#[cfg(test)]
pub(crate) const PUBLIC: &str = "0467dd83693e558fdc1b9c86f242187f492e3894b4eb1ea9dcd80b1cc6fdf83a99\
    20869d5eda21c07f9a9710c813ba474c805467f6df80beea5f549c304d4aabff";

/// Returns a key file of the old form, with these headers.
pub(crate) fn locked(headers: &[(&str, Vec<u8>)]) -> String {
    let headers = headers.iter().map(|(name, value)| format!("{name}: {}\n", BASE64.encode(value)));
    let headers: String = headers.collect();
    format!(
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nkek-version: 9\n{headers}\
         DEK-Info: AES-256-CBC,{VECTOR}\n\n{BODY}\n-----END EC PRIVATE KEY-----\n"
    )
}

/// Returns a key file that [`UNLOCK_KEY`] decrypts, and whose data key is being replaced.
pub fn rotating() -> String {
    let both = [(DEK, seal(&key(7), &[1; 32])), (PENDING_DEK, seal(&key(7), &[2; 32]))];
    locked(&both)
}
