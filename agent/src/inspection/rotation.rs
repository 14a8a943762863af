//! Which of the objects that went and came are one thing under a new version.
//!
//! A secret or config cannot be changed, so it is rotated by making another one, under a name like the old one's:
//! with a number, a date or a digest in it.

use std::collections::BTreeMap;

/// A hexadecimal word of this length is a digest rather than a word of a language.
const DIGEST_MIN: usize = 6;

/// Pairs the indexes of names that are the same, then of names that are alike. Several that are alike pair in the
/// order of their names, the last ones first, so that the newest pairs with the newest.
pub fn pairs(gone: &[&str], new: &[&str]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let (mut gone_left, mut new_left) = (indexes(gone), indexes(new));
    for key in [str::to_owned as fn(&str) -> String, stem] {
        let mut by_key: BTreeMap<String, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
        for at in gone_left.drain(..) {
            by_key.entry(key(gone[at])).or_default().0.push(at);
        }
        for at in new_left.drain(..) {
            by_key.entry(key(new[at])).or_default().1.push(at);
        }
        for (mut from, mut to) in by_key.into_values() {
            while let (Some(_), Some(_)) = (from.last(), to.last()) {
                pairs.extend(from.pop().zip(to.pop()));
            }
            gone_left.extend(from);
            new_left.extend(to);
        }
        gone_left.sort_by_key(|at| gone[*at]);
        new_left.sort_by_key(|at| new[*at]);
    }
    pairs.sort_unstable();
    pairs
}

/// In order of the names.
fn indexes(names: &[&str]) -> Vec<usize> {
    let mut indexes: Vec<usize> = (0..names.len()).collect();
    indexes.sort_by_key(|at| names[*at]);
    indexes
}

/// The name without its parts that look like a version; the first part always stays.
fn stem(name: &str) -> String {
    let mut parts = name.split(['-', '_', '.']);
    let first = parts.next().unwrap_or_default();
    let kept = parts.filter(|part| !is_version(part)).map(unnumbered);
    let kept: Vec<&str> = std::iter::once(unnumbered(first)).chain(kept).collect();
    kept.join("-")
}

/// `7`, `v7`, `20261121`, `20261121T0315Z`, or a digest such as `3fa8c2d1`.
fn is_version(part: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let time = |text: &str| text.len() > 8 && digits(&text[..8]) && text.ends_with(['Z', 'z']);
    let has_digit = part.bytes().any(|byte| byte.is_ascii_digit());
    let hex = part.len() >= DIGEST_MIN && has_digit && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits(part.strip_prefix(['v', 'V']).unwrap_or(part)) || hex || part.is_ascii() && time(part)
}

/// `key2` is `key`; a part of digits only stays.
fn unnumbered(part: &str) -> &str {
    let bare = part.trim_end_matches(|character: char| character.is_ascii_digit());
    if bare.is_empty() { part } else { bare }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named<'a>(gone: &[&'a str], new: &[&'a str]) -> Vec<(&'a str, &'a str)> {
        pairs(gone, new).into_iter().map(|(from, to)| (gone[from], new[to])).collect()
    }

    #[test]
    fn the_usual_ways_to_name_a_rotated_secret_pair() {
        for (old, new) in [
            ("db-password", "db-password"),
            ("db-password", "db-password-v2"),
            ("db-password.1", "db-password.2"),
            ("tls_key_20261101", "tls_key_20261121"),
            ("tls-key-2026-11-01", "tls-key-2026-11-21"),
            ("site.conf", "site-v2.conf"),
            ("app_config_3fa8c2d1", "app_config_9b01ee47"),
            ("token", "token2"),
            ("cert-20261101T031500Z", "cert-20261121T031500Z"),
        ] {
            assert_eq!(named(&[old], &[new]), [(old, new)]);
        }
    }

    #[test]
    fn different_things_do_not() {
        for (old, new) in [("db-password", "db-user"), ("tls-key", "tls-cert"), ("a", "b"), ("1", "2"), ("", "x")] {
            assert_eq!(named(&[old], &[new]), [], "{old} {new}");
        }
    }

    #[test]
    fn the_same_name_comes_first_and_the_newest_pair_with_the_newest() {
        assert_eq!(named(&["key-v1", "key-v2"], &["key-v1", "key-v3"]), [("key-v1", "key-v1"), ("key-v2", "key-v3")]);
        assert_eq!(named(&["key-v1"], &["key-v2", "key-v3"]), [("key-v1", "key-v3")]);
        assert_eq!(named(&["key-v2", "key-v1"], &["key-v3"]), [("key-v2", "key-v3")]);
    }
}
