//! SQS in memory, by its JSON protocol: what the functions and the operator's CLI call, with visibility time-outs, native
//! redrive and MD5 sums. Time is the queue's own and moves only when a test moves it.

use crate::runtime_api::serve_on;
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{net::TcpListener, task::JoinHandle};
use uuid::Uuid;

/// Most entries in a batch.
const BATCH: usize = 10;
/// Most bytes of a message or of a batch: 1 MiB.
const MOST_BYTES: usize = 1 << 20;
/// About so many messages of a standard queue can be in flight; a long poll that would bring more brings none, without an error (Amazon SQS
/// Developer Guide, "Amazon SQS message quotas").
const IN_FLIGHT: usize = 120_000;
/// Makes a body from a number.
type MakesBody = fn(usize) -> String;

/// What a call is refused with that its caller may not make.
const NO_ACCESS: &str = "AccessDenied";
/// Status of a move task that goes on.
const RUNNING: &str = "RUNNING";
/// Milliseconds since 1970 at which every queue's time starts: 2026-01-01T00:00:00Z.
const START_MS: u64 = 1_767_225_600_000;

/// One message, as sent.
#[derive(Debug, Clone)]
pub struct Message {
    /// The queue's own id.
    pub id: String,
    /// Body.
    pub body: String,
    /// Attributes, as the protocol has them: `{"name": {"DataType": …, "StringValue": …}}`.
    pub attributes: Map<String, Value>,
    /// How often it was received.
    pub receives: u32,
    /// Handle of its latest receipt.
    pub receipt: String,
    /// `AWSTraceHeader`.
    pub trace: Option<String>,
    /// `MessageGroupId`.
    pub group: Option<String>,
    sent_ms: u64,
    first_received_ms: u64,
    visible_ms: u64,
}

#[derive(Default)]
struct Queue {
    visibility_ms: u64,
    redrive: Option<(String, u32)>,
    next: u64,
    messages: BTreeMap<u64, Message>,
    /// Places of the messages that can be received.
    visible: BTreeSet<u64>,
    /// When each of the others can be, and its place.
    hidden: BTreeSet<(u64, u64)>,
    sent: usize,
}

