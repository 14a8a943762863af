//! `images mirror` and `images push`: copies that keep digests, and go on where an earlier run ended.

use std::{collections::BTreeSet, fs, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    campaign::full,
    lab::wait_for,
    measure,
    registry::{BlobHost, Endpoint, Fault, Front, Image, Layout, Login, Made, Media, Platform, Registry, Seen},
    states::MadeState,
};

use crate::shelf::{Shelf, registry};

/// A shelf with a second registry that is a mirror.
fn with_mirror(source: Login, mirror: Login) -> Result<(Shelf, Registry)> {
    let mut shelf = Shelf::new(source)?;
    let to = registry(mirror)?;
    let owner = to.owner().clone();
    shelf.know(&to.host(), to.authority().unwrap_or_default(), Some(&owner))?;
    Ok((shelf, to))
}

fn directory(host: &str) -> String {
    host.replace(':', "_")
}

fn mirrored<'a>(report: &'a Value, result: &str) -> Vec<&'a Value> {
    report["images"].as_array().into_iter().flatten().filter(|it| it["result"] == result).collect()
}

/// Checks with skopeo that each manifest of an image is in the mirror, byte for byte.
fn assert_same(from: &Registry, to: &Registry, made: &Made, repo: &str, at: &str) -> Result<()> {
    for digest in std::iter::once(&made.digest).chain(made.children.iter().map(|child| &child.digest)) {
        let reference = format!("@{digest}");
        assert_eq!(from.raw(repo, &reference)?, to.raw(at, &reference)?, "{at}");
        assert_eq!(&to.digest(at, &reference)?, digest, "{at}");
    }
    Ok(())
}

#[test]
fn digests_stay_and_the_map_leads_to_the_copies() -> Result<()> {
    for (source, mirror) in [(Login::Basic, Login::Token), (Login::Token, Login::Basic)] {
        let (shelf, to) = with_mirror(source, mirror)?;
        let host = shelf.registry.host();
        let index = shelf.layout.add("index", &Image::index("index"))?;
        let docker = shelf.layout.add("docker", &Image::index("docker").media(Media::Docker))?;
        let single = shelf.layout.add("single", &Image::single("single"))?;
        for (made, repo) in [(&index, "team/index"), (&docker, "docker"), (&single, "a/b/single")] {
            shelf.registry.push(made, repo, "1")?;
        }
        let state = shelf.state(&[
            ("index", format!("{host}/team/index:1@{}", index.digest)),
            ("docker", format!("{host}/docker@{}", docker.digest)),
            ("single", format!("{host}/a/b/single:1")),
        ])?;
        let (dir, place) = (state.state().display().to_string(), format!("{}/mirror", to.host()));
        let words = ["images", "mirror", "--dir", &dir, "--to", &place, "--json"];
        let report = shelf.agent(0, &words)?;
        assert_eq!(mirrored(&report, "copied").len(), 3, "{report:#}");
        for (made, repo) in [(&index, "team/index"), (&docker, "docker"), (&single, "a/b/single")] {
            let at = format!("mirror/{}/{repo}", directory(&host));
            assert_same(&shelf.registry, &to, made, repo, &at)?;
        }
        let tagged = format!("mirror/{}/team/index", directory(&host));
        for tag in ["1".to_owned(), format!("1-{}", &index.digest[7..19])] {
            assert_eq!(to.digest(&tagged, &tag)?, index.digest);
        }
        // The source dies: the map leads to what is there.
        shelf.registry.destroy_data()?;
        let rule = report["image_map"][0].as_str().context("no rule")?;
        shelf.agent(0, &["images", "check", "--dir", &dir, "--deep", "--image-map", rule, "--json"])?;
        shelf.agent(6, &["images", "check", "--dir", &dir, "--json"])?;
        // What is there needs its source no more, but for the image that has no digest.
        let again = shelf.agent(6, &words)?;
        assert_eq!((mirrored(&again, "there").len(), mirrored(&again, "missing").len()), (2, 1), "{again:#}");
    }
    Ok(())
}

