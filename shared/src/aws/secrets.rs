//! The secrets of pushing, in Secrets Manager.

use std::sync::{Arc, Mutex, PoisonError};

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;
use jiff::{SignedDuration, Timestamp};

use super::failure::{failed, unreadable};
use crate::ports::{Clock, PortResult, PushSecrets, SecretKeeper};

/// For how long a secret is believed: a changed one acts within this time, without a deployment.
const BELIEVED: SignedDuration = SignedDuration::from_mins(5);
const STEP: &str = "secret.get";

/// One secret, remembered for a while.
#[derive(Debug)]
pub struct Secrets<C> {
    client: Client,
    id: String,
    clock: C,
    read: Mutex<Option<(Timestamp, Arc<PushSecrets>)>>,
}

impl<C> Secrets<C> {
    /// The secret of this name or ARN.
    pub fn new(config: &SdkConfig, id: String, clock: C) -> Self {
        Self { client: Client::new(config), id, clock, read: Mutex::default() }
    }
}

impl<C: Clock> SecretKeeper for Secrets<C> {
    async fn push_secrets(&self) -> PortResult<Arc<PushSecrets>> {
        let now = self.clock.now();
        let remembered = self.read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((read, secrets)) = remembered
            && now.duration_since(read) < BELIEVED
        {
            return Ok(secrets);
        }
        let found = self.client.get_secret_value().secret_id(&self.id).send().await.map_err(failed(STEP))?;
        let text = found.secret_string.ok_or_else(|| unreadable(STEP))?;
        // The reader's own error would repeat the text.
        let secrets: Arc<PushSecrets> = serde_json::from_str(&text).map(Arc::new).map_err(|_| unreadable(STEP))?;
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&secrets)));
        Ok(secrets)
    }
}
