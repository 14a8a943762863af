//! Faults on the way to a registry.

use std::{fs, time::Instant};

use anyhow::{Context, Result, ensure};
use swarmdr_tests::registry::{BlobHost, Endpoint, Fault, Front, Image, Login, Registry, RegistryOptions};

use crate::{REPO, make, refused, with};

#[test]
fn a_front_passes_everything_and_records_it() -> Result<()> {
    for options in [with(Login::Basic), with(Login::Token), RegistryOptions::default()] {
        let registry = Registry::start(options)?;
        let front = Front::start(&registry)?;
        let image = make(&registry, "web", &Image::index("first").with_large_layer(9_000_000))?;
        registry.push_as(registry.owner(), &image, &front.host(), REPO, "1")?;
        assert_eq!(registry.digest(REPO, "1")?, image.digest);
        let pushed = front.take_seen();
        let puts: Vec<_> = pushed.iter().filter(|it| it.method == "PUT").collect();
        assert_eq!(puts.iter().filter(|it| it.path.contains("/manifests/")).count(), 3);
        let logs_in = options.login != Login::Open;
        ensure!(puts.iter().all(|it| it.status == 201 && it.authorized == logs_in), "{pushed:?}");

        registry.raw_as(registry.owner(), &front.host(), REPO, "1")?;
        let read = front.seen();
        ensure!(read.iter().any(|it| it.method == "GET" && it.path == "/v2/team/web/manifests/1"), "{read:?}");
    }
    Ok(())
}

#[test]
fn too_many_requests_are_told_when_to_come_again() -> Result<()> {
    let registry = Registry::start(with(Login::Basic))?;
    let front = Front::start(&registry)?;
    let image = make(&registry, "web", &Image::single("first"))?;
    registry.push(&image, REPO, "1")?;
    front.spoil("GET", "/manifests/", 2, Fault::TooMany { retry_after: 7 });
    let accept = format!("Accept: {}", image.media.manifest());
    let ask = || registry.curl(&front.host(), "/v2/team/web/manifests/1", &["--header", &accept]);
    for _ in 0..2 {
        let said = ask()?;
        ensure!(said.starts_with("HTTP/1.1 429 Too Many Requests") && said.contains("Retry-After: 7"), "{said}");
        ensure!(said.contains("TOOMANYREQUESTS"), "{said}");
    }
    let said = ask()?;
    ensure!(said.starts_with("HTTP/1.1 200"), "{said}");
    let statuses: Vec<u16> = front.seen().iter().map(|it| it.status).collect();
    assert_eq!(statuses, [429, 429, 200]);
    // A client that waits, waits that long.
    front.spoil("GET", "/manifests/", 1, Fault::TooMany { retry_after: 1 });
    registry.raw_as(registry.owner(), &front.host(), REPO, "1").map(drop)
}

#[test]
fn answers_are_refused_cut_lost_and_damaged() -> Result<()> {
    let registry = Registry::start(with(Login::Basic))?;
    let front = Front::start(&registry)?;
    let image = make(&registry, "web", &Image::single("first").with_large_layer(3_000_000))?;
    registry.push(&image, REPO, "1")?;
    let layer = image.blobs.iter().find(|it| image.blob(it).metadata().is_ok_and(|it| it.len() > 3_000_000));
    let path = format!("/v2/team/web/blobs/{}", layer.context("no such layer")?);
    let get = |more: &[&str]| registry.curl(&front.host(), &path, &[&["--output", "/dev/null"], more].concat());
    front.spoil("GET", "/blobs/", 1, Fault::Cut { after: 1_000_000 });
    let said = refused(get(&[]))?;
    ensure!(said.contains("(18)") || said.contains("(56)"), "{said}");
    get(&[])?;
    front.spoil("*", "/blobs/", 1, Fault::Refuse { status: 403, code: "DENIED" });
    let said = refused(get(&["--fail"]))?;
    ensure!(said.contains("403"), "{said}");
    front.spoil("GET", "/blobs/", 1, Fault::LoseAnswer);
    refused(get(&[]))?;
    front.spoil("GET", "/blobs/", 1, Fault::Silence);
    let said = refused(get(&["--max-time", "0.3"]))?;
    ensure!(said.contains("(28)"), "{said}");

    front.spoil("GET", "/blobs/", 9, Fault::Corrupt { at: 10 });
    let mut copy = registry.skopeo("copy", "src-", registry.owner())?;
    copy.arg(format!("docker://{}/{REPO}:1", front.host())).arg(format!("dir:{}/copy", registry.directory().display()));
    let said = refused(swarmdr_tests::tree::capture(&mut copy))?;
    ensure!(said.contains("igest"), "{said}");
    front.heal();
    get(&["--fail"]).map(drop)
}

