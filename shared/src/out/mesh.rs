//! MESH.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use reqwest::{Certificate, Client, Identity, Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{Limits, client, judge, unanswered};
use crate::{
    domain::{
        receiver::Reach,
        ways_out::{MeshBox, Outgoing},
    },
    ports::{Again, Mesh, MeshSecrets, NotTaken, PushSecrets, SecretKeeper, Tracked},
    wire::mesh::{ACCEPT, Accepted, Chunks, MeshSender, Tracking, message_headers},
};

/// A chunk is larger than a webhook.
const LIMITS: Limits = Limits { connect: Duration::from_secs(3), whole: Duration::from_secs(10) };
/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;
/// How often at the most one notification is sent anew after MESH has given it up.
const MOST_ANEW: usize = 20;

/// Where MESH is, and who we are there.
#[derive(Debug, Clone)]
pub struct MeshConfig {
    /// Its address, such as `https://msg.intspineservices.nhs.uk`.
    pub url: String,
    /// Our mailbox.
    pub mailbox: String,
    /// The workflow of our messages.
    pub workflow: String,
    /// Size of a chunk before compression, in bytes.
    pub chunk_bytes: usize,
}

/// Sends MESH messages.
pub struct MeshOut<S> {
    config: Option<(Url, MeshConfig)>,
    secrets: Arc<S>,
    /// The client, and the secrets that it was made with.
    made: Mutex<Option<(Arc<PushSecrets>, Client)>>,
}

/// What MESH has under our own id of a message.
enum Held {
    Nothing,
    One(Tracking),
    /// Whichever it was, the authority gets it.
    Several,
}

/// How far a message has come already.
enum Stage {
    /// MESH has none of it: it goes under this id.
    New(Uuid),
    /// MESH has its first chunk.
    Begun(String),
    /// MESH has it; its id of it, where it has just one.
    There(Option<String>),
}

/// A client with the secrets of the moment.
struct Session<'a> {
    client: Client,
    url: &'a Url,
    config: &'a MeshConfig,
    sender: MeshSender,
    now: Timestamp,
}

impl<S: SecretKeeper> MeshOut<S> {
    /// With our mailbox, or without one: then every message waits.
    ///
    /// # Errors
    /// Where the address is none, or not HTTPS on another machine than this.
    pub fn new(config: Option<MeshConfig>, secrets: Arc<S>, reach: Reach) -> Result<Self, &'static str> {
        let config = config
            .map(|config| {
                let url = Url::parse(&config.url).map_err(|_| "is not a URL")?;
                let local = matches!(url.host_str(), Some("127.0.0.1" | "localhost")) && reach == Reach::ThisMachineToo;
                if url.scheme() == "https" || local { Ok((url, config)) } else { Err("is not https") }
            })
            .transpose()?;
        Ok(Self { config, secrets, made: Mutex::default() })
    }

    /// Whether there is a mailbox to send from.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.config.is_some()
    }

    /// Tells MESH that our mailbox is in use, which it wants to hear once a day.
    ///
    /// # Errors
    /// Where MESH does not take our word for who we are, or cannot be asked.
    pub async fn handshake(&self, now: Timestamp) -> Result<(), NotTaken> {
        let session = self.session(now).await?;
        let request = session.request(Method::POST, &[])?;
        let request = request
            .header("mex-clientversion", concat!("cpis==", env!("CARGO_PKG_VERSION")))
            .header("mex-osname", std::env::consts::OS)
            .header("mex-osversion", "lambda")
            .header("mex-osarchitecture", std::env::consts::ARCH);
        let answer = request.send().await.map_err(|error| unanswered(&error))?;
        judge_mesh(answer.status(), &answer)
    }

    async fn session(&self, now: Timestamp) -> Result<Session<'_>, NotTaken> {
        let (url, config) = self.config.as_ref().ok_or(ours("mesh-not-configured"))?;
        let secrets = self.secrets.push_secrets().await.map_err(|_| ours("secret-unreadable"))?;
        let mesh = secrets.mesh.as_ref().ok_or(ours("mesh-not-configured"))?;
        let sender = MeshSender {
            mailbox: config.mailbox.clone(),
            password: mesh.password.clone(),
            shared_key: mesh.shared_key.clone(),
        };
        Ok(Session { client: self.client(&secrets, mesh)?, url, config, sender, now })
    }

    /// The client for these secrets: another certificate takes another one.
    fn client(&self, secrets: &Arc<PushSecrets>, mesh: &MeshSecrets) -> Result<Client, NotTaken> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = made.as_ref().filter(|(with, _)| with == secrets) {
            return Ok(client.clone());
        }
        let unusable = |_| ours("certificate-unusable");
        let mut builder = client(LIMITS).http1_only();
        if let Some(pem) = &mesh.client_certificate {
            builder = builder.identity(Identity::from_pem(pem.as_bytes()).map_err(unusable)?);
        }
        if let Some(pem) = &mesh.authorities {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(pem.as_bytes()).map_err(unusable)?);
        }
        let client = builder.build().map_err(unusable)?;
        *made = Some((Arc::clone(secrets), client.clone()));
        Ok(client)
    }
}

const fn ours(code: &'static str) -> NotTaken {
    NotTaken { code, status: None, again: Again::NotItsFault }
}