/// The queues themselves, without a server.
#[derive(Default)]
pub struct Queues {
    now_ms: u64,
    queues: BTreeMap<String, Queue>,
    /// Move tasks so far.
    moves: Vec<Move>,
    /// How many ids were given.
    ids: u64,
    /// How many messages of a queue can be in flight, where that is not [`IN_FLIGHT`].
    in_flight: Option<usize>,
    /// Where receives bring messages in an order of chance, its seed.
    shuffle: Option<u64>,
    /// Parts of bodies that entries of batches are refused for, with which code.
    refused: Vec<(String, &'static str)>,
    /// Parts of bodies of messages that are not deleted, and by which code.
    kept: Vec<(String, &'static str)>,
    /// A queue that is never empty, and what comes into it.
    trickle: Option<(String, MakesBody)>,
    /// Whether move tasks wait until [`Sqs::end_moves`].
    slow_moves: bool,
}

/// A move task.
struct Move {
    from: String,
    to: String,
    status: &'static str,
    /// How many messages it has moved.
    moved: usize,
}

/// What the service answers a call that it refuses: error type and message.
pub type Refusal = (&'static str, String);

/// The running service; it stops when dropped.
pub struct Sqs {
    /// Where it listens.
    pub url: String,
    store: Arc<Mutex<Queues>>,
    server: JoinHandle<()>,
}

impl Sqs {
    /// Starts on a free port of 127.0.0.1 with the queues `asn` (visibility 180 s, five receives, then `asn-dlq`), `push` (a
    /// thousand receives, then `push-dlq`), `number-changes` (as `asn`), their dead-letter queues, and those of the streams, `relay-dlq` and
    /// `ledger-dlq`.
    ///
    /// # Panics
    /// No port can be bound.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap_or_else(|e| panic!("bind: {e}"));
        let url = listener.local_addr().map_or_else(|e| panic!("address: {e}"), |a| format!("http://{a}"));
        let store = Arc::new(Mutex::new(Queues::at(START_MS)));
        let routes =
            Router::new().fallback(handle).layer(DefaultBodyLimit::max(2 << 20)).with_state(Arc::clone(&store));
        Self { url, store, server: tokio::spawn(serve_on(listener, routes)) }
    }

    fn store(&self) -> MutexGuard<'_, Queues> {
        lock(&self.store)
    }

    /// The URL of a queue.
    #[must_use]
    pub fn queue_url(&self, name: &str) -> String {
        format!("{}/000000000000/{name}", self.url)
    }

    /// Everything in a queue, visible or not, oldest first.
    #[must_use]
    pub fn messages(&self, name: &str) -> Vec<Message> {
        self.store().messages(name).cloned().collect()
    }

    /// Makes another queue, or one that is there anew: how long a message that was received is hidden, in seconds, and the queue to which
    /// one goes that was received this often.
    pub fn create(&self, name: &str, visibility: u64, redrive: Option<(&str, u32)>) {
        let redrive = redrive.map(|(queue, most)| (queue.to_owned(), most));
        let queue = Queue { visibility_ms: visibility * 1000, redrive, ..Queue::default() };
        self.store().queues.insert(name.to_owned(), queue);
    }

    /// What CloudWatch is told of a queue as `ApproximateNumberOfMessagesVisible`, and as `ApproximateAgeOfOldestMessage`, in seconds, which
    /// leaves out what was received three times or more (Amazon SQS Developer Guide, "Available CloudWatch metrics for Amazon SQS").
    #[must_use]
    pub fn measured(&self, name: &str) -> (usize, u64) {
        let mut store = self.store();
        let now = store.now_ms;
        let Ok(queue) = store.queue(name) else { return (0, 0) };
        queue.tick(now);
        let counted = queue.messages.values().filter(|message| message.receives < 3);
        let oldest = counted.map(|message| message.sent_ms).min().unwrap_or(now);
        (queue.visible.len(), (now - oldest) / 1000)
    }

    /// How many messages were ever put into a queue.
    #[must_use]
    pub fn sent(&self, name: &str) -> usize {
        self.store().queues.get(name).map_or(0, |q| q.sent)
    }

    /// Lets no more messages of a queue be in flight than this.
    pub fn limit_in_flight(&self, most: usize) {
        self.store().in_flight = Some(most);
    }

    /// From now on receives bring messages in an order that comes from this seed, as those of a standard queue may.
    pub fn shuffle(&self, seed: u64) {
        self.store().shuffle = Some(seed);
    }

    /// From now on entries of batches whose body has this part are refused with this code, the sender's fault where it says `Invalid`; for
    /// `AccessDenied` the whole call is. With none, no more.
    pub fn refuse(&self, part: &str, code: Option<&'static str>) {
        let mut store = self.store();
        store.refused.retain(|(known, _)| known != part);
        store.refused.extend(code.map(|code| (part.to_owned(), code)));
    }

    /// From now on messages whose body has this part are not deleted, by this code; for `AccessDenied` the whole call is refused. With
    /// none, no more.
    pub fn keep(&self, part: &str, code: Option<&'static str>) {
        let mut store = self.store();
        store.kept.retain(|(known, _)| known != part);
        store.kept.extend(code.map(|code| (part.to_owned(), code)));
    }

    /// From now on each receive from a queue finds one message more there, each with a body of its own made from its number.
    pub fn trickle(&self, name: &str, body: MakesBody) {
        self.store().trickle = Some((name.to_owned(), body));
    }

    /// From now on move tasks run, having moved nothing, until they are ended or cancelled.
    pub fn slow_moves(&self) {
        self.store().slow_moves = true;
    }

    /// Ends the move tasks that run, with this status.
    pub fn end_moves(&self, status: &'static str) {
        let mut store = self.store();
        store.moves.iter_mut().filter(|task| task.status == RUNNING).for_each(|task| task.status = status);
    }

    /// How many move tasks were started.
    #[must_use]
    pub fn moves(&self) -> usize {
        self.store().moves.len()
    }

    /// Moves the queues' time forward, which ends visibility time-outs and delays.
    pub fn advance(&self, seconds: u64) {
        self.store().now_ms += seconds * 1000;
    }

    /// Moves the queues' time forward to the machine's: some consumers look at how old a message is.
    pub fn catch_up(&self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let machine = u64::try_from(since.as_millis()).unwrap_or_default();
        let mut store = self.store();
        store.now_ms = store.now_ms.max(machine);
    }

    /// Receives up to ten messages, as an event source mapping does.
    #[must_use]
    pub fn receive(&self, name: &str) -> Vec<Message> {
        self.store().receive(name, BATCH, None, first).unwrap_or_default()
    }

    /// Deletes messages by their latest receipt, as an event source mapping does with those that succeeded.
    pub fn delete<'a>(&self, name: &str, receipts: impl IntoIterator<Item = &'a str>) {
        let mut store = self.store();
        for receipt in receipts {
            // Deleting what is gone succeeds, as it does on AWS.
            let _ = store.delete(name, receipt);
        }
    }

