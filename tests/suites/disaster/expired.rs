//! A backup whose node certificate has expired comes back, and its certificate is renewed.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::lab::{Host, HostSpec, Role, addr};
use swarmdr_tests::s3::Release;
use swarmdr_tests::scenario::{IDENTITY, Site, agent_json, describe_swarm};

use super::{LIMIT, fresh, generations, one_manager, text};

/// The root CA of a swarm.
struct Ca {
    pem: String,
    config: String,
}

#[tokio::test]
async fn an_expired_certificate_is_renewed_without_being_told_to() -> Result<()> {
    for engine in generations() {
        let site = Site::new(Release::V20).await?;
        let manager = one_manager(&site, *engine)?;
        let ca = rotate_to_own_ca(&manager)?;
        let before = describe_swarm(&manager)?;
        expire_while_stopped(&manager)?;
        let expired = agent_json(&manager, 0, &["backup"])?;
        manager.destroy()?;

        let host = fresh(&site, *engine)?;
        let report = comes_back_renewed(&host, text(&expired, "/id")?, &ca, &before)
            .with_context(|| format!("engine {}", engine.version()))?;
        println!("{}: back with a new certificate, {}", engine.version(), report["phases"]);
        // Its CA signs for others, and the backed-up join token lets them in.
        let worker = site.lab.boot(HostSpec::new("w1", *engine, addr(12)))?;
        worker.join(&host, Role::Worker)?;
    }
    Ok(())
}

fn comes_back_renewed(host: &Host, id: &str, ca: &Ca, before: &[String]) -> Result<Value> {
    let report = agent_json(host, 0, &["restore", id, "--identity", IDENTITY])?;
    ensure!(report["notes"].to_string().contains("the node certificate expired at"), "{report:#}");
    ensure!(describe_swarm(host)? == before, "{:#?}", describe_swarm(host)?);
    let certificate = "/var/lib/docker/swarm/certificates/swarm-node.crt";
    host.wait_for("a new certificate", LIMIT, || {
        host.sh(&format!("openssl x509 -in {certificate} -checkend 3600")).map(Some)
    })?;
    ensure!(host.docker(&["swarm", "ca"])?.trim() == ca.pem.trim(), "another root CA");
    ensure!(
        ca.config == ca_config(host)?,
        "the CA's configuration is not what it was: {} {}",
        ca.config,
        ca_config(host)?
    );
    Ok(report)
}

/// Whether the root CA is being rotated, and what of its configuration decides on that.
fn ca_config(host: &Host) -> Result<String> {
    host.docker(&[
        "info",
        "--format",
        "{{.Swarm.Cluster.RootRotationInProgress}} {{json .Swarm.Cluster.Spec.CAConfig}}",
    ])
}

/// Rotates the root CA of a swarm to one whose key this test has, and which is a month old.
fn rotate_to_own_ca(host: &Host) -> Result<Ca> {
    host.sh(
        r#"cd /root
        touch index.txt
        cat > ca.cnf <<END
[ca]
default_ca = own
[own]
database = /root/index.txt
rand_serial = yes
new_certs_dir = /root
default_md = sha256
policy = any
[any]
organizationName = optional
organizationalUnitName = optional
commonName = supplied
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[node]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature,keyEncipherment
extendedKeyUsage = serverAuth,clientAuth
subjectAltName = DNS:swarm-manager,DNS:swarm-ca,DNS:$(docker info --format '{{.Swarm.NodeID}}')
END
        day() { date -u -d "$1" +%Y%m%d%H%M%SZ; }
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.csr -subj /CN=own 2>/dev/null
        openssl ca -batch -notext -config ca.cnf -extensions root -selfsign -keyfile ca.key -in ca.csr -out ca.pem \
            -startdate "$(day '30 days ago')" -enddate "$(day '3650 days')" 2>ca.log || { cat ca.log >&2; exit 1; }
        docker swarm ca --rotate --detach --ca-cert ca.pem --ca-key ca.key"#,
    )?;
    host.wait_for("the end of the rotation", LIMIT, || {
        let rotating = host.docker(&["info", "--format", "{{.Swarm.Cluster.RootRotationInProgress}}"])?;
        let issued = host.sh("openssl verify -CAfile /root/ca.pem /var/lib/docker/swarm/certificates/swarm-node.crt");
        Ok((rotating == "false" && issued.is_ok()).then_some(()))
    })?;
    Ok(Ca { pem: host.read_file("/root/ca.pem")?, config: ca_config(host)? })
}

/// While the engine is stopped, its node certificate is one that ended an hour ago: for the same key and names, signed by
/// the swarm's own CA. So that is what a backup finds.
fn expire_while_stopped(host: &Host) -> Result<()> {
    host.sh(r#"cd /root
        own=/var/lib/docker/swarm/certificates
        grep -vE '^[A-Za-z-]+: |^$' $own/swarm-node.key > node.key
        subject=$(openssl x509 -in $own/swarm-node.crt -noout -subject -nameopt compat | sed 's/^subject= *//')
        openssl req -new -key node.key -subj "$subject" -out node.csr
        day() { date -u -d "$1" +%Y%m%d%H%M%SZ; }
        openssl ca -batch -notext -config ca.cnf -extensions node -cert ca.pem -keyfile ca.key -in node.csr -out expired.crt \
            -startdate "$(day '2 days ago')" -enddate "$(day '1 hour ago')" 2>ca.log || { cat ca.log >&2; exit 1; }
        cp $own/swarm-node.crt good.crt
        mkdir -p /etc/systemd/system/docker.service.d
        printf '[Service]\nExecStartPre=/bin/cp /root/good.crt %s\nExecStopPost=/bin/cp /root/expired.crt %s\n' \
            $own/swarm-node.crt $own/swarm-node.crt > /etc/systemd/system/docker.service.d/expire.conf
        systemctl daemon-reload"#)?;
    Ok(())
}
