//! The registries of the tests keep what other suites rely on: judged by skopeo, curl and engines.

mod accounts;
mod contents;
mod engines;
mod faults;

use anyhow::{Context, Result};
use swarmdr_tests::registry::{Image, Layout, Login, Made, Registry, RegistryOptions};

const REPO: &str = "team/web";

fn with(login: Login) -> RegistryOptions {
    RegistryOptions { login, tls: true, ..RegistryOptions::default() }
}

/// Makes one image in a layout of its own.
fn make(registry: &Registry, name: &str, image: &Image) -> Result<Made> {
    Layout::create(&registry.directory().join(format!("layout-{name}")))?.add(name, image)
}

/// Returns the error of what should have failed.
fn refused<T>(result: Result<T>) -> Result<String> {
    let error = result.err().context("it was not refused")?;
    Ok(format!("{error:#}"))
}
