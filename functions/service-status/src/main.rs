//! `_ping`: the door is open. `_status`: and what lies behind it answers.

mod handler;

use cpis::{
    aws::{Dynamo, Tables, config as aws},
    lambda::{config, http::serve, runtime::for_life, telemetry},
};
use lambda_http::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let tables = Tables { directory: config::required("DIRECTORY_TABLE")?, ..Tables::default() };
    let store = Dynamo::new(&aws::load(aws::Patience::Short), tables);
    let store = for_life(store);
    serve("service-status", move |incoming| handler::handle(store, incoming)).await
}
