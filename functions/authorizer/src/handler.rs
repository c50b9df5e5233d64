//! From a request's token to a policy and the caller's context, or to 401.

use aws_lambda_events::apigw::{ApiGatewayCustomAuthorizerRequestTypeRequest, ApiGatewayCustomAuthorizerResponse};
use cpis::{
    lambda::{
        config::SystemClock,
        telemetry::{Event, Level},
    },
    ports::Clock,
};
use lambda_runtime::Error;

use crate::{
    keys::Keys,
    policy,
    token::{Claims, Expected, Refusal, Unverified},
};

pub(crate) type Asked = ApiGatewayCustomAuthorizerRequestTypeRequest;

pub(crate) struct Authorizer {
    pub(crate) expected: Expected,
    pub(crate) keys: Keys,
}

impl Authorizer {
    /// Fails closed: whatever goes wrong, the answer is `Unauthorized`, which API Gateway turns into 401.
    pub(crate) async fn handle(&self, asked: Asked) -> Result<ApiGatewayCustomAuthorizerResponse, Error> {
        let event = Event::begin("authorizer");
        match self.authorize(&asked).await {
            Ok((claims, response)) => {
                event.with("subject", claims.subject_kind()).with("tokenId", claims.id()).emit("token.accepted");
                Ok(response)
            }
            Err(refusal) => {
                let event = event.level(Level::Warn).with("reason", refusal.code());
                event.metric("TokensRefused", "Count", 1).emit("token.refused");
                Err("Unauthorized".into())
            }
        }
    }

    async fn authorize(&self, asked: &Asked) -> Result<(Claims, ApiGatewayCustomAuthorizerResponse), Refusal> {
        let mut headers = asked.headers.get_all("authorization").iter();
        let (Some(header), None) = (headers.next(), headers.next()) else { return Err(Refusal::NoToken) };
        let header = header.to_str().map_err(|_| Refusal::NoToken)?;
        let unverified = Unverified::from_header(header)?;
        let now = SystemClock.now();
        let key = self.keys.find(unverified.key_id(), now).await.ok_or(Refusal::UnknownKey)?;
        let claims = unverified.verify(&key, &self.expected, now)?;
        let method_arn = asked.method_arn.as_deref().ok_or(Refusal::NoMethod)?;
        let response = policy::response(&claims, method_arn).ok_or(Refusal::NoMethod)?;
        Ok((claims, response))
    }
}
