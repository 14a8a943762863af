//! Operating systems and processors that an image is made for.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A platform in the words of registries: `linux/amd64`, `linux/arm/v7`. An empty part is unknown, and fits any.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    os: String,
    architecture: String,
    variant: String,
}

/// Text that names no platform.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no platform: give it as `linux/amd64` or `linux/arm/v7`")]
pub struct NotAPlatform(String);

impl Platform {
    /// Makes a platform of what an engine, a spec or an index says; names of the kernel (`x86_64`) become those of
    /// registries, as in swarmkit's `manager/scheduler/filter.go`, `normalizeArch`.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let (architecture, variant) = match (architecture, variant) {
            ("x86_64" | "x86-64", _) => ("amd64", variant),
            ("aarch64", _) | ("arm64", "v8") => ("arm64", ""),
            ("armhf" | "armv7l" | "armv7", _) => ("arm", "v7"),
            ("armel" | "armv6l" | "armv6", _) => ("arm", "v6"),
            ("i386" | "i686", _) => ("386", variant),
            other => other,
        };
        Self { os: os.to_lowercase(), architecture: architecture.to_lowercase(), variant: variant.to_lowercase() }
    }

    /// Whether what is offered runs where this is wanted. An engine takes what its processor also runs, as 386 on amd64 and
    /// older variants of arm (containerd `platforms/compare.go`, `platformVector`).
    pub fn takes(&self, offered: &Self) -> bool {
        let fits = |wanted: &str, offered: &str| wanted.is_empty() || offered.is_empty() || wanted == offered;
        fits(&self.os, &offered.os) && (self.takes_processor(offered) || self.architecture.is_empty())
    }

    fn takes_processor(&self, offered: &Self) -> bool {
        // `v8` is what arm64 is, and `v7` what arm is if nothing is said.
        let level = |of: &Self| of.variant.trim_start_matches('v').parse::<u32>().ok();
        match (self.architecture.as_str(), offered.architecture.as_str()) {
            (_, "") | ("amd64", "386") => true,
            ("arm64", "arm") => true,
            (wanted, offered) if wanted != offered => false,
            ("arm" | "amd64", _) => match (level(self), level(offered)) {
                (Some(wanted), Some(offered)) => offered <= wanted,
                _ => true,
            },
            _ => self.variant.is_empty() || offered.variant.is_empty() || self.variant == offered.variant,
        }
    }

    /// Whether it is of this operating system and this architecture; an empty part of `other` admits any.
    pub fn is_of(&self, other: &Self) -> bool {
        (other.os.is_empty() || self.os == other.os)
            && (other.architecture.is_empty() || self.architecture == other.architecture)
    }

    /// Whether nothing is known of it, as of the attestations that builders put into an index.
    pub fn is_unknown(&self) -> bool {
        let is_unknown = |part: &str| part.is_empty() || part == "unknown";
        is_unknown(&self.os) && is_unknown(&self.architecture)
    }
}

impl FromStr for Platform {
    type Err = NotAPlatform;

    fn from_str(text: &str) -> Result<Self, NotAPlatform> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_');
        match (parts.as_slice(), parts.iter().all(is_word)) {
            (&[os, architecture], true) => Ok(Self::new(os, architecture, "")),
            (&[os, architecture, variant], true) => Ok(Self::new(os, architecture, variant)),
            _ => Err(NotAPlatform(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = NotAPlatform;

    fn try_from(text: String) -> Result<Self, NotAPlatform> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |part: &str| if part.is_empty() { "unknown".to_owned() } else { part.to_owned() };
        write!(f, "{}/{}", known(&self.os), known(&self.architecture))?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().expect("is a platform")
    }

    #[test]
    fn names_of_the_kernel_are_those_of_registries() {
        for (text, same) in [
            ("linux/x86_64", "linux/amd64"),
            ("Linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/armv7l", "linux/arm/v7"),
            ("linux/s390x", "linux/s390x"),
        ] {
            assert_eq!(platform(text).to_string(), same);
        }
        for wrong in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd 64"] {
            assert!(wrong.parse::<Platform>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_part_fits_any() {
        assert!(platform("linux/arm64").takes(&platform("linux/arm64/v8")));
        assert!(platform("linux/arm").takes(&platform("linux/arm/v7")));
        assert!(!platform("linux/arm/v6").takes(&platform("linux/arm/v7")));
        assert!(platform("linux/arm/v7").takes(&platform("linux/arm/v6")));
        assert!(
            platform("linux/amd64").takes(&platform("linux/386"))
                && !platform("linux/386").takes(&platform("linux/amd64"))
        );
        assert!(
            platform("linux/arm64").takes(&platform("linux/arm/v7"))
                && !platform("linux/arm").takes(&platform("linux/arm64"))
        );
        assert!(
            platform("linux/amd64/v3").takes(&platform("linux/amd64/v2"))
                && !platform("windows/amd64").takes(&platform("linux/amd64"))
        );
        assert!(!platform("linux/amd64").takes(&platform("linux/arm64")));
        assert!(platform("linux/amd64").takes(&Platform::default()));
        assert!(Platform::new("unknown", "unknown", "").is_unknown() && !platform("linux/amd64").is_unknown());
    }

    proptest::proptest! {
        #[test]
        fn a_platform_reads_as_itself(os in "[a-z]{1,8}", architecture in "[a-z0-9_]{1,8}", variant in "(v[0-9])?") {
            let made = Platform::new(&os, &architecture, &variant);
            proptest::prop_assert_eq!(made.to_string().parse::<Platform>(), Ok(made));
        }
    }
}
