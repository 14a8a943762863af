//! The root CA that a manager hands to whoever asks, as to a node that is about to join.
//!
//! A token names a root CA by its digest alone. An engine that joins asks the manager for the certificate, over a connection
//! that it does not check, and believes the one with that digest (swarmkit `ca/certificates.go`, `GetRemoteCA`; the method is
//! open to nodes without a certificate, `api/ca.proto`). The same is done here, so what would be refused then is refused.
//!
//! The secret of the token is not tried. Managers look at it in one call only, in which an engine asks for its certificate
//! (`ca/server.go`, `IssueNodeCertificate`), and where it is right, that call has made a node before anything else is looked
//! at: each question would leave the entry of one that never comes, and with a manager's token that of a manager. So a
//! worker that leaves a dead swarm may find its token refused after that. Then it is in no swarm, asks for the token again,
//! and joins once there is one that is taken.

use std::{fmt, net::SocketAddr, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::token::CaDigest;

const METHOD: &str = "https://swarm-manager/docker.swarmkit.v1.CA/GetRootCACertificate";

/// Most bytes of an answer that are read; a root CA has less than one KiB.
const MOST: usize = 64 << 10;

/// Returns the root CA of the manager at this address, in PEM, if it is the one with this digest.
pub async fn fetch(addr: SocketAddr, wanted: &CaDigest) -> Result<Vec<u8>> {
    let stream = TcpStream::connect(addr).await.context("it accepts no connection")?;
    let name = ServerName::try_from(super::same_root::NAME)?;
    let stream = connector()?.connect(name, stream).await.context("it does not speak TLS as a manager does")?;
    let answer = ask(TokioIo::new(stream)).await.context("it hands out no root CA as a manager does")?;
    let pem = certificate(&answer).context("it hands out no root CA as a manager does")?;
    ensure!(CaDigest::from(Sha256::digest(pem)) == *wanted, OtherRoot);
    Ok(pem.to_vec())
}

/// The error of a manager that hands out another root CA: the token may be one from before that was replaced.
#[derive(Debug, Clone, Copy)]
pub struct OtherRoot;

impl fmt::Display for OtherRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its root CA is not the one that the token names")
    }
}

impl std::error::Error for OtherRoot {}

/// Makes the one call of gRPC: a message without a field, and the message that comes back with its head.
async fn ask<S>(stream: S) -> Result<Bytes>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
    let driver = tokio::spawn(connection);
    let asked = async {
        let request = Request::post(METHOD).header("content-type", "application/grpc").header("te", "trailers");
        let response = sender.send_request(request.body(Full::new(Bytes::from_static(&[0; 5])))?).await?;
        let body = Limited::new(response.into_body(), MOST).collect().await;
        anyhow::Ok(body.map_err(|error| anyhow::anyhow!(error))?.to_bytes())
    };
    let answer = asked.await;
    driver.abort();
    answer
}

/// Returns the certificate of an answer: no compression, the length, and a message whose first field it is.
fn certificate(answer: &[u8]) -> Result<&[u8]> {
    let Some((&[0, a, b, c, d], rest)) = answer.split_first_chunk() else { bail!("the answer is none of gRPC") };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let message = rest.get(..length).context("the answer is cut off")?;
    let Some((0x0a, mut rest)) = message.split_first().map(|(tag, rest)| (*tag, rest)) else {
        bail!("the answer has no certificate")
    };
    let mut length = 0_usize;
    for shift in (0..21).step_by(7) {
        let (byte, after) = rest.split_first().context("the answer is cut off")?;
        rest = after;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return rest.get(..length).context("the answer is cut off");
        }
    }
    bail!("the answer is too long")
}

/// A connection to anybody: what is fetched through it is judged by its digest.
fn connector() -> Result<TlsConnector> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Takes every certificate.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(message: &[u8]) -> Vec<u8> {
        let head = [&[0][..], &u32::try_from(message.len()).expect("is short").to_be_bytes()].concat();
        [&head, message].concat()
    }

    #[test]
    fn the_certificate_of_an_answer_is_found() {
        let long = vec![b'x'; 700];
        let message = [&[0x0a, 0xbc, 0x05][..], &long].concat();
        assert_eq!(certificate(&answer(&message)).expect("has one"), long);
        assert_eq!(certificate(&answer(b"\x0a\x03pem")).expect("has one"), b"pem");
        for (bad, told) in [
            (Vec::new(), "none of gRPC"),
            (b"\x01\0\0\0\0".to_vec(), "none of gRPC"),
            (answer(b""), "no certificate"),
            (answer(b"\x12\x03pem"), "no certificate"),
            (answer(b"\x0a\x04pem"), "cut off"),
            (answer(b"\x0a\xff"), "cut off"),
            (answer(b"\x0a\xff\xff\xff\xff\x0f"), "too long"),
            (answer(&message)[..100].to_vec(), "cut off"),
        ] {
            let error = certificate(&bad).expect_err("has none");
            assert!(error.to_string().contains(told), "{error} {bad:?}");
        }
    }
}
