//! As much of an HTTP client as the suite needs: one connection that is kept open, and the time an answer took.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, with names in lowercase.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
    /// Time from the request to the last byte, the opening of a connection included where one had to be opened.
    pub took: Duration,
}

impl Answer {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `null` where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client with one connection.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    key: Option<String>,
    patience: Duration,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    /// A client of the service at an address.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, key: None, patience: PATIENCE, connection: None }
    }

    /// With a key for writing and operating.
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Gives up on an answer after another time.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Asks for a path.
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send("GET", path, &[], None).await
    }

    /// The JSON of a path that must be answered with 200.
    pub async fn found(&mut self, path: &str) -> Result<Value> {
        let answer = self.get(path).await?;
        if answer.status != 200 {
            bail!("{path} was answered with {}: {}", answer.status, answer.text());
        }
        Ok(answer.json())
    }

    /// Posts JSON.
    pub async fn post(&mut self, path: &str, body: &Value) -> Result<Answer> {
        self.send("POST", path, &[], Some(&body.to_string())).await
    }

    /// Sends a request; an answer that breaks off, or comes too late, is an error, and the connection is given up.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        if let Some(key) = &self.key {
            request.push_str(&format!("authorization: Bearer {key}\r\n"));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body {
            request.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body.unwrap_or_default());
        let begun = Instant::now();
        let mut connection = self.connection.take();
        let exchange = async {
            let mut stream = match connection.take() {
                Some(stream) => stream,
                None => BufReader::new(connect(self.address).await?),
            };
            stream.get_mut().write_all(request.as_bytes()).await?;
            let (status, headers, body, keep) = read_answer(&mut stream).await?;
            Ok::<_, anyhow::Error>((stream, Answer { status, headers, body, took: begun.elapsed() }, keep))
        };
        let (stream, answer, keep) =
            timeout(self.patience, exchange).await.with_context(|| format!("{method} {path}: no answer in time"))??;
        self.connection = keep.then_some(stream);
        Ok(answer)
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

type Parts = (u16, Vec<(String, String)>, Vec<u8>, bool);

async fn read_answer(stream: &mut BufReader<TcpStream>) -> Result<Parts> {
    let status = line(stream).await?;
    let status = status.split(' ').nth(1).and_then(|text| text.parse().ok()).context("an answer without status")?;
    let mut headers = Vec::new();
    loop {
        let header = line(stream).await?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    let of = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let keep = of("connection") != Some("close");
    let body = if of("transfer-encoding") == Some("chunked") {
        read_chunks(stream).await?
    } else {
        let length = of("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        body
    };
    Ok((status, headers, body, keep))
}

async fn read_chunks(stream: &mut BufReader<TcpStream>) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(line(stream).await?.trim(), 16).context("a chunk without size")?;
        let begun = body.len();
        body.resize(begun + size, 0);
        stream.read_exact(&mut body[begun..]).await?;
        line(stream).await?;
        if size == 0 {
            return Ok(body);
        }
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut text = String::new();
    if stream.read_line(&mut text).await? == 0 {
        bail!("the connection was closed instead of an answer");
    }
    Ok(text.trim_end().to_owned())
}
