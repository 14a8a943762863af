//! HTTP messages: requests as they are sent, and what is read of answers.

use std::error::Error;

use aws_smithy_runtime_api::{
    client::orchestrator::{HttpRequest, HttpResponse},
    http::{Headers, Request},
};
use aws_smithy_types::body::SdkBody;
use url::Url;
use zeroize::Zeroizing;

use crate::authorization::{Challenge, TokenRequest};

/// Makes a request. An error does not hold the login.
pub fn request(
    method: &str,
    url: &Url,
    headers: &[(&'static str, String)],
    body: SdkBody,
    authorization: Option<Zeroizing<String>>,
) -> Result<HttpRequest, String> {
    let mut request = Request::new(body);
    request.set_method(method).map_err(|cause| cause.to_string())?;
    request.set_uri(url.as_str()).map_err(|cause| cause.to_string())?;
    let headers_of = request.headers_mut();
    headers_of.insert("user-agent", concat!("swarmdr-agent/", env!("CARGO_PKG_VERSION")));
    for (name, value) in headers {
        headers_of.try_insert(*name, value.clone()).map_err(|cause| cause.to_string())?;
    }
    if let Some(value) = authorization {
        // The library's message could repeat the value.
        headers_of.try_insert("authorization", value.to_string()).map_err(|_| "its login cannot be sent".to_owned())?;
    }
    Ok(request)
}

pub fn token_request(asked: TokenRequest) -> Result<HttpRequest, String> {
    let TokenRequest { url, authorization, form } = asked;
    match form {
        None => request("GET", &url, &[], SdkBody::empty(), authorization),
        Some(form) => {
            let kind = [("content-type", "application/x-www-form-urlencoded".to_owned())];
            request("POST", &url, &kind, SdkBody::from(form.as_str()), authorization)
        }
    }
}

pub fn challenge(headers: &Headers) -> Result<Challenge, String> {
    Challenge::parse(headers.get_all_bytes("www-authenticate").filter_map(|value| std::str::from_utf8(value).ok()))
}

/// Returns the value of a header, if there is one and it is text.
pub fn header(headers: &Headers, name: &str) -> Option<String> {
    headers.get_bytes(name).and_then(|value| std::str::from_utf8(value).ok()).map(str::to_owned)
}

pub fn is_redirect(answer: &HttpResponse) -> bool {
    matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Joins an error and its causes, from the outer to the inner, without those that say nothing new. None has the URL in it.
pub fn chain(error: &dyn Error) -> String {
    /// What the layers of the client say of themselves.
    const EMPTY: [&str; 4] = ["io error", "client error (Connect)", "client error (SendRequest)", "other"];
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let said = cause.to_string();
        if !EMPTY.contains(&said.as_str()) && !words.iter().any(|it| it.contains(&said)) {
            words.push(said);
        }
        next = cause.source();
    }
    if words.is_empty() { error.to_string() } else { words.join(": ") }
}
