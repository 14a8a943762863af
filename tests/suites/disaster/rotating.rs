//! A backup made during a rotation of the root CA is restored to the same point of the rotation, which can then end.

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, Role, addr},
    s3::Release,
    scenario::{Site, agent_json, describe_swarm},
};

use super::{LIMIT, RESTORE, fresh, generations, one_manager};
use swarmdr_tests::own_ca::{self, rotating};

#[tokio::test]
async fn a_rotation_of_the_root_ca_goes_on_after_the_restore() -> Result<()> {
    for engine in generations() {
        go_on(*engine).await.with_context(|| format!("engine {}", engine.version()))?;
    }
    Ok(())
}

async fn go_on(engine: Engine) -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let manager = one_manager(&site, engine)?;
    let specs = [HostSpec::new("w1", engine, addr(12)), HostSpec::new("w2", engine, addr(13))];
    let [back_soon, gone] = site.lab.boot_all(specs)?;
    back_soon.join(&manager, Role::Worker)?;
    gone.join(&manager, Role::Worker)?;
    gone.destroy()?;
    // A node that does not answer keeps its old certificate, so the rotation waits for it.
    back_soon.cut()?;
    let old_root = manager.docker(&["swarm", "ca"])?;
    manager.sh("docker swarm ca --rotate --detach >/dev/null")?;
    manager.wait_for("the rotation to begin", LIMIT, || Ok(rotating(&manager)?.then_some(())))?;
    // By then the manager has a new certificate, followed by one of the new root that the old root has signed.
    manager.wait_for("the manager's new certificate", LIMIT, || {
        let certificates = manager.sh("grep -c BEGIN /var/lib/docker/swarm/certificates/swarm-node.crt")?;
        Ok((certificates == "2").then_some(()))
    })?;
    let (before, ca) = (describe_swarm(&manager)?, own_ca::config(&manager)?);
    let backup = agent_json(&manager, 0, &["backup"])?;
    ensure!(backup["notes"].to_string().contains("the root CA of the swarm is being rotated"), "{backup:#}");
    ensure!(own_ca::config(&manager)? == ca, "it ended meanwhile: {}", own_ca::config(&manager)?);
    manager.destroy()?;

    let host = fresh(&site, engine)?;
    let report = agent_json(&host, 0, &RESTORE)?;
    ensure!(report["notes"].to_string().contains("the root CA is being rotated"), "{report:#}");
    ensure!(describe_swarm(&host)? == before, "{:#?}", describe_swarm(&host)?);
    ensure!(own_ca::config(&host)? == ca, "{ca} became {}", own_ca::config(&host)?);
    ends(&host, &back_soon, &old_root)?;
    println!("{}: the rotation went on and ended, {}", engine.version(), report["phases"]);
    Ok(())
}

/// Ends the rotation: the worker that comes back gets its new certificate from the restored manager, and the one that
/// is gone is removed.
fn ends(host: &Host, worker: &Host, old_root: &str) -> Result<()> {
    worker.heal()?;
    host.wait_for("the worker to be back", LIMIT, || {
        let state = host.docker(&["node", "inspect", "--format", "{{.Status.State}}", worker.name()])?;
        Ok((state == "ready").then_some(()))
    })?;
    ensure!(rotating(host)?, "it ended without the node that is gone");
    host.docker(&["node", "rm", "--force", "w2"])?;
    host.wait_for("the end of the rotation", LIMIT, || Ok((!rotating(host)?).then_some(())))?;
    let new_root = host.docker(&["swarm", "ca"])?;
    ensure!(new_root != old_root);
    host.write_file("/run/root.pem", &new_root)?;
    host.sh("openssl verify -CAfile /run/root.pem /var/lib/docker/swarm/certificates/swarm-node.crt")?;
    Ok(())
}
