//! Watches the mailboxes, every minute: delivers the digests that are due, and escalates what was left unread for too long.

mod handler;

use cpis::{
    aws::{Dynamo, Tables, config as aws},
    lambda::{
        config,
        runtime::{for_life, run},
        telemetry,
    },
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
    let store = Dynamo::new(&aws::load(aws::Patience::Long), tables);
    let store = for_life(store);
    run(move |_: LambdaEvent<handler::Minute>| handler::handle(store)).await
}
