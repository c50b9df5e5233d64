//! From a request's token to a policy and the caller's context, or to 401; to 503 where the directory cannot be read.

use aws_lambda_events::apigw::ApiGatewayCustomAuthorizerResponse;
use cpis::{
    aws::Dynamo,
    lambda::{
        cached::CachedDirectory,
        config::SystemClock,
        deadline::{time_left, within},
        event::AuthorizerEvent,
        telemetry::{Event, Level},
    },
    ports::{Clock, PortError},
};
use lambda_runtime::{Error, LambdaEvent};

use crate::{
    keys::Keys,
    policy, standing,
    token::{Claims, Expected, Refusal, Unverified},
};

pub(crate) type Asked = AuthorizerEvent;

pub(crate) struct Authorizer {
    pub(crate) expected: Expected,
    pub(crate) keys: Keys,
    pub(crate) directory: CachedDirectory<Dynamo, SystemClock>,
}

/// The line of a request, with every id by which others know it.
fn begin(asked: &Asked) -> Event {
    let mut event = Event::begin("authorizer");
    for (name, id) in [("apiRequestId", asked.request_id()), ("traceId", asked.uuid_header("TraceID"))] {
        if let Some(id) = id {
            event = event.with(name, id.to_string());
        }
    }
    event
}

fn out_of_time() -> PortError {
    PortError { step: "authorizer.decide", cause: "OutOfTime".into(), retryable: true }
}

/// Why a request gets no policy.
enum Failure {
    /// The token is no good.
    Refused(Refusal),
    /// The directory cannot be read. How the caller stands is never guessed.
    Directory(PortError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Authorizer {
    /// Fails closed: for a token that is no good the answer is `Unauthorized`, which API Gateway turns into 401; any other error
    /// is its AUTHORIZER_FAILURE, which the template makes 503.
    pub(crate) async fn handle(&self, asked: LambdaEvent<Asked>) -> Result<ApiGatewayCustomAuthorizerResponse, Error> {
        let LambdaEvent { payload: asked, context } = asked;
        let event = begin(&asked);
        let decided = within(time_left(&context), self.authorize(&asked)).await;
        match decided.unwrap_or_else(|| Err(Failure::Directory(out_of_time()))) {
            Ok((claims, response)) => {
                event.with("subject", claims.subject_kind()).with("tokenId", claims.id()).emit("token.accepted");
                Ok(response)
            }
            Err(Failure::Refused(refusal)) => {
                let event = event.level(Level::Warn).with("reason", refusal.code());
                event.metric("TokensRefused", "Count", 1).emit("token.refused");
                Err("Unauthorized".into())
            }
            Err(Failure::Directory(error)) => {
                event.failed(&error).level(Level::Error).emit("token.unjudged");
                Err("the directory cannot be read".into())
            }
        }
    }

    async fn authorize(&self, asked: &Asked) -> Result<(Claims, ApiGatewayCustomAuthorizerResponse), Failure> {
        let header = asked.header("authorization").ok_or(Refusal::NoToken)?;
        let unverified = Unverified::from_header(header)?;
        let now = SystemClock.now();
        let key = self.keys.find(unverified.key_id(), now).await.ok_or(Refusal::UnknownKey)?;
        let claims = unverified.verify(&key, &self.expected, now)?;
        let method_arn = asked.method_arn.as_deref().ok_or(Refusal::NoMethod)?;
        let standing = standing::of(&self.directory, &claims.cpis, now).await.map_err(Failure::Directory)?;
        let response = policy::response(&claims, &standing, method_arn).ok_or(Refusal::NoMethod)?;
        Ok((claims, response))
    }
}
