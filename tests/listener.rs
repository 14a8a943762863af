//! A TCP listener on a thread of its own, so that blocking tests and other processes can use it.

use std::{
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::Path,
    thread::JoinHandle,
};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::oneshot,
};

/// A listener on a thread of its own. When dropped it stops and breaks its connections.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddrV4,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens on a free port of this process's 127.0.0.1. Connections that `serve` opens are in `netns`, if one is
    /// given.
    pub fn start<S, F>(netns: Option<&Path>, serve: S) -> Result<Self>
    where
        S: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        Self::start_at(Ipv4Addr::LOCALHOST, netns, serve)
    }

    /// Like [`Listener::start`], on another address of the calling thread's network namespace.
    pub fn start_at<S, F>(listen: Ipv4Addr, netns: Option<&Path>, serve: S) -> Result<Self>
    where
        S: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let runtime = Builder::new_current_thread().enable_all().build().context("failed to start a runtime")?;
        // Bound without the runtime: the caller may be on one already, and must not block on another.
        let listener =
            std::net::TcpListener::bind((listen, 0)).with_context(|| format!("failed to listen on {listen}"))?;
        listener.set_nonblocking(true).context("failed to set up a listening socket")?;
        let address = match listener.local_addr().context("failed to learn the listener's port")? {
            SocketAddr::V4(address) => address,
            SocketAddr::V6(address) => unreachable!("bound to {listen}, not {address}"),
        };
        let namespace = netns.map(File::open).transpose().context("failed to open the network namespace")?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            if let Some(namespace) = namespace {
                // Only this thread moves. The listening socket stays where it was made.
                setns(namespace, CloneFlags::CLONE_NEWNET).expect("tests run as root");
            }
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("the socket listens and does not block");
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, serve) => {}
                }
            });
        });
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Starts a relay from this process to a server inside a network namespace, for any protocol.
    pub fn door(netns: &Path, server: SocketAddrV4) -> Result<Self> {
        Self::start(Some(netns), move |mut client| async move {
            let mut server = TcpStream::connect(server).await?;
            copy_bidirectional(&mut client, &mut server).await.map(drop)
        })
    }

    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept<S, F>(listener: TcpListener, serve: S)
where
    S: Fn(TcpStream) -> F,
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    while let Ok((client, _)) = listener.accept().await {
        let served = serve(client);
        // The client sees an error as a broken connection; it is reported nowhere else.
        tokio::spawn(async move { served.await.unwrap_or_default() });
    }
}
