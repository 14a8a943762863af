//! Logins: by password, and by token.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::registry::{Account, Endpoint, Image, Login, Media, Registry};

use crate::{REPO, make, refused, with};

#[test]
fn a_changed_password_counts_at_once() -> Result<()> {
    for login in [Login::Basic, Login::Token] {
        let registry = Registry::start(with(login))?;
        let image = make(&registry, "web", &Image::single("first"))?;
        registry.push(&image, REPO, "1")?;
        let host = registry.host();
        let reads = |account: &Account| registry.raw_as(account, &host, REPO, "1");
        let (old, new) = (Account::new("robot", "old"), Account::new("robot", "new"));
        registry.set_account(&old)?;
        reads(&old)?;
        let said = refused(reads(&new))?;
        ensure!(said.contains("unauthorized") || said.contains("incorrect username or password"), "{login:?}: {said}");
        for _ in 0..5 {
            registry.set_account(&new)?;
            reads(&new)?;
            refused(reads(&old))?;
            registry.set_account(&old)?;
            reads(&old)?;
            refused(reads(&new))?;
        }
        registry.remove_account("robot")?;
        refused(reads(&old))?;
        reads(registry.owner())?;
    }
    Ok(())
}

#[test]
fn tokens_grant_the_rights_of_the_user_and_no_others() -> Result<()> {
    let registry = Registry::start(with(Login::Token))?;
    let tokens = registry.tokens().context("it has no server of tokens")?;
    let (puller, pusher) = (Account::new("puller", "a"), Account::new("pusher", "b"));
    registry.set_account(&puller)?;
    registry.set_account(&pusher)?;
    tokens.set_rights("puller", &["pull"]);
    tokens.set_rights("pusher", &["pull", "push"]);
    let image = make(&registry, "web", &Image::index("first"))?;
    let host = registry.host();
    let said = refused(registry.push_as(&puller, &image, &host, REPO, "1"))?;
    ensure!(said.contains("denied"), "{said}");
    registry.push_as(&pusher, &image, &host, REPO, "1")?;
    registry.raw_as(&puller, &host, REPO, "1")?;

    let requests = tokens.requests();
    let asked = |user: &str, scope: &str| {
        requests.iter().any(|it| it.user.as_deref() == Some(user) && it.scopes.iter().any(|it| it == scope))
    };
    ensure!(asked("puller", "repository:team/web:pull"), "{requests:?}");
    ensure!(asked("pusher", "repository:team/web:pull,push"), "{requests:?}");
    ensure!(requests.iter().all(|it| it.status == 200), "{requests:?}");
    registry.delete_manifest(REPO, &image.digest)?;
    Ok(())
}

#[test]
fn the_challenge_names_the_server_of_tokens() -> Result<()> {
    let registry = Registry::start(with(Login::Token))?;
    let tokens = registry.tokens().context("it has no server of tokens")?;
    let host = registry.host();
    let challenge = registry.curl(&host, "/v2/team/web/manifests/1", &["--head"])?;
    let realm = format!("Bearer realm=\"https://{}/token\",service=\"registry\"", tokens.host());
    ensure!(challenge.contains(&realm), "{challenge}");
    ensure!(challenge.contains("scope=\"repository:team/web:pull\""), "{challenge}");
    let without = registry.curl(&tokens.host(), "/token?service=registry", &["--user", "nobody:x"])?;
    ensure!(without.starts_with("HTTP/1.1 401"), "{without}");
    Ok(())
}

#[test]
fn tokens_expire_and_may_be_had_by_anybody() -> Result<()> {
    let registry = Registry::start(with(Login::Token))?;
    let tokens = registry.tokens().context("it has no server of tokens")?;
    let image = make(&registry, "web", &Image::single("first").media(Media::Docker))?;
    registry.push(&image, REPO, "1")?;
    let accept = format!("Accept: {}", image.media.manifest());
    let status = |scheme: &[&str]| -> Result<String> {
        let answer = registry.curl(&tokens.host(), "/token?service=registry&scope=repository:team/web:pull", scheme)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
        let answer: Value = serde_json::from_str(body)?;
        let bearer = format!("Authorization: Bearer {}", answer["token"].as_str().unwrap_or_default());
        // In place of the login of the owner.
        let words = ["--header", &bearer, "--header", &accept];
        let answer = registry.curl(&registry.host(), "/v2/team/web/manifests/1", &words)?;
        Ok(answer.split(' ').nth(1).unwrap_or_default().to_owned())
    };
    assert_eq!(status(&[])?, "200");
    tokens.set_lifetime(Duration::ZERO);
    assert_eq!(status(&[])?, "401");
    tokens.set_lifetime(Duration::from_secs(60));
    let anonymous = ["--header", "Authorization:"];
    assert_eq!(status(&anonymous)?, "401");
    tokens.set_anonymous_rights(&["pull"]);
    assert_eq!(status(&anonymous)?, "200");
    Ok(())
}
