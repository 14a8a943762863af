//! A dead man's switch for the agents of a lab.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use anyhow::Result;

use crate::lab::Lab;

/// A dead man's switch, which records the calls and answers all of them with success.
#[derive(Debug)]
pub struct Switch {
    pub url: String,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Switch {
    /// Listens on the lab's network.
    pub fn listen(lab: &Lab) -> Result<Self> {
        let listener = lab.netns().within(|| TcpListener::bind((lab.gateway_ip(), 0)))??;
        let url = format!("http://{}/4711", listener.local_addr()?);
        let calls = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&calls);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut bytes = [0; 4096];
                let length = stream.read(&mut bytes).unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                noted.lock().expect("no holder panics").push(text.lines().next().unwrap_or_default().to_owned());
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK");
            }
        });
        Ok(Self { url, calls })
    }

    /// Returns the paths that were called since the last time.
    pub fn take(&self) -> Vec<String> {
        let calls = std::mem::take(&mut *self.calls.lock().expect("no holder panics"));
        calls.iter().map(|line| line.split(' ').nth(1).unwrap_or_default().to_owned()).collect()
    }
}
