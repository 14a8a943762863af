//! People who vote without a pause, and what the pages of the application say.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use swarmdr_tests::lab::{Lab, addr};

/// Where the load balancer listens: on the manager.
const PORT: u16 = 8080;

/// Limit of one request. The load balancer itself gives up after ten seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// Between two votes: some dozens in a second, so that the database is not the measure of the machine.
const PACE: Duration = Duration::from_millis(20);

/// What was cast, and what of it was acknowledged.
#[derive(Debug, Default)]
pub struct Cast {
    pub sent: BTreeSet<String>,
    pub acknowledged: BTreeSet<String>,
}

/// A thread that votes until it is told to stop.
pub struct Booth {
    stop: Sender<()>,
    thread: JoinHandle<Cast>,
}

impl Booth {
    pub fn open(lab: &Lab) -> Self {
        let (stop, stopped) = mpsc::channel();
        let lab = lab.clone();
        let thread = std::thread::spawn(move || {
            let mut cast = Cast::default();
            while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                let id = format!("vote-{:06}", cast.sent.len());
                if vote(&lab, &id).is_ok() {
                    cast.acknowledged.insert(id.clone());
                }
                cast.sent.insert(id);
            }
            cast
        });
        Self { stop, thread }
    }

    pub fn close(self) -> Result<Cast> {
        // A thread that has ended needs no word.
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| anyhow!("the booth panicked"))
    }
}

/// Casts one vote, and fails unless it is acknowledged.
pub fn vote(lab: &Lab, id: &str) -> Result<()> {
    let choice = if id.ends_with(['0', '2', '4', '6', '8']) { "cats" } else { "dogs" };
    ask(lab, "POST", &format!("/vote?id={id}&choice={choice}")).map(drop)
}

/// Returns a page as the load balancer gives it.
pub fn page(lab: &Lab, path: &str) -> Result<String> {
    ask(lab, "GET", path)
}

/// Returns the votes that the results page counts.
pub fn counted(lab: &Lab) -> Result<BTreeSet<String>> {
    Ok(page(lab, "/results/ids")?.lines().map(str::to_owned).collect())
}

fn ask(lab: &Lab, method: &str, path: &str) -> Result<String> {
    let request = || -> Result<String> {
        let to = SocketAddr::from((addr(11), PORT));
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE).context("the load balancer does not answer")?;
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
