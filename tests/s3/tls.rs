//! A private certificate authority for one gateway.

use std::net::Ipv4Addr;

use anyhow::Result;

use crate::sandbox::Sandbox;

/// Paths of the gateway's certificate and key in the sandbox.
pub(super) const CERTIFICATE: &str = "/run/server.pem";
pub(super) const KEY: &str = "/run/server.key";

/// Makes the gateway's certificate and returns its authority's, in PEM.
pub(super) fn issue(sandbox: &Sandbox, address: Ipv4Addr) -> Result<String> {
    let request = |subject: &str, extension: &str, key: &str, out: &str, signed_by: &[&str]| {
        let mut args = vec!["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        args.extend(["-days", "2", "-subj", subject, "-addext", extension, "-keyout", key, "-out", out]);
        args.extend(signed_by);
        sandbox.run("openssl", &args)
    };
    // The second address is for clients that come through a relay.
    let name = format!("subjectAltName=IP:{address},IP:127.0.0.1");
    request("/CN=swarmdr test authority", "keyUsage=keyCertSign", "/run/ca.key", "/run/ca.pem", &[])?;
    let authority = ["-CA", "/run/ca.pem", "-CAkey", "/run/ca.key", "-addext", "basicConstraints=critical,CA:FALSE"];
    request("/CN=swarmdr test gateway", &name, KEY, CERTIFICATE, &authority)?;
    sandbox.read("/run/ca.pem")
}