/// A state with many images, which are all in the source.
fn many(shelf: &Shelf, count: usize) -> Result<(MadeState, Vec<Made>)> {
    let made = shelf.layout.add_many("many", count)?;
    for (number, one) in made.iter().enumerate() {
        shelf.registry.place(one, &format!("many/n{number}"), "1")?;
    }
    let host = shelf.registry.host();
    let names: Vec<String> = (0..count).map(|number| format!("s{number}")).collect();
    let services: Vec<(&str, String)> = names
        .iter()
        .zip(&made)
        .enumerate()
        .map(|(number, (name, one))| (name.as_str(), format!("{host}/many/n{number}:1@{}", one.digest)))
        .collect();
    Ok((shelf.state(&services)?, made))
}

#[test]
fn what_is_there_costs_one_request_each() -> Result<()> {
    let (mut shelf, to) = with_mirror(Login::Basic, Login::Basic)?;
    let front = Front::start(&to)?;
    shelf.know(&front.host(), front.authority().unwrap_or_default(), Some(to.owner()))?;
    let (state, made) = many(&shelf, 200)?;
    for (number, one) in made.iter().take(190).enumerate() {
        let at = format!("mirror/{}/many/n{number}", directory(&shelf.registry.host()));
        to.place(one, &at, &format!("1-{}", &one.digest[7..19]))?;
    }
    let (dir, place) = (state.state().display().to_string(), format!("{}/mirror", front.host()));
    let report = shelf.agent(0, &["images", "mirror", "--dir", &dir, "--to", &place, "--json"])?;
    assert_eq!((mirrored(&report, "there").len(), mirrored(&report, "copied").len()), (190, 10));
    let seen = front.take_seen();
    let heads =
        |seen: &[Seen], part: &str| seen.iter().filter(|it| it.method == "HEAD" && it.path.contains(part)).count();
    assert_eq!(heads(&seen, "/manifests/"), 200, "one for each image");
    assert_eq!(seen.iter().filter(|it| it.path.ends_with("/v2/")).count(), 1);
    let again = shelf.agent(0, &["images", "mirror", "--dir", &dir, "--to", &place, "--json"])?;
    assert_eq!(mirrored(&again, "there").len(), 200);
    let seen = front.take_seen();
    println!("200 images that are there: {} requests", seen.len());
    assert_eq!(seen.len(), 201, "one for each, and the first one");
    Ok(())
}

