//! Pages of versions and delete markers.

use std::cmp::Reverse;

use aws_sdk_s3::{
    operation::list_object_versions::ListObjectVersionsOutput, primitives::DateTime, types::EncodingType,
};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;

use super::S3Vault;
use crate::{Marker, Page, VaultError, Version, VersionRef};

impl S3Vault {
    pub(super) async fn list_page(&self, under: &str, after: Option<&Marker>) -> Result<Page, VaultError> {
        let answer = self
            .client
            .list_object_versions()
            .bucket(&self.target.bucket)
            .prefix(self.full_key(under))
            .set_key_marker(after.map(|after| self.full_key(&after.key)))
            .set_version_id_marker(after.and_then(|after| after.version.clone()))
            // XML cannot carry every character that a key may have, and one hostile key must not break the listing.
            .encoding_type(EncodingType::Url)
            .send()
            .await
            .map_err(|error| self.error("list the versions in", "", error))?;
        let mut versions = self.versions(&answer);
        // Behind a key means behind all its versions, but Ceph begins with them.
        if let Some(Marker { key, version: None }) = after {
            versions.retain(|version| version.at.key > *key);
        }
        // The SDK splits versions and markers, which the server had in order.
        versions.sort_by(|a, b| {
            let order = |v: &Version| (!v.is_latest, Reverse(v.modified));
            a.at.key.cmp(&b.at.key).then_with(|| order(a).cmp(&order(b)))
        });
        let next = answer.is_truncated().unwrap_or(false).then(|| self.next_marker(&answer, &versions)).flatten();
        Ok(Page { versions, next })
    }

    fn versions(&self, answer: &ListObjectVersionsOutput) -> Vec<Version> {
        let objects = answer.versions().iter().filter_map(|version| {
            Some(Version {
                at: self.reference(answer, version.key(), version.version_id())?,
                size: version.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                modified: time(version.last_modified()),
                is_latest: version.is_latest().unwrap_or(false),
                is_delete_marker: false,
            })
        });
        let markers = answer.delete_markers().iter().filter_map(|marker| {
            Some(Version {
                at: self.reference(answer, marker.key(), marker.version_id())?,
                size: 0,
                modified: time(marker.last_modified()),
                is_latest: marker.is_latest().unwrap_or(false),
                is_delete_marker: true,
            })
        });
        objects.chain(markers).collect()
    }

    fn reference(&self, answer: &ListObjectVersionsOutput, key: Option<&str>, id: Option<&str>) -> Option<VersionRef> {
        let key = decode(answer, key?);
        Some(VersionRef::new(self.own_key(&key)?, id.unwrap_or("null")))
    }

    /// The place where the server continues, or behind the last version if it only says that it does.
    fn next_marker(&self, answer: &ListObjectVersionsOutput, versions: &[Version]) -> Option<Marker> {
        match answer.next_key_marker() {
            Some(key) => {
                let key = self.own_key(&decode(answer, key))?.to_owned();
                let version = answer.next_version_id_marker().filter(|id| !id.is_empty()).map(str::to_owned);
                Some(Marker { key, version })
            }
            None => versions.last().map(|last| Marker { key: last.at.key.clone(), version: Some(last.at.id.clone()) }),
        }
    }
}

fn decode(answer: &ListObjectVersionsOutput, key: &str) -> String {
    match answer.encoding_type() {
        Some(EncodingType::Url) => decode_url(key),
        _ => key.into(),
    }
}

/// Decodes a key as S3 writes it under `encoding-type=url`: percent signs, and a plus for a blank. Bytes that are not
/// UTF-8 become replacement characters: such a key is none of ours.
fn decode_url(key: &str) -> String {
    percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned()
}

fn time(time: Option<&DateTime>) -> Timestamp {
    time.and_then(|time| Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_s3_writes() {
        for (encoded, decoded) in [
            ("abc/20261121T101500Z-0a1b2c3d.swarmdr", "abc/20261121T101500Z-0a1b2c3d.swarmdr"),
            ("a+b%20c%2Bd", "a b c+d"),
            ("%C3%BC%e2%82%ac", "ü€"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(decode_url(encoded), decoded);
        }
    }
}
