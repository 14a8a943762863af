//! A proxy that injects faults into chosen requests on their way to an S3 server.
//!
//! It passes bytes on as they come, including the Host header, so signatures stay valid. Each connection carries one
//! request: the proxy adds `Connection: close`, which is not signed, and so never has to know where an answer ends.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, sink},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{lab::Lab, listener::Listener};

/// Fault that is injected into a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answered with `503 SlowDown`; the server never sees it.
    SlowDown,
    /// Answered with `501 NotImplemented`, which names `If-None-Match`; the server never sees it.
    NotImplemented,
    /// Answered with 200 and a login page, as by the captive portal of a hotel; the server never sees it.
    LoginPage,
    /// Never answered, with the connection held open; the server never sees it.
    Silence,
    /// Carried out by the server in full; the answer is thrown away and the connection closed.
    LoseAnswer,
    /// Both connections are closed after this many bytes of the body.
    Cut { after: u64 },
    /// The body's byte at this offset arrives inverted.
    Corrupt { at: u64 },
    /// Reaches the server this much later.
    Late { ms: u64 },
}

/// An order to inject a fault. The oldest one that matches is used up first.
#[derive(Debug)]
struct Order {
    /// A request matches if its request line starts with this, as in `PUT /bucket/`.
    start: String,
    skip: usize,
    times: usize,
    fault: Fault,
}

#[derive(Debug, Default)]
struct Book {
    orders: Vec<Order>,
    seen: Vec<String>,
}

/// A running proxy, which stops when dropped.
#[derive(Debug)]
pub struct LossyProxy {
    listener: Listener,
    book: Arc<Mutex<Book>>,
}

impl LossyProxy {
    /// Starts a proxy on a free port of 127.0.0.1 that passes on to `server`, which must speak plain HTTP.
    pub fn start(server: SocketAddrV4) -> Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST, server)
    }

    /// Starts a proxy that the hosts of a lab can reach and that passes on to a `server` on their network.
    pub fn in_lab(lab: &Lab, server: SocketAddrV4) -> Result<Self> {
        lab.netns().within(|| Self::start_at(lab.gateway_ip(), server))?
    }

    fn start_at(listen: Ipv4Addr, server: SocketAddrV4) -> Result<Self> {
        let book = Arc::new(Mutex::new(Book::default()));
        let listener = Listener::start_at(listen, None, {
            let book = Arc::clone(&book);
            move |client| pass_on(client, server, Arc::clone(&book))
        })?;
        Ok(Self { listener, book })
    }

    /// Cancels all orders.
    pub fn heal(&self) {
        self.book.lock().expect("no holder panics").orders.clear();
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.listener.address())
    }

    /// Injects a fault into the next `times` requests whose request line starts with `start` (as in `PUT /bucket/`),
    /// after `skip` more of them. Orders for the same requests are carried out one after the other.
    pub fn spoil(&self, start: &str, skip: usize, times: usize, fault: Fault) {
        let order = Order { start: start.to_owned(), skip, times, fault };
        self.book.lock().expect("no holder panics").orders.push(order);
    }

    /// Returns the request lines so far, as in `PUT /bucket/key?x-id=PutObject HTTP/1.1`, with or without a fault.
    pub fn seen(&self) -> Vec<String> {
        self.book.lock().expect("no holder panics").seen.clone()
    }
}

impl Book {
    /// Records a request and returns the fault to inject into it.
    fn enter(&mut self, line: &str) -> Option<Fault> {
        self.seen.push(line.to_owned());
        let order = self.orders.iter_mut().find(|order| order.times > 0 && line.starts_with(&order.start))?;
        if order.skip > 0 {
            order.skip -= 1;
            return None;
        }
        order.times -= 1;
        Some(order.fault)
    }
}

async fn pass_on(mut client: TcpStream, server: SocketAddrV4, book: Arc<Mutex<Book>>) -> io::Result<()> {
    let (head, body) = read_head(&mut client).await?;
    let line = head.lines().next().unwrap_or_default();
    let fault = book.lock().expect("no holder panics").enter(line);
    if fault == Some(Fault::Silence) {
        // The connection stays open until the client hangs up.
        return copy(&mut client, &mut sink()).await.map(drop);
    }
    if let Some((status, body)) = fault.and_then(own_answer) {
        return answer(client, status, body).await;
    }
    if let Some(Fault::Late { ms }) = fault {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    let mut upstream = TcpStream::connect(server).await?;
    upstream.write_all(one_request(&head).as_bytes()).await?;

    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = upstream.into_split();
    tokio::select! {
        // Ends first only if the body was cut or the client hung up; otherwise the end of the answer decides.
        cut = pass_body(body, from_client, to_server, fault) => cut,
        answered = pass_answer(from_server, to_client, fault) => answered,
    }
}

/// Reads up to the empty line, and returns with it the part of the body that arrived along with it.
async fn read_head(client: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    const LIMIT: usize = 64 * 1024;
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            let head = String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData)?;
            return Ok((head, body));
        }
        if client.read_buf(&mut bytes).await? == 0 || bytes.len() > LIMIT {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn one_request(head: &str) -> String {
    let kept = head.trim_end().lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    kept.map(|line| format!("{line}\r\n")).collect::<String>() + "Connection: close\r\n\r\n"
}

/// Returns the status and body that the proxy answers in place of the server.
fn own_answer(fault: Fault) -> Option<(&'static str, &'static str)> {
    match fault {
        Fault::SlowDown => Some(("503 Slow Down", "<Error><Code>SlowDown</Code></Error>")),
        Fault::NotImplemented => Some((
            "501 Not Implemented",
            "<Error><Code>NotImplemented</Code><Message>A header you provided implies functionality that is not \
             implemented</Message><Header>If-None-Match</Header></Error>",
        )),
        Fault::LoginPage => Some(("200 OK", "<!DOCTYPE html><html><title>Welcome</title></html>")),
        Fault::Silence | Fault::LoseAnswer | Fault::Cut { .. } | Fault::Corrupt { .. } | Fault::Late { .. } => None,
    }
}

async fn answer(mut client: TcpStream, status: &str, body: &str) -> io::Result<()> {
    let kind = if body.starts_with("<Error>") { "application/xml" } else { "text/html" };
    let head = format!("Content-Type: {kind}\r\nContent-Length: {}\r\nConnection: close", body.len());
    client.write_all(format!("HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}").as_bytes()).await?;
    client.shutdown().await?;
    // Closing over an unread body would reset the connection and could take the answer with it.
    copy(&mut client, &mut sink()).await.map(drop)
}

/// Passes on the body. Returns when the fault says to cut, or when the client hangs up; otherwise never.
async fn pass_body(
    mut bytes: Vec<u8>,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    fault: Option<Fault>,
) -> io::Result<()> {
    let mut sent = 0;
    loop {
        let end = sent + bytes.len() as u64;
        match fault {
            Some(Fault::Cut { after }) if after <= end => {
                bytes.truncate((after - sent) as usize);
                return to.write_all(&bytes).await;
            }
            Some(Fault::Corrupt { at }) if (sent..end).contains(&at) => bytes[(at - sent) as usize] ^= 0xff,
            _ => {}
        }
        to.write_all(&bytes).await?;
        sent = end;
        bytes.clear();
        if from.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
}

async fn pass_answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fault: Option<Fault>) -> io::Result<()> {
    if fault == Some(Fault::LoseAnswer) {
        // The server closes after its answer, so at the end of this copy it has carried out the whole request.
        return copy(&mut from, &mut sink()).await.map(drop);
    }
    copy(&mut from, &mut to).await?;
    to.shutdown().await
}
