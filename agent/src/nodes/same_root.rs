//! Whether an address is that of a manager of a swarm with a root CA, as its certificate shows.
//!
//! A port that accepts connections may be that of a load balancer without a manager behind it, or of something else. A
//! manager takes TLS from anybody, since new nodes ask it for their certificates (swarmkit `ca/config.go`,
//! `NewServerTLSConfig`: a client's certificate is verified if there is one). Its own is for the name `swarm-manager`.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use futures_util::future::join_all;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use swarm_state::identity;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Time for the connection and the handshake.
const LIMIT: Duration = Duration::from_secs(5);

/// The name of all managers (swarmkit `ca/certificates.go`, `ManagerRole`).
const NAME: &str = "swarm-manager";

/// A manager of the swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    pub addr: SocketAddr,
    /// Node id in its certificate.
    pub node: Option<String>,
}

/// Asks all of them at once, and returns those that are managers in the given order, and the others with the reason.
pub async fn managers(root_ca: &Path, addresses: &[SocketAddr]) -> (Vec<Manager>, Vec<(SocketAddr, String)>) {
    let connector = match connector(root_ca) {
        Ok(connector) => connector,
        Err(error) => return (Vec::new(), addresses.iter().map(|addr| (*addr, format!("{error:#}"))).collect()),
    };
    let asked = addresses.iter().map(async |addr| (*addr, ask(&connector, *addr).await));
    let (mut managers, mut others) = (Vec::new(), Vec::new());
    for (addr, answer) in join_all(asked).await {
        match answer {
            Ok(node) => managers.push(Manager { addr, node }),
            Err(error) => others.push((addr, format!("it is no manager of this swarm: {error:#}"))),
        }
    }
    (managers, others)
}

fn connector(root_ca: &Path) -> Result<TlsConnector> {
    let shown = root_ca.display();
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(root_ca).with_context(|| format!("failed to read {shown}"))? {
        roots.add(root?).with_context(|| format!("{shown} has what is no root CA"))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions()?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn ask(connector: &TlsConnector, addr: SocketAddr) -> Result<Option<String>> {
    let greet = async {
        let stream = TcpStream::connect(addr).await.context("it accepts no connection")?;
        let stream =
            connector.connect(ServerName::try_from(NAME)?, stream).await.context("its certificate is not one")?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        anyhow::Ok(chain.first().and_then(|leaf| identity::node_of(leaf)))
    };
    let greeted = tokio::time::timeout(LIMIT, greet).await;
    greeted.with_context(|| format!("it did not answer within {} s", LIMIT.as_secs()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a manager shows is tried on hosts (suite `nodes`).
    #[tokio::test]
    async fn a_port_that_accepts_connections_is_no_manager() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let addr = listener.local_addr().expect("is bound");
        let root_ca = scratch.path().join("swarm-root-ca.crt");
        let (managers_, others) = managers(&root_ca, &[addr]).await;
        assert!(managers_.is_empty() && others[0].1.contains("failed to read"), "{others:?}");
        std::fs::write(&root_ca, "").expect("writes");
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let (managers_, others) = managers(&root_ca, &[addr]).await;
        assert!(managers_.is_empty() && others[0].1.contains("it is no manager of this swarm"), "{others:?}");
    }
}
