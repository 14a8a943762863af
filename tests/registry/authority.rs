//! A private certificate authority, and the one certificate that it signed.

use std::{
    fs::{self, File},
    io::BufReader,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context, Result};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::tree::capture;

const CURVE: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/// An authority, and a certificate of it for the servers of one place.
#[derive(Debug)]
pub(super) struct Authority {
    dir: PathBuf,
    pem: String,
}

impl Authority {
    /// Writes keys and certificates into a directory that is made for them.
    pub fn make(dir: &Path, addresses: &[Ipv4Addr]) -> Result<Self> {
        fs::create_dir(dir).with_context(|| format!("failed to create {}", dir.display()))?;
        let names: Vec<String> = addresses.iter().map(|ip| format!("IP:{ip}")).collect();
        let names = format!("subjectAltName={}", names.join(","));
        let own = ["-subj", "/CN=registry test authority", "-addext", "keyUsage=keyCertSign"];
        self_signed(dir, &own, "ca.key", "ca.crt")?;
        let signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"];
        let server = ["-subj", "/CN=registry", "-addext", &names];
        self_signed(dir, &[&server[..], &signed].concat(), "server.key", "server.crt")?;
        Ok(Self { dir: dir.to_owned(), pem: fs::read_to_string(dir.join("ca.crt"))? })
    }

    /// The authority's certificate, in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub fn pem_file(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// Directory in which `skopeo` finds `ca.crt`, and nothing else that it would take.
    pub fn client_directory(&self) -> Result<PathBuf> {
        let dir = self.dir.join("client");
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("ca.crt"), &self.pem)?;
        Ok(dir)
    }

    pub fn certificate(&self) -> PathBuf {
        self.dir.join("server.crt")
    }

    pub fn key(&self) -> PathBuf {
        self.dir.join("server.key")
    }

    pub fn acceptor(&self) -> Result<TlsAcceptor> {
        let chain = vec![certificate(&self.certificate())?];
        let key = PrivateKeyDer::from_pem_file(self.key()).context("failed to read the server's key")?;
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    pub fn connector(&self) -> Result<TlsConnector> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.pem_file())?)?;
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

/// Makes a key and a certificate for it in a directory; `more` may name another signer.
pub(super) fn self_signed(dir: &Path, more: &[&str], key: &str, out: &str) -> Result<()> {
    let mut command = Command::new("openssl");
    command.current_dir(dir).args(["req", "-x509", "-days", "2"]).args(CURVE).args(more);
    capture(command.args(["-keyout", key, "-out", out])).map(drop)
}

/// Reads the first certificate of a file.
pub(super) fn certificate(file: &Path) -> Result<CertificateDer<'static>> {
    let opened = File::open(file).with_context(|| format!("failed to open {}", file.display()))?;
    let mut found = CertificateDer::pem_reader_iter(BufReader::new(opened));
    found.next().with_context(|| format!("{} holds no certificate", file.display()))?.context("it is no certificate")
}
