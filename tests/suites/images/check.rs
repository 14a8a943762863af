//! `images list` and `images check` against a real registry.

use anyhow::{Result, ensure};
use serde_json::json;
use swarmdr_tests::{
    registry::{Account, Endpoint, Fault, Front, Image, Login, Platform},
    states::MadeState,
};

use crate::shelf::{Shelf, line, problems};

#[test]
fn what_keeps_a_service_from_starting_is_named_before_the_day() -> Result<()> {
    for login in [Login::Basic, Login::Token] {
        let shelf = Shelf::new(login)?;
        let host = shelf.registry.host();
        let image = |name: &str, image: &Image| shelf.layout.add(name, image);
        let (good, moved) = (image("good", &Image::index("good"))?, image("moved", &Image::single("moved"))?);
        let (gone, half) = (image("gone", &Image::single("gone"))?, image("half", &Image::index("half"))?);
        let other = image("other", &Image::index_of("other", &[Platform::Arm64]))?;
        let later = image("later", &Image::single("later"))?;
        for (made, repo) in [(&good, "good"), (&moved, "moved"), (&gone, "gone"), (&half, "half"), (&other, "other")] {
            shelf.registry.push(made, &format!("team/{repo}"), "1")?;
        }
        shelf.registry.push(&later, "team/moved", "1")?;
        shelf.registry.delete_manifest("team/gone", &gone.digest)?;
        shelf.registry.delete_manifest("team/half", half.child(Platform::Amd64).unwrap_or_default())?;
        let pinned = |repo: &str, digest: &str| format!("{host}/team/{repo}:1@{digest}");
        let state = shelf.state(&[
            ("good", pinned("good", &good.digest)),
            ("tag", format!("{host}/team/good:1")),
            ("moved", pinned("moved", &moved.digest)),
            ("gone", pinned("gone", &gone.digest)),
            ("half", pinned("half", &half.digest)),
            ("other", pinned("other", &other.digest)),
            ("never", format!("{host}/team/never:1")),
        ])?;
        let dir = state.state().display().to_string();
        let listed = shelf.agent(0, &["images", "list", "--dir", &dir, "--json"])?;
        assert_eq!(line(&listed, "good")?["digest"], json!(good.digest));
        assert_eq!(line(&listed, "good")?["platforms"], json!(["linux/amd64"]));
        assert_eq!(line(&listed, "good")?["login"], "file");
        assert_eq!(line(&listed, "tag")?["pinned"], false);

        let checked = shelf.agent(6, &["images", "check", "--dir", &dir, "--json"])?;
        for (service, expected) in [
            ("good", &[][..]),
            ("tag", &[]),
            ("moved", &["tag-moved"]),
            ("gone", &["not-there"]),
            ("half", &["part-gone"]),
            ("other", &["no-platform"]),
            ("never", &["not-there"]),
        ] {
            let line = line(&checked, service)?;
            assert_eq!(problems(line), expected, "{service}: {line:#}");
        }
        assert_eq!(line(&checked, "tag")?["digest"], json!(good.digest));

        // For another platform, the good one is good and the half one too.
        let arm = shelf.agent(6, &["images", "check", "--dir", &dir, "--platform", "linux/arm64", "--json"])?;
        assert_eq!(problems(line(&arm, "other")?), [""; 0]);
        assert_eq!(problems(line(&arm, "half")?), [""; 0]);
        assert_eq!(problems(line(&arm, "moved")?), ["no-platform", "tag-moved"]);
    }
    Ok(())
}

#[test]
fn a_layer_that_is_gone_is_found_by_a_deep_check() -> Result<()> {
    let shelf = Shelf::new(Login::Basic)?;
    let made = shelf.layout.add("web", &Image::index("web"))?;
    shelf.registry.push(&made, "team/web", "1")?;
    let state = shelf.state(&[("web", format!("{}/team/web:1@{}", shelf.registry.host(), made.digest))])?;
    let dir = state.state().display().to_string();
    shelf.agent(0, &["images", "check", "--dir", &dir, "--deep", "--json"])?;
    // What a registry's disk may lose, and its index does not know.
    for blob in &made.blobs {
        let hex = blob.trim_start_matches("sha256:");
        let stored = shelf.registry.data().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex);
        std::fs::remove_dir_all(&stored)?;
    }
    shelf.registry.start_again()?;
    shelf.agent(0, &["images", "check", "--dir", &dir, "--json"])?;
    let deep = shelf.agent(6, &["images", "check", "--dir", &dir, "--deep", "--json"])?;
    ensure!(problems(line(&deep, "web")?).contains(&"part-gone"), "{deep:#}");
    Ok(())
}

