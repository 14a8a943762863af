//! Names of images, as they stand in specs.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::Digest;

/// The registry of names that have none.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// A name, taken apart as engines do: `registry.example:5000/shop/web:1.2@sha256:…`. `busybox` is
/// `docker.io/library/busybox` (distribution `reference/normalize.go`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Text that names no image.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("`{text}` names no image: {why}")]
pub struct NotAnImage {
    text: String,
    why: String,
}

impl ImageName {
    /// Host of its registry, with the port.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path within the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns what a registry is asked for: the digest if there is one, else the tag, else `latest`.
    pub fn reference(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// Registry and repository, without tag and digest.
    pub fn place(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

/// Splits the host off a name: the first part if that looks like a host (distribution `reference/normalize.go`,
/// `splitDockerDomain`).
pub fn split_registry(image: &str) -> (&str, &str) {
    let Some((first, rest)) = image.split_once('/') else { return (DEFAULT_REGISTRY, image) };
    let is_host = first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|it| it.is_ascii_uppercase());
    match first {
        "index.docker.io" => (DEFAULT_REGISTRY, rest),
        host if is_host => (host, rest),
        _ => (DEFAULT_REGISTRY, image),
    }
}

/// Returns an image or a blob of a repository in the words of an error.
pub(crate) fn image(repository: &str, reference: &str) -> String {
    let separator = if reference.starts_with("sha256:") { '@' } else { ':' };
    format!("{repository}{separator}{reference}")
}

impl FromStr for ImageName {
    type Err = NotAnImage;

    fn from_str(text: &str) -> Result<Self, NotAnImage> {
        let refuse = |why: &str| NotAnImage { text: text.to_owned(), why: why.to_owned() };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse().map_err(|why| refuse(&format!("{why}")))?)),
            None => (text, None),
        };
        let (registry, rest) = split_registry(name);
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        if !is_host(registry) {
            return Err(refuse("its registry is no host"));
        }
        if path.is_empty() || !path.split('/').all(is_component) {
            return Err(refuse("its path is not of lower-case words"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(refuse("its tag is not of letters, digits, `_`, `.` and `-`"));
        }
        let is_official = registry == DEFAULT_REGISTRY && !path.contains('/');
        Ok(Self {
            registry: registry.to_owned(),
            repository: if is_official { format!("library/{path}") } else { path.to_owned() },
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// The grammar of distribution `reference/regexp.go`, as far as it keeps URLs and paths of files safe.
fn is_component(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = part.bytes().next().is_some_and(is_word) && part.bytes().last().is_some_and(is_word);
    ends && !part.contains("..") && part.bytes().all(|byte| is_word(byte) || b"._-".contains(&byte))
}

fn is_host(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.parse::<u16>().is_ok() { name } else { host });
    let is_address = name.starts_with('[') && name.ends_with(']');
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte) || (is_address && b"[:]".contains(&byte));
    let is_label = |label: &str| !label.is_empty() && !label.starts_with('-');
    name.split('.').all(is_label) && name.bytes().all(allowed)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let starts = tag.bytes().next().is_some_and(is_word);
    starts && tag.len() <= 128 && tag.bytes().all(|byte| is_word(byte) || b".-".contains(&byte))
}

impl fmt::Display for ImageName {
    /// Writes the whole name, with registry and `library/`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_taken_apart_as_engines_do() {
        for (text, registry, repository, tag, digest) in [
            ("busybox", "docker.io", "library/busybox", None, false),
            ("busybox:1.36", "docker.io", "library/busybox", Some("1.36"), false),
            ("shop/web", "docker.io", "shop/web", None, false),
            ("index.docker.io/shop/web", "docker.io", "shop/web", None, false),
            ("registry.old:5000/web", "registry.old:5000", "web", None, false),
            ("old:5000/shop/web:2", "old:5000", "shop/web", Some("2"), false),
            ("ghcr.io/shop/web__a:v1.0-rc_1", "ghcr.io", "shop/web__a", Some("v1.0-rc_1"), false),
            ("localhost/web", "localhost", "web", None, false),
            ("127.0.0.1:5000/web", "127.0.0.1:5000", "web", None, false),
            ("[::1]:5000/web", "[::1]:5000", "web", None, false),
            (&format!("old:5000/web:2@{DIGEST}"), "old:5000", "web", Some("2"), true),
            (&format!("web@{DIGEST}"), "docker.io", "library/web", None, true),
        ] {
            let name: ImageName = text.parse().expect(text);
            assert_eq!((name.registry(), name.repository(), name.tag()), (registry, repository, tag), "{text}");
            assert_eq!(name.digest().is_some(), digest, "{text}");
            assert_eq!(name.to_string().parse(), Ok(name), "{text}");
        }
    }

    #[test]
    fn nothing_that_would_change_a_url_or_a_path_is_a_name() {
        for wrong in [
            "",
            "/",
            "a//b",
            "../a",
            "a/../b",
            "A",
            "a b",
            "a?b",
            "a#b",
            "a%2f",
            "a:",
            "a:b c",
            "a@sha256:00",
            "host:x/a",
            "user@host/a",
            "http://host/a",
            "h.o/a/",
            "h.o/.a",
            "h.o/a:../b",
            "-.x\n/a",
        ] {
            assert!(wrong.parse::<ImageName>().is_err(), "{wrong:?}");
        }
    }

    proptest::proptest! {
        /// Whatever is a name leads to a path that is no other one, and reads as itself.
        #[test]
        fn a_name_is_safe_in_a_url_and_reads_as_itself(text in "[a-zA-Z0-9._/:@%?#\\-\\[\\] ]{0,60}") {
            if let Ok(name) = text.parse::<ImageName>() {
                let safe = |part: &str| !part.split('/').any(|it| it.is_empty() || it == "." || it == "..");
                proptest::prop_assert!(safe(name.repository()) && !name.to_string().contains(['?', '#', '%', ' ']));
                let again = name.to_string().parse::<ImageName>();
                proptest::prop_assert_eq!(again, Ok(name));
            }
        }
    }
}
