//! Whether an address is that of a manager of a swarm with a root CA, as its certificate shows.
//!
//! A port that accepts connections may be that of a load balancer without a manager behind it, or of something else. A
//! manager takes TLS from anybody, since new nodes ask it for their certificates (swarmkit `ca/config.go`,
//! `NewServerTLSConfig`: a client's certificate is verified if there is one). Its own is for the name `swarm-manager`.

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

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

use super::{
    handed_root::{self, OtherRoot},
    token::CaDigest,
};

/// Time for the connection and the handshake.
const LIMIT: Duration = Duration::from_secs(5);

/// The name of all managers (swarmkit `ca/certificates.go`, `ManagerRole`).
pub const NAME: &str = "swarm-manager";

/// A manager of the swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    pub addr: SocketAddr,
    /// Node id in its certificate.
    pub node: Option<String>,
}

/// What addresses turned out to be, in the given order: managers, and the others with the reason.
pub type Told = (Vec<Manager>, Vec<(SocketAddr, String)>);

/// Asks all of them at once whether they are managers of the swarm with this root CA.
pub async fn managers(root_ca: &Path, addresses: &[SocketAddr]) -> Told {
    let read = fs::read(root_ca).with_context(|| format!("failed to read {}", root_ca.display()));
    let connector = match read.and_then(|pem| connector(&pem)) {
        Ok(connector) => connector,
        Err(error) => return (Vec::new(), addresses.iter().map(|addr| (*addr, format!("{error:#}"))).collect()),
    };
    let asked = addresses.iter().map(async |addr| (*addr, ask(&connector, *addr).await));
    told(join_all(asked).await, "this swarm")
}

/// What addresses turned out to be by a token.
#[derive(Debug)]
pub struct ByToken {
    pub managers: Vec<Manager>,
    pub others: Vec<(SocketAddr, String)>,
    /// Those of the others that hand out another root CA than the token names. Nothing else is a reason to doubt the token.
    pub other_root: Vec<SocketAddr>,
}

/// Asks all of them at once whether they are managers of the swarm that a token is for: whether they hand out the root CA
/// that it names, and show a certificate that this one has signed.
pub async fn managers_by_token(ca: &CaDigest, addresses: &[SocketAddr]) -> ByToken {
    let asked = addresses.iter().map(async |addr| {
        let fetched = tokio::time::timeout(LIMIT, handed_root::fetch(*addr, ca)).await;
        let fetched = fetched.with_context(|| format!("it did not answer within {} s", LIMIT.as_secs()));
        let answer = match fetched.flatten().and_then(|pem| connector(&pem)) {
            Ok(connector) => ask(&connector, *addr).await,
            Err(error) => Err(error),
        };
        (*addr, answer)
    });
    let answers = join_all(asked).await;
    let is_other =
        |answer: &Result<_>| answer.as_ref().err().is_some_and(|error: &anyhow::Error| error.is::<OtherRoot>());
    let other_root = answers.iter().filter(|(_, answer)| is_other(answer)).map(|(addr, _)| *addr).collect();
    let (managers, others) = told(answers, "the wanted swarm");
    ByToken { managers, others, other_root }
}

fn told(answers: Vec<(SocketAddr, Result<Option<String>>)>, swarm: &str) -> Told {
    let (mut managers, mut others) = (Vec::new(), Vec::new());
    for (addr, answer) in answers {
        match answer {
            Ok(node) => managers.push(Manager { addr, node }),
            Err(error) => others.push((addr, format!("it is no manager of {swarm}: {error:#}"))),
        }
    }
    (managers, others)
}

fn connector(root_ca: &[u8]) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(root_ca) {
        roots.add(root.context("the root CA is no certificate")?).context("the root CA is no certificate of one")?;
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
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::nodes::{standin, token};

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

    #[tokio::test]
    async fn the_root_ca_of_a_token_and_a_certificate_of_it_make_a_manager() {
        let digest = |pem: &str| CaDigest::from(Sha256::digest(pem.as_bytes()));
        let other = token::tests::ROOT;
        let (own, impostor, open) =
            (standin::manager(standin::ROOT).await, standin::manager(other).await, closing().await);
        let all = [own, impostor, open];
        let ByToken { managers: found, others, other_root } = managers_by_token(&digest(standin::ROOT), &all).await;
        assert_eq!(other_root, [impostor], "a port that shows nothing says nothing of the token");
        assert_eq!(found, [Manager { addr: own, node: Some(standin::NODE.to_owned()) }]);
        let [(_, handed), (_, closed)] = &others[..] else { panic!("{others:?}") };
        assert!(handed.contains("its root CA is not the one that the token names"), "{handed}");
        assert!(closed.contains("it does not speak TLS as a manager does"), "{closed}");
        // Everybody can hand out the root CA of another swarm, and nobody else has a certificate of it.
        let ByToken { managers: found, others, .. } = managers_by_token(&digest(other), &all).await;
        assert!(found.is_empty() && others.len() == 3, "{found:?}");
        assert!(others[1].1.contains("its certificate is not one"), "{others:?}");
        let garbage = standin::manager("no certificate").await;
        let ByToken { managers: found, others, .. } = managers_by_token(&digest("no certificate"), &[garbage]).await;
        assert!(found.is_empty(), "{others:?}");
    }

    /// A port that takes connections and ends them.
    async fn closing() -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let addr = listener.local_addr().expect("is bound");
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        addr
    }
}
