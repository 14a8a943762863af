//! A root CA whose key a test has, and which becomes the swarm's own.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::Host;

/// Limit for a rotation, which takes seconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(180);

/// A root CA. Its key, and the script that signs with it, are in /root of the host that made it.
#[derive(Debug)]
pub struct OwnCa {
    pub pem: String,
}

impl OwnCa {
    /// Makes a CA that is a month old, so that it can have signed a certificate that has expired.
    pub fn make(host: &Host) -> Result<Self> {
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
unique_subject = no
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
[server]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = IP:10.77.0.1
END
            cat > sign <<'END'
#!/bin/sh -eu
# sign EXTENSIONS CSR CERTIFICATE BEGIN END [MORE]
day() { date -u -d "$1" +%Y%m%d%H%M%SZ; }
cd /root
begin=$(day "$4") end=$(day "$5") of=$1 csr=$2 out=$3
shift 5
openssl ca -batch -notext -config ca.cnf -extensions "$of" -keyfile ca.key -in "$csr" -out "$out" \
    -startdate "$begin" -enddate "$end" "$@" 2>ca.log || { cat ca.log >&2; exit 1; }
END
            chmod 700 sign
            openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.csr -subj /CN=own 2>/dev/null
            ./sign root ca.csr ca.pem '30 days ago' '3650 days' -selfsign"#,
        )?;
        Ok(Self { pem: host.read_file("/root/ca.pem")? })
    }

    /// Rotates the swarm's root CA to this one, and waits until the rotation has ended. `signer` holds the options of
    /// `docker swarm ca` that say who signs from then on.
    pub fn take_over(&self, host: &Host, signer: &str) -> Result<()> {
        // The engine counts (`ForceRotate`) each rotation to a root that it makes itself. A restore that does not pass
        // the same count back begins another rotation.
        host.sh("docker swarm ca --rotate --detach >/dev/null")?;
        host.wait_for("the end of the first rotation", LIMIT, || Ok((!rotating(host)?).then_some(())))?;
        host.sh(&format!("docker swarm ca --rotate --detach --ca-cert /root/ca.pem {signer}"))?;
        host.wait_for("the end of the rotation", LIMIT, || {
            let rotating = rotating(host)?;
            let issued =
                host.sh("openssl verify -CAfile /root/ca.pem /var/lib/docker/swarm/certificates/swarm-node.crt");
            Ok((!rotating && issued.is_ok()).then_some(()))
        })?;
        let config = config(host)?;
        ensure!(config.contains(r#""ForceRotate":1"#), "{config}");
        Ok(())
    }

    /// Adds a drop-in to the engine's unit that replaces the node certificate whenever the engine stops, and puts the
    /// good one back before it starts. The replacement is for the same key and names, but valid at other times, and is
    /// the certificate that a backup finds.
    pub fn lay_certificate(&self, host: &Host, begin: &str, end: &str) -> Result<()> {
        host.sh(&format!(
            r#"cd /root
            own=/var/lib/docker/swarm/certificates
            grep -vE '^[A-Za-z-]+: |^$' $own/swarm-node.key > node.key
            subject=$(openssl x509 -in $own/swarm-node.crt -noout -subject -nameopt compat | sed 's/^subject= *//')
            openssl req -new -key node.key -subj "$subject" -out node.csr
            ./sign node node.csr other.crt '{begin}' '{end}' -cert ca.pem
            cp $own/swarm-node.crt good.crt
            mkdir -p /etc/systemd/system/docker.service.d
            printf '[Service]\nExecStartPre=/bin/cp /root/good.crt %s\nExecStopPost=/bin/cp /root/other.crt %s\n' \
                $own/swarm-node.crt $own/swarm-node.crt > /etc/systemd/system/docker.service.d/certificate.conf
            systemctl daemon-reload"#
        ))?;
        Ok(())
    }
}

pub fn rotating(host: &Host) -> Result<bool> {
    Ok(host.docker(&["info", "--format", "{{.Swarm.Cluster.RootRotationInProgress}}"])? == "true")
}

/// Returns whether the root CA is being rotated, and the swarm's CA configuration, which decides on that.
pub fn config(host: &Host) -> Result<String> {
    let format = "{{.Swarm.Cluster.RootRotationInProgress}} {{json .Swarm.Cluster.Spec.CAConfig}}";
    host.docker(&["info", "--format", format])
}