#[test]
fn a_run_that_was_killed_is_completed_by_the_next() -> Result<()> {
    let (shelf, to) = with_mirror(Login::Basic, Login::Basic)?;
    let (state, made) = many(&shelf, 12)?;
    let dir = state.state().display().to_string();
    let layout = shelf.file("oci").display().to_string();
    let places = [format!("{}/mirror", to.host()), format!("oci:{layout}")];
    let kills = if full() { 40 } else { 6 };
    for place in &places {
        let whole = shelf.command(&["images", "mirror", "--dir", &dir, "--to", place])?;
        drop(whole);
        for at in 0..kills {
            let mut command = shelf.command(&["images", "mirror", "--dir", &dir, "--to", place, "--json"])?;
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            std::thread::sleep(Duration::from_millis(5 * at));
            // It may have ended already.
            let _ = child.kill();
            child.wait()?;
        }
        let report = shelf.agent(0, &["images", "mirror", "--dir", &dir, "--to", place, "--json"])?;
        let done = mirrored(&report, "there").len() + mirrored(&report, "copied").len();
        assert_eq!(done, made.len(), "{report:#}");
    }
    for (number, one) in made.iter().enumerate() {
        let at = format!("mirror/{}/many/n{number}", directory(&shelf.registry.host()));
        assert_same(&shelf.registry, &to, one, &format!("many/n{number}"), &at)?;
    }
    let names = |place: &str| -> Result<BTreeSet<String>> {
        fs::read_dir(place)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    let left = names(&format!("{layout}/blobs/sha256"))?;
    ensure!(left.iter().all(|name| name.len() == 64), "a killed run left files: {left:?}");
    let left = names(&layout)?;
    ensure!(left.iter().map(String::as_str).eq([".lock", "blobs", "index.json", "oci-layout"]), "it left {left:?}");
    Ok(())
}

#[test]
fn connections_that_break_and_blobs_that_lie_elsewhere() -> Result<()> {
    let (mut shelf, to) = with_mirror(Login::Basic, Login::Basic)?;
    let from = Front::start(&shelf.registry)?;
    let into = Front::start(&to)?;
    let blobs = BlobHost::start(&shelf.registry)?;
    let owner = shelf.registry.owner().clone();
    let authority = from.authority().unwrap_or_default().to_owned();
    shelf.know(&from.host(), &authority, Some(&owner))?;
    shelf.know(&into.host(), into.authority().unwrap_or_default(), Some(to.owner()))?;
    let large = shelf.layout.add("large", &Image::single("large").with_large_layer(8 << 20))?;
    shelf.registry.push(&large, "team/large", "1")?;
    let state = shelf.state(&[("large", format!("{}/team/large:1@{}", from.host(), large.digest))])?;
    let dir = state.state().display().to_string();
    into.hide_manifest_locations();
    for (number, prepare) in [
        (|from: &Front, _: &Front, _: &BlobHost| from.spoil("GET", "/blobs/", 3, Fault::Cut { after: 1 << 20 }))
            as fn(&Front, &Front, &BlobHost),
        |from, _, blobs| from.redirect_blobs(blobs),
        |from, _, _| from.spoil("GET", "/blobs/", 1, Fault::TooMany { retry_after: 1 }),
        |_, into, _| into.spoil("PUT", "/manifests/", 1, Fault::TooMany { retry_after: 1 }),
        |_, into, _| into.spoil("POST", "/uploads/", 1, Fault::Refuse { status: 503, code: "UNAVAILABLE" }),
    ]
    .into_iter()
    .enumerate()
    {
        prepare(&from, &into, &blobs);
        let place = format!("{}/mirror-{number}", into.host());
        let report = shelf.agent(0, &["images", "mirror", "--dir", &dir, "--to", &place, "--json"])?;
        assert_eq!(mirrored(&report, "copied").len(), 1, "{number}: {report:#}");
        let at = format!("mirror-{number}/{}/team/large", directory(&from.host()));
        assert_same(&shelf.registry, &to, &large, "team/large", &at)?;
        from.heal();
        into.heal();
        into.hide_manifest_locations();
    }
    ensure!(!blobs.seen().is_empty(), "nothing was redirected");
    ensure!(blobs.seen().iter().all(|seen| !seen.authorized), "the login went to another host");
    // Bytes that are not those of the digest are never stored.
    from.spoil("GET", "/blobs/", 100, Fault::Corrupt { at: 100 });
    let place = format!("{}/corrupt", into.host());
    let report = shelf.agent(6, &["images", "mirror", "--dir", &dir, "--to", &place, "--json"])?;
    assert_eq!(mirrored(&report, "missing").len(), 1, "{report:#}");
    let at = format!("corrupt/{}/team/large", directory(&from.host()));
    ensure!(to.raw(&at, "1").is_err(), "it was stored");
    from.heal();
    // An upload that is cut is sent again, but not for ever, and the next run goes on.
    let place = format!("{}/cut", into.host());
    let mirror = ["images", "mirror", "--dir", &dir, "--to", &place, "--json"];
    into.spoil("PATCH", "/uploads/", 100, Fault::CutUpload { after: 1 << 20 });
    let report = shelf.agent(1, &mirror)?;
    assert_eq!(mirrored(&report, "failed").len(), 1, "{report:#}");
    into.heal();
    into.spoil("PATCH", "/uploads/", 1, Fault::CutUpload { after: 1 << 20 });
    shelf.agent(0, &mirror).map(drop)
}

#[test]
fn a_directory_fills_a_registry_that_has_nothing() -> Result<()> {
    let (shelf, to) = with_mirror(Login::Basic, Login::Basic)?;
    let host = shelf.registry.host();
    let index = shelf.layout.add("index", &Image::index("index"))?;
    let older = shelf.layout.add("older", &Image::single("older"))?;
    let newer = shelf.layout.add("newer", &Image::single("newer"))?;
    shelf.registry.push(&index, "team/index", "1")?;
    shelf.registry.push(&older, "team/web", "1")?;
    shelf.registry.push(&newer, "team/web", "1")?;
    let state = shelf.state(&[
        ("index", format!("{host}/team/index:1@{}", index.digest)),
        ("older", format!("{host}/team/web:1@{}", older.digest)),
        ("newer", format!("{host}/team/web:1@{}", newer.digest)),
    ])?;
    let dir = state.state().display().to_string();
    let layout = format!("oci:{}", shelf.file("oci").display());
    shelf.agent(0, &["images", "mirror", "--dir", &dir, "--to", &layout, "--json"])?;
    let again = shelf.agent(0, &["images", "mirror", "--dir", &dir, "--to", &layout, "--json"])?;
    assert_eq!(mirrored(&again, "there").len(), 3, "{again:#}");
    // Skopeo reads it by the same names.
    let name = format!("{layout}:{host}/team/index:1");
    let raw = swarmdr_tests::tree::capture(std::process::Command::new("skopeo").args(["inspect", "--raw", &name]))?;
    assert_eq!(raw.trim_end(), shelf.registry.raw("team/index", "1")?.trim_end());
    shelf.registry.stop();
    let place = format!("{}/site", to.host());
    let pushed = shelf.agent(0, &["images", "push", "--from", &layout, "--to", &place, "--json"])?;
    assert_eq!(mirrored(&pushed, "copied").len(), 3, "{pushed:#}");
    let rule = pushed["image_map"][0].as_str().context("no rule")?;
    shelf.agent(0, &["images", "check", "--dir", &dir, "--deep", "--image-map", rule, "--json"])?;
    let pushed = shelf.agent(0, &["images", "push", "--from", &layout, "--to", &place, "--json"])?;
    assert_eq!(mirrored(&pushed, "there").len(), 3, "{pushed:#}");
    // A damaged directory is named, and nothing of it is stored.
    let blob = shelf.file("oci").join("blobs/sha256").join(&index.digest[7..]);
    fs::write(&blob, "{}")?;
    let place = format!("{}/other", to.host());
    let damaged = shelf.agent(6, &["images", "push", "--from", &layout, "--to", &place, "--json"])?;
    assert_eq!((mirrored(&damaged, "missing").len(), mirrored(&damaged, "copied").len()), (1, 2), "{damaged:#}");
    Ok(())
}

#[test]
fn a_copy_of_one_platform_is_not_taken_for_the_whole() -> Result<()> {
    let (shelf, to) = with_mirror(Login::Basic, Login::Basic)?;
    let index = shelf.layout.add("index", &Image::index("index"))?;
    shelf.registry.push(&index, "team/index", "1")?;
    let state = shelf.state(&[("index", format!("{}/team/index:1@{}", shelf.registry.host(), index.digest))])?;
    let dir = state.state().display().to_string();
    let (layout, place) = (format!("oci:{}", shelf.file("oci").display()), format!("{}/mirror", to.host()));
    let amd = ["--platform", "linux/amd64"];
    let mirror = ["images", "mirror", "--dir", &dir, "--to", &layout, "--json"];
    let part = shelf.agent(0, &[&mirror[..], &amd].concat())?;
    assert_eq!(mirrored(&part, "copied").len(), 1);
    assert_eq!(mirrored(&shelf.agent(0, &[&mirror[..], &amd].concat())?, "there").len(), 1);
    // Without the platforms that it was written with, a part is missing; a registry may refuse the rest.
    let push = ["images", "push", "--from", &layout, "--to", &place, "--json"];
    let missing = shelf.agent(6, &push)?;
    assert_eq!(mirrored(&missing, "missing").len(), 1, "{missing:#}");
    let refused = shelf.agent(1, &[&push[..], &amd].concat())?;
    ensure!(refused["images"][0]["why"].to_string().contains("did not take"), "{refused:#}");
    let whole = shelf.agent(0, &mirror)?;
    assert_eq!(mirrored(&whole, "copied").len(), 1, "{whole:#}");
    shelf.agent(0, &push).map(drop)
}

#[test]
fn what_a_directory_lost_is_copied_again() -> Result<()> {
    let shelf = Shelf::new(Login::Basic)?;
    let index = shelf.layout.add("index", &Image::index("index"))?;
    shelf.registry.push(&index, "team/index", "1")?;
    let state = shelf.state(&[("index", format!("{}/team/index:1@{}", shelf.registry.host(), index.digest))])?;
    let (dir, layout) = (state.state().display().to_string(), shelf.file("oci"));
    let to = format!("oci:{}", layout.display());
    let mirror = ["images", "mirror", "--dir", &dir, "--to", &to, "--json"];
    let none = shelf.agent(6, &[&mirror[..], &["--platform", "linux/amd46"]].concat())?;
    ensure!(none["images"][0]["why"].to_string().contains("it has nothing for linux/amd46"), "{none:#}");
    shelf.agent(0, &mirror)?;
    for lost in [&index.blobs[0], &index.digest, index.child(Platform::Arm64).unwrap_or_default()] {
        let path = layout.join("blobs/sha256").join(&lost[7..]);
        fs::remove_file(&path).with_context(|| lost.to_string())?;
        let again = shelf.agent(0, &mirror)?;
        ensure!(path.exists() && mirrored(&again, "copied").len() == 1, "{again:#}");
        assert_eq!(mirrored(&shelf.agent(0, &mirror)?, "there").len(), 1);
    }
    // What skopeo has put there has no registry in its name.
    let source = format!("oci:{}", layout.display());
    let name = format!("{source}:{}/team/index:1", shelf.registry.host());
    let other = format!("oci:{}:web:1", shelf.file("skopeo").display());
    swarmdr_tests::tree::capture(std::process::Command::new("skopeo").args(["copy", "--all", &name, &other]))?;
    let from = format!("oci:{}", shelf.file("skopeo").display());
    let nameless = shelf.agent(6, &["images", "push", "--from", &from, "--to", "127.0.0.1:9/x", "--json"])?;
    ensure!(nameless["images"][0]["why"].to_string().contains("leads to no registry"), "{nameless:#}");
    Ok(())
}

#[test]
fn a_tag_that_moves_back_is_followed() -> Result<()> {
    let (shelf, to) = with_mirror(Login::Basic, Login::Basic)?;
    let (a, b) = (shelf.layout.add("a", &Image::single("a"))?, shelf.layout.add("b", &Image::single("b"))?);
    let state = shelf.state(&[("tag", format!("{}/team/tag:1", shelf.registry.host()))])?;
    let (dir, place) = (state.state().display().to_string(), format!("{}/mirror", to.host()));
    let at = format!("mirror/{}/team/tag", directory(&shelf.registry.host()));
    for made in [&a, &b, &a] {
        shelf.registry.push(made, "team/tag", "1")?;
        shelf.agent(0, &["images", "mirror", "--dir", &dir, "--to", &place, "--json"])?;
        assert_eq!(to.digest(&at, "1")?, made.digest);
    }
    let again = shelf.agent(0, &["images", "mirror", "--dir", &dir, "--to", &place, "--json"])?;
    assert_eq!(mirrored(&again, "there").len(), 1);
    Ok(())
}

/// Largest memory of a copy, in bytes, however large the layer is.
const MOST_MEMORY: u64 = 128 << 20;

#[test]
fn a_large_layer_is_streamed() -> Result<()> {
    let (shelf, to) = with_mirror(Login::Basic, Login::Basic)?;
    let bytes = if full() { 10 << 30 } else { 256 << 20 };
    let layout = Layout::create(&shelf.registry.directory().join("big"))?;
    let made = layout.add("big", &Image::single("big").with_large_layer(bytes))?;
    shelf.registry.place(&made, "team/big", "1")?;
    let state = shelf.state(&[("big", format!("{}/team/big:1@{}", shelf.registry.host(), made.digest))])?;
    let (dir, place) = (state.state().display().to_string(), format!("{}/mirror", to.host()));
    let mut child =
        shelf.command(&["images", "mirror", "--dir", &dir, "--to", &place])?.stdout(Stdio::null()).spawn()?;
    let path = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = wait_for("the copy to end", Duration::from_secs(1500), || {
        peak = peak.max(fs::read_to_string(&path).map_or(0, |status| measure::peak(&status)));
        Ok(child.try_wait()?)
    })?;
    ensure!(ended.success(), "it ended with {ended}");
    println!("a layer of {} MiB: peak memory {} MiB", bytes >> 20, peak >> 20);
    ensure!(peak > 0 && peak < MOST_MEMORY, "peak memory {peak}");
    assert_eq!(to.digest(&format!("mirror/{}/team/big", directory(&shelf.registry.host())), "1")?, made.digest);
    Ok(())
}
