//! Errors that set the exit code or carry advice.
//!
//! Most errors are plain `anyhow` context: what was attempted, on what. A [`Failure`] is put into the chain where the
//! program knows more: that it is a refusal (exit 4) or a configuration mistake (exit 2), or what the operator should
//! do next. [`Rendered`] formats the chain for a person.

use std::fmt;

use swarmdr_archive::untrusted::shown;

use crate::outcome::{
    exit::Exit,
    terminal::{BECAUSE, TO_DO},
};

/// Link of an error chain with an exit code and, possibly, advice.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    what: String,
    advice: Vec<String>,
    cause: Option<anyhow::Error>,
}

impl Failure {
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), advice: Vec::new(), cause: None }
    }

    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what)
    }

    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    pub fn refused(what: impl Into<String>) -> Self {
        Self::new(Exit::Refused, what)
    }

    /// Adds one action that the operator can take; several are alternatives.
    #[must_use]
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice.push(advice.into());
        self
    }

    /// Adds an action to any error, which keeps its text and its exit code.
    pub fn advise(error: anyhow::Error, advice: impl Into<String>) -> anyhow::Error {
        let Rendered { exit, what, .. } = Rendered::of(&error);
        Self::new(exit, what).because(error).advice(advice).into()
    }

    #[must_use]
    pub fn because(mut self, cause: impl Into<anyhow::Error>) -> Self {
        self.cause = Some(cause.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause.as_ref() as &(dyn std::error::Error + 'static))
    }
}

/// Parts of an error chain for printing. The outermost failure sets the exit code; the advice of all links is
/// kept in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Rendered {
    pub exit: Exit,
    pub what: String,
    pub because: Vec<String>,
    pub advice: Vec<String>,
}

impl Rendered {
    pub fn of(error: &anyhow::Error) -> Self {
        Self::with(error, |link| link.to_string())
    }

    /// Renders a chain of whose links `text` returns the text.
    pub fn with(error: &anyhow::Error, text: impl Fn(&(dyn std::error::Error + 'static)) -> String) -> Self {
        let mut exit = None;
        let (mut lines, mut previous) = (Vec::new(), None::<String>);
        let mut advice = Vec::new();
        for link in error.chain() {
            if let Some(failure) = link.downcast_ref::<Failure>() {
                exit.get_or_insert(failure.exit);
                advice.extend(failure.advice.iter().cloned());
            }
            let whole = link.to_string();
            // Some libraries repeat their source in their own text.
            if previous.as_ref().is_none_or(|previous| !previous.ends_with(&whole)) {
                lines.push(text(link));
                previous = Some(whole);
            }
        }
        let mut lines = lines.into_iter();
        Self {
            exit: exit.unwrap_or(Exit::Failed),
            what: lines.next().unwrap_or_default(),
            because: lines.collect(),
            advice,
        }
    }
}

impl fmt::Display for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", shown(&self.what))?;
        for cause in &self.because {
            write!(f, "{BECAUSE}{}", shown(cause))?;
        }
        for advice in &self.advice {
            write!(f, "{TO_DO}{}", shown(advice))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn outermost_fault_decides_the_exit_and_all_advice_is_kept() {
        let inner = Failure::usage("key is unreadable").advice("run keygen");
        let error = anyhow::Error::new(
            Failure::refused("cannot restore")
                .advice("use another host")
                .because(anyhow::Error::new(inner).context("failed to open the key")),
        );
        let rendered = Rendered::of(&error);
        assert_eq!(rendered.exit, Exit::Refused);
        assert_eq!(rendered.what, "cannot restore");
        assert_eq!(rendered.because, ["failed to open the key", "key is unreadable"]);
        assert_eq!(rendered.advice, ["use another host", "run keygen"]);
    }

    #[test]
    fn advice_is_added_to_any_error_and_changes_nothing_else() {
        let refused = || anyhow::Error::new(Failure::refused("cannot restore").advice("use another host"));
        let plain = || anyhow::anyhow!("disk on fire").context("failed to copy");
        for error in [refused, plain] {
            let (before, after) = (Rendered::of(&error()), Rendered::of(&Failure::advise(error(), "end it")));
            assert_eq!((&after.exit, &after.what, &after.because), (&before.exit, &before.what, &before.because));
            assert_eq!(after.advice, [&["end it".to_owned()], &before.advice[..]].concat());
        }
    }

    #[test]
    fn a_plain_chain_is_a_failure() {
        let error =
            Err::<(), _>(std::io::Error::other("disk on fire")).context("failed to copy").expect_err("is an error");
        assert_eq!(Rendered::of(&error).to_string(), "failed to copy\n  because: disk on fire");
        assert_eq!(Rendered::of(&error).exit, Exit::Failed);
    }
}
