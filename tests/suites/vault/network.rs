//! The way to a vault through a real proxy with a login, and the errors when that way is broken.

use std::fs;

use swarmdr_http::{Proxies, Proxy};
use swarmdr_tests::s3::{ForwardProxy, Lock, PROXY_PASSWORD, Release, RgwOptions};
use swarmdr_vault::{NO_PROGRESS, VaultError, VaultSettings, store, testkit::conformance};

use super::{Site, abilities};

impl Site {
    /// Returns the writer's settings for a vault behind a proxy, with this login.
    async fn proxied(&self, proxy: &ForwardProxy, login: &str) -> VaultSettings {
        self.rgw.create_bucket("vault", Lock::On).await.unwrap();
        let mut settings = self.settings("s3://vault/p", &self.rgw.writer().unwrap());
        let (login_file, authority) = (self.directory.path().join("login"), self.directory.path().join("ca.pem"));
        fs::write(&login_file, login).unwrap();
        if let Some(pem) = self.rgw.authority() {
            fs::write(&authority, pem).unwrap();
            settings.ca_file = Some(authority);
        }
        settings.proxy = Some(proxy.url());
        settings.proxy_login_file = Some(login_file);
        settings
    }
}

#[tokio::test]
async fn a_vault_works_through_a_proxy_that_wants_a_login_by_tunnel_and_in_clear() {
    for tls in [true, false] {
        let site = Site::start(RgwOptions { tls, ..RgwOptions::default() });
        let proxy = ForwardProxy::start().unwrap();
        let settings = site.proxied(&proxy, &ForwardProxy::login()).await;
        let vault = settings.target().unwrap().connect(&Proxies::none()).await.unwrap();
        if tls {
            conformance::run(vault, abilities(Release::V20)).await;
        } else {
            vault.check().await.unwrap();
            store(&*vault, &site.upload("a", 100_000), NO_PROGRESS).await.unwrap();
        }
        let (log, server) = (proxy.log(), site.rgw.address());
        let way = if tls { format!("CONNECT {server}") } else { format!("http://{server}/vault") };
        assert!(log.contains(&way), "{way} is not in {log}");
    }
}

#[tokio::test]
async fn the_proxies_of_all_count_for_a_vault_without_its_own_and_exceptions_go_past() {
    let site = Site::start(RgwOptions { tls: true, ..RgwOptions::default() });
    let proxy = ForwardProxy::start().unwrap();
    let settings =
        VaultSettings { proxy: None, proxy_login_file: None, ..site.proxied(&proxy, &ForwardProxy::login()).await };
    let check = async |environment: &[(&str, &str)]| {
        let owned = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let proxies = Proxies::of_environment(&owned.collect::<Vec<_>>());
        settings.target().unwrap().connect(&proxies).await.unwrap().check().await.unwrap();
    };
    let url = proxy.url_with_login();
    check(&[("HTTPS_PROXY", &url), ("NO_PROXY", "127.0.0.0/8")]).await;
    check(&[("HTTP_PROXY", &url)]).await;
    let tunnel = format!("CONNECT {}", site.rgw.address());
    assert!(!proxy.log().contains(&tunnel), "{}", proxy.log());
    check(&[("https_proxy", &url)]).await;
    assert!(proxy.log().contains(&tunnel), "{}", proxy.log());
}

#[tokio::test]
async fn a_proxy_that_breaks_is_named_without_its_password() {
    for tls in [true, false] {
        let site = Site::start(RgwOptions { tls, ..RgwOptions::default() });
        let proxy = ForwardProxy::start().unwrap();
        let url = proxy.url();
        let wrong = format!("agent:not-{PROXY_PASSWORD}");
        let settings = site.proxied(&proxy, &wrong).await;
        let vault = settings.target().unwrap().connect(&Proxies::none()).await.unwrap();
        let refused = vault.check().await.unwrap_err();
        assert!(matches!(refused, VaultError::Proxy { .. }), "{refused:?}");

        // The server is down behind a proxy that works; then the proxy is down as well.
        fs::write(site.directory.path().join("login"), ForwardProxy::login()).unwrap();
        let vault = settings.target().unwrap().connect(&Proxies::none()).await.unwrap();
        vault.check().await.unwrap();
        site.rgw.kill_gateway().unwrap();
        let behind = vault.check().await.unwrap_err();
        drop(proxy);
        let gone = vault.check().await.unwrap_err();
        assert!(behind.is_transient() && matches!(gone, VaultError::Unreachable { .. }), "{behind:?} {gone:?}");
        for error in [refused, behind, gone] {
            assert!(error.to_string().contains(&url), "{error}");
            assert!(!format!("{error} {error:?}").contains(PROXY_PASSWORD), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_proxy_that_cannot_be_used_is_told_and_not_passed_by() {
    let proxies = Proxies::of_environment(&[("ALL_PROXY".to_owned(), "socks5://proxy:1080".to_owned())]);
    let error = VaultSettings::new("s3://vault").target().unwrap().connect(&proxies).await.unwrap_err();
    assert!(error.to_string().contains("ALL_PROXY") && error.to_string().contains("socks5"), "{error}");
    assert!(Proxy::parse("http://", "it").is_err());
}
