//! Engine versions with an order, and the rule that no older engine takes what a newer one wrote.

use crate::outcome::failure::Failure;

/// Major, minor and patch number. A suffix (`-ce`, `+dfsg1`, `~rc1`) does not matter to the state format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EngineVersion(u32, u32, u32);

impl EngineVersion {
    /// Parses a version; `None` for text that is none, such as that of a development build.
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = text.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let mut parts = numbers.split('.').map(|part| part.parse().ok());
        let major = parts.next()??;
        let minor = parts.next()??;
        let patch = parts.next().flatten().unwrap_or(0);
        Some(Self(major, minor, patch))
    }
}

/// Refuses an engine that is older than the one that wrote something: it would drop what it does not know. Versions that
/// are none, such as those of development builds, are not compared.
pub fn require_not_older(whose: &str, engine: &str, wrote: &str, what: &str) -> Result<(), Failure> {
    match (EngineVersion::parse(wrote), EngineVersion::parse(engine)) {
        (Some(writer), Some(own)) if own < writer => Err(Failure::refused(format!(
            "{whose} engine {engine} is older than the engine {wrote} that wrote {what}, and would lose what it does not \
             know"
        ))
        .advice(format!("install engine {wrote} or newer"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_engine_is_refused_and_an_unknown_version_is_not() {
        for (engine, wrote, is_taken) in [
            ("26.1.5", "28.5.2", false),
            ("28.5.2", "28.5.2", true),
            ("28.5.2", "20.10.24+dfsg1", true),
            ("dev", "28.5.2", true),
            ("28.5.2", "", true),
        ] {
            let taken = require_not_older("this host's", engine, wrote, "the state");
            assert_eq!(taken.is_ok(), is_taken, "{engine} {wrote}");
        }
    }

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
