//! Where a joining host gets the worker token from: a file (or the systemd credential that replaces it), or a program.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use zeroize::Zeroizing;

use super::{program, token::JoinToken};
use crate::{config::Config, outcome::failure::Failure};

/// The token of this run. It is asked for when it is needed, and again once it was refused: it may have been rotated.
#[derive(Debug)]
pub struct TokenSource<'a> {
    config: &'a Config,
    known: Option<JoinToken>,
    /// The token that a manager refused last.
    refused: Option<JoinToken>,
}

impl<'a> TokenSource<'a> {
    pub fn new(config: &'a Config) -> Self {
        Self { config, known: None, refused: None }
    }

    /// Returns the token. A file comes first; a program is asked if there is no token in it, or a refused one.
    pub async fn get(&mut self) -> Result<JoinToken> {
        if let Some(known) = &self.known {
            return Ok(known.clone());
        }
        let join = &self.config.join;
        if join.token_file.is_none() && join.token_command.is_empty() {
            return Err(Failure::usage("no join token is configured")
                .advice("name its file with join.token_file, or the program that prints it with join.token_command")
                .into());
        }
        let in_file = join.token_file.as_deref().map(from_file);
        let token = match in_file {
            Some(Ok(token)) if join.token_command.is_empty() || self.refused.as_ref() != Some(&token) => token,
            Some(Err(error)) if join.token_command.is_empty() => return Err(error),
            _ => self.ask_command().await?,
        };
        self.known = Some(token.clone());
        Ok(token)
    }

    /// Notes that a manager refused the token: the next time it is asked for again.
    pub fn refuse(&mut self) {
        self.refused = self.known.take().or(self.refused.take());
    }

    async fn ask_command(&self) -> Result<JoinToken> {
        let text = program::output(self.config, "join.token_command", &self.config.join.token_command).await?;
        JoinToken::parse(&text).context("join.token_command gives no token that can be used")
    }
}

fn from_file(path: &Path) -> Result<JoinToken> {
    let read = || JoinToken::parse(&Zeroizing::new(fs::read_to_string(path)?));
    read().with_context(|| format!("the file {} gives no token that can be used", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        nodes::token::testing::token_of,
        outcome::{exit::Exit, failure::Rendered},
    };

    fn text(secret: &str) -> String {
        token_of(&[9; 32], secret)
    }

    #[tokio::test]
    async fn a_token_is_asked_for_again_once_it_was_refused() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = dir.path().join("token");
        let mut config = Config::default();
        config.join.token_file = Some(path.clone());
        let mut source = TokenSource::new(&config);
        let error = source.get().await.expect_err("is not there yet");
        assert!(format!("{error:#}").contains("gives no token"), "{error:#}");
        fs::write(&path, text("old") + "\n").expect("writes");
        assert_eq!(source.get().await.expect("is there").text().as_str(), text("old"));
        fs::write(&path, text("new")).expect("writes");
        assert_eq!(source.get().await.expect("is kept").text().as_str(), text("old"));
        source.refuse();
        assert_eq!(source.get().await.expect("is there").text().as_str(), text("new"));
    }

    #[tokio::test]
    async fn the_program_is_asked_where_the_file_does_not_help() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let (path, printed) = (dir.path().join("token"), dir.path().join("printed"));
        fs::write(&printed, text("printed")).expect("writes");
        let mut config = Config::default();
        config.join.token_command = ["cat".to_owned(), printed.display().to_string()].to_vec();
        config.join.token_file = Some(path.clone());
        let mut source = TokenSource::new(&config);
        assert_eq!(source.get().await.expect("is printed").text().as_str(), text("printed"));
        fs::write(&path, text("file")).expect("writes");
        let mut source = TokenSource::new(&config);
        assert_eq!(source.get().await.expect("is there").text().as_str(), text("file"));
        source.refuse();
        assert_eq!(source.get().await.expect("is printed").text().as_str(), text("printed"));
        fs::write(&printed, "planted").expect("writes");
        source.refuse();
        // The file has another token than the one that was refused last, so it has its turn.
        assert_eq!(source.get().await.expect("is there").text().as_str(), text("file"));
        source.refuse();
        let error = source.get().await.expect_err("is none");
        assert!(!format!("{error:#}").contains("planted"), "{error:#}");
    }

    #[tokio::test]
    async fn a_host_without_a_source_says_what_to_write() {
        let config = Config::default();
        let rendered = Rendered::of(&TokenSource::new(&config).get().await.expect_err("has none"));
        assert!(rendered.exit == Exit::Usage && rendered.advice[0].contains("join.token_command"), "{rendered}");
    }
}
