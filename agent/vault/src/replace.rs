//! Small objects that are replaced all the time: the newest version of a key counts.

use jiff::Timestamp;

use super::{Vault, VaultError, clock};

/// Puts `bytes` on top of what the key holds. After a transient failure it tries once more: a version too many does no
/// harm.
pub async fn replace(vault: &dyn Vault, key: &str, bytes: &[u8], now: Timestamp) -> Result<(), VaultError> {
    let now = clock::time_of(vault, now).await;
    match vault.put_over(key, bytes, now).await {
        Err(error) if error.is_transient() => {
            tracing::debug!(vault = vault.address(), key, "{error}; trying once more");
            vault.put_over(key, bytes, now).await
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;
    use crate::testkit::{
        archives::{minute, vault},
        injector::{Call, Injected, InjectingVault, broken},
    };

    #[tokio::test]
    async fn a_lost_reply_is_tried_once_more_and_a_silent_vault_only_once() {
        let tries = Arc::new(AtomicU32::new(0));
        let counted = tries.clone();
        let fail_first = move |call: &Call| match call {
            Call::PutOver { .. } if counted.fetch_add(1, Ordering::Relaxed) == 0 => Injected::After(broken("v", "put")),
            _ => Injected::None,
        };
        let vault = InjectingVault::new(Arc::new(vault("v")), fail_first);
        replace(&vault, "life/c/n", b"one", minute(0)).await.unwrap();
        assert_eq!(vault.list_versions("life/", None).await.unwrap().versions.len(), 2);
        let silent = InjectingVault::new(Arc::new(crate::testkit::archives::vault("w")), |_| {
            Injected::Before(broken("w", "put"))
        });
        replace(&silent, "life/c/n", b"one", minute(0)).await.unwrap_err();
        assert_eq!(tries.load(Ordering::Relaxed), 2);
    }
}
