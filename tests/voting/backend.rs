//! A second stack beside the vote, in the shape of Appwrite's compose file.

use std::{fs, net::SocketAddr};

use anyhow::{Result, ensure};

use super::{
    pages::ask,
    site::{LIMIT, directory},
};
use crate::{
    lab::{Host, Lab, wait_for},
    registry::{Endpoint, Registry},
};

const STACK: &str = "backend";

/// What `backend.env` says of the gateway's port, and of the name that its answers begin with.
const PORT: u16 = 8090;
const ANSWER: &str = "Votes & \"more\": audits mails maintenance\n";

/// Deploys the stack with the values of a file, as people do: `docker stack deploy` reads none by itself.
pub fn deploy_backend(manager: &Host, registry: &Registry) -> Result<()> {
    for file in ["backend.yml", "gateway.cfg"] {
        manager.write_file(&format!("/root/backend/{file}"), fs::read(directory().join(file))?)?;
    }
    let values = fs::read_to_string(directory().join("backend.env"))?;
    manager.write_file("/root/backend/.env", format!("{values}REGISTRY={}\n", registry.host()))?;
    manager.sh(&format!(
        "cd /root/backend; set -a; . ./.env; docker stack deploy --with-registry-auth -c backend.yml {STACK}"
    ))?;
    Ok(())
}

/// Waits until the gateway of each node answers at that node's port, and all parts behind it work.
pub fn wait_backend(lab: &Lab, nodes: &[Host]) -> Result<()> {
    for node in nodes {
        let port = SocketAddr::from((node.addr(), PORT));
        wait_for("the backend to answer on each node", LIMIT, || {
            let answer = ask(lab, port, "GET", "/v1/health")?;
            ensure!(answer == ANSWER, "the backend at {port} answers {answer:?}");
            Ok(Some(()))
        })?;
    }
    Ok(())
}
