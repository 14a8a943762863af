//! Logins as they were asked for, each registry once: also one that gives none is not asked again for each service.

use std::collections::BTreeMap;

use swarmdr_registry::Login;

use crate::restore::images::logins::Logins;

pub struct Asked<'a> {
    logins: &'a Logins<'a>,
    answers: BTreeMap<String, Result<Option<Login>, String>>,
}

impl<'a> Asked<'a> {
    pub fn of(logins: &'a Logins<'a>) -> Self {
        Self { logins, answers: BTreeMap::new() }
    }

    /// Returns the login for a registry, `None` if none is configured, or why there is none.
    pub async fn login(&mut self, registry: &str) -> Result<Option<Login>, String> {
        if let Some(answer) = self.answers.get(registry) {
            return answer.clone();
        }
        let answer = self.logins.configured(registry).await.map_err(|error| format!("{error:#}"));
        self.answers.insert(registry.to_owned(), answer.clone());
        answer
    }
}
