//! MESH, the NHS's Message Exchange for Social Care and Health: its authorization header, the headers of a message, its chunks
//! and its tracking (digital.nhs.uk, "Message Exchange for Social Care and Health (MESH) API").

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::Sha256;
use uuid::Uuid;

use crate::ports::Tracked;

/// What the API's answers are asked to be.
pub const ACCEPT: &str = "application/vnd.mesh.v2+json";
/// The subject of every message: it must say nothing of whom the message is about (R31).
pub const SUBJECT: &str = "CP-IS notification";
/// A body longer than this is compressed, in bytes.
const COMPRESS_FROM: usize = 64 * 1024;

/// Who we are to MESH.
#[derive(Clone)]
pub struct MeshSender {
    /// Our mailbox, such as `X26HC005`.
    pub mailbox: String,
    /// Its password.
    pub password: String,
    /// The key that the environment (integration, live) shares with all its senders.
    pub shared_key: String,
}

impl std::fmt::Debug for MeshSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeshSender").field("mailbox", &self.mailbox).finish_non_exhaustive()
    }
}

impl MeshSender {
    /// The `Authorization` header of one request: `NHSMESH mailbox:nonce:count:time:hash`, where the hash is the lower-case
    /// hexadecimal HMAC-SHA256, under the shared key, of `mailbox:nonce:count:password:time`, and the time is UTC to the
    /// minute. A nonce is used once, so its count is always 0.
    #[must_use]
    pub fn authorization(&self, nonce: Uuid, now: Timestamp) -> String {
        let Self { mailbox, password, shared_key } = self;
        let time = now.strftime("%Y%m%d%H%M");
        let secret = format!("{mailbox}:{nonce}:0:{password}:{time}");
        let hash = match Hmac::<Sha256>::new_from_slice(shared_key.as_bytes()) {
            Ok(mut mac) => {
                mac.update(secret.as_bytes());
                mac.finalize().into_bytes()
            }
            // A key of any length is taken: this cannot happen.
            Err(_) => Default::default(),
        };
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("NHSMESH {mailbox}:{nonce}:0:{time}:{hash}")
    }
}

/// A message cut into chunks of no more than a size before compression, each compressed by itself where the whole is long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunks {
    /// The chunks, one at least.
    pub chunks: Vec<Vec<u8>>,
    /// Whether they are compressed (gzip).
    pub compressed: bool,
}

impl Chunks {
    /// Cuts a body.
    #[must_use]
    pub fn of(body: &[u8], size: usize) -> Self {
        let compressed = body.len() > COMPRESS_FROM.min(size);
        let parts: Vec<&[u8]> = if body.is_empty() { vec![body] } else { body.chunks(size.max(1)).collect() };
        let packed: Option<Vec<_>> = parts.iter().map(|part| gzip(part)).collect();
        match packed.filter(|_| compressed) {
            Some(chunks) => Self { chunks, compressed: true },
            None => Self { chunks: parts.into_iter().map(<[u8]>::to_vec).collect(), compressed: false },
        }
    }

    /// The headers of the chunk of this number, from 1: which it is of how many, and how it is packed.
    #[must_use]
    pub fn headers(&self, number: usize) -> Vec<(&'static str, String)> {
        let mut headers = vec![("mex-chunk-range", format!("{number}:{}", self.chunks.len()))];
        if self.compressed {
            headers.push(("content-encoding", "gzip".into()));
        }
        headers
    }
}

fn gzip(part: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(part).ok()?;
    encoder.finish().ok()
}

/// The headers of a message beside those of its first chunk. `local_id` is the notification's own id: by it MESH is asked
/// whether it has the message (R76).
#[must_use]
pub fn message_headers(from: &str, to: &str, workflow: &str, local_id: Uuid) -> [(&'static str, String); 6] {
    [
        ("mex-from", from.to_owned()),
        ("mex-to", to.to_owned()),
        ("mex-workflowid", workflow.to_owned()),
        ("mex-localid", local_id.to_string()),
        ("mex-subject", SUBJECT.to_owned()),
        ("content-type", "application/json".to_owned()),
    ]
}

/// What MESH says of a message: version 1 of the answer, by our own id, and version 2, by its id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Tracking {
    /// MESH's id of the message.
    #[serde(alias = "messageId")]
    pub message_id: String,
    /// Where it stands, such as `Accepted`.
    status: String,
}

