//! For tests: a server that responds as a function says, and a vault connected to it.

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use swarmdr_http::Proxies;
use tempfile::TempDir;

use crate::{Vault, VaultSettings};

/// A request: `PUT /bucket/key?x-id=PutObject`, and its headers in lower case.
#[derive(Debug, Clone)]
pub struct Request {
    pub line: String,
    pub headers: String,
    pub body: Vec<u8>,
}

impl Request {
    pub fn is(&self, start: &str) -> bool {
        self.line.starts_with(start)
    }

    pub fn has(&self, header: &str) -> bool {
        self.headers.lines().any(|line| line.starts_with(header))
    }
}

/// A response: a status, headers of a line each, a body.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

impl Response {
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: String::new(), body: body.into() }
    }

    /// A refusal of S3, with more elements behind the message.
    pub fn error(status: u16, code: &str, message: &str, more: &str) -> Self {
        let body = format!("<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>");
        Self::new(status, body).with("x-amz-request-id: tx1")
    }

    pub fn with(mut self, header: &str) -> Self {
        self.headers += &format!("{header}\r\n");
        self
    }
}

type Say = dyn Fn(&Request) -> Option<Response> + Send + Sync;

/// Serves until the test ends. `None` as a response is silence.
pub struct Server {
    address: String,
    request: Arc<Mutex<Vec<Request>>>,
    dir: TempDir,
    number: AtomicUsize,
}

impl Server {
    pub fn start(say: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let address = listener.local_addr().expect("is bound").to_string();
        let request = Arc::new(Mutex::new(Vec::new()));
        let (noted, say) = (Arc::clone(&request), Arc::<Say>::from(Box::new(say) as Box<Say>));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (noted, say) = (Arc::clone(&noted), Arc::clone(&say));
                std::thread::spawn(move || serve(stream, &noted, &*say));
            }
        });
        Self { address, request, dir: tempfile::tempdir().expect("a scratch directory"), number: AtomicUsize::new(0) }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.request.lock().expect("nobody panics with it").clone()
    }

    /// The number of requests whose line starts so.
    pub fn count(&self, start: &str) -> usize {
        self.requests().iter().filter(|request| request.is(start)).count()
    }

    pub fn settings(&self) -> VaultSettings {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let file = self.dir.path().join(format!("credentials-{number}"));
        let lines = "[default]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = secret\n";
        std::fs::write(&file, lines).expect("can be written");
        VaultSettings {
            endpoint: Some(format!("http://{}", self.address)),
            region: Some("us-east-1".to_owned()),
            credentials_file: Some(file),
            ..VaultSettings::new("s3://bucket/prod")
        }
    }

    pub async fn vault(&self) -> Arc<dyn Vault> {
        connect(&self.settings()).await
    }
}

pub async fn connect(settings: &VaultSettings) -> Arc<dyn Vault> {
    settings.target().expect("is valid").connect(&Proxies::none()).await.expect("can be set up")
}

/// Serves one request per connection, so that a response ends with it.
fn serve(mut stream: TcpStream, noted: &Mutex<Vec<Request>>, say: &Say) {
    let Ok(request) = read(&mut stream) else { return };
    noted.lock().expect("nobody panics with it").push(request.clone());
    let Some(answer) = say(&request) else {
        // Held open: the client must give up by itself.
        let _ = stream.read(&mut [0; 1]);
        return;
    };
    let mut text = format!("HTTP/1.1 {} Said\r\n{}connection: close\r\n", answer.status, answer.headers);
    if !answer.headers.contains("content-length") {
        let _ = write!(text, "content-length: {}\r\n", answer.body.len());
    }
    text += "\r\n";
    if !request.is("HEAD") {
        text += &answer.body;
    }
    let _ = stream.write_all(text.as_bytes());
}

fn read(stream: &mut TcpStream) -> io::Result<Request> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => bytes.extend_from_slice(&buffer[..n]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let (line, headers) = head.split_once("\r\n").unwrap_or((&head, ""));
    let headers = headers.to_ascii_lowercase();
    let length = headers.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let (line, mut body) = (line.to_owned(), bytes.split_off(end + 4));
    while body.len() < length.unwrap_or(0) {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => body.extend_from_slice(&buffer[..n]),
        }
    }
    Ok(Request { line, headers, body })
}