    /// Puts a message into a queue.
    pub fn send(&self, name: &str, body: &str, attributes: Map<String, Value>) {
        self.send_with(name, body, attributes, None, None);
    }

    /// Puts a message into a queue, with its X-Ray trace header and its group.
    ///
    /// # Panics
    /// The queue refuses it.
    pub fn send_with(
        &self,
        name: &str,
        body: &str,
        attributes: Map<String, Value>,
        trace: Option<&str>,
        group: Option<&str>,
    ) {
        let entry = json!({
            "MessageBody": body, "MessageAttributes": attributes, "MessageGroupId": group,
            "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": trace}},
        });
        if let Err((kind, why)) = self.store().send(name, &entry) {
            panic!("send: {kind}: {why}");
        }
    }
}

impl Drop for Sqs {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(store: &Mutex<Queues>) -> MutexGuard<'_, Queues> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first places, so many at the most.
fn first(places: &BTreeSet<u64>, most: usize) -> Vec<u64> {
    places.iter().copied().take(most).collect()
}

/// So many places at the most, in an order that a key gives them.
fn mixed<K: Ord>(places: &BTreeSet<u64>, most: usize, key: impl Fn(u64) -> K) -> Vec<u64> {
    let mut places: Vec<u64> = places.iter().copied().collect();
    places.sort_by_key(|at| key(*at));
    places.truncate(most);
    places
}

impl Queues {
    /// The queues of [`Sqs::start`], empty, at this many milliseconds since 1970.
    #[must_use]
    pub fn at(now_ms: u64) -> Self {
        let queue = |redrive| Queue { visibility_ms: 180_000, redrive, ..Queue::default() };
        let queues = [
            ("asn", Some(("asn-dlq".to_owned(), 5))),
            ("asn-dlq", None),
            ("push", Some(("push-dlq".to_owned(), 1_000))),
            ("push-dlq", None),
            ("number-changes", Some(("number-changes-dlq".to_owned(), 5))),
            ("number-changes-dlq", None),
            ("relay-dlq", None),
            ("ledger-dlq", None),
        ]
        .map(|(name, redrive)| (name.to_owned(), queue(redrive)));
        Self { now_ms, queues: queues.into(), ..Self::default() }
    }

    /// Moves the queues' time forward to this many milliseconds since 1970.
    pub fn advance_to(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
    }

    /// Everything in a queue, visible or not, oldest first.
    pub fn messages(&self, name: &str) -> impl Iterator<Item = &Message> {
        self.queues.get(name).into_iter().flat_map(|queue| queue.messages.values())
    }

    /// A new id, the same in every run.
    fn id(&mut self) -> String {
        self.ids += 1;
        Uuid::from_u128(u128::from(self.ids)).to_string()
    }

    fn queue(&mut self, name: &str) -> Result<&mut Queue, Refusal> {
        self.queues.get_mut(name).ok_or_else(|| ("QueueDoesNotExist", format!("no queue {name}")))
    }

    fn send(&mut self, name: &str, entry: &Value) -> Result<Value, Refusal> {
        let now = self.now_ms;
        let body = entry["MessageBody"].as_str().unwrap_or_default().to_owned();
        if body.is_empty() || body.len() > MOST_BYTES {
            return Err(("InvalidParameterValue", format!("a body of {} bytes", body.len())));
        }
        let attributes = entry["MessageAttributes"].as_object().cloned().unwrap_or_default();
        let id = self.id();
        let mut answer = json!({"MessageId": id, "MD5OfMessageBody": md5_of(body.as_bytes())});
        if !attributes.is_empty() {
            answer["MD5OfMessageAttributes"] = md5_of_attributes(&attributes).into();
        }
        let delay = entry["DelaySeconds"].as_u64().unwrap_or(0) * 1000;
        let message = Message {
            id,
            body,
            attributes,
            receives: 0,
            receipt: String::new(),
            trace: entry["MessageSystemAttributes"]["AWSTraceHeader"]["StringValue"].as_str().map(str::to_owned),
            group: entry["MessageGroupId"].as_str().map(str::to_owned),
            sent_ms: now,
            first_received_ms: now,
            visible_ms: now + delay,
        };
        self.queue(name)?.push(message, now);
        Ok(answer)
    }