#[test]
fn an_upload_is_cut() -> Result<()> {
    let registry = Registry::start(with(Login::Basic))?;
    let front = Front::start(&registry)?;
    let image = make(&registry, "web", &Image::single("first").with_large_layer(3_000_000))?;
    front.spoil("PATCH", "/blobs/uploads/", 9, Fault::CutUpload { after: 10_000 });
    refused(registry.push_as(registry.owner(), &image, &front.host(), REPO, "1"))?;
    front.heal();
    registry.push_as(registry.owner(), &image, &front.host(), REPO, "1")?;
    assert_eq!(registry.digest(REPO, "1")?, image.digest);
    Ok(())
}

#[test]
fn locations_of_manifests_can_be_hidden() -> Result<()> {
    let registry = Registry::start(with(Login::Basic))?;
    let front = Front::start(&registry)?;
    let image = make(&registry, "web", &Image::single("first"))?;
    registry.push(&image, REPO, "1")?;
    let manifest = image.blob(&image.digest).display().to_string();
    let kind = format!("Content-Type: {}", image.media.manifest());
    let put = ["--request", "PUT", "--header", &kind, "--data-binary", &format!("@{manifest}")];
    let put = || registry.curl(&front.host(), "/v2/team/web/manifests/2", &put);
    let said = put()?;
    ensure!(said.contains("HTTP/1.1 201") && said.contains(&format!("Location: {}/v2/", front.url())), "{said}");
    front.hide_manifest_locations();
    let said = put()?;
    ensure!(said.contains("HTTP/1.1 201") && !said.contains("Location:"), "{said}");
    ensure!(said.contains("Docker-Content-Digest:"), "{said}");
    Ok(())
}

#[test]
fn redirected_blobs_come_from_elsewhere() -> Result<()> {
    let registry = Registry::start(with(Login::Token))?;
    let (front, blobs) = (Front::start(&registry)?, BlobHost::start(&registry)?);
    let image = make(&registry, "web", &Image::single("first"))?;
    registry.push(&image, REPO, "1")?;
    front.redirect_blobs(&blobs);
    let mut copy = registry.skopeo("copy", "src-", registry.owner())?;
    copy.arg(format!("docker://{}/{REPO}:1", front.host())).arg(format!("dir:{}/copy", registry.directory().display()));
    swarmdr_tests::tree::capture(&mut copy)?;
    let (asked, served) = (front.seen(), blobs.seen());
    assert_eq!(asked.iter().filter(|it| it.status == 307).count(), 3, "{asked:?}");
    ensure!(served.len() == 3 && served.iter().all(|it| !it.authorized && it.status == 200), "{served:?}");

    // A login is refused there, and a range is not.
    let layer = &image.blobs[0];
    let at = format!("/signed?digest={layer}");
    let said = registry.curl(&blobs.host(), &at, &["--output", "/dev/null", "--fail"]);
    ensure!(refused(said)?.contains("400"), "a login was accepted");
    ensure!(blobs.seen().last().is_some_and(|it| it.authorized), "it was not recorded");
    Ok(())
}

#[test]
fn large_bodies_pass_without_being_held() -> Result<()> {
    const SIZE: u64 = 400 << 20;
    let registry = Registry::start(with(Login::Basic))?;
    let front = Front::start(&registry)?;
    let image = make(&registry, "web", &Image::single("first").with_large_layer(SIZE))?;
    let (begun, before) = (Instant::now(), resident()?);
    registry.push_as(registry.owner(), &image, &front.host(), REPO, "1")?;
    let (pushed, held) = (begun.elapsed(), resident()?.saturating_sub(before));
    println!("{} MB pushed through a front in {pushed:.1?}, holding {} MB", SIZE >> 20, held >> 20);
    ensure!(held < SIZE / 4, "{held} bytes are held");
    Ok(())
}

/// Returns the most memory that this process has had at a time.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}
