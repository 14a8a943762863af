//! The HTTP client of the agent, for vaults, their credentials, registries and pings: rustls on ring, the root
//! certificates of the host, and the proxies in force. It is the client of the S3 SDK; nothing else uses HTTP over the
//! network.

mod backoff;
mod proxies;

use std::{path::Path, time::Duration};

use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

pub use backoff::Backoff;
pub use proxies::{NONE, Proxies, Proxy};

/// Returns a client for the SDK; `extra` are certificates in PEM that are trusted in addition to those of the host.
pub fn client(extra: Option<&[u8]>, proxies: &Proxies) -> SharedHttpClient {
    let side = |tls: bool| match config(proxies, tls) {
        Ok(proxy) => {
            let tls = context(extra);
            // The only way to set a proxy that keeps connections between requests.
            Builder::new().build_with_connector_fn(move |settings, _| build(tls.clone(), proxy.clone(), settings))
        }
        Err(why) => SharedHttpClient::new(Refusing(why)),
    };
    SharedHttpClient::new(ByScheme { plain: side(false), tls: side(true) })
}

/// Returns a connector for one call to `url`; `limit` is the time to connect, and again the time to get an answer.
pub fn connector(url: &str, proxies: &Proxies, limit: Duration) -> Result<Connector, String> {
    let settings = HttpConnectorSettings::builder().connect_timeout(limit).read_timeout(limit).build();
    Ok(build(context(None), config(proxies, url.starts_with("https:"))?, Some(&settings)))
}

/// Returns a connector for many calls to any place, which keeps connections; `extra` as in [`client()`]. Only the time to
/// connect has a `limit`: the caller limits the answer, which may come after a body of many gigabytes.
pub fn connectors(extra: Option<&[u8]>, proxies: &Proxies, limit: Duration) -> Result<SharedHttpConnector, String> {
    let settings = HttpConnectorSettings::builder().connect_timeout(limit).build();
    let side = |tls: bool| {
        let built = build(context(extra), config(proxies, tls)?, Some(&settings));
        Ok::<_, String>(SharedHttpConnector::new(built))
    };
    Ok(SharedHttpConnector::new(ByScheme { plain: side(false)?, tls: side(true)? }))
}

fn build(tls: TlsContext, proxy: Option<ProxyConfig>, settings: Option<&HttpConnectorSettings>) -> Connector {
    let mut builder = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls);
    builder.set_connector_settings(settings.cloned()).set_proxy_config(proxy);
    builder.build()
}

/// Reads certificates to trust, in PEM. Refuses a file without any, on which the SDK would panic.
pub fn read_certificates(path: &Path) -> std::io::Result<Vec<u8>> {
    let pem = std::fs::read(path)?;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        store.add(certificate.map_err(std::io::Error::other)?).map_err(std::io::Error::other)?;
    }
    if store.is_empty() {
        return Err(std::io::Error::other("it holds no PEM certificate"));
    }
    Ok(pem)
}

fn context(extra: Option<&[u8]>) -> TlsContext {
    // The SDK asserts that the host has root certificates. A host without any can still use plain http and its own CA.
    let host_has_roots = !rustls_native_certs::load_native_certs().certs.is_empty();
    let mut trusted = TrustStore::empty().with_native_roots(host_has_roots);
    if let Some(pem) = extra {
        trusted.add_pem_certificate(pem);
    }
    TlsContext::builder().with_trust_store(trusted).build().expect("a trust store makes a valid context")
}

/// Makes the proxy configuration. The SDK's own reading of the environment would ask the instance metadata through it.
fn config(proxies: &Proxies, tls: bool) -> Result<Option<ProxyConfig>, String> {
    let Some(proxy) = proxies.of_scheme(tls)? else { return Ok(None) };
    let whole = proxy.whole();
    let config = if tls { ProxyConfig::https(whole.as_str()) } else { ProxyConfig::http(whole.as_str()) };
    // The library's message could repeat the login.
    let config = config.map_err(|_| format!("{} names no proxy that can be used ({proxy})", proxy.origin()))?;
    Ok(Some(config.no_proxy(proxies.list())))
}

/// Two clients, one for each scheme, because one client has a proxy for one scheme only. Credentials may come over
/// plain http while the vault is behind TLS, and the other way round.
#[derive(Debug)]
struct ByScheme<T> {
    plain: T,
    tls: T,
}

impl HttpClient for ByScheme<SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(ByScheme {
            plain: self.plain.http_connector(settings, components),
            tls: self.tls.http_connector(settings, components),
        })
    }
}

impl HttpConnector for ByScheme<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let side = if request.uri().starts_with("http:") { &self.plain } else { &self.tls };
        side.call(request)
    }
}

/// Refuses all requests if a proxy is named that cannot be used: they must not go past it.
#[derive(Debug, Clone)]
struct Refusing(String);

impl HttpClient for Refusing {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Refusing {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Err(ConnectorError::user(self.0.clone().into())))
    }
}
