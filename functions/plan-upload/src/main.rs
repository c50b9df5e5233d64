//! Takes upload files and single plans from local authorities.

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
        directory: config::required("DIRECTORY_TABLE")?,
        audit: config::required("AUDIT_TABLE")?,
        ..Tables::default()
    };
    let secret = config::child_key_secret()?;
    let store = Dynamo::new(&aws::load(aws::Patience::Long), tables);
    let (store, secret) = (for_life(store), for_life(secret));
    serve("plan-upload", move |incoming| handler::handle(store, secret, incoming)).await
}