impl Session<'_> {
    /// A request about our mailbox.
    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, NotTaken> {
        self.request_with(method, path, None)
    }

    fn request_with(
        &self,
        method: Method,
        path: &[&str],
        parameter: Option<(&str, &str)>,
    ) -> Result<RequestBuilder, NotTaken> {
        let mut url = self.url.clone();
        let mut segments = url.path_segments_mut().map_err(|()| ours("mesh-not-configured"))?;
        segments.pop_if_empty().extend(["messageexchange", &self.config.mailbox]).extend(path);
        drop(segments);
        if let Some((name, value)) = parameter {
            url.query_pairs_mut().append_pair(name, value);
        }
        let authorization = self.sender.authorization(Uuid::new_v4(), self.now);
        Ok(self.client.request(method, url).header("authorization", authorization).header("accept", ACCEPT))
    }

    /// What MESH has under our own id.
    async fn tracked_by_our_id(&self, id: &str) -> Result<Held, NotTaken> {
        let request = self.request(Method::GET, &["outbox", "tracking", id])?;
        let answer = request.send().await.map_err(|error| unanswered(&error))?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(Held::Nothing),
            StatusCode::MULTIPLE_CHOICES => Ok(Held::Several),
            status => {
                judge_mesh(status, &answer)?;
                read(answer).await.map(Held::One)
            }
        }
    }

    /// Where to go on with a message of this id: at its beginning, after its first chunk, or nowhere.
    async fn stage(&self, first: Uuid) -> Result<Stage, NotTaken> {
        let mut id = first;
        for _ in 0..MOST_ANEW {
            // R76: what was sent before, by a process that died before it could say so, is not sent again.
            match self.tracked_by_our_id(&id.to_string()).await? {
                Held::Several => return Ok(Stage::There(None)),
                Held::Nothing => return Ok(Stage::New(id)),
                Held::One(held) if held.is_incomplete() => return Ok(Stage::Begun(held.message_id)),
                // That one is lost. The next has an id that whoever sends it once more comes to as well.
                Held::One(held) if held.stands() == Tracked::Undelivered => {
                    id = Uuid::new_v5(&id, held.message_id.as_bytes());
                }
                Held::One(held) => return Ok(Stage::There(Some(held.message_id))),
            }
        }
        Err(NotTaken { code: "not-collected", status: None, again: Again::Never })
    }

    async fn send_chunk(&self, chunks: &Chunks, number: usize, message: &str) -> Result<(), NotTaken> {
        let request = self.request(Method::POST, &["outbox", message, &number.to_string()])?;
        let request = chunks.headers(number).into_iter().fold(request, |r, (name, value)| r.header(name, value));
        let request = request.header("content-type", "application/octet-stream");
        let answer = request.body(chunks.chunks[number - 1].clone()).send().await.map_err(|e| unanswered(&e))?;
        judge_mesh(answer.status(), &answer)
    }
}

/// 417: MESH has no such mailbox, or the message is none. Nothing that is sent again is answered otherwise.
fn judge_mesh(status: StatusCode, answer: &Response) -> Result<(), NotTaken> {
    match status {
        StatusCode::EXPECTATION_FAILED => {
            Err(NotTaken { code: "refused-by-mesh", status: Some(417), again: Again::Never })
        }
        // It does not know us: the authority's mailbox is not to blame.
        StatusCode::FORBIDDEN => {
            Err(NotTaken { code: "mesh-refused-us", status: Some(403), again: Again::NotItsFault })
        }
        status => judge(status, answer.headers()),
    }
}

/// An answer of JSON, of which no more is read than it may have.
async fn read<T: DeserializeOwned>(mut answer: Response) -> Result<T, NotTaken> {
    let unreadable = NotTaken { code: "answer-unreadable", status: None, again: Again::Later(None) };
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(|error| unanswered(&error))? {
        body.extend_from_slice(&part);
        if body.len() > LONGEST_ANSWER {
            return Err(unreadable);
        }
    }
    serde_json::from_slice(&body).map_err(|_| unreadable)
}

impl<S: SecretKeeper> Mesh for MeshOut<S> {
    async fn send_mesh(
        &self,
        to: &MeshBox,
        outgoing: &Outgoing<'_>,
        now: Timestamp,
    ) -> Result<Option<String>, NotTaken> {
        let session = self.session(now).await?;
        let body = serde_json::to_vec(outgoing).map_err(|_| ours("notification-unwritten"))?;
        let chunks = Chunks::of(&body, session.config.chunk_bytes);
        let message = match session.stage(outgoing.id).await? {
            Stage::There(receipt) => return Ok(receipt),
            Stage::Begun(message) => message,
            Stage::New(local_id) => {
                let request = session.request(Method::POST, &["outbox"])?;
                let MeshConfig { mailbox, workflow, .. } = session.config;
                let headers = message_headers(mailbox, &to.mailbox, workflow, local_id);
                let headers = headers.into_iter().chain(chunks.headers(1));
                let request = headers.fold(request, |request, (name, value)| request.header(name, value));
                let answer = request.body(chunks.chunks[0].clone()).send().await.map_err(|error| unanswered(&error))?;
                judge_mesh(answer.status(), &answer)?;
                read::<Accepted>(answer).await?.message_id
            }
        };
        for number in 2..=chunks.chunks.len() {
            session.send_chunk(&chunks, number, &message).await?;
        }
        Ok(Some(message))
    }

    async fn track_mesh(&self, receipt: &str, now: Timestamp) -> Result<Tracked, NotTaken> {
        let session = self.session(now).await?;
        let request = session.request_with(Method::GET, &["outbox", "tracking"], Some(("messageID", receipt)))?;
        let answer = request.send().await.map_err(|error| unanswered(&error))?;
        judge_mesh(answer.status(), &answer)?;
        Ok(read::<Tracking>(answer).await?.stands())
    }
}
