//! Listings: complete, in order, in pages.

use futures_util::{StreamExt, stream};

use super::Subject;
use crate::{Marker, NO_PROGRESS, Upload, Version};

pub async fn an_empty_vault_lists_nothing(s: &Subject) {
    assert_eq!(s.versions("").await, []);
    assert_eq!(s.vault().unfinished().await.unwrap_or_else(|error| panic!("{error}")), [""; 0]);
}

pub async fn odd_keys_come_back_as_they_are(s: &Subject) {
    let mut keys = vec![
        "odd/a b+c%20d&e=f.swarmdr".to_owned(),
        "odd/(x)!~*'$,;:@".to_owned(),
        "odd/ü€😀".to_owned(),
        "odd/\"<&>\"".to_owned(),
        "odd/a\u{1}\tb".to_owned(),
        format!("odd/{}", "l".repeat(200)),
        "odd/sub/directory/key".to_owned(),
    ];
    for key in &keys {
        let stored = s.store(&s.upload(key, 10, 1)).await;
        assert_eq!(s.read(&stored).await.len(), 10, "{key:?}");
    }
    keys.sort();
    assert_eq!(keys_of(&s.versions("odd/").await), keys);
}

pub async fn prefixes_and_markers_are_respected(s: &Subject) {
    for key in ["listed/a", "listed/b/1", "listed/b/2", "listed/b0", "listed/c", "listedx"] {
        s.store(&s.upload(key, 10, 1)).await;
    }
    let all = ["listed/a", "listed/b/1", "listed/b/2", "listed/b0", "listed/c"];
    assert_eq!(keys_of(&s.versions("listed/").await), all);
    assert_eq!(keys_of(&s.versions("listed/b/").await), ["listed/b/1", "listed/b/2"]);
    assert_eq!(keys_of(&s.versions("listed/b/1").await), ["listed/b/1"]);
    assert_eq!(keys_of(&s.versions("listed/nothing").await), [""; 0]);
    for (after, rest) in [("listed/a", 1), ("listed/b/1", 2), ("listed/b/", 1), ("listed/b0", 4), ("listed/z", 5)] {
        let page = s.vault().list_versions("listed/", Some(&Marker::after_key(after))).await;
        let page = page.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(keys_of(&page.versions), all[rest..], "after {after}");
    }
}

/// There is one more object than fits on a page.
pub async fn pages_follow_each_other(s: &Subject) {
    let mut keys: Vec<_> = (0..1001).map(|i| format!("pages/{i:04}")).collect();
    let upload = s.upload("", 1, 1);
    stream::iter(&keys)
        .for_each_concurrent(16, async |key| {
            let upload = Upload { key: key.clone(), ..upload.clone() };
            s.vault().put(&upload, NO_PROGRESS).await.unwrap_or_else(|error| panic!("{error}"));
        })
        .await;
    let first = s.vault().list_versions("pages/", None).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(first.versions.len(), 1000);
    assert!(first.next.is_some());
    keys.sort();
    assert_eq!(keys_of(&s.versions("pages/").await), keys);
}

fn keys_of(versions: &[Version]) -> Vec<String> {
    versions.iter().map(|version| version.at.key.clone()).collect()
}
