//! Reasons for which nothing is brought back.

use serde::Serialize;

use crate::outcome::failure::Failure;

/// Something that is in the way, and what the operator can do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    pub what: String,
    /// Alternatives.
    pub to_do: Vec<String>,
}

impl Obstacle {
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), to_do: Vec::new() }
    }

    #[must_use]
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.to_do.push(advice.into());
        self
    }

    fn failure(&self) -> Failure {
        let failure = Failure::refused(self.what.clone());
        self.to_do.iter().cloned().fold(failure, Failure::advice)
    }
}

/// Returns the refusal for these obstacles; `None` if there are none.
pub fn refusal(obstacles: &[Obstacle]) -> Option<anyhow::Error> {
    match obstacles {
        [] => None,
        [one] => Some(one.failure().into()),
        several => {
            let all = several.iter().rev().fold(None::<anyhow::Error>, |inner, obstacle| {
                let failure = obstacle.failure();
                Some(match inner {
                    Some(inner) => failure.because(inner).into(),
                    None => failure.into(),
                })
            });
            let what = format!("nothing was brought back, since {} things are in the way", several.len());
            all.map(|all| Failure::refused(what).because(all).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{exit::Exit, failure::Rendered};

    #[test]
    fn every_obstacle_is_named_in_one_refusal() {
        let obstacle = |what: &str| Obstacle::new(what).advice(format!("remove {what}"));
        assert!(refusal(&[]).is_none());
        let one = Rendered::of(&refusal(&[obstacle("a")]).expect("is one"));
        assert_eq!((one.exit, one.what.as_str(), one.advice.len()), (Exit::Refused, "a", 1));
        let all = Rendered::of(&refusal(&[obstacle("a"), obstacle("b"), obstacle("c")]).expect("is one"));
        assert_eq!((all.exit, all.because), (Exit::Refused, vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]));
        assert_eq!(all.advice, ["remove a", "remove b", "remove c"]);
    }
}