#[test]
fn a_refused_login_is_missing_and_a_silent_registry_is_unknown() -> Result<()> {
    let mut shelf = Shelf::new(Login::Basic)?;
    let made = shelf.layout.add("web", &Image::single("web"))?;
    shelf.registry.push(&made, "team/web", "1")?;
    let state = shelf.state(&[("web", format!("{}/team/web:1@{}", shelf.registry.host(), made.digest))])?;
    let dir = state.state().display().to_string();
    let check = ["images", "check", "--dir", &dir, "--json"];
    shelf.agent(0, &check)?;
    let owner = shelf.registry.owner().clone();
    shelf.registry.set_account(&Account::new(&owner.user, "another"))?;
    let refused = shelf.agent(6, &check)?;
    assert_eq!(problems(line(&refused, "web")?), ["denied"]);
    shelf.registry.set_account(&owner)?;
    shelf.agent(0, &check)?;
    shelf.registry.stop();
    let unknown = shelf.agent(1, &check)?;
    let line = line(&unknown, "web")?;
    ensure!(problems(line).is_empty() && line["unknown"].to_string().contains("cannot be reached"), "{unknown:#}");
    // A certificate that nobody vouches for is no missing image either.
    shelf.registry.start_again()?;
    let own = std::fs::read_to_string(shelf.file("ca-0.pem"))?;
    let other = crate::shelf::registry(Login::Open)?;
    std::fs::write(shelf.file("ca-0.pem"), other.authority().unwrap_or_default())?;
    shelf.agent(1, &check)?;
    std::fs::write(shelf.file("ca-0.pem"), own)?;
    shelf.extra = String::new();
    shelf.agent(0, &check).map(drop)
}

/// An image of which the agent asks a front, and the state of a swarm that needs it.
fn behind_a_front() -> Result<(Shelf, Front, MadeState)> {
    let mut shelf = Shelf::new(Login::Basic)?;
    let front = Front::start(&shelf.registry)?;
    let owner = shelf.registry.owner().clone();
    shelf.know(&front.host(), front.authority().unwrap_or_default(), Some(&owner))?;
    let made = shelf.layout.add("web", &Image::index("web"))?;
    shelf.registry.push(&made, "team/web", "1")?;
    let state = shelf.state(&[("web", format!("{}/team/web:1@{}", front.host(), made.digest))])?;
    Ok((shelf, front, state))
}

#[test]
fn a_busy_registry_is_waited_for_and_asked_without_pulls() -> Result<()> {
    let (shelf, front, state) = behind_a_front()?;
    let dir = state.state().display().to_string();
    let check = ["images", "check", "--dir", &dir, "--json"];
    front.spoil("HEAD", "/manifests/", 1, Fault::TooMany { retry_after: 2 });
    let begun = std::time::Instant::now();
    shelf.agent(0, &check)?;
    ensure!(begun.elapsed() >= std::time::Duration::from_secs(2), "it came back before it was asked to");
    let first = front.take_seen();
    let gets = |seen: &[swarmdr_tests::registry::Seen]| {
        seen.iter().filter(|it| it.method == "GET" && it.path.contains("/manifests/")).count()
    };
    assert_eq!(gets(&first), 1, "the index is read once: {first:#?}");
    shelf.agent(0, &check)?;
    let second = front.take_seen();
    assert_eq!(gets(&second), 0, "what is immutable is remembered: {second:#?}");
    let heads = second.iter().filter(|it| it.method == "HEAD").count();
    assert_eq!(heads, 3, "the index, the manifest of the platform, and the tag: {second:#?}");
    Ok(())
}

#[test]
fn what_a_broken_server_says_is_no_finding_and_no_success() -> Result<()> {
    let (shelf, front, state) = behind_a_front()?;
    let dir = state.state().display().to_string();
    let check = ["images", "check", "--dir", &dir, "--json"];
    shelf.agent(0, &check)?;
    for (fault, words) in [
        (Fault::TooMany { retry_after: u64::MAX }, "too busy"),
        (Fault::TooMany { retry_after: 100_000 }, "too busy"),
        (Fault::Refuse { status: 522, code: "ORIGIN" }, "it answered 522"),
        (Fault::Refuse { status: 503, code: "AWAY" }, "it answered 503"),
        (Fault::Refuse { status: 408, code: "SLOW" }, "it answered 408"),
    ] {
        front.spoil("*", "/manifests/", 1000, fault);
        let told = shelf.agent(1, &check)?;
        let line = line(&told, "web")?;
        ensure!(problems(line).is_empty() && line["unknown"].to_string().contains(words), "{words}: {told:#}");
        front.heal();
    }
    // A page that answers everything has not the bytes of the digest.
    front.spoil("*", "/manifests/", 1000, Fault::Refuse { status: 200, code: "WELCOME" });
    let told = shelf.agent(6, &check)?;
    assert_eq!(problems(line(&told, "web")?), ["damaged"], "{told:#}");
    Ok(())
}
