//! A registry that dies with its site: its images come back from a mirror, or from a directory.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Engine, Host},
    registry::{Account, Endpoint, Login, Registry, RegistryOptions},
    scenario::{Site, VAULT, agent_json},
    tree::capture,
};

use crate::{
    engines,
    yard::{RESTORE, Stock, USER, deployed, fresh, inspect, runs, site},
};

/// An empty registry in the lab.
fn empty(site: &Site, password: &str) -> Result<Registry> {
    let options = RegistryOptions { login: Login::Token, tls: true, ..RegistryOptions::default() };
    let registry = Registry::in_lab(&site.lab, options)?;
    registry.set_account(&Account::new(USER, password))?;
    registry.tokens().context("it has no tokens")?.set_rights(USER, &["pull", "push"]);
    Ok(registry)
}

/// Configures a host that knows the login of one registry, and whose backups check the images.
fn configure(site: &Site, host: &Host, registry: &Registry, password: &str) -> Result<()> {
    host.write_file("/root/mirror.login", format!("{USER}:{password}\n"))?;
    let images = format!(
        "[images]\ncheck = \"with-backup\"\nmirror = \"{}/mirror\"\n[[images.registry]]\nhost = \"{}\"\n\
         login_file = \"/root/mirror.login\"\n",
        registry.host(),
        registry.host()
    );
    registry.trust(host)?;
    site.configure(host, &format!("{}\n{images}", site.config(VAULT)))
}

/// All services run, each with the digest that it had.
fn all_run(host: &Host, stock: &Stock, at: &str) -> Result<()> {
    runs(host)?;
    for (service, digest) in [("web", &stock.web.digest), ("db", &stock.db.digest)] {
        let image = inspect(host, service)?["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].to_string();
        ensure!(image.contains(at) && image.contains(digest.as_str()), "{service}: {image}");
    }
    Ok(())
}

fn pullable(report: &Value) -> Vec<&str> {
    let lines = report["pullable"].as_array().into_iter().flatten();
    lines.filter(|line| line["problems"] == serde_json::json!([])).filter_map(|line| line["image"].as_str()).collect()
}

#[tokio::test]
async fn the_images_of_a_dead_site_come_from_the_mirror() -> Result<()> {
    for engine in engines() {
        from_mirror(*engine).await.with_context(|| format!("{engine:?}"))?;
    }
    Ok(())
}

async fn from_mirror(engine: Engine) -> Result<()> {
    let site = site().await?;
    let stock = Stock::new(&site.lab, "", "planted-old")?;
    let mirror = empty(&site, "planted-mirror")?;
    let host = deployed(&site, engine, &stock, "planted-old")?;
    configure(&site, &host, &mirror, "planted-mirror")?;
    let copied = agent_json(&host, 0, &["images", "mirror", "--if-leader"])?;
    let rule = copied["image_map"][0].as_str().context("no rule")?.to_owned();
    let backup = agent_json(&host, 0, &["backup"])?;
    ensure!(backup["images"]["images"] == 2 && backup["images"]["missing"] == serde_json::json!([]), "{backup:#}");
    // The backup says what is missing before the day.
    stock.registry.delete_manifest("shop/db", &stock.db.digest)?;
    let backup = agent_json(&host, 6, &["backup"])?;
    ensure!(backup["images"]["missing"][0]["services"][0] == "db", "{backup:#}");
    let status = agent_json(&host, 6, &["status"])?;
    ensure!(status["level"] == "warning" && status["reasons"].to_string().contains("db ("), "{status:#}");
    for said in [&copied, &backup, &status] {
        ensure!(!said.to_string().contains("planted"), "a password was printed");
    }
    host.destroy()?;
    stock.registry.stop();

    let host = fresh(&site, engine, &[])?;
    configure(&site, &host, &mirror, "planted-mirror")?;
    let restored = agent_json(&host, 0, &[&RESTORE[..], &["--image-map", &rule]].concat())?;
    println!("{engine:?}: {:#}", restored["images"]);
    assert_eq!(pullable(&restored).len(), 3, "{restored:#}");
    let at = format!("{}/mirror/{}/shop/", mirror.host(), stock.host().replace(':', "_"));
    all_run(&host, &stock, &at)
}

#[tokio::test]
async fn the_images_of_a_dead_site_come_from_a_directory() -> Result<()> {
    for engine in engines() {
        from_directory(*engine).await.with_context(|| format!("{engine:?}"))?;
    }
    Ok(())
}

async fn from_directory(engine: Engine) -> Result<()> {
    let site = site().await?;
    let stock = Stock::new(&site.lab, "", "planted-old")?;
    let host = deployed(&site, engine, &stock, "planted-old")?;
    agent_json(&host, 0, &["backup"])?;
    agent_json(&host, 0, &["images", "mirror", "--to", "oci:/root/images"])?;
    let kept = site.lab.dir().join("images");
    capture(Command::new("cp").arg("-a").arg(host.root()?.join("root/images")).arg(&kept))?;
    host.destroy()?;
    stock.registry.stop();

    let new = empty(&site, "planted-new")?;
    let host = fresh(&site, engine, &[])?;
    configure(&site, &host, &new, "planted-new")?;
    capture(Command::new("cp").arg("-a").arg(&kept).arg(host.root()?.join("root/images")))?;
    let place = format!("{}/mirror", new.host());
    let pushed = agent_json(&host, 0, &["images", "push", "--from", "oci:/root/images", "--to", &place])?;
    let rule = pushed["image_map"][0].as_str().context("no rule")?;
    let restored = agent_json(&host, 0, &[&RESTORE[..], &["--image-map", rule]].concat())?;
    assert_eq!(pullable(&restored).len(), 3, "{restored:#}");
    all_run(&host, &stock, &place)?;
    fs::remove_dir_all(&kept)?;
    Ok(())
}
