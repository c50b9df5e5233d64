//! How a caller stands in the directory (R36).

use cpis::{
    domain::{
        caller::Caller,
        contact::date_in_england,
        standing::{AuthorityStanding, HealthStanding, Standing},
    },
    ports::{Directory, PortResult, SettingDirectory},
};
use jiff::Timestamp;

/// Reads the caller's entry, and the pilots where some of its care is seen in pilots only.
///
/// # Errors
/// Where the directory cannot be read.
pub(crate) async fn of<D: Directory + SettingDirectory>(
    directory: &D,
    caller: &Caller,
    now: Timestamp,
) -> PortResult<Standing> {
    let caller = match caller {
        Caller::Authority(own) => {
            let status = directory.authority(&own.authority).await?.map(|entry| entry.status);
            return Ok(Standing::Authority(AuthorityStanding::from(status)));
        }
        Caller::Health(caller) => caller,
    };
    let code = &caller.organisation.code;
    let setting = directory.setting(code).await?;
    let today = date_in_england(now);
    let in_pilots = |care: &[cpis::domain::setting::CareKind]| care.iter().any(|k| k.class_on(today).only_in_pilots());
    let pilots = match &setting {
        Some(setting) if in_pilots(&setting.care) => directory.pilots().await?,
        _ => Vec::new(),
    };
    let pilots = pilots.iter().filter_map(|pilot| pilot.part_of(code)).collect();
    Ok(Standing::Health(HealthStanding { setting, pilots }))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use cpis::{
        domain::{
            authority::{Authority, AuthorityCode},
            pilot::Pilot,
            setting::Setting,
        },
        ports::PortError,
    };
    use jiff::civil::date;
    use serde_json::{Value, json};

    use super::*;

    /// A directory with one setting, two pilots and a closed authority; it counts how often the pilots are read.
    struct Sample {
        care: Value,
        broken: bool,
        pilots_read: AtomicUsize,
    }

    impl Sample {
        fn with(care: Value) -> Self {
            Self { care, broken: false, pilots_read: AtomicUsize::new(0) }
        }

        fn answer<T>(&self, answer: T) -> PortResult<T> {
            let error = PortError { step: "directory.get", cause: "Timeout".into(), retryable: true };
            if self.broken { Err(error) } else { Ok(answer) }
        }
    }

    impl Directory for Sample {
        async fn authority(&self, code: &AuthorityCode) -> PortResult<Option<Authority>> {
            let entry = json!({"code": code, "name": "Sample", "region": "London", "status": "closed"});
            self.answer((code.as_str() == "E06000001").then(|| serde_json::from_value(entry).expect("an authority")))
        }
    }

    impl SettingDirectory for Sample {
        async fn setting(&self, code: &str) -> PortResult<Option<Setting>> {
            let entry = json!({"code": code, "name": "Sample", "care": self.care, "region": "London",
                "authority": "E09000001", "status": "open", "from": "2020-01-01"});
            self.answer((code == "ZX001").then(|| serde_json::from_value(entry).expect("a setting")))
        }

        async fn pilots(&self) -> PortResult<Vec<Pilot>> {
            self.pilots_read.fetch_add(1, Ordering::Relaxed);
            let pilot = |code: &str, organisation: &str| Pilot {
                code: code.into(),
                name: "Sample".into(),
                care: vec![],
                organisations: vec!["ZX005".into(), organisation.into()],
                job_roles: vec!["R8001".into()],
                from: date(2026, 1, 1),
                until: date(2026, 12, 31),
            };
            self.answer(vec![pilot("OURS", "ZX001"), pilot("OTHERS", "ZX002")])
        }
    }

    fn nurse(organisation: &str) -> Caller {
        let token = json!({"device": {"asid": "1", "responsible": "Sam Sample"},
            "organisation": {"code": organisation, "name": "Sample"}, "activities": ["B0107"]});
        serde_json::from_value(token).expect("a caller")
    }

    async fn standing(directory: &Sample, caller: &Caller) -> PortResult<Value> {
        let now = "2026-11-24T12:00:00Z".parse().expect("a time");
        let standing = of(directory, caller, now).await?;
        Ok(serde_json::to_value(standing).expect("JSON"))
    }

    #[tokio::test]
    async fn r36_the_directorys_word_on_the_caller_is_passed_on() {
        let hospital = Sample::with(json!(["maternity"]));
        let found = standing(&hospital, &nurse("ZX001")).await.expect("read");
        assert_eq!((&found["health"]["setting"]["code"], &found["health"]["pilots"]), (&json!("ZX001"), &Value::Null));
        assert_eq!(standing(&hospital, &nurse("ZX002")).await, Ok(json!({"health": {}})));
        assert_eq!(hospital.pilots_read.load(Ordering::Relaxed), 0, "only who needs a pilot costs a read of them");
        for (code, expected) in [("E06000001", "closed"), ("E06000002", "unknown")] {
            let caller = serde_json::from_value(json!({"authority": code})).expect("a caller");
            assert_eq!(standing(&hospital, &caller).await, Ok(json!({"authority": expected})));
        }
    }

    #[tokio::test]
    async fn r39_only_the_organisations_own_part_in_pilots_is_passed_on() {
        let clinic = Sample::with(json!(["sexual-health"]));
        let found = standing(&clinic, &nurse("ZX001")).await.expect("read");
        let pilots = found["health"]["pilots"].as_array().expect("pilots");
        assert_eq!((pilots.len(), &pilots[0]["code"]), (1, &json!("OURS")));
        assert!(!found.to_string().contains("ZX005"), "{found}");
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_read_is_never_guessed_at() {
        let broken = Sample { broken: true, ..Sample::with(json!(["maternity"])) };
        assert!(standing(&broken, &nurse("ZX001")).await.is_err());
        let authority = serde_json::from_value(json!({"authority": "E06000001"})).expect("a caller");
        assert!(standing(&broken, &authority).await.is_err());
    }
}
