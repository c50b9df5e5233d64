//! Sends notifications out of the mailbox to the authorities' own systems: by webhook and by MESH, as each authority chose.

mod handler;
mod settings;

use std::sync::Arc;

use cpis::{
    aws::{DeadLetters, Dynamo, PushTasks, Secrets, Tables, config as aws},
    lambda::{
        cached::CachedDirectory,
        config::{self, ConfigError, SystemClock},
        runtime::{for_life, run},
        telemetry,
    },
    out::{MeshOut, WebhookOut},
};
use lambda_runtime::{Error, LambdaEvent};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let tables = Tables {
        mailbox: config::required("MAILBOX_TABLE")?,
        directory: config::required("DIRECTORY_TABLE")?,
        ..Tables::default()
    };
    let (queue_url, dead_letter_url) = (config::required("PUSH_QUEUE_URL")?, config::required("PUSH_DLQ_URL")?);
    let secret = config::required("PUSH_SECRET_ARN")?;
    let backoff_seconds = config::required_number("DELIVERY_BACKOFF_SECONDS")?;
    let (reach, mesh) = (settings::reach()?, settings::mesh()?);
    let aws = aws::load(aws::Patience::Long);
    let store = Dynamo::new(&aws, tables);
    let secrets = Arc::new(Secrets::new(&aws, secret, SystemClock));
    let push = handler::Push {
        directory: CachedDirectory::new(store.clone(), SystemClock),
        store,
        out: handler::Out {
            webhooks: WebhookOut::new(Arc::clone(&secrets), reach)?,
            mesh: MeshOut::new(mesh, secrets, reach).map_err(|problem| ConfigError::wrong("MESH_URL", problem))?,
        },
        queue: DeadLetters::new(&aws, queue_url.clone(), dead_letter_url),
        tasks: PushTasks::new(&aws, queue_url),
        backoff_seconds,
        claim_seconds: settings::claim_seconds()?,
        handshaken: std::sync::Mutex::default(),
    };
    let push = for_life(push);
    run(move |event: LambdaEvent<handler::Cause>| async move { push.handle(event.payload).await }).await
}
