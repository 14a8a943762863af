//! Detection of rotated objects: which removed and added objects are one thing in a new version.
//!
//! A secret or config cannot be changed. It is rotated by making another one with a similar name, which has a number, a
//! date or a digest in it.

use std::collections::BTreeMap;

/// Minimum length at which a hexadecimal word with a digit in it counts as a digest and not as a word of a language.
const DIGEST_MIN: usize = 6;

/// Returns pairs of indexes into `gone` and `new`: first of equal names, then of similar ones. Several similar names
/// are sorted and paired from the end, so that the newest pairs with the newest.
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

/// Returns the indexes in the order of the names.
fn indexes(names: &[&str]) -> Vec<usize> {
    let mut indexes: Vec<usize> = (0..names.len()).collect();
    indexes.sort_by_key(|at| names[*at]);
    indexes
}

/// Returns the name without what looks like a version. The first part always stays, and so does a number that more of
/// the name follows: `db1-password` and `db-1-password` are usually the password of one of several.
fn stem(name: &str) -> String {
    let parts: Vec<&str> = name.split(['-', '_', '.']).collect();
    let is_of_end = |part: &str| is_number(part) || is_version(part);
    let end = parts.len() - parts.iter().skip(1).rev().take_while(|part| is_of_end(part)).count();
    let mut kept: Vec<&str> = parts.iter().take(1).copied().collect();
    kept.extend(parts[..end].iter().skip(1).filter(|part| !is_version(part)));
    if let Some(last) = kept.last_mut().filter(|_| end == parts.len()) {
        *last = unnumbered(last);
    }
    kept.join("-")
}

/// Whether a part is like `v7`, `20261121`, `20261121T0315Z`, or a digest such as `3fa8c2d1`.
fn is_version(part: &str) -> bool {
    let time = |text: &str| text.len() > 8 && is_number(&text[..8]) && text.ends_with(['Z', 'z']);
    let has_digit = part.bytes().any(|byte| byte.is_ascii_digit());
    let hex = part.len() >= DIGEST_MIN && has_digit && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    part.strip_prefix(['v', 'V']).is_some_and(is_number) || hex || part.is_ascii() && time(part)
}

/// Whether a part is a version at the end of a name, such as `7`, and counts things elsewhere.
fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}

/// Removes digits at the end: `key2` becomes `key`. A part of digits only stays as it is.
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
    fn one_of_several_numbered_things_is_no_version_of_another() {
        for (old, new) in [
            ("db1-password", "db2-password"),
            ("db-1-password", "db-2-password"),
            ("db_shard1_key_v1", "db_shard2_key_v1"),
            ("node1.crt", "node2.crt"),
            ("db1-20261101", "db2-20261121"),
            ("shop-1-key-3fa8c2d1", "shop-2-key-9b01ee47"),
        ] {
            assert_eq!(named(&[old], &[new]), [], "{old} {new}");
        }
        for (old, new) in [
            ("db1-password", "db1-password-v2"),
            ("db1-password", "db1-password2"),
            ("db-1-password.1", "db-1-password.2"),
            ("db1-20261101", "db1-20261121"),
        ] {
            assert_eq!(named(&[old], &[new]), [(old, new)]);
        }
    }

    #[test]
    fn the_same_name_comes_first_and_the_newest_pair_with_the_newest() {
        assert_eq!(named(&["key-v1", "key-v2"], &["key-v1", "key-v3"]), [("key-v1", "key-v1"), ("key-v2", "key-v3")]);
        assert_eq!(named(&["key-v1"], &["key-v2", "key-v3"]), [("key-v1", "key-v3")]);
        assert_eq!(named(&["key-v2", "key-v1"], &["key-v3"]), [("key-v2", "key-v3")]);
    }
}