impl Tracking {
    /// Whether not all its chunks have been sent.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.status.eq_ignore_ascii_case("uploading")
    }

    /// Where the message stands. A word that we do not know means that it waits.
    #[must_use]
    pub fn stands(&self) -> Tracked {
        match self.status.to_ascii_lowercase().as_str() {
            "acknowledged" => Tracked::Collected,
            "undeliverable" | "error" | "undelivered" => Tracked::Undelivered,
            _ => Tracked::Waiting,
        }
    }
}

/// MESH's answer to a message that it took.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Accepted {
    /// Its id of the message.
    #[serde(alias = "messageID")]
    pub message_id: String,
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    /// The figures were made with the NHS's own client, Mesh-Client 5.0.2 from PyPI.
    #[test]
    fn r76_the_authorization_header_is_that_of_the_nhs_client() {
        let sender =
            MeshSender { mailbox: "X26ABC1".into(), password: "password".into(), shared_key: "BackBone".into() };
        let nonce = Uuid::parse_str("2c001608-5f09-4840-9611-bea43e666a30").expect("a UUID");
        let now = "2026-11-22T11:38:59Z".parse().expect("a moment");
        assert_eq!(
            sender.authorization(nonce, now),
            "NHSMESH X26ABC1:2c001608-5f09-4840-9611-bea43e666a30:0:202611221138:b9254a878f9bc035b75487a8a84042b2adb2bccbc5ad5e8750b13e31155719b5"
        );
        assert!(!format!("{sender:?}").contains("password\""));
    }

    #[test]
    fn r76_a_message_names_nobody_and_carries_our_id() {
        let headers = message_headers("X26ABC1", "X26ABC2", "WORKFLOW", Uuid::from_u128(7));
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["mex-from", "mex-to", "mex-workflowid", "mex-localid", "mex-subject", "content-type"]);
        assert_eq!((headers[3].1.as_str(), headers[4].1.as_str()), ("00000000-0000-0000-0000-000000000007", SUBJECT));
    }

    #[test]
    fn r76_tracking_is_read_in_both_its_forms() {
        for (json, stands, incomplete) in [
            (r#"{"messageId":"A","status":"Accepted","localId":"x"}"#, Tracked::Waiting, false),
            (r#"{"message_id":"A","status":"accepted","status_success":true}"#, Tracked::Waiting, false),
            (r#"{"messageId":"A","status":"Uploading"}"#, Tracked::Waiting, true),
            (r#"{"message_id":"A","status":"acknowledged"}"#, Tracked::Collected, false),
            (r#"{"message_id":"A","status":"undeliverable"}"#, Tracked::Undelivered, false),
            (r#"{"messageId":"A","status":"Error"}"#, Tracked::Undelivered, false),
            (r#"{"message_id":"A","status":"something new"}"#, Tracked::Waiting, false),
        ] {
            let tracking: Tracking = serde_json::from_str(json).expect("readable");
            assert_eq!((tracking.stands(), tracking.is_incomplete()), (stands, incomplete), "{json}");
        }
    }

    proptest! {
        #[test]
        fn r76_chunks_make_up_the_body_again(body in proptest::collection::vec(any::<u8>(), 0..5_000), size in 1_usize..700) {
            let cut = Chunks::of(&body, size);
            prop_assert_eq!(cut.chunks.len(), body.len().div_ceil(size).max(1));
            let whole: Vec<u8> = cut.chunks.iter().flat_map(|chunk| {
                if !cut.compressed {
                    return chunk.clone();
                }
                let mut part = Vec::new();
                GzDecoder::new(chunk.as_slice()).read_to_end(&mut part).expect("gzip");
                part
            }).collect();
            prop_assert_eq!(whole, body);
            let last = cut.chunks.len();
            prop_assert_eq!(cut.headers(last)[0].1.clone(), format!("{last}:{last}"));
        }
    }
}
