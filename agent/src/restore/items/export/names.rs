//! Names of a backup as names of files, and as keys of a stack file.
//!
//! A name of a backup is text that somebody else wrote: it may be `..`, hold a slash, or differ from another one in
//! case only, which is the same file on some systems.

use std::collections::{HashMap, HashSet};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// Length in bytes from which a name is cut off. Filesystems take 255, and an ending such as `.json` comes after it.
const LONGEST: usize = 180;

/// Names of the files in one directory.
#[derive(Debug, Default)]
pub struct FileNames(HashSet<String>);

impl FileNames {
    /// Returns the file name of an object: its name, with everything but letters, digits and `-_.` as `%2F`, and with a
    /// number after it if another one differs in case only.
    pub fn give(&mut self, name: &str) -> String {
        let encoded = encoded(name);
        let numbered = (2_u64..).map(|number| format!("{encoded}~{number}"));
        let mut names = std::iter::once(encoded.clone()).chain(numbered);
        names.find(|name| self.0.insert(name.to_ascii_lowercase())).unwrap_or(encoded)
    }
}

fn encoded(name: &str) -> String {
    let mut out = String::new();
    for (at, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || (at > 0 && b"-_.".contains(&byte));
        match plain {
            true => out.push(byte.into()),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    if out.is_empty() {
        out.push('%');
    }
    if out.len() > LONGEST {
        let digest = HEXLOWER.encode(&Sha256::digest(name)[..8]);
        out.truncate(LONGEST);
        out = format!("{out}~{digest}");
    }
    out
}

/// Keys of one section of a stack file, by the names of the objects.
#[derive(Debug, Default)]
pub struct Keys {
    by_name: HashMap<String, String>,
    used: HashSet<String>,
}

impl Keys {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).map(String::as_str)
    }

    /// Keeps a key from being given to anything but this name.
    pub fn reserve(&mut self, name: &str, key: &str) {
        self.used.insert(key.to_owned());
        self.by_name.insert(name.to_owned(), key.to_owned());
    }

    /// Returns the key of an object: the one that it has, or else `wanted`, changed if the schema of stack files does
    /// not take it or if it is in use.
    pub fn give(&mut self, name: &str, wanted: &str) -> String {
        if let Some(key) = self.get(name) {
            return key.to_owned();
        }
        let valid: String = wanted.chars().map(|it| if is_valid(it) { it } else { '-' }).collect();
        let valid = if valid.is_empty() { "-".to_owned() } else { valid };
        let numbered = (2_u64..).map(|number| format!("{valid}-{number}"));
        let mut keys = std::iter::once(valid.clone()).chain(numbered);
        let key = keys.find(|key| !self.used.contains(key)).unwrap_or(valid);
        self.reserve(name, &key);
        key
    }
}

/// Whether the schema of stack files takes this as a key of a service, network, volume, secret or config
/// (docker/cli `cli/compose/schema/data`: `^[a-zA-Z0-9._-]+$`).
pub fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_valid)
}

fn is_valid(character: char) -> bool {
    character.is_ascii_alphanumeric() || "._-".contains(character)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_name_leaves_its_directory_and_no_two_are_the_same_file() {
        let mut names = FileNames::default();
        for (name, file) in [
            ("shop_web", "shop_web"),
            ("Shop_Web", "Shop_Web~2"),
            ("SHOP_WEB", "SHOP_WEB~3"),
            ("..", "%2E."),
            (".hidden", "%2Ehidden"),
            ("_alone", "%5Falone"),
            ("-rf", "%2Drf"),
            ("a/b\0c", "a%2Fb%00c"),
            ("a%2Fb", "a%252Fb"),
            ("é", "%C3%A9"),
            ("", "%"),
        ] {
            assert_eq!(names.give(name), file);
        }
    }

    #[test]
    fn long_names_are_cut_off_and_stay_apart() {
        let mut names = FileNames::default();
        let (one, other) = (names.give(&"x".repeat(300)), names.give(&"x".repeat(301)));
        assert_ne!(one, other);
        assert!(one.len() < 255 && other.len() < 255, "{one}");
    }

    #[test]
    fn keys_are_unique_and_fit_the_schema() {
        let mut keys = Keys::default();
        keys.reserve("shop_default", "default");
        assert_eq!(keys.give("shop_web", "web"), "web");
        assert_eq!(keys.give("shop_web", "another"), "web");
        assert_eq!(keys.give("web", "web"), "web-2");
        assert_eq!(keys.give("default", "default"), "default-2");
        assert_eq!(keys.give("a b/c", "a b/c"), "a-b-c");
        assert_eq!(keys.give("", ""), "-");
        assert_eq!(keys.get("shop_default"), Some("default"));
    }

    proptest! {
        #[test]
        fn every_name_is_one_harmless_component(name in any::<String>()) {
            let file = FileNames::default().give(&name);
            prop_assert!(!file.is_empty() && file.len() < 255);
            prop_assert!(!file.starts_with(['.', '-', '_']) && !file.contains(['/', '\0', '$']));
            prop_assert!(is_key(&Keys::default().give(&name, &name)));
        }
    }
}
