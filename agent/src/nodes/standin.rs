//! A stand-in for a manager: TLS with a certificate, and the root CA for whoever asks.

use std::{net::SocketAddr, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// A root CA, and a manager's certificate and key of it, valid for a hundred years and known to everybody.
pub const ROOT: &str = "-----BEGIN CERTIFICATE-----\n\
    MIIBjDCCATOgAwIBAgIUaRmwnd2oxP2awYmRJSSNG5r7x3AwCgYIKoZIzj0EAwIw\n\
    EzERMA8GA1UEAwwIc3dhcm0tY2EwIBcNMjYxMTI4MDkzMzU1WhgPMjEyNjExMDQw\n\
    OTMzNTVaMBMxETAPBgNVBAMMCHN3YXJtLWNhMFkwEwYHKoZIzj0CAQYIKoZIzj0D\n\
    AQcDQgAE2YEk7c0cBKfj1T7nzxkTqfEMUlNecHK/cIsmVhQKv7cCNk6PAQYdzHaH\n\
    A9VeFRfAVZ7+p0pSm3O4256biEthBKNjMGEwHQYDVR0OBBYEFKxCD6DM4YWXgCya\n\
    lhRazvZrrg69MB8GA1UdIwQYMBaAFKxCD6DM4YWXgCyalhRazvZrrg69MA8GA1Ud\n\
    EwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgEGMAoGCCqGSM49BAMCA0cAMEQCIGKn\n\
    4Z9/6Ux5DU4lj1WntHqII/aP0pii1o0FKf4yRnLxAiA/gW18IjdARPI8IDIDdHD9\n\
    m842duiH6PM7i0eLsfOCTw==\n\
    -----END CERTIFICATE-----\n";
const LEAF: &str = "-----BEGIN CERTIFICATE-----\n\
    MIICHDCCAcGgAwIBAgIUHKuCOgy7uKQhP9XJNbcSa07S6SMwCgYIKoZIzj0EAwIw\n\
    EzERMA8GA1UEAwwIc3dhcm0tY2EwIBcNMjYxMTI4MDkzMzU1WhgPMjEyNjExMDQw\n\
    OTMzNTVaME4xEDAOBgNVBAoMB2NsdXN0ZXIxFjAUBgNVBAsMDXN3YXJtLW1hbmFn\n\
    ZXIxIjAgBgNVBAMMGTBvMm5qM3R4Y3UyZnRwamd1YTAxZmh6NmQwWTATBgcqhkjO\n\
    PQIBBggqhkjOPQMBBwNCAASoIEkXid2tEb3SG4vaiwGNrxQZSuf0n4g+KN8Dotlv\n\
    GiVvQ1J8we5PzdBFlp/o+1EezLWLF2Th25dqg6a3veAWo4G1MIGyMAwGA1UdEwEB\n\
    /wQCMAAwDgYDVR0PAQH/BAQDAgWgMB0GA1UdJQQWMBQGCCsGAQUFBwMBBggrBgEF\n\
    BQcDAjAzBgNVHREELDAqgg1zd2FybS1tYW5hZ2VyghkwbzJuajN0eGN1MmZ0cGpn\n\
    dWEwMWZoejZkMB0GA1UdDgQWBBRuoL5heztJEwAnBiIrWADX6qvnCTAfBgNVHSME\n\
    GDAWgBSsQg+gzOGFl4AsmpYUWs72a64OvTAKBggqhkjOPQQDAgNJADBGAiEAirya\n\
    7NF0+XkFGeXsFIEWIZrmwKSakWOjoVkSqwffr2ECIQCdZ+K+2Kv6TXhMYjLk2qWa\n\
    4lukNBgFLGe6jVx2JoXURg==\n\
    -----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgLR5gPggtZr+WK0bH\n\
    JV2FQnMDlPs4l/0akETYx2CULDmhRANCAASoIEkXid2tEb3SG4vaiwGNrxQZSuf0\n\
    n4g+KN8DotlvGiVvQ1J8we5PzdBFlp/o+1EezLWLF2Th25dqg6a3veAW\n\
    -----END PRIVATE KEY-----\n";

/// Node id in that certificate.
pub const NODE: &str = "0o2nj3txcu2ftpjgua01fhz6d";

/// Listens as a manager that hands this out as its root CA, and shows the certificate of [`ROOT`].
pub async fn manager(handed: &str) -> SocketAddr {
    listen(answer(handed)).await
}

/// Listens as a manager that shows the certificate of [`ROOT`] and has no leader: it answers without a message.
pub async fn without_leader() -> SocketAddr {
    listen(Vec::new()).await
}

async fn listen(answer: Vec<u8>) -> SocketAddr {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("are supported").with_no_client_auth();
    let leaf = CertificateDer::from_pem_slice(LEAF.as_bytes()).expect("is a certificate");
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("is a key");
    let mut config = config.with_single_cert(vec![leaf], key).expect("belong together");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let addr = listener.local_addr().expect("is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                // A client that only greets goes away.
                let _ = serve(stream, &answer).await;
            }
        }
    });
    addr
}

/// The answer of gRPC: the head, and a message with one field.
fn answer(handed: &str) -> Vec<u8> {
    let length = handed.len();
    let field = [0x0a, 0x80 | (length & 0x7f) as u8, (length >> 7) as u8];
    let head = u32::try_from(field.len() + length).expect("is short").to_be_bytes();
    [&[0][..], &head, &field, handed.as_bytes()].concat()
}

/// Answers one request of HTTP/2 (RFC 9113): the settings, `:status 200`, the body.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8]) -> std::io::Result<()> {
    const PREFACE: usize = 24;
    const END_STREAM: u8 = 1;
    stream.read_exact(&mut [0; PREFACE]).await?;
    stream.write_all(&[frame(4, 0, 0, &[]), frame(4, 1, 0, &[])].concat()).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, ..] = head;
        stream.read_exact(&mut vec![0; u32::from_be_bytes([0, a, b, c]) as usize]).await?;
        if kind == 0 && flags & END_STREAM != 0 {
            break;
        }
    }
    let answer = [frame(1, 4, 1, &[0x88]), frame(0, END_STREAM, 1, answer)].concat();
    stream.write_all(&answer).await?;
    stream.read_to_end(&mut Vec::new()).await.map(drop)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("is short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
