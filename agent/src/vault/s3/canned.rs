//! For tests: a server that gives the answers of a function, and a vault that talks to it.

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tempfile::TempDir;

use crate::{
    http::Proxies,
    vault::{Vault, VaultSettings},
};

/// What is asked, `PUT /bucket/key?x-id=PutObject`, with its headers in small letters.
#[derive(Debug, Clone)]
pub struct Asked {
    pub line: String,
    pub headers: String,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn is(&self, start: &str) -> bool {
        self.line.starts_with(start)
    }

    pub fn has(&self, header: &str) -> bool {
        self.headers.lines().any(|line| line.starts_with(header))
    }
}

/// What comes back: a status, headers of a line each, a body.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: String::new(), body: body.into() }
    }

    /// As S3 refuses, with more elements behind the message.
    pub fn error(status: u16, code: &str, message: &str, more: &str) -> Self {
        let body = format!("<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>");
        Self::new(status, body).with("x-amz-request-id: tx1")
    }

    pub fn with(mut self, header: &str) -> Self {
        self.headers += &format!("{header}\r\n");
        self
    }
}

type Say = dyn Fn(&Asked) -> Option<Answer> + Send + Sync;

/// Serves until the test ends. `None` as an answer is silence.
pub struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    dir: TempDir,
    number: AtomicUsize,
}

impl Server {
    pub fn start(say: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let address = listener.local_addr().expect("is bound").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, say) = (Arc::clone(&asked), Arc::<Say>::from(Box::new(say) as Box<Say>));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (noted, say) = (Arc::clone(&noted), Arc::clone(&say));
                std::thread::spawn(move || serve(stream, &noted, &*say));
            }
        });
        Self { address, asked, dir: tempfile::tempdir().expect("a scratch directory"), number: AtomicUsize::new(0) }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("nobody panics with it").clone()
    }

    /// How often something was asked whose line starts so.
    pub fn count(&self, start: &str) -> usize {
        self.asked().iter().filter(|asked| asked.is(start)).count()
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

/// One request for each connection: nothing has to know where an answer ends.
fn serve(mut stream: TcpStream, noted: &Mutex<Vec<Asked>>, say: &Say) {
    let Ok(asked) = read(&mut stream) else { return };
    noted.lock().expect("nobody panics with it").push(asked.clone());
    let Some(answer) = say(&asked) else {
        // Held open: the client must give up by itself.
        let _ = stream.read(&mut [0; 1]);
        return;
    };
    let mut text = format!("HTTP/1.1 {} Said\r\n{}connection: close\r\n", answer.status, answer.headers);
    if !answer.headers.contains("content-length") {
        let _ = write!(text, "content-length: {}\r\n", answer.body.len());
    }
    text += "\r\n";
    if !asked.is("HEAD") {
        text += &answer.body;
    }
    let _ = stream.write_all(text.as_bytes());
}

fn read(stream: &mut TcpStream) -> io::Result<Asked> {
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
    Ok(Asked { line, headers, body })
}
