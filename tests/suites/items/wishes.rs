//! Ways of asking for objects: all that is missing, without replicas, under another name, with another image.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::Host,
    s3::Release,
    scenario::{IDENTITY, Site, agent_json},
};

use crate::{engine, manager, shop};

#[tokio::test]
async fn objects_come_back_as_they_are_asked_for() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = manager(&site, engine())?;
    shop::wait(&host)?;
    let before = shop::raw_specs(&host)?;
    shop::remove(&host)?;
    let undelete = |exit, words: &[&str]| -> Result<Value> {
        agent_json(&host, exit, &[&["undelete", "--identity", IDENTITY], words].concat())
    };

    undelete(0, &["--latest", "--service", "shop_web", "--stopped"])?;
    ensure!(spec(&host, "shop_web", "{{.Spec.Mode.Replicated.Replicas}}")? == "0");
    undelete(0, &["--latest", "--service", "shop_web", "--conflict", "replace"])?;
    shop::wait(&host)?;

    undelete(0, &["--before", "2999-01-01T00:00", "--all-missing"])?;
    shop::same(&before, &shop::raw_specs(&host)?)?;
    let again = undelete(0, &["--latest", "--all-missing"])?;
    ensure!(again["result"] == "nothing-to-do", "{again:#}");

    let words =
        ["--latest", "--service", "shop_api", "--as", "api-2", "--image-map", "lab/busybox=mirror/box", "--stopped"];
    let taken = undelete(4, &words)?;
    ensure!(taken.to_string().contains("8080"), "its port is that of the first one: {taken:#}");
    host.docker(&["service", "rm", "shop_api"])?;
    undelete(0, &words)?;
    ensure!(spec(&host, "api-2", "{{.Spec.TaskTemplate.ContainerSpec.Image}}")? == "mirror/box:1");
    host.docker(&["service", "rm", "api-2"])?;
    undelete(0, &["--latest", "--all-missing"])?;
    shop::same(&before, &shop::raw_specs(&host)?)
}

fn spec(host: &Host, service: &str, field: &str) -> Result<String> {
    host.docker(&["service", "inspect", service, "--format", field]).with_context(|| service.to_owned())
}
