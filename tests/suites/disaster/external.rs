//! A swarm whose certificates an external CA signs: a real cfssl, with the only key of the root CA.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Stdio},
};

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, Lab, Role, addr},
    s3::Release,
    scenario::{IDENTITY, Site, agent_json, describe_swarm, fingerprint},
};

use super::{LIMIT, fresh, generations, one_manager, reset, text};
use swarmdr_tests::own_ca::{self, OwnCa};

const URL: &str = "https://10.77.0.1:8888/api/v1/cfssl/sign";

/// Profiles of cfssl. To rotate away from an external CA, an engine has that CA sign the certificate of the new root:
/// profile "CA".
const PROFILES: &str = r#"{"signing": {
    "default": {"usages": ["signing", "key encipherment", "server auth", "client auth"], "expiry": "2160h"},
    "profiles": {"CA": {"usages": ["cert sign", "crl sign"], "expiry": "2160h", "ca_constraint": {"is_ca": true},
        "allowed_extensions": ["2.5.29.19"]}}}}"#;

#[tokio::test]
async fn a_swarm_with_an_external_ca_comes_back_with_it_and_without_it() -> Result<()> {
    for engine in generations() {
        come_back(*engine).await.with_context(|| format!("engine {}", engine.version()))?;
    }
    Ok(())
}

async fn come_back(engine: Engine) -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let manager = one_manager(&site, engine)?;
    let ca = OwnCa::make(&manager)?;
    let files = SignerFiles::make(&manager, &site.lab)?;
    let signer = files.serve(&site.lab, &manager)?;
    ca.take_over(&manager, &format!("--external-ca protocol=cfssl,url={URL},cacert=/root/ca.pem"))?;
    let before = (describe_swarm(&manager)?, own_ca::config(&manager)?);
    let backup = agent_json(&manager, 0, &["backup"])?;
    ca.lay_certificate(&manager, "2 days ago", "1 hour ago")?;
    let expired = agent_json(&manager, 0, &["backup"])?;
    manager.destroy()?;

    // Only the external CA could renew it, and no engine asks that CA with an expired certificate.
    let host = fresh(&site, engine)?;
    let untouched = fingerprint(&host)?;
    let refused = agent_json(&host, 4, &["restore", text(&expired, "/id")?, "--identity", IDENTITY])?;
    ensure!(text(&refused, "/error")?.contains("cannot renew it by itself"), "{refused:#}");
    ensure!(fingerprint(&host)? == untouched);

    let restore = ["restore", text(&backup, "/id")?, "--identity", IDENTITY, "--force"];
    let report = agent_json(&host, 0, &restore)?;
    ensure!(report["notes"].to_string().contains(URL), "{report:#}");
    ensure!((describe_swarm(&host)?, own_ca::config(&host)?) == before, "{}", own_ca::config(&host)?);
    println!("{}: back with its external CA, {}", engine.version(), report["phases"]);

    drop(signer);
    reset(&host, false)?;
    let report = agent_json(&host, 6, &restore)?;
    ensure!(report["attention"].to_string().contains(URL), "{report:#}");
    ensure!((describe_swarm(&host)?, own_ca::config(&host)?) == before, "{}", own_ca::config(&host)?);
    println!("{}: back without it, {}", engine.version(), report["attention"]);

    // A drill does not reach it either.
    let drill = agent_json(&host, 0, &["drill", text(&backup, "/id")?, "--identity", IDENTITY])?;
    ensure!(text(&drill, "/outcome")? == "proven", "{drill:#}");

    // Nodes can join once it answers again.
    let _signer = files.serve(&site.lab, &host)?;
    let worker = site.lab.boot(HostSpec::new("w1", engine, addr(12)))?;
    worker.join(&host, Role::Worker)
}

/// Files that cfssl needs, in a directory of the lab.
struct SignerFiles(PathBuf);

impl SignerFiles {
    fn make(host: &Host, lab: &Lab) -> Result<Self> {
        host.sh("cd /root
            openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr \
                -subj /CN=signer 2>/dev/null
            ./sign server server.csr server.pem '1 day ago' '30 days' -cert ca.pem")?;
        let dir = lab.dir().join("signer");
        std::fs::create_dir(&dir)?;
        for name in ["ca.pem", "ca.key", "server.pem", "server.key"] {
            std::fs::write(dir.join(name), host.read_file(&format!("/root/{name}"))?)?;
        }
        std::fs::write(dir.join("profiles.json"), PROFILES)?;
        // Once the manager is destroyed, only the signer has the key.
        Ok(Self(dir))
    }

    /// Starts cfssl at the lab's own end of the network and waits until `host` reaches it.
    fn serve(&self, lab: &Lab, host: &Host) -> Result<Signer> {
        let mut command = lab.command("setpriv");
        command.args(["--pdeathsig", "KILL", "cfssl", "serve", "-address=10.77.0.1", "-port=8888"]);
        command.args(["-ca=ca.pem", "-ca-key=ca.key", "-tls-cert=server.pem", "-tls-key=server.key"]);
        command.arg("-config=profiles.json").current_dir(&self.0).stdin(Stdio::null());
        command.stdout(File::create(self.0.join("out.log"))?).stderr(File::create(self.0.join("err.log"))?);
        let signer = Signer(command.spawn().context("failed to start cfssl (Debian package golang-cfssl)")?);
        host.wait_for("the signer to answer", LIMIT, || {
            host.sh("openssl s_client -connect 10.77.0.1:8888 </dev/null >/dev/null 2>&1").map(Some)
        })?;
        Ok(signer)
    }
}

/// A running cfssl, which ends when dropped.
struct Signer(Child);

impl Drop for Signer {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
