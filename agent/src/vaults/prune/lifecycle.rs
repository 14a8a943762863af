//! The lifecycle rule that suits a bucket of backups: it removes noncurrent versions, which a delete or a newer put
//! covers, and no backup by its age.

use serde_json::{Value, json};
use swarmdr_vault::{VaultSettings, object_name, settings::Target};

/// The limits of the rule, for the report.
pub const CAVEAT: &str = "it removes no backup by its age, or the last one would go when no new ones come; what was \
                          deleted or covered stays for as long as the policy keeps, and locked versions until their \
                          lock ends; backups themselves go by `prune --delete-versions`, with credentials of the \
                          bucket's owner and never those of a manager";

/// Returns the rule for `aws s3api put-bucket-lifecycle-configuration`, where archives are kept for so many days; `None`
/// for a vault that is no bucket.
///
/// An attacker who can write can cover an archive with another version or a delete marker, and the rule removes covered
/// versions. So it waits for as long as the backup would have been kept (AWS skips locked versions and tries again each
/// day). It replaces the bucket's other rules.
pub fn rule(settings: &VaultSettings, kept: u32) -> Option<Value> {
    let Ok(Target::S3(target)) = settings.target() else { return None };
    let prefix = if target.prefix.is_empty() { String::new() } else { format!("{}/", target.prefix) };
    let days = kept.max(u32::from(target.lock.days) + 1);
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
                "ID": "swarmdr-signs-of-life",
                "Status": "Enabled",
                "Filter": { "Prefix": format!("{prefix}{}", object_name::LIFE) },
                "Expiration": { "Days": 30 },
                "NoncurrentVersionExpiration": { "NoncurrentDays": 1 },
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
    use crate::config::retention::Policy;

    #[test]
    fn covered_versions_stay_as_long_as_the_policy_and_longer_than_the_lock() {
        let bucket = VaultSettings::new("s3://bucket/prod");
        let days = |policy: Policy| {
            rule(&bucket, policy.days()).expect("is a bucket")["Rules"][0]["NoncurrentVersionExpiration"]["NoncurrentDays"]
                .clone()
        };
        assert_eq!(days(Policy { keep_last: 3, ..Policy::default() }), 31, "the default lock is 30 days");
        assert_eq!(days(Policy { keep_daily: 7, keep_monthly: 12, ..Policy::default() }), 372);
        let made = rule(&bucket, Policy { keep_weekly: 8, ..Policy::default() }.days()).expect("is a bucket");
        assert_eq!(
            (&made["Rules"][0]["Filter"]["Prefix"], &made["Rules"][0]["NoncurrentVersionExpiration"]["NoncurrentDays"]),
            (&json!("prod/"), &json!(56))
        );
        let by_age =
            made["Rules"].as_array().expect("are rules").iter().filter(|it| !it["Expiration"]["Days"].is_null());
        let prefixes: Vec<_> = by_age.map(|it| it["Filter"]["Prefix"].clone()).collect();
        assert_eq!(prefixes, [json!("prod/life/")], "nothing else goes by its own age");
        assert_eq!(rule(&VaultSettings::new("file:///vault"), 3), None);
    }
}
