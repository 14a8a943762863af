//! Engine versions, ordered.

/// Major, minor, patch; what follows (`-ce`, `+dfsg1`, `~rc1`) does not matter to the state format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EngineVersion(u32, u32, u32);

impl EngineVersion {
    /// `None` for what is no version, as a development build may be.
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = text.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let mut parts = numbers.split('.').map(|part| part.parse().ok());
        let major = parts.next()??;
        let minor = parts.next()??;
        let patch = parts.next().flatten().unwrap_or(0);
        Some(Self(major, minor, patch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        let parse = |text| EngineVersion::parse(text).expect(text);
        assert!(parse("20.10.24+dfsg1") < parse("26.1.5+dfsg1"));
        assert!(parse("26.1.5") < parse("26.1.10"));
        assert!(parse("9.1") < parse("10.0.0"));
        assert_eq!(parse("18.09.1-ce"), parse("18.9.1"));
        assert_eq!(EngineVersion::parse("dev"), None);
        assert_eq!(EngineVersion::parse(""), None);
    }
}
