//! A registry on an address of the loopback, for tests: it says which images it has, and gives none.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// The registry; it stays until the tests end.
pub struct FakeRegistry {
    /// Host and port, as in names of images.
    pub host: String,
    /// Repositories that have every tag and every digest.
    repositories: Arc<Mutex<Vec<String>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl FakeRegistry {
    /// Starts a registry with these repositories.
    pub fn at(address: &str, repositories: &[&str]) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("binds");
        let host = listener.local_addr().expect("has an address").to_string();
        let repositories = Arc::new(Mutex::new(repositories.iter().map(|&it| it.to_owned()).collect::<Vec<_>>()));
        let (has, asked) = (Arc::clone(&repositories), Arc::<Mutex<Vec<String>>>::default());
        let seen = Arc::clone(&asked);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Some(path) = read(&client) else { continue };
                let is_there = path == "/v2/"
                    || has.lock().expect("no panic").iter().any(|it| path.starts_with(&format!("/v2/{it}/manifests/")));
                seen.lock().expect("no panic").push(path);
                let status = if is_there { "200 OK" } else { "404 Not Found" };
                let digest = format!("Docker-Content-Digest: {DIGEST}\r\n");
                let head = format!("HTTP/1.1 {status}\r\n{digest}Content-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = (&client).write_all(head.as_bytes());
            }
        });
        Self { host, repositories, asked }
    }

    pub fn add(&self, repository: &str) {
        self.repositories.lock().expect("no panic").push(repository.to_owned());
    }

    /// Returns the manifests that were asked for.
    pub fn asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.asked.lock().expect("no panic"));
        asked.into_iter().filter(|path| path != "/v2/").collect()
    }
}

/// The digest of everything.
pub const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Returns the path of a request; `None` for a client that speaks TLS.
fn read(client: &TcpStream) -> Option<String> {
    let mut lines = BufReader::new(client);
    let mut first = Vec::new();
    std::io::Read::take(&mut lines, 1).read_until(b'\n', &mut first).ok()?;
    if !first.first()?.is_ascii_uppercase() {
        return None;
    }
    let mut rest = String::new();
    lines.read_line(&mut rest).ok()?;
    let path = rest.split_whitespace().nth(1)?.to_owned();
    while rest.trim() != "" {
        rest.clear();
        lines.read_line(&mut rest).ok()?;
    }
    Some(path)
}
