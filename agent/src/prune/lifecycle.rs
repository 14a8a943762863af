//! The lifecycle rule of a bucket that does nearly what a policy does.

use serde_json::{Value, json};

use super::Policy;
use crate::vault::{VaultSettings, settings::Target};

/// What a rule cannot do.
pub const CAVEAT: &str = "it goes by age alone: it keeps every backup until then and none after, the newest included \
                          if no new ones come; locked versions stay until their lock ends";

/// For `aws s3api put-bucket-lifecycle-configuration`; `None` for a vault that is no bucket.
///
/// With versions, expiring a key only hides it; the second part removes what has been hidden, once its lock has
/// ended (AWS: locked versions are skipped, and tried again each day). It replaces the bucket's other rules.
pub fn rule(settings: &VaultSettings, policy: &Policy) -> Option<Value> {
    let Ok(Target::S3(target)) = settings.target() else { return None };
    let prefix = if target.prefix.is_empty() { String::new() } else { format!("{}/", target.prefix) };
    let days = policy.days().max(u32::from(target.lock.days) + 1);
    Some(json!({
        "Rules": [
            {
                "ID": "swarmdr-expire",
                "Status": "Enabled",
                "Filter": { "Prefix": prefix },
                "Expiration": { "Days": days },
                "NoncurrentVersionExpiration": { "NoncurrentDays": 1 },
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
    fn a_rule_keeps_as_long_as_the_policy_and_longer_than_the_lock() {
        let bucket = VaultSettings::new("s3://bucket/prod");
        let days =
            |policy: Policy| rule(&bucket, &policy).expect("is a bucket")["Rules"][0]["Expiration"]["Days"].clone();
        assert_eq!(days(Policy { keep_last: 3, ..Policy::default() }), 31, "the default lock is 30 days");
        assert_eq!(days(Policy { keep_daily: 7, keep_monthly: 12, ..Policy::default() }), 372);
        let made = rule(&bucket, &Policy { keep_weekly: 8, ..Policy::default() }).expect("is a bucket");
        assert_eq!(
            (&made["Rules"][0]["Filter"]["Prefix"], &made["Rules"][0]["Expiration"]["Days"]),
            (&json!("prod/"), &json!(56))
        );
        assert_eq!(rule(&VaultSettings::new("file:///vault"), &Policy { keep_last: 3, ..Policy::default() }), None);
    }
}
