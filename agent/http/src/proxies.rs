//! Decides which proxy is used for which address.
//!
//! Plain data: environment and configuration are parameters. Logins are never shown, and the cloud services that know
//! this instance (and its credentials) are never reached through a proxy.

use std::{fmt, fs, io, path::Path};

use hyper_util::client::proxy::matcher::Matcher;
use url::Url;
use zeroize::Zeroizing;

/// Link-local services of AWS: instance metadata, container credentials and the EKS agent, in both families.
const NEVER: &str = "169.254.0.0/16,fd00:ec2::/32";

/// The setting for no proxy at all.
pub const NONE: &str = "none";

/// A proxy and the login to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// `http://host:port`, without a login.
    address: String,
    /// `user:password`, quoted as in a URL.
    login: Option<Zeroizing<String>>,
    /// The variable or the key of the configuration that named it.
    origin: String,
}

/// The route of requests of one scheme.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Route {
    #[default]
    Direct,
    Through(Proxy),
    /// Through a proxy that cannot be used: reported when a request needs it, not before.
    Unusable(String),
}

/// The proxies in force for both schemes, and the exceptions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    plain: Route,
    tls: Route,
    /// Comma-separated hosts, suffixes, addresses and CIDRs.
    except: String,
}

impl Proxy {
    /// Reads `http://host:port`; a login in it is kept apart and never shown.
    pub fn parse(text: &str, origin: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{origin} names no proxy that can be used ({why})");
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        // The parser's message could repeat a password.
        let mut url = Url::parse(&whole).map_err(|_| wrong("it is no URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong(&format!("its kind is `{}`", url.scheme())));
        }
        if !url.has_host() {
            return Err(wrong("it has no host"));
        }
        let login = (!url.username().is_empty())
            .then(|| Zeroizing::new(format!("{}:{}", url.username(), url.password().unwrap_or_default())));
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let port = url.port_or_known_default().unwrap_or(80);
        let address = format!("{}://{}:{port}", url.scheme(), url.host_str().unwrap_or_default());
        Ok(Self { address, login, origin: origin.to_owned() })
    }

    /// Reads a setting: [`NONE`], or a proxy without a login, which the command `config` would show.
    pub fn of_setting(text: &str) -> Result<Option<Self>, String> {
        if text == NONE {
            return Ok(None);
        }
        match Self::parse(text, "`proxy`")? {
            proxy if proxy.has_login() => Err("holds a login, which does not belong there".to_owned()),
            proxy => Ok(Some(proxy)),
        }
    }

    /// Sets the login from the text of a file: one line, `user:password`.
    fn with_login(mut self, text: &str) -> Result<Self, String> {
        let (user, password) =
            text.trim().split_once(':').ok_or_else(|| "it does not hold `user:password`".to_owned())?;
        // Quoted as in a URL, which the library takes apart again.
        let mut url = Url::parse("http://x").expect("is a URL");
        url.set_username(user).and_then(|()| url.set_password(Some(password))).expect("http has logins");
        let quoted = format!("{}:{}", url.username(), url.password().unwrap_or_default());
        self.login = Some(Zeroizing::new(quoted));
        Ok(self)
    }

    pub fn has_login(&self) -> bool {
        self.login.is_some()
    }

    /// Sets the login from a file.
    pub fn with_login_of(self, path: &Path) -> io::Result<Self> {
        let text = Zeroizing::new(fs::read_to_string(path)?);
        self.with_login(&text).map_err(io::Error::other)
    }

    /// The URL with the login; for the client and for child processes, never for people.
    pub(super) fn whole(&self) -> Zeroizing<String> {
        match (&self.login, self.address.split_once("://")) {
            (Some(login), Some((scheme, rest))) => Zeroizing::new(format!("{scheme}://{}@{rest}", login.as_str())),
            _ => Zeroizing::new(self.address.clone()),
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self}, from {})", self.origin)
    }
}

impl Proxy {
    /// Returns the variable or the key of the configuration that named it.
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

impl Route {
    fn read(found: Option<(&str, &str)>) -> Self {
        match found {
            None => Route::Direct,
            Some((name, text)) => Proxy::parse(text, name).map_or_else(Route::Unusable, Route::Through),
        }
    }

