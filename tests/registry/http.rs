//! HTTP/1.1 as far as small servers and a proxy need it: one request for each connection, bodies as they come.

use std::{io, net::SocketAddrV4};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A connection, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

pub(super) async fn accept(tls: Option<TlsAcceptor>, client: TcpStream) -> io::Result<Box<dyn Stream>> {
    Ok(match tls {
        Some(tls) => Box::new(tls.accept(client).await?),
        None => Box::new(client),
    })
}

pub(super) async fn connect(tls: Option<TlsConnector>, server: SocketAddrV4) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect(server).await?;
    let ip = std::net::IpAddr::from(*server.ip());
    Ok(match tls {
        Some(tls) => Box::new(tls.connect(ip.into(), stream).await?),
        None => Box::new(stream),
    })
}

/// The lines before the body of a request or of an answer.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// `GET /v2/ HTTP/1.1`, or `HTTP/1.1 200 OK`.
    pub line: String,
    fields: Vec<(String, String)>,
}

impl Head {
    pub fn answer(status: u16) -> Self {
        Self { line: format!("HTTP/1.1 {status} {}", reason(status)), fields: Vec::new() }.with("Connection", "close")
    }

    /// Reads up to the empty line, and returns with it the part of the body that arrived along with it.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(Self, Vec<u8>)> {
        const LIMIT: usize = 64 * 1024;
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let body = bytes.split_off(end + 4);
                let text = String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData)?;
                return Ok((Self::parse(&text), body));
            }
            if from.read_buf(&mut bytes).await? == 0 || bytes.len() > LIMIT {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // Clients try TLS first, and wait for an answer that a server without TLS cannot give.
            if !bytes[0].is_ascii_uppercase() {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.trim_end().lines();
        let line = lines.next().unwrap_or_default().to_owned();
        let fields = lines.filter_map(|line| line.split_once(':'));
        Self { line, fields: fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect() }
    }

    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// Path of a request, with its query.
    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// Status of an answer; 0 if it has none.
    pub fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn remove(&mut self, name: &str) {
        self.fields.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// Sets a header, in place of those of the same name.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.remove(name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let fields: String = self.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{}\r\n{fields}\r\n", self.line).into_bytes()
    }
}

/// Sends a whole answer and ends the connection.
pub(super) async fn answer(mut client: impl Stream, head: Head, body: &[u8]) -> io::Result<()> {
    let head = head.with("Content-Length", &body.len().to_string());
    client.write_all(&head.bytes()).await?;
    client.write_all(body).await?;
    finish(client).await
}

/// Ends a connection without taking the answer with it: closing over an unread body would reset the connection.
pub(super) async fn finish(mut client: impl Stream) -> io::Result<()> {
    client.shutdown().await?;
    copy(&mut client, &mut sink()).await.map(drop)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        _ => "As Ordered",
    }
}
