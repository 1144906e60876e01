//! A connection between the service and its Postgres that can be slow, or lost.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What happens to what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Pass,
    /// Every packet comes later, in both directions.
    Delay(Duration),
    /// Nothing arrives any more, and nobody is told. Connections are accepted, also then; all of them are closed as soon as
    /// this is over, as by a server that was started anew.
    Silent,
    /// The same, but connections that were open then, or were opened, stay silent for ever, as when a router forgot them.
    Lost,
}

impl Mode {
    fn is_mute(&self) -> bool {
        matches!(self, Self::Silent | Self::Lost)
    }
}

/// The way to a server.
#[derive(Debug)]
pub struct Proxy {
    /// Where to connect instead.
    pub address: SocketAddr,
    mode: watch::Sender<Mode>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Opens a way to a server.
    pub async fn open(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (mode, current) = watch::channel(Mode::Pass);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(join(client, server, current.clone()));
            }
        });
        Ok(Self { address, mode, task })
    }

    /// Changes what happens from now on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn join(client: TcpStream, server: SocketAddr, mode: watch::Receiver<Mode>) {
    if mode.borrow().is_mute() {
        stay_silent(mode).await;
        return drop(client);
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((client_in, client_out), (server_in, server_out)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = pump(client_in, server_out, mode.clone()) => {}
        () = pump(server_in, client_out, mode) => {}
    }
}

/// Passes on until one side ends; a pump that has seen the loss never goes on.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = tokio::select! {
            _ = mode.wait_for(Mode::is_mute) => None,
            read = from.read(&mut buffer) => Some(read),
        };
        let Some(read) = read else { return stay_silent(mode).await };
        let Ok(length @ 1..) = read else { return };
        let delay = match *mode.borrow() {
            Mode::Delay(delay) => delay,
            _ => Duration::ZERO,
        };
        sleep(delay).await;
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// Returns, to close the connection, when the silence is over; never for one that was lost.
async fn stay_silent(mut mode: watch::Receiver<Mode>) {
    let is_lost = *mode.borrow() == Mode::Lost;
    let over = mode.wait_for(|mode| !mode.is_mute()).await.is_ok();
    if is_lost && over {
        std::future::pending().await
    }
}
