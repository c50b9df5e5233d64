//! Lambda authorizer of the API: verifies the token, looks its holder up in the directory, and says who may call what.

mod handler;
mod keys;
mod policy;
mod standing;
mod token;

use cpis::{
    aws::{Dynamo, Tables, config as aws},
    lambda::{
        cached::CachedDirectory,
        config,
        runtime::{for_life, run},
        telemetry,
    },
};
use lambda_runtime::{Error, LambdaEvent};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let expected =
        token::Expected { issuer: config::required("TOKEN_ISSUER")?, audience: config::required("TOKEN_AUDIENCE")? };
    let keys = keys::Keys::at(&config::required("JWKS_URL")?)?;
    let tables = Tables { directory: config::required("DIRECTORY_TABLE")?, ..Tables::default() };
    let directory = CachedDirectory::new(Dynamo::new(&aws::load(aws::Patience::Short), tables), config::SystemClock);
    let authorizer = handler::Authorizer { expected, keys, directory };
    let authorizer = for_life(authorizer);
    run(move |event: LambdaEvent<handler::Asked>| async move { authorizer.handle(event).await }).await
}
