//! State of the host after a run, reported together with an error of the run: neither hides the other.

use anyhow::Error;

use crate::outcome::failure::{Failure, Rendered};

/// Everything that is not as it was before the engine was stopped.
#[derive(Debug, Default)]
pub struct Aftermath {
    /// The error with which the engine did not come back.
    pub away: Option<Error>,
    /// Whole sentences about everything else that does not run.
    pub missing: Vec<String>,
}

impl Aftermath {
    /// Adds all of that to the error of a failed run.
    pub fn add_to(self, error: Error) -> Error {
        let missing = self.missing.join("; ");
        match self.away {
            Some(away) => {
                // The engine's error is the cause; the run's error is in the message, so its advice is added.
                let rendered = Rendered::of(&error);
                let head = format!("the engine did not come back, and no backup was made: {error:#}");
                let head = if missing.is_empty() { head } else { format!("{head}; besides: {missing}") };
                let failure = rendered.advice.into_iter().fold(Failure::failed(head), Failure::advice);
                failure.because(away).into()
            }
            None if missing.is_empty() => error,
            None => {
                let head = format!("not all is as it was before the engine was stopped ({missing}), and: {error}");
                error.context(head)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::exit::Exit;

    fn failed() -> Error {
        Failure::refused("the copy is none").advice("look at the disk").because(anyhow::anyhow!("EIO")).into()
    }

    #[test]
    fn neither_the_engine_nor_the_failure_is_hidden() {
        let away = || Some(Failure::failed("docker.service did not start").advice("start it by hand").into());
        let missing = || vec!["app.service is failed".to_owned()];
        for (left, exit, parts) in [
            (Aftermath::default(), Exit::Refused, &["the copy is none", "EIO", "look at the disk"][..]),
            (
                Aftermath { away: away(), missing: Vec::new() },
                Exit::Failed,
                &[
                    "did not come back",
                    "the copy is none: EIO",
                    "did not start",
                    "start it by hand",
                    "look at the disk",
                ],
            ),
            (
                Aftermath { away: None, missing: missing() },
                Exit::Refused,
                &["app.service is failed", "the copy is none", "EIO", "look at the disk"],
            ),
            (Aftermath { away: away(), missing: missing() }, Exit::Failed, &["app.service is failed", "EIO"]),
        ] {
            let rendered = Rendered::of(&left.add_to(failed()));
            assert_eq!(rendered.exit, exit, "{rendered}");
            for part in parts {
                assert_eq!(rendered.to_string().matches(part).count(), 1, "`{part}`: {rendered}");
            }
        }
    }
}