    /// Receives messages: those that `pick` picks from the places of all that can be seen, so many at the most. `visibility` is
    /// in seconds.
    ///
    /// # Errors
    /// There is no such queue.
    pub fn receive(
        &mut self,
        name: &str,
        most: usize,
        visibility: Option<u64>,
        pick: impl FnOnce(&BTreeSet<u64>, usize) -> Vec<u64>,
    ) -> Result<Vec<Message>, Refusal> {
        let now = self.now_ms;
        let handed_out = self.ids;
        self.ids += most as u64;
        let in_flight = self.in_flight.unwrap_or(IN_FLIGHT);
        let queue = self.queue(name)?;
        let hidden_until = now + visibility.map_or(queue.visibility_ms, |seconds| seconds * 1000);
        queue.tick(now);
        let most = most.min(in_flight.saturating_sub(queue.hidden.len()));
        let picked = pick(&queue.visible, most);
        let mut received = Vec::new();
        let mut dead = Vec::new();
        for at in picked {
            let Some(message) = queue.messages.get_mut(&at) else { continue };
            if queue.redrive.as_ref().is_some_and(|(_, most)| message.receives >= *most) {
                dead.extend(queue.remove(at));
                continue;
            }
            if message.receives == 0 {
                message.first_received_ms = now;
            }
            message.receives += 1;
            message.receipt = format!("{at}#{}", handed_out + received.len() as u64);
            received.push(message.clone());
            queue.hide(at, hidden_until, now);
        }
        if let Some((dlq, _)) = queue.redrive.clone() {
            let dlq = self.queue(&dlq)?;
            // It can be seen there at once.
            dead.into_iter().for_each(|message| dlq.push(Message { visible_ms: now, ..message }, now));
        }
        Ok(received)
    }

    fn delete(&mut self, name: &str, receipt: &str) -> Result<(), Refusal> {
        let at = position(receipt)?;
        self.queue(name)?.remove(at);
        Ok(())
    }

    fn change_visibility(&mut self, name: &str, entry: &Value) -> Result<(), Refusal> {
        let at = position(entry["ReceiptHandle"].as_str().unwrap_or_default())?;
        let now = self.now_ms;
        let visible = now + entry["VisibilityTimeout"].as_u64().unwrap_or(0) * 1000;
        let queue = self.queue(name)?;
        if !queue.messages.contains_key(&at) {
            return Err(("MessageNotInflight", "no such message".to_owned()));
        }
        queue.hide(at, visible, now);
        Ok(())
    }

    fn attributes(&mut self, name: &str) -> Result<Value, Refusal> {
        let now = self.now_ms;
        let queue = self.queue(name)?;
        queue.tick(now);
        let visible = queue.visible.len();
        Ok(json!({"Attributes": {
            "QueueArn": arn(name),
            "ApproximateNumberOfMessages": visible.to_string(),
            "ApproximateNumberOfMessagesNotVisible": (queue.messages.len() - visible).to_string(),
            "ApproximateNumberOfMessagesDelayed": "0",
            "VisibilityTimeout": (queue.visibility_ms / 1000).to_string(),
        }}))
    }

    /// By which code the message of a receipt is not deleted.
    fn keeps(&self, name: &str, entry: &Value) -> Option<&'static str> {
        let receipt = entry["ReceiptHandle"].as_str()?;
        let message = self.messages(name).find(|message| message.receipt == receipt)?;
        self.kept.iter().find(|(part, _)| message.body.contains(part)).map(|(_, code)| *code)
    }

    /// Whether a batch is refused as a whole for what is in it.
    fn refuses_call(&self, request: &Value) -> bool {
        let refused = |(part, code): &(String, &str)| *code == NO_ACCESS && request.to_string().contains(part.as_str());
        self.refused.iter().any(refused)
    }

