//! What a verified caller may call, and what functions are told of it.

use aws_lambda_events::{
    apigw::{ApiGatewayCustomAuthorizerPolicy, ApiGatewayCustomAuthorizerResponse},
    iam::{IamPolicyEffect, IamPolicyStatement},
};
use cpis::domain::{caller::Caller, standing::Standing};
use serde_json::{Value, json};

use crate::token::Claims;

/// Allows the caller's own part of the API (R29). API Gateway remembers the policy for other paths of the same
/// token, so it names all of them. `None` where the method's ARN is not one.
pub(crate) fn response(
    claims: &Claims,
    standing: &Standing,
    method_arn: &str,
) -> Option<ApiGatewayCustomAuthorizerResponse> {
    let stage = stage_of(method_arn)?;
    // Who in health care may search the accesses is for audit-search to say, so that a refusal leaves a trace (R53).
    let paths = match &claims.cpis {
        Caller::Health(_) => ["cpis/FHIR/R4/*", "cpis/audit/*", "cpis/receipts/*"].map(str::to_owned).to_vec(),
        Caller::Authority(own) => vec![format!("cpis/authorities/{}/*", own.authority)],
    };
    let mut statement = IamPolicyStatement::default();
    statement.action = vec!["execute-api:Invoke".to_owned()];
    statement.effect = IamPolicyEffect::Allow;
    statement.resource = paths.into_iter().map(|path| format!("{stage}/*/{path}")).collect();
    let mut policy = ApiGatewayCustomAuthorizerPolicy::default();
    policy.version = Some("2012-10-17".to_owned());
    policy.statement = vec![statement];
    let mut response = ApiGatewayCustomAuthorizerResponse::<Value>::default();
    response.principal_id = Some(claims.sub.clone());
    response.policy_document = policy;
    // Context values are texts (API Gateway, "Output from a Lambda authorizer").
    response.context = json!({
        "caller": serde_json::to_string(&claims.cpis).ok()?,
        "standing": serde_json::to_string(standing).ok()?,
    });
    Some(response)
}

/// `arn:…:api/stage` of `arn:…:api/stage/GET/path`.
fn stage_of(method_arn: &str) -> Option<String> {
    let mut parts = method_arn.split('/');
    let (api, stage) = (parts.next()?, parts.next()?);
    parts.next()?;
    Some(format!("{api}/{stage}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(cpis: &Value) -> Vec<String> {
        let claims = json!({"iss": "i", "aud": "a", "sub": "s", "jti": "j", "iat": 0, "exp": 0, "cpis": cpis});
        let claims = serde_json::from_value(claims).expect("claims");
        let arn = "arn:aws:execute-api:eu-west-2:123456789012:abc/v1/GET/cpis/authorities/E06000002/plans";
        let standing = Standing::Authority(cpis::domain::standing::AuthorityStanding::Unknown);
        let response = response(&claims, &standing, arn).expect("a policy");
        assert_eq!(response.context["standing"], r#"{"authority":"unknown"}"#);
        response.policy_document.statement[0].resource.clone()
    }

    #[test]
    fn r29_an_authority_may_call_its_own_paths_only() {
        assert_eq!(
            allowed(&json!({"authority": "E06000001"})),
            ["arn:aws:execute-api:eu-west-2:123456789012:abc/v1/*/cpis/authorities/E06000001/*"]
        );
    }

    #[test]
    fn r29_health_care_may_call_fhir_and_the_search_of_accesses_only() {
        let device = json!({"device": {"asid": "1", "responsible": "Sam Sample"}, "organisation": {"code": "ZX1", "name": "X"}, "activities": []});
        let paths = ["FHIR/R4", "audit", "receipts"]
            .map(|path| format!("arn:aws:execute-api:eu-west-2:123456789012:abc/v1/*/cpis/{path}/*"));
        assert_eq!(allowed(&device), paths);
    }

    #[test]
    fn an_arn_without_a_method_allows_nothing() {
        for arn in ["", "arn:aws:execute-api:eu-west-2:123456789012:abc", "arn:x/v1"] {
            assert_eq!(stage_of(arn), None, "{arn}");
        }
    }
}
