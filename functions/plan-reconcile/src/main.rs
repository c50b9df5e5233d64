//! Lets an authority list its uploads and the plans held for it, to reconcile them with its own records.

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
        plans: config::required("PLANS_TABLE")?,
        uploads: config::required("UPLOADS_TABLE")?,
        ..Tables::default()
    };
    let store = Dynamo::new(&aws::load(aws::Patience::Long), tables);
    let store = for_life(store);
    serve("plan-reconcile", move |incoming| handler::handle(store, incoming)).await
}
