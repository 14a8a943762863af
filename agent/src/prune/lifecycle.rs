//! The lifecycle rule that suits a bucket of backups: it clears up behind a policy and removes no backup by age.

use serde_json::{Value, json};

use super::Policy;
use crate::vault::{VaultSettings, settings::Target};

/// What a rule cannot do.
pub const CAVEAT: &str = "it removes no backup by its age, or the last one would go when no new ones come; what was \
                          deleted or covered stays for as long as the policy keeps, and locked versions until their \
                          lock ends; backups themselves go by `prune --delete-versions`, with credentials of the \
                          bucket's owner and never those of a manager";

/// For `aws s3api put-bucket-lifecycle-configuration`; `None` for a vault that is no bucket.
///
/// Whoever can write can cover or hide a backup, and a covered version is what such rules remove: so they wait for as long
/// as the backup would have been kept (AWS: locked versions are skipped, and tried again each day). It replaces the
/// bucket's other rules.
pub fn rule(settings: &VaultSettings, policy: &Policy) -> Option<Value> {
    let Ok(Target::S3(target)) = settings.target() else { return None };
    let prefix = if target.prefix.is_empty() { String::new() } else { format!("{}/", target.prefix) };
    let days = policy.days().max(u32::from(target.lock.days) + 1);
    Some(json!({
        "Rules": [
            {
                "ID": "swarmdr-covered",
                "Status": "Enabled",
                "Filter": { "Prefix": prefix },
                "NoncurrentVersionExpiration": { "NoncurrentDays": days },
                "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": 7 },
            },
            {
                "ID": "swarmdr-markers",
                "Status": "Enabled",
                "Filter": { "Prefix": prefix },
                "Expiration": { "ExpiredObjectDeleteMarker": true },
            },
        ]
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_covered_is_kept_as_long_as_the_policy_and_longer_than_the_lock() {
        let bucket = VaultSettings::new("s3://bucket/prod");
        let days = |policy: Policy| {
            rule(&bucket, &policy).expect("is a bucket")["Rules"][0]["NoncurrentVersionExpiration"]["NoncurrentDays"]
                .clone()
        };
        assert_eq!(days(Policy { keep_last: 3, ..Policy::default() }), 31, "the default lock is 30 days");
        assert_eq!(days(Policy { keep_daily: 7, keep_monthly: 12, ..Policy::default() }), 372);
        let made = rule(&bucket, &Policy { keep_weekly: 8, ..Policy::default() }).expect("is a bucket");
        assert_eq!(
            (&made["Rules"][0]["Filter"]["Prefix"], &made["Rules"][0]["NoncurrentVersionExpiration"]["NoncurrentDays"]),
            (&json!("prod/"), &json!(56))
        );
        assert!(!made.to_string().contains("\"Days\""), "nothing goes by its own age: {made}");
        assert_eq!(rule(&VaultSettings::new("file:///vault"), &Policy { keep_last: 3, ..Policy::default() }), None);
    }
}
