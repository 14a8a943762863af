//! What the pages of the application say to a client at the lab's end of the network.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::site::FRONT;
use crate::lab::Lab;

/// Limit of one request. The load balancer itself gives up after ten seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// Returns a page as the load balancer gives it.
pub fn page(lab: &Lab, path: &str) -> Result<String> {
    ask(lab, FRONT, "GET", path)
}

/// Returns the votes that the results page counts.
pub fn counted(lab: &Lab) -> Result<BTreeSet<String>> {
    Ok(page(lab, "/results/ids")?.lines().map(str::to_owned).collect())
}

/// Sends a request without a body, and returns the body of the answer. Fails unless that is whole, with status 200.
pub(super) fn ask(lab: &Lab, to: SocketAddr, method: &str, path: &str) -> Result<String> {
    let request = || -> Result<String> {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE).with_context(|| format!("{to} does not answer"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: vote\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = lab.netns().within(request)??;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no answer: {answer:?}"))?;
    ensure!(head.split(' ').nth(1) == Some("200"), "{method} {path}: {answer}");
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    ensure!(length == Some(body.len()), "{method} {path}: a part of an answer: {answer}");
    Ok(body.to_owned())
}