    fn batch(
        &mut self,
        request: &Value,
        mut act: impl FnMut(&mut Self, &Value) -> Result<Value, Refusal>,
    ) -> Result<Value, Refusal> {
        let entries = request["Entries"].as_array().map(Vec::as_slice).unwrap_or_default();
        if entries.is_empty() {
            return Err(("EmptyBatchRequest", "no entries".to_owned()));
        }
        if entries.len() > BATCH {
            return Err(("TooManyEntriesInBatchRequest", format!("{} entries", entries.len())));
        }
        let bytes: usize = entries.iter().map(bytes).sum();
        if bytes > MOST_BYTES {
            return Err(("BatchRequestTooLong", format!("{bytes} bytes")));
        }
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for entry in entries {
            match act(self, entry) {
                Ok(mut answer) => {
                    answer["Id"] = entry["Id"].clone();
                    successful.push(answer);
                }
                Err((code, why)) => failed.push(json!({
                    "Id": entry["Id"].clone(), "Code": code, "Message": why,
                    "SenderFault": code.starts_with("Invalid") || code.starts_with("Message"),
                })),
            }
        }
        Ok(json!({"Successful": successful, "Failed": failed}))
    }

    /// Moves all that can be seen at once, each under a new id, as a task of AWS does in its time.
    fn start_move(&mut self, request: &Value) -> Result<Value, Refusal> {
        let name = |arn: &Value| arn.as_str().and_then(|arn| arn.rsplit(':').next()).unwrap_or_default().to_owned();
        let (from, to) = (name(&request["SourceArn"]), name(&request["DestinationArn"]));
        let now = self.now_ms;
        if self.moves.iter().any(|task| task.status == RUNNING && task.from == from) {
            let why = "There is already a task running. Only one active task is allowed for a source queue arn at a given time.";
            return Err(("UnsupportedOperation", why.to_owned()));
        }
        if self.slow_moves {
            self.queue(&from)?;
            return Ok(self.note_move(Move { from, to, status: RUNNING, moved: 0 }));
        }
        let source = self.queue(&from)?;
        source.tick(now);
        let places: Vec<u64> = source.visible.iter().copied().collect();
        let moved: Vec<Message> = places.into_iter().filter_map(|at| source.remove(at)).collect();
        let count = moved.len();
        let ids: Vec<_> = moved.iter().map(|_| self.id()).collect();
        let queue = self.queue(&to)?;
        for (message, id) in moved.into_iter().zip(ids) {
            queue.push(Message { id, receives: 0, sent_ms: now, ..message }, now);
        }
        Ok(self.note_move(Move { from, to, status: "COMPLETED", moved: count }))
    }

    fn note_move(&mut self, task: Move) -> Value {
        self.moves.push(task);
        json!({"TaskHandle": (self.moves.len() - 1).to_string()})
    }

    fn list_moves(&self, request: &Value) -> Result<Value, Refusal> {
        let source = request["SourceArn"].as_str().unwrap_or_default();
        let of_source = self.moves.iter().enumerate().rev().filter(|(_, task)| arn(&task.from) == source);
        let results: Vec<_> = of_source
            .map(|(handle, task)| {
                // Of those that have ended there is none.
                let handle = (task.status == RUNNING).then(|| handle.to_string());
                let reason = (task.status == "FAILED").then_some("AccessDenied");
                json!({
                    "TaskHandle": handle, "Status": task.status, "ApproximateNumberOfMessagesMoved": task.moved,
                    "SourceArn": source, "DestinationArn": arn(&task.to), "FailureReason": reason,
                })
            })
            .collect();
        Ok(json!({"Results": results}))
    }

    fn cancel_move(&mut self, request: &Value) -> Result<Value, Refusal> {
        let task = request["TaskHandle"].as_str().and_then(|handle| self.moves.get_mut(handle.parse::<usize>().ok()?));
        match task {
            Some(task) if task.status == RUNNING => {
                task.status = "CANCELLED";
                Ok(json!({"ApproximateNumberOfMessagesMoved": task.moved}))
            }
            _ => Err(("ResourceNotFoundException", "no task runs by this handle".to_owned())),
        }
    }

