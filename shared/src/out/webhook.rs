//! Webhooks.

use std::sync::Arc;

use jiff::Timestamp;
use reqwest::Client;

use super::{
    Limits, client, judge,
    resolve::{Checked, LookUp, System},
    unanswered,
};
use crate::{
    domain::{
        receiver::{Reach, ReceiverUrl},
        ways_out::{Outgoing, Webhook},
    },
    ports::{Again, NotTaken, SecretKeeper, Webhooks},
    wire::webhook::{WebhookKey, headers},
};

/// Sends webhooks.
pub struct WebhookOut<S> {
    client: Client,
    reach: Reach,
    secrets: Arc<S>,
}

impl<S: SecretKeeper> WebhookOut<S> {
    /// With keys made from these secrets.
    ///
    /// # Errors
    /// Where no TLS can be had.
    pub fn new(secrets: Arc<S>, reach: Reach) -> Result<Self, &'static str> {
        Self::limited(secrets, reach, Limits::default())
    }

    /// As [`WebhookOut::new`], with other limits.
    ///
    /// # Errors
    /// As [`WebhookOut::new`].
    pub fn limited(secrets: Arc<S>, reach: Reach, limits: Limits) -> Result<Self, &'static str> {
        Self::resolving_with(System, secrets, reach, limits)
    }

    pub(super) fn resolving_with(
        look_up: impl LookUp,
        secrets: Arc<S>,
        reach: Reach,
        limits: Limits,
    ) -> Result<Self, &'static str> {
        let resolver = Checked { look_up: Arc::new(look_up), reach };
        let client = client(limits).dns_resolver(resolver).http1_only().build().map_err(|_| "no TLS for webhooks")?;
        Ok(Self { client, reach, secrets })
    }
}

impl<S: SecretKeeper> Webhooks for WebhookOut<S> {
    async fn send_webhook(&self, to: &Webhook, outgoing: &Outgoing<'_>, now: Timestamp) -> Result<(), NotTaken> {
        let ours = |code| NotTaken { code, status: None, again: Again::NotItsFault };
        // R74: the directory may hold anything.
        let url = ReceiverUrl::parse(&to.url, self.reach).map_err(|_| NotTaken {
            code: "address-refused",
            status: None,
            again: Again::Later(None),
        })?;
        let body = serde_json::to_vec(outgoing).map_err(|_| ours("notification-unwritten"))?;
        let secrets = self.secrets.push_secrets().await.map_err(|_| ours("secret-unreadable"))?;
        let masters = [Some(&secrets.master), secrets.previous_master.as_ref()];
        let masters = masters.into_iter().flatten().filter(|master| !master.is_empty());
        let keys: Vec<_> = masters
            .flat_map(|master| to.keys.iter().map(|n| WebhookKey::derive(master, &outgoing.notification.authority, *n)))
            .collect();
        if keys.is_empty() {
            return Err(ours("no-key"));
        }
        let mut request = self.client.post(url.as_str()).header("content-type", "application/json");
        for (name, value) in headers(&outgoing.id.to_string(), now, &body, &keys) {
            request = request.header(name, value);
        }
        // The answer's body is never read: it says nothing that we need, and might have no end.
        let answer = request.body(body).send().await.map_err(|error| unanswered(&error))?;
        judge(answer.status(), answer.headers())
    }
}
