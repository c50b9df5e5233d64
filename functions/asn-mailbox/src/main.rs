//! An authority's mailbox of notifications: list, acknowledge, action, the authority's rules and
//! ways out; and whether one was received.

mod handler;

use cpis::{
    aws::{Dynamo, Tables, config as aws},
    lambda::{config, http::serve, runtime::for_life, telemetry},
};
use lambda_http::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let tables = Tables {
        mailbox: config::required("MAILBOX_TABLE")?,
        accesses: config::required("ACCESSES_TABLE")?,
        directory: config::required("DIRECTORY_TABLE")?,
        audit: config::required("AUDIT_TABLE")?,
        ..Tables::default()
    };
    let store = Dynamo::new(&aws::load(aws::Patience::Long), tables);
    let store = for_life(store);
    serve(handler::SERVICE, move |incoming| handler::handle(store, incoming)).await
}
