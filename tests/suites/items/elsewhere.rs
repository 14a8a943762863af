//! Objects brought back where the backup is not from: another swarm, another engine, through a forwarded socket.

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, addr},
    s3::Release,
    scenario::{IDENTITY, Site, agent, agent_json},
};

use crate::{engine, manager, shop};

/// Another CA, another address, another engine.
#[tokio::test]
async fn a_stack_moves_to_another_swarm() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let old = manager(&site, engine())?;
    let before = shop::raw_specs(&old)?;
    old.destroy()?;
    let new = site.lab.boot(HostSpec::new("other", Engine::E28_5, addr(12)))?;
    new.swarm_init()?;
    new.load_image()?;
    site.set_up_restorer(&new)?;
    let undelete = ["undelete", "--latest", "--stack", shop::STACK, "--identity", IDENTITY];
    let done = agent_json(&new, 6, &undelete)?;
    // The volume's content stayed behind, which is said.
    ensure!(done["attention"].to_string().contains("data"), "{done:#}");
    shop::wait(&new)?;
    shop::is_read(&new)?;
    shop::same(&before, &shop::raw_specs(&new)?)?;
    an_older_engine_is_refused(&site, &new)
}

/// A backup of a newer engine may hold what an older one does not know.
fn an_older_engine_is_refused(site: &Site, newer: &Host) -> Result<()> {
    site.configure_manager(newer)?;
    let id = agent_json(newer, 0, &["backup"])?["id"].as_str().context("an id")?.to_owned();
    let older = site.lab.boot(HostSpec::new("older", Engine::E20_10, addr(13)))?;
    older.swarm_init()?;
    site.set_up_restorer(&older)?;
    let refused = agent(&older, &["undelete", &id, "--stack", shop::STACK, "--identity", IDENTITY])?;
    ensure!(refused.status.code() == Some(4) && refused.stderr.contains("28.5"), "{refused:?}");
    Ok(())
}

/// The identity is on a host that is no manager; an autolocked backup opens with its key.
#[tokio::test]
async fn an_operator_brings_back_what_a_manager_has_lost() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", engine(), addr(11)))?;
    host.swarm_init()?;
    host.create_secret("key", b"planted-key")?;
    host.sh("docker swarm update --autolock=true >/dev/null")?;
    let key = host.docker(&["swarm", "unlock-key", "-q"])?;
    site.set_up_manager(&host)?;
    host.write_file("/root/unlock-key", &key)?;
    host.sh("chmod 600 /root/unlock-key")?;
    let config =
        format!("{}\n[restore]\nunlock_key_file = \"/root/unlock-key\"\n", site.config(swarmdr_tests::scenario::VAULT));
    site.configure(&host, &config)?;
    agent_json(&host, 0, &["backup"])?;
    host.wait_manager()?;
    host.docker(&["secret", "rm", "key"])?;

    let operator = site.lab.boot(HostSpec::new("operator", engine(), addr(12)))?;
    operator.sh("systemctl stop docker.socket docker.service")?;
    site.set_up_restorer(&operator)?;
    forward(&host, &operator)?;
    let undelete = "SWARMDR_ENGINE__SOCKET=/run/engine.sock swarmdr-agent undelete --latest --secret key --identity";
    let locked = operator.run(&["sh", "-c", &format!("{undelete} {IDENTITY}")])?;
    ensure!(locked.status.code() == Some(2) && locked.stderr.contains("--unlock-key"), "{locked:?}");
    operator.write_file("/root/unlock-key", &key)?;
    operator.sh("chmod 600 /root/unlock-key")?;
    operator.sh(&format!("{undelete} {IDENTITY} --unlock-key /root/unlock-key"))?;
    ensure!(host.docker(&["secret", "ls", "--format", "{{.Name}}"])? == "key");
    // Without the value at hand, the engine says whether it is the same.
    operator.sh(&format!("{undelete} {IDENTITY} --unlock-key /root/unlock-key"))?;
    host.sh("docker secret rm key; printf other | docker secret create key -")?;
    let other = operator.run(&["sh", "-c", &format!("{undelete} {IDENTITY} --unlock-key /root/unlock-key")])?;
    ensure!(other.status.code() == Some(4) && !other.stderr.contains("planted"), "{other:?}");
    Ok(())
}

/// Forwards the socket of a manager, as `ssh -L` does.
fn forward(manager: &Host, operator: &Host) -> Result<()> {
    const PROXY: &str = "/lib/systemd/systemd-socket-proxyd";
    manager.sh(&format!(
        "systemd-run --quiet --unit=to-engine --socket-property=ListenStream=9999 {PROXY} /run/docker.sock"
    ))?;
    operator.sh(&format!(
        "systemd-run --quiet --unit=forwarded --socket-property=ListenStream=/run/engine.sock {PROXY} {}:9999",
        manager.addr()
    ))?;
    Ok(())
}
