//! One address for DynamoDB and SQS, as a function has one `AWS_ENDPOINT_URL`: passes requests on by their target, over
//! connections that it keeps, and looks at nothing else.

use std::io;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The running junction; it stops when dropped.
pub(crate) struct Junction {
    /// Where functions are to send their calls.
    pub(crate) url: String,
    server: JoinHandle<()>,
}

impl Junction {
    /// Starts on a free port of 127.0.0.1 in front of these two URLs.
    pub(crate) async fn start(dynamo: &str, sqs: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap_or_else(|e| panic!("bind: {e}"));
        let url = listener.local_addr().map_or_else(|e| panic!("address: {e}"), |a| format!("http://{a}"));
        let services = [dynamo, sqs].map(|url| url.trim_start_matches("http://").to_owned());
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let services = services.clone();
                // A connection that breaks is its client's business.
                tokio::spawn(async move { pass(client, &services).await.ok() });
            }
        });
        Self { url, server }
    }
}

impl Drop for Junction {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass(mut client: TcpStream, services: &[String; 2]) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut open = [None, None];
    let mut message = Vec::new();
    while read_message(&mut client, &mut message).await? {
        let which = usize::from(contains(&message, b"AmazonSQS."));
        let service = match &mut open[which] {
            Some(service) => service,
            unopened => {
                let service = TcpStream::connect(&services[which]).await?;
                service.set_nodelay(true)?;
                unopened.insert(service)
            }
        };
        service.write_all(&message).await?;
        if !read_message(service, &mut message).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        client.write_all(&message).await?;
    }
    Ok(())
}

/// Reads a whole request or answer, head and body; `false` where the connection has ended instead.
pub(crate) async fn read_message(from: &mut TcpStream, message: &mut Vec<u8>) -> io::Result<bool> {
    message.clear();
    let end = loop {
        if let Some(head) = message.windows(4).position(|part| part == b"\r\n\r\n") {
            break head + 4 + content_length(&message[..head]);
        }
        if from.read_buf(message).await? == 0 {
            return Ok(false);
        }
    };
    while message.len() < end {
        if from.read_buf(message).await? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    head.split("\r\ncontent-length:").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok()).unwrap_or(0)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