    pub(super) fn proxy(&self) -> Result<Option<&Proxy>, String> {
        match self {
            Route::Direct => Ok(None),
            Route::Through(proxy) => Ok(Some(proxy)),
            Route::Unusable(why) => Err(why.clone()),
        }
    }
}

impl Proxies {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`; of two spellings, the first that is not empty.
    pub fn of_environment(environment: &[(String, String)]) -> Self {
        let find = |wanted: &str| {
            let spelt = [wanted.to_uppercase(), wanted.to_lowercase()];
            spelt.iter().find_map(|spelling| {
                let found = environment.iter().find(|(name, value)| name == spelling && !value.trim().is_empty());
                found.map(|(name, value)| (name.as_str(), value.trim()))
            })
        };
        let all = find("ALL_PROXY");
        Self {
            plain: Route::read(find("HTTP_PROXY").or(all)),
            tls: Route::read(find("HTTPS_PROXY").or(all)),
            except: exceptions(find("NO_PROXY").map_or("", |(_, list)| list)),
        }
    }

    /// One proxy for everything but the exceptions.
    pub fn through(proxy: Proxy, except: &str) -> Self {
        Self { plain: Route::Through(proxy.clone()), tls: Route::Through(proxy), except: exceptions(except) }
    }

    pub fn none() -> Self {
        Self::default()
    }

    /// Replaces the exceptions.
    #[must_use]
    pub fn except(self, list: &str) -> Self {
        Self { except: exceptions(list), ..self }
    }

    /// Sets the login from a file for proxies that have none.
    pub fn with_login_of(mut self, path: &Path) -> io::Result<Self> {
        for way in [&mut self.plain, &mut self.tls] {
            if let Route::Through(proxy) = way
                && !proxy.has_login()
            {
                *proxy = proxy.clone().with_login_of(path)?;
            }
        }
        Ok(self)
    }

    /// Returns the exceptions, for another proxy in the place of these.
    pub fn exceptions(&self) -> &str {
        &self.except
    }

    /// Returns the proxy for an address. An error means that a proxy is named that cannot be used.
    pub fn before(&self, url: &str) -> Result<Option<&Proxy>, String> {
        let Ok(uri) = url.parse::<hyper::Uri>() else { return Ok(None) };
        let past = Matcher::builder().all("http://x").no(self.list()).build().intercept(&uri).is_none();
        match uri.scheme_str() {
            _ if past => Ok(None),
            Some("http") => self.plain.proxy(),
            _ => self.tls.proxy(),
        }
    }

    /// Returns the proxy of a scheme.
    pub(super) fn of_scheme(&self, tls: bool) -> Result<Option<&Proxy>, String> {
        if tls { self.tls.proxy() } else { self.plain.proxy() }
    }

    /// The exceptions and the services of the cloud, as the library reads them.
    pub(super) fn list(&self) -> String {
        if self.except.is_empty() { NEVER.to_owned() } else { format!("{},{NEVER}", self.except) }
    }

    /// Environment variables, with logins, that make a child process use the same proxies. Empty values mean no proxy:
    /// they override the variables that this process inherited.
    pub fn for_children(&self) -> Vec<(&'static str, String)> {
        let whole = |way: &Route| match way {
            Route::Through(proxy) => proxy.whole().to_string(),
            _ => String::new(),
        };
        let (plain, tls, list) = (whole(&self.plain), whole(&self.tls), self.list());
        let all = [("HTTP_PROXY", &plain), ("HTTPS_PROXY", &tls), ("NO_PROXY", &list)];
        let small = [("http_proxy", &plain), ("https_proxy", &tls), ("no_proxy", &list)];
        all.into_iter().chain(small).map(|(name, value)| (name, value.clone())).collect()
    }
}

/// Separates the entries with commas; the common `*.suffix` means `.suffix`.
fn exceptions(list: &str) -> String {
    let entries = list.split([',', ' ', '\t', ';']).filter(|entry| !entry.is_empty());
    let entries = entries.map(|entry| entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(entry));
    entries.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(environment: &[(&str, &str)]) -> Proxies {
        let owned = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Proxies::of_environment(&owned.collect::<Vec<_>>())
    }

    fn before(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.before(url).expect("can be used").map(ToString::to_string)
    }

    #[test]
    fn the_environment_counts_in_both_spellings() {
        for (name, url, through) in [
            ("HTTPS_PROXY", "https://s3.example.net", true),
            ("https_proxy", "https://s3.example.net", true),
            ("HTTPS_PROXY", "http://s3.example.net", false),
            ("HTTP_PROXY", "http://s3.example.net", true),
            ("http_proxy", "https://s3.example.net", false),
            ("ALL_PROXY", "https://s3.example.net", true),
            ("all_proxy", "http://s3.example.net", true),
        ] {
            let proxies = of(&[(name, "http://proxy:3128")]);
            assert_eq!(before(&proxies, url).is_some(), through, "{name} {url}");
        }
        let both = of(&[("HTTPS_PROXY", ""), ("https_proxy", "http://small:1")]);
        assert_eq!(before(&both, "https://x").as_deref(), Some("http://small:1"), "an empty one says nothing");
        assert_eq!(before(&Proxies::none(), "https://x"), None);
    }

    #[test]
    fn exceptions_are_hosts_suffixes_addresses_and_networks() {
        let list = "10.0.0.0/8 .internal,*.corp.example; plain.example,2001:db8::/32";
        let proxies = of(&[("HTTPS_PROXY", "http://proxy:3128"), ("no_proxy", list)]);
        for past in [
            "https://10.1.2.3:9000",
            "https://s3.internal",
            "https://deep.s3.internal",
            "https://s3.corp.example",
            "https://plain.example",
            "https://bucket.plain.example",
            "https://[2001:db8::7]:9000",
        ] {
            assert_eq!(before(&proxies, past), None, "{past}");
        }
        for through in
            ["https://11.1.2.3", "https://internal.example", "https://notplain.example", "https://[2001:db9::7]"]
        {
            assert!(before(&proxies, through).is_some(), "{through}");
        }
        let all = of(&[("HTTPS_PROXY", "http://proxy:3128"), ("NO_PROXY", "*")]);
        assert_eq!(before(&all, "https://s3.example.net"), None);
    }

    #[test]
    fn the_metadata_of_the_instance_is_never_asked_through_a_proxy() {
        let proxies = of(&[("ALL_PROXY", "http://proxy:3128")]);
        for service in [
            "http://169.254.169.254/latest",
            "http://169.254.170.2/creds",
            "http://[fd00:ec2::254]/",
            "http://[fd00:ec2::23]/",
        ] {
            assert_eq!(before(&proxies, service), None, "{service}");
        }
        let variables = proxies.for_children();
        assert!(variables.contains(&("NO_PROXY", NEVER.to_owned())), "{variables:?}");
    }

    #[test]
    fn a_login_is_used_and_never_shown() {
        let proxies = of(&[("HTTPS_PROXY", "http://user:p%40ss@proxy:3128")]);
        let proxy = proxies.before("https://x").expect("can be used").expect("is there");
        assert_eq!(proxy.to_string(), "http://proxy:3128");
        assert!(!format!("{proxies:?}").contains("p%40ss"));
        assert_eq!(proxy.whole().as_str(), "http://user:p%40ss@proxy:3128");

        let bare = Proxy::parse("proxy", "proxy").expect("is one");
        let proxy = bare.clone().with_login("user:p@ss:w/rd\n").expect("is a login");
        assert_eq!(proxy.whole().as_str(), "http://user:p%40ss%3Aw%2Frd@proxy:80");
        assert!(bare.with_login("no colon").is_err());
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_reported_when_it_is_needed() {
        let proxies = of(&[("ALL_PROXY", "socks5://user:planted@proxy:1080"), ("NO_PROXY", "10.0.0.0/8")]);
        let why = proxies.before("https://x").expect_err("is of no use");
        assert!(why.contains("ALL_PROXY") && why.contains("socks5") && !why.contains("planted"), "{why}");
        assert_eq!(proxies.before("https://10.0.0.1"), Ok(None));
        let why = Proxy::parse("http://user:planted@:bad", "proxy").expect_err("is none");
        assert!(!why.contains("planted"), "{why}");
    }
}
