//! A client of the AWS SDK that trusts one gateway and never retries.

use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Config, Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig},
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};

use super::Identity;

/// Limit for one operation, long enough for 100 MB on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Limit after which an idle connection is not used again. A gateway closes connections that were idle for 65 s
/// (`request_timeout_ms`), and a client may send a request before it learns of that.
const IDLE: Duration = Duration::from_secs(20);

pub(super) fn connect(endpoint: &str, authority: Option<&str>, by: &Identity) -> Result<Client> {
    let http = match authority {
        Some(pem) => {
            let trust = TrustStore::empty().with_pem_certificate(pem);
            let context = TlsContext::builder().with_trust_store(trust).build();
            Builder::new()
                .pool_idle_timeout(IDLE)
                .tls_provider(Provider::Rustls(CryptoMode::Ring))
                .tls_context(context.context("failed to trust the gateway's authority")?)
                .build_https()
        }
        None => Builder::new().pool_idle_timeout(IDLE).build_http(),
    };
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .endpoint_url(endpoint)
        .force_path_style(true)
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new(&by.access_key, &by.secret_key, None, None, "tests"))
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(PATIENCE).build())
        .build();
    Ok(Client::from_conf(config))
}
