//! Who may use a path: the caller of the token, as the directory knows it (R29, R36).

use jiff::civil::Date;

use super::http::{Answer, Incoming, refuse};
use crate::{
    domain::{
        authority::AuthorityCode,
        caller::{Caller, HealthCaller},
        policy::{self, Refusal},
        setting::Setting,
        standing::{AuthorityStanding, HealthStanding, Standing},
    },
    wire::fhir::{Kind, Outcome},
};

impl Incoming {
    /// The authority whose path this is, which must be the caller's own (R29), and open in the directory (R36).
    ///
    /// # Errors
    /// 403 for anybody else, and for a path whose code is none.
    pub fn own_authority(&self, code: &str) -> Result<AuthorityCode, Answer> {
        let own = match &self.caller {
            Some(Caller::Authority(own)) if own.authority.as_str() == code => own.authority.clone(),
            _ => {
                return Err(refuse(
                    Kind::Forbidden,
                    "the token is not of the authority in the path; use your own authority's code and token",
                    "request.refused-tenant",
                ));
            }
        };
        if self.standing == Some(Standing::Authority(AuthorityStanding::Open)) {
            return Ok(own);
        }
        Err(refuse(
            Kind::Forbidden,
            "the authority is not open in the directory; ask the service's operators",
            "request.refused-authority",
        ))
    }

    /// Who asks, in health care. Whether the organisation may use the service is for the policy to say, which is given its
    /// [`Incoming::health_standing`].
    ///
    /// # Errors
    /// 403 for an authority's token.
    pub fn health_caller(&self) -> Result<&HealthCaller, Answer> {
        match &self.caller {
            Some(Caller::Health(caller)) => Ok(caller),
            _ => Err(refuse(
                Kind::Forbidden,
                "the token is not of a person or device in a health care organisation",
                "request.refused-tenant",
            )),
        }
    }

    /// How the caller's organisation stands in the directory; one that nothing is said of is unknown (R36).
    #[must_use]
    pub fn health_standing(&self) -> HealthStanding {
        match &self.standing {
            Some(Standing::Health(standing)) => standing.clone(),
            _ => HealthStanding::default(),
        }
    }

    /// Who asks, in health care, and the directory's entry of the organisation, which may use the service on this day (R36).
    ///
    /// # Errors
    /// 403 for an authority's token, and for an organisation that is unknown, closed, former or not yet taking part.
    pub fn member(&self, today: Date) -> Result<(&HealthCaller, Setting), Answer> {
        let caller = self.health_caller()?;
        let standing = self.health_standing();
        let setting = policy::member(&standing, today)
            .map_err(|why| refused(why).with("organisation", caller.organisation.code.as_str()))?;
        Ok((caller, setting.clone()))
    }
}

/// 403 with the policy's reason (R38).
pub(super) fn refused(why: Refusal) -> Answer {
    let outcome = Outcome::new(Kind::Forbidden, why.to_string());
    let outcome = why.header().map_or(outcome.clone(), |header| outcome.at(format!("http.{header}")));
    Answer::refusal(&outcome, "lookup.refused").with("reason", why.code())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use lambda_http::http::{HeaderMap, Method};
    use serde_json::{Value, json};

    use super::*;

    const TODAY: Date = date(2026, 11, 24);

    fn incoming(caller: Value, standing: Value) -> Incoming {
        Incoming {
            method: Method::GET,
            path: vec![],
            query: vec![],
            headers: HeaderMap::new(),
            body: vec![],
            caller: serde_json::from_value(caller).expect("a caller"),
            standing: serde_json::from_value(standing).expect("a standing"),
        }
    }

    fn nurse() -> Value {
        json!({
            "person": {"user": "555000000001", "roleProfile": "555000000002", "name": "Alex Example",
                "jobRole": {"code": "R8001", "display": "Nurse Access Role"}},
            "organisation": {"code": "ZX001", "name": "Sample Hospital"}, "activities": ["R0001"]
        })
    }

    fn hospital(status: &str, until: &str) -> Value {
        json!({"health": {"setting": {"code": "ZX001", "name": "Sample Hospital", "care": ["maternity"], "region": "London",
            "authority": "E09000001", "status": status, "from": "2020-01-01", "until": until}}})
    }

    #[test]
    fn r29_r36_an_authority_reaches_its_own_path_while_it_is_open() {
        let own = json!({"authority": "E06000001"});
        let reaches =
            |caller: &Value, standing: Value| incoming(caller.clone(), standing).own_authority("E06000001").is_ok();
        assert!(reaches(&own, json!({"authority": "open"})));
        for standing in
            [json!({"authority": "closed"}), json!({"authority": "unknown"}), json!({"health": {}}), json!(null)]
        {
            assert!(!reaches(&own, standing.clone()), "{standing}");
        }
        for caller in [json!({"authority": "E06000002"}), nurse(), json!(null)] {
            assert!(!reaches(&caller, json!({"authority": "open"})), "{caller}");
        }
    }

    #[test]
    fn r36_an_organisation_is_a_member_on_its_days() {
        let member =
            |caller: Value, standing| incoming(caller, standing).member(TODAY).map(|(_, setting)| setting.code).ok();
        assert_eq!(member(nurse(), hospital("open", "2026-11-24")).as_deref(), Some("ZX001"));
        for standing in [
            hospital("closed", "2026-11-24"),
            hospital("open", "2026-11-23"),
            json!({"health": {}}),
            json!({"authority": "open"}),
            json!(null),
        ] {
            assert_eq!(member(nurse(), standing.clone()), None, "{standing}");
        }
        assert_eq!(member(json!({"authority": "E06000001"}), hospital("open", "2026-11-24")), None);
    }
}