    /// Does what a call asks for.
    ///
    /// # Errors
    /// What the service answers a call that it refuses.
    pub fn act(&mut self, operation: &str, request: &Value) -> Result<Value, Refusal> {
        let url = request["QueueUrl"].as_str().unwrap_or_default();
        let name = url.rsplit('/').next().unwrap_or_default().to_owned();
        let name = name.as_str();
        match operation {
            "SendMessage" => self.send(name, request),
            "SendMessageBatch" if self.refuses_call(request) => Err((NO_ACCESS, "refused".to_owned())),
            "SendMessageBatch" => self.batch(request, |store, entry| {
                let body = entry["MessageBody"].as_str().unwrap_or_default();
                match store.refused.iter().find(|(part, _)| body.contains(part)) {
                    Some((_, code)) => Err((*code, "refused".to_owned())),
                    None => store.send(name, entry),
                }
            }),
            "ReceiveMessage" => {
                if let Some((queue, body)) = self.trickle.clone().filter(|(queue, _)| queue == name) {
                    let body = body(self.queue(&queue)?.sent);
                    self.send(&queue, &json!({"MessageBody": body}))?;
                }
                let most = request["MaxNumberOfMessages"].as_u64().unwrap_or(1).clamp(1, BATCH as u64);
                let mix = self.shuffle.map(|seed| (seed, self.ids));
                let pick = |places: &BTreeSet<u64>, most| match mix {
                    None => first(places, most),
                    Some(_) => {
                        mixed(places, most, |at| BuildHasherDefault::<DefaultHasher>::default().hash_one((mix, at)))
                    }
                };
                let received = self.receive(name, most as usize, request["VisibilityTimeout"].as_u64(), pick)?;
                Ok(json!({"Messages": received.iter().map(Message::received).collect::<Vec<_>>()}))
            }
            "DeleteMessage" => {
                self.delete(name, request["ReceiptHandle"].as_str().unwrap_or_default()).map(|()| json!({}))
            }
            "DeleteMessageBatch" => {
                let entries = request["Entries"].as_array().into_iter().flatten();
                if entries.into_iter().any(|entry| self.keeps(name, entry) == Some(NO_ACCESS)) {
                    return Err((NO_ACCESS, "refused".to_owned()));
                }
                self.batch(request, |store, entry| match store.keeps(name, entry) {
                    Some(code) => Err((code, "refused".to_owned())),
                    None => store.delete(name, entry["ReceiptHandle"].as_str().unwrap_or_default()).map(|()| json!({})),
                })
            }
            "ChangeMessageVisibility" => self.change_visibility(name, request).map(|()| json!({})),
            "ChangeMessageVisibilityBatch" => {
                self.batch(request, |store, entry| store.change_visibility(name, entry).map(|()| json!({})))
            }
            "GetQueueAttributes" => self.attributes(name),
            "StartMessageMoveTask" => self.start_move(request),
            "ListMessageMoveTasks" => self.list_moves(request),
            "CancelMessageMoveTask" => self.cancel_move(request),
            "GetQueueUrl" => Ok(json!({"QueueUrl": request["QueueName"]})),
            other => Err(("UnsupportedOperation", format!("no operation {other}"))),
        }
    }
}

impl Queue {
    fn push(&mut self, message: Message, now: u64) {
        let (at, visible) = (self.next, message.visible_ms);
        self.messages.insert(at, message);
        self.hide(at, visible, now);
        self.next += 1;
        self.sent += 1;
    }

    /// Hides a message until then.
    fn hide(&mut self, at: u64, until: u64, now: u64) {
        let Some(message) = self.messages.get_mut(&at) else { return };
        self.visible.remove(&at);
        self.hidden.remove(&(message.visible_ms, at));
        message.visible_ms = until;
        if until <= now {
            self.visible.insert(at);
        } else {
            self.hidden.insert((until, at));
        }
    }

    /// Lets those be seen whose time has come.
    fn tick(&mut self, now: u64) {
        while let Some((until, at)) = self.hidden.first().copied().filter(|(until, _)| *until <= now) {
            self.hidden.remove(&(until, at));
            self.visible.insert(at);
        }
    }

    fn remove(&mut self, at: u64) -> Option<Message> {
        let message = self.messages.remove(&at)?;
        self.visible.remove(&at);
        self.hidden.remove(&(message.visible_ms, at));
        Some(message)
    }
}

