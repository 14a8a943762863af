//! Services as the swarm has them, and what a restore whose images moved may change in them.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::lab::Host;

const IMAGE: &str = "/TaskTemplate/ContainerSpec/Image";

/// What must not change of a service. Its version and times do, at each update.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    pub id: String,
    /// As the engine wrote it: no type of a client has left out what it does not know.
    pub spec: Value,
}

/// Returns all services by their names.
pub fn services(manager: &Host) -> Result<BTreeMap<String, Kept>> {
    let mut socket = UnixStream::connect(manager.root()?.join("run/docker.sock"))?;
    // Of this version of HTTP, so that the answer is in one piece.
    write!(socket, "GET /services HTTP/1.0\r\nHost: docker\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the engine gave no answer")?;
    ensure!(head.split(' ').nth(1) == Some("200"), "the engine lists no services: {answer}");
    let listed: Vec<Value> = serde_json::from_str(body)?;
    listed.into_iter().map(kept).collect()
}

fn kept(mut service: Value) -> Result<(String, Kept)> {
    let text = |pointer: &str| {
        let text = service.pointer(pointer).and_then(Value::as_str);
        text.map(str::to_owned).with_context(|| format!("a service without {pointer}: {service:#}"))
    };
    let (name, id) = (text("/Spec/Name")?, text("/ID")?);
    Ok((name, Kept { id, spec: service["Spec"].take() }))
}

/// Returns the services with their images at another place, by a rule `FROM=TO`; all else is as it was, digests included.
pub fn followed(services: &BTreeMap<String, Kept>, rule: &str) -> Result<BTreeMap<String, Kept>> {
    let (from, to) = rule.split_once('=').with_context(|| format!("`{rule}` is no rule"))?;
    let mut services = services.clone();
    for (name, Kept { spec, .. }) in &mut services {
        let image = spec.pointer_mut(IMAGE).with_context(|| format!("{name} has no image"))?;
        let old = image.as_str().with_context(|| format!("the image of {name} is no text"))?;
        let rest = old.strip_prefix(from).with_context(|| format!("{old} of {name} is not below {from}"))?;
        ensure!(rest.contains("@sha256:"), "{old} of {name} has no digest");
        *image = format!("{to}{rest}").into();
    }
    Ok(services)
}
