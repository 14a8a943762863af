//! What a run has left behind on its host, told beside whatever else became of the run: neither hides the other.

use anyhow::Error;

use crate::fault::{Fault, Rendered};

/// What is not as it was before the engine was stopped.
#[derive(Debug, Default)]
pub struct Aftermath {
    /// Why the engine did not come back.
    pub away: Option<Error>,
    /// What else does not run, in whole sentences.
    pub missing: Vec<String>,
}

impl Aftermath {
    /// The error of a run that failed, with all of that.
    pub fn told_with(self, error: Error) -> Error {
        let missing = self.missing.join("; ");
        match self.away {
            Some(away) => {
                // The cause is told as such, and the other error in the head, so its advice goes along.
                let rendered = Rendered::of(&error);
                let head = format!("the engine did not come back, and no backup was made: {error:#}");
                let head = if missing.is_empty() { head } else { format!("{head}; besides: {missing}") };
                let fault = rendered.advice.into_iter().fold(Fault::failed(head), Fault::advice);
                fault.because(away).into()
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
    use crate::exit::Exit;

    fn failed() -> Error {
        Fault::refused("the copy is none").advice("look at the disk").because(anyhow::anyhow!("EIO")).into()
    }

    #[test]
    fn neither_the_engine_nor_the_failure_is_hidden() {
        let away = || Some(Fault::failed("docker.service did not start").advice("start it by hand").into());
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
            let rendered = Rendered::of(&left.told_with(failed()));
            assert_eq!(rendered.exit, exit, "{rendered}");
            for part in parts {
                assert_eq!(rendered.to_string().matches(part).count(), 1, "`{part}`: {rendered}");
            }
        }
    }
}
