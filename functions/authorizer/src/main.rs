//! Lambda authorizer of the API: verifies the token and says who may call what.

mod handler;
mod keys;
mod policy;
mod token;

use cpis::lambda::{config, telemetry};
use lambda_runtime::{Error, LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let expected =
        token::Expected { issuer: config::required("TOKEN_ISSUER")?, audience: config::required("TOKEN_AUDIENCE")? };
    let keys = keys::Keys::at(&config::required("JWKS_URL")?)?;
    let authorizer = handler::Authorizer { expected, keys };
    let authorizer = &authorizer;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<handler::Asked>| async move {
        authorizer.handle(event.payload).await
    }))
    .await
}
