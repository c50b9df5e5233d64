//! One address for DynamoDB and SQS, as a function has one `AWS_ENDPOINT_URL`. An SDK's client keeps its connections to
//! itself, so the first request on a connection says where all of it belongs; after that bytes are only passed on.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
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
        let [dynamo, sqs] = [dynamo, sqs].map(|url| url.trim_start_matches("http://").to_owned());
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (dynamo, sqs) = (dynamo.clone(), sqs.clone());
                // A connection that breaks is its client's business.
                tokio::spawn(async move { pass(client, &dynamo, &sqs).await.ok() });
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

async fn pass(mut client: TcpStream, dynamo: &str, sqs: &str) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut head = Vec::new();
    while !contains(&head, b"\r\n\r\n") {
        if client.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let to = if contains(&head, b"AmazonSQS.") { sqs } else { dynamo };
    let mut service = TcpStream::connect(to).await?;
    service.set_nodelay(true)?;
    service.write_all(&head).await?;
    copy_bidirectional(&mut client, &mut service).await.map(drop)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