impl Message {
    /// The message as `ReceiveMessage` returns it.
    fn received(&self) -> Value {
        let mut message = json!({
            "MessageId": self.id,
            "ReceiptHandle": self.receipt,
            "Body": self.body,
            "MD5OfBody": md5_of(self.body.as_bytes()),
            "Attributes": self.system_attributes(),
        });
        if !self.attributes.is_empty() {
            message["MessageAttributes"] = self.attributes.clone().into();
            message["MD5OfMessageAttributes"] = md5_of_attributes(&self.attributes).into();
        }
        message
    }

    fn system_attributes(&self) -> Value {
        let mut attributes = json!({
            "ApproximateReceiveCount": self.receives.to_string(),
            "SentTimestamp": self.sent_ms.to_string(),
            "ApproximateFirstReceiveTimestamp": self.first_received_ms.to_string(),
            "SenderId": "AIDATEST",
        });
        for (name, value) in [("AWSTraceHeader", &self.trace), ("MessageGroupId", &self.group)] {
            if let Some(value) = value {
                attributes[name] = value.as_str().into();
            }
        }
        attributes
    }

    /// The message as a record of the event that Lambda makes of it.
    #[must_use]
    pub fn record(&self, queue: &str) -> Value {
        let attributes: Map<String, Value> = self
            .attributes
            .iter()
            .map(|(name, value)| {
                let value = json!({
                    "dataType": value["DataType"],
                    "stringValue": value["StringValue"],
                    "binaryValue": value["BinaryValue"],
                    "stringListValues": [],
                    "binaryListValues": [],
                });
                (name.clone(), value)
            })
            .collect();
        json!({
            "messageId": self.id,
            "receiptHandle": self.receipt,
            "body": self.body,
            "attributes": self.system_attributes(),
            "messageAttributes": attributes,
            "md5OfBody": md5_of(self.body.as_bytes()),
            "eventSource": "aws:sqs",
            "eventSourceARN": arn(queue),
            "awsRegion": "eu-west-2",
        })
    }
}

/// Bytes of an entry of a batch as SQS counts them.
fn bytes(entry: &Value) -> usize {
    let text = |value: &Value| value.as_str().map_or(0, str::len);
    let attributes = entry["MessageAttributes"].as_object().into_iter().flatten();
    let attributes = attributes.map(|(name, value)| {
        name.len() + text(&value["DataType"]) + text(&value["StringValue"]) + text(&value["BinaryValue"])
    });
    text(&entry["MessageBody"]) + attributes.sum::<usize>()
}

fn arn(queue: &str) -> String {
    format!("arn:aws:sqs:eu-west-2:000000000000:{queue}")
}

fn position(receipt: &str) -> Result<u64, Refusal> {
    let number = receipt.split('#').next().and_then(|n| n.parse().ok());
    number.ok_or_else(|| ("ReceiptHandleIsInvalid", format!("not a receipt: {receipt}")))
}

fn md5_of(bytes: &[u8]) -> String {
    format!("{:x}", md5::compute(bytes))
}

/// MD5 over string attributes in order of name: length and bytes of name and type, 1 for "string", length and bytes of value.
fn md5_of_attributes(attributes: &Map<String, Value>) -> String {
    let sorted: BTreeMap<_, _> = attributes.iter().collect();
    let mut bytes = Vec::new();
    for (name, value) in sorted {
        let field = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        };
        field(&mut bytes, name);
        field(&mut bytes, value["DataType"].as_str().unwrap_or_default());
        bytes.push(1);
        field(&mut bytes, value["StringValue"].as_str().unwrap_or_default());
    }
    md5_of(&bytes)
}

async fn handle(State(store): State<Arc<Mutex<Queues>>>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let target = headers.get("x-amz-target").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let operation = target.strip_prefix("AmazonSQS.").unwrap_or_default();
    let request = serde_json::from_slice(&body).unwrap_or_default();
    let answer = lock(&store).act(operation, &request);
    let kind = [(header::CONTENT_TYPE, "application/x-amz-json-1.0")];
    match answer {
        Ok(answer) => (StatusCode::OK, kind, answer.to_string()),
        Err((code, why)) => {
            let body = json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": why});
            (StatusCode::BAD_REQUEST, kind, body.to_string())
        }
    }
}
