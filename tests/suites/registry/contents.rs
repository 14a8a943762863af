//! What is pushed is what is there, byte by byte.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    lab::wait_for,
    registry::{Endpoint, Image, Layout, Login, Media, Platform, Registry, RegistryOptions},
    tree::capture,
};

use crate::{REPO, make, refused, with};

#[test]
fn digests_are_equal_after_a_push() -> Result<()> {
    for relative_urls in [false, true] {
        let registry = Registry::start(RegistryOptions { relative_urls, ..with(Login::Basic) })?;
        for (name, media) in [("oci", Media::Oci), ("docker", Media::Docker)] {
            for (tag, image) in [("index", Image::index(name)), ("single", Image::single(name))] {
                let image = make(&registry, &format!("{name}-{tag}"), &image.media(media))?;
                registry.push(&image, REPO, tag)?;
                assert_eq!(registry.digest(REPO, tag)?, image.digest);
                assert_eq!(registry.digest(REPO, &format!("@{}", image.digest))?, image.digest);
                for child in &image.children {
                    assert_eq!(registry.digest(REPO, &format!("@{}", child.digest))?, child.digest);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn the_digest_is_the_one_that_other_tools_compute() -> Result<()> {
    let registry = Registry::start(RegistryOptions::default())?;
    let image = make(&registry, "web", &Image::index("first"))?;
    registry.push(&image, REPO, "1")?;
    let script = format!("skopeo inspect --tls-verify=false --raw docker://{}/{REPO}:1 | sha256sum", registry.host());
    let printed = capture(Command::new("sh").args(["-euc", &script]))?;
    ensure!(printed.starts_with(&image.digest["sha256:".len()..]), "{printed}");
    Ok(())
}

#[test]
fn a_deleted_manifest_is_unknown() -> Result<()> {
    let registry = Registry::start(with(Login::Basic))?;
    let image = make(&registry, "web", &Image::index("first"))?;
    registry.push(&image, REPO, "1")?;
    // A child that is gone leaves an index with a hole.
    let child = image.child(Platform::Arm64).context("no such child")?;
    registry.delete_manifest(REPO, child)?;
    let said = refused(registry.raw(REPO, &format!("@{child}")))?;
    ensure!(said.contains("manifest unknown"), "{said}");
    assert_eq!(registry.digest(REPO, "1")?, image.digest);
    registry.delete_manifest(REPO, &image.digest)?;
    for reference in [format!("@{}", image.digest), "1".to_owned()] {
        let said = refused(registry.raw(REPO, &reference))?;
        ensure!(said.contains("manifest unknown"), "{said}");
    }
    Ok(())
}

#[test]
fn an_index_may_lack_a_platform() -> Result<()> {
    let registry = Registry::start(with(Login::Basic))?;
    let image = make(&registry, "web", &Image::index_of("first", &[Platform::Arm64]))?;
    registry.push(&image, REPO, "1")?;
    assert_eq!(registry.digest(REPO, "1")?, image.digest);
    assert_eq!(image.child(Platform::Amd64), None);
    Ok(())
}

#[test]
fn an_index_without_its_children_is_refused() -> Result<()> {
    let registry = Registry::start(with(Login::Basic))?;
    let image = make(&registry, "web", &Image::index("first"))?;
    let index = image.blob(&image.digest).display().to_string();
    let kind = format!("Content-Type: {}", image.media.index());
    let put = ["--request", "PUT", "--header", &kind, "--data-binary", &format!("@{index}")];
    let said = registry.curl(&registry.host(), "/v2/team/web/manifests/1", &put)?;
    ensure!(said.contains("HTTP/1.1 400") || said.contains("HTTP/2 400"), "{said}");
    ensure!(said.contains("MANIFEST_BLOB_UNKNOWN"), "{said}");
    Ok(())
}

#[test]
fn images_that_are_placed_are_as_if_pushed() -> Result<()> {
    let registry = Registry::start(with(Login::Basic))?;
    let image = make(&registry, "web", &Image::index("first"))?;
    registry.place(&image, REPO, "1")?;
    assert_eq!(registry.digest(REPO, "1")?, image.digest);
    // All of it can be read, and pushed elsewhere.
    let copy = registry.directory().join("copy");
    let mut command = registry.skopeo("copy", "src-", registry.owner())?;
    command.args(["--all", "--preserve-digests", &format!("docker://{}/{REPO}:1", registry.host())]);
    capture(command.arg(format!("oci:{}:web", copy.display())))?;
    for digest in image.manifests.iter().chain(&image.blobs) {
        let copied = fs::read(copy.join("blobs/sha256").join(&digest["sha256:".len()..]))?;
        ensure!(copied == fs::read(image.blob(digest))?, "{digest} differs");
    }
    Ok(())
}

#[test]
fn two_hundred_images_are_there_in_seconds() -> Result<()> {
    let registry = Registry::start(with(Login::Basic))?;
    let begun = Instant::now();
    let images = Layout::create(&registry.directory().join("many"))?.add_many("app", 200)?;
    let made = begun.elapsed();
    for (number, image) in images.iter().enumerate() {
        registry.place(image, &format!("many/app-{number}"), "1")?;
    }
    println!("200 images: made in {made:.1?}, placed in {:.1?}", begun.elapsed() - made);
    let last = images.last().context("there are none")?;
    assert_eq!(registry.digest("many/app-199", "1")?, last.digest);
    let distinct: std::collections::BTreeSet<&String> = images.iter().map(|image| &image.digest).collect();
    assert_eq!(distinct.len(), 200);
    Ok(())
}

#[test]
fn a_large_layer_is_stored_once() -> Result<()> {
    const SIZE: u64 = 64 << 20;
    let registry = Registry::start(with(Login::Basic))?;
    let begun = Instant::now();
    let image = make(&registry, "large", &Image::single("large").with_large_layer(SIZE))?;
    println!("a layer of {SIZE} bytes: made in {:.1?}", begun.elapsed());
    registry.place(&image, REPO, "1")?;
    let used = capture(Command::new("du").args(["--summarize", "--bytes"]).arg(registry.directory()))?;
    let used: u64 = used.split_whitespace().next().context("du printed nothing")?.parse()?;
    ensure!((SIZE..SIZE + SIZE / 4).contains(&used), "{used} bytes are used");
    assert_eq!(registry.digest(REPO, "1")?, image.digest);
    // It also passes as a push, and nothing in it is compressible.
    let begun = Instant::now();
    registry.push(&image, "team/other", "1")?;
    println!("pushed in {:.1?}", begun.elapsed());
    Ok(())
}

#[test]
fn a_registry_stops_starts_and_loses_its_data() -> Result<()> {
    let registry = Registry::start(with(Login::Basic))?;
    let image = make(&registry, "web", &Image::single("first"))?;
    registry.push(&image, REPO, "1")?;
    registry.stop();
    let said = refused(registry.raw(REPO, "1"))?;
    ensure!(said.contains("connection refused"), "{said}");
    registry.start_again()?;
    assert_eq!(registry.digest(REPO, "1")?, image.digest);
    registry.destroy_data()?;
    let said = refused(registry.raw(REPO, "1"))?;
    ensure!(said.contains("manifest unknown") || said.contains("name unknown"), "{said}");
    registry.push(&image, REPO, "1")?;
    assert_eq!(registry.digest(REPO, "1")?, image.digest);
    ensure!(registry.log().contains("PUT"), "the log has no requests");
    Ok(())
}

/// Holds a registry until it is killed. Only the test below runs it, in a process of its own.
#[test]
#[ignore = "waits to be killed"]
fn victim() -> Result<()> {
    let registry = Registry::start(with(Login::Basic))?;
    println!("\n{} {}", registry.host(), registry.directory().display());
    std::io::stdin().read_line(&mut String::new()).map(drop)?;
    Ok(())
}

#[test]
fn nothing_is_left_of_a_killed_test_process() -> Result<()> {
    let mut victim = Command::new(std::env::current_exe()?)
        .args(["contents::victim", "--exact", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(victim.stdout.take().context("it is piped")?).lines();
    let told = lines.map_while(Result::ok).find(|line| line.starts_with("127.")).context("it printed no address")?;
    let (address, directory) = told.split_once(' ').context("it printed no directory")?;
    TcpStream::connect(address).context("it does not listen")?;
    ensure!(Path::new(directory).exists(), "{directory} is elsewhere");
    victim.kill()?;
    victim.wait()?;
    wait_for("its end", Duration::from_secs(30), || {
        let listens = TcpStream::connect(address).is_ok();
        Ok((!listens && !Path::new(directory).exists()).then_some(()))
    })
}
