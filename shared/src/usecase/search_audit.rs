//! Searching who looked at whom: decide what may be seen, find it, record the search, and only then answer (R53).

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    domain::{
        access::Access,
        audit::{Actor, Entry, kind},
        audit_search::{AuditSearch, Reach, SearchRefusal, Subject},
        caller::HealthCaller,
        contact::date_in_england,
        policy::Presentation,
        standing::HealthStanding,
    },
    ports::{AccessSearch, AuditLog, Clock, Page, PageRequest, PortError},
};

/// Who searches.
#[derive(Debug)]
pub struct Officer<'a> {
    /// The caller.
    pub caller: &'a HealthCaller,
    /// How its organisation stands in the directory.
    pub standing: &'a HealthStanding,
    /// Id of this search; a new one each time, so that none hides another.
    pub search_id: Uuid,
    /// As what the answer goes out, such as `csv`.
    pub format: &'static str,
}

/// Why a search has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchAuditError {
    /// It is not allowed; that it was tried is recorded.
    #[error(transparent)]
    Refused(#[from] SearchRefusal),
    /// A step failed; nothing was shown.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// R51: what this caller may see, of a search for this subject where it could be read. R53: a refusal is recorded too.
///
/// # Errors
/// See [`SearchAuditError`].
pub async fn admit<S: AuditLog>(
    log: &S,
    clock: &impl Clock,
    officer: &Officer<'_>,
    subject: Option<&Subject>,
) -> Result<Reach, SearchAuditError> {
    let now = clock.now();
    let why = match Reach::of(officer.caller, officer.standing, date_in_england(now), subject) {
        Ok(reach) => return Ok(reach),
        Err(why) => why,
    };
    let entry = entry(officer, now, kind::AUDIT_SEARCH_REFUSED, subject).with("refused", why.code());
    log.append(&[entry]).await?;
    Err(why.into())
}

/// A page of what was found, each with how it is shown; recorded before it is returned (R53).
///
/// # Errors
/// See [`SearchAuditError`].
pub async fn search<S: AccessSearch + AuditLog>(
    store: &S,
    clock: &impl Clock,
    officer: &Officer<'_>,
    search: &AuditSearch,
    page: &PageRequest,
) -> Result<Page<(Access, Presentation)>, SearchAuditError> {
    let found = store.search(search, page).await?;
    // R52: whatever the store passed over, what may not be seen is not shown.
    let view = |access: Access| search.view(&access).map(|presentation| (access, presentation));
    let items: Vec<_> = found.items.into_iter().filter_map(view).collect();
    let [from, to] = search.span.bounds();
    let entry = entry(officer, clock.now(), kind::AUDIT_SEARCH, Some(&search.subject))
        .with("from", from)
        .with("to", to)
        .with("reach", if search.reach.national { "national" } else { "own" })
        .with("page", if page.after.is_some() { "later" } else { "first" })
        .with("format", officer.format)
        .with("shown", items.len());
    store.append(&[entry]).await?;
    Ok(Page { items, next: found.next })
}

fn entry(officer: &Officer<'_>, at: Timestamp, kind: &str, subject: Option<&Subject>) -> Entry {
    let HealthCaller { requester, organisation, activities } = officer.caller;
    let entry = Entry::new(officer.search_id, at, kind, Actor::of(requester), &organisation.code)
        .with("organisationName", &organisation.name)
        .with("activities", activities.join(","));
    let Some(subject) = subject else { return entry };
    let entry = entry.with("by", subject.kind());
    match subject {
        Subject::Child(child) => entry.about(child),
        Subject::Person(id) | Subject::Organisation(id) => entry.with("searchedFor", id),
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::{
        domain::{
            access::Interaction,
            audit_search::Span,
            authority::{AuthorityCode, Status},
            caller::{Device, JobRole, Organisation, Person, Requester},
            nhs_number::{ChildKey, ChildKeySecret, NhsNumber},
            setting::{CareKind, Oversight, Setting},
        },
        memory::{Register, SetClock},
        ports::{AccessLog, PortResult},
    };

    const NUMBER: &str = "9990000018";

    fn clock() -> SetClock {
        SetClock::at("2026-11-22T12:00:00Z".parse().expect("valid"))
    }

    fn child() -> ChildKey {
        let number = NhsNumber::parse(NUMBER).expect("valid");
        ChildKeySecret::new(&[1; 32]).expect("long enough").key_of(&number)
    }

    fn caller(organisation: &str, activities: &[&str]) -> HealthCaller {
        let job_role = JobRole { code: "R0001".into(), display: "Privacy Officer".into() };
        let person =
            Person { user: "555000000009".into(), role_profile: "1".into(), name: "Pat Privacy".into(), job_role };
        HealthCaller {
            requester: Requester::Person(person),
            organisation: Organisation { code: organisation.into(), name: "Sample Hospital".into() },
            activities: activities.iter().map(|&a| a.to_owned()).collect(),
        }
    }

    fn standing(organisation: &str, oversight: Option<Oversight>) -> HealthStanding {
        let setting = Setting {
            code: organisation.into(),
            name: "Sample Hospital".into(),
            care: vec![CareKind::EmergencyDepartment],
            region: "North East".into(),
            authority: AuthorityCode::parse("E06000001").expect("valid"),
            status: Status::Open,
            from: date(2020, 1, 1),
            until: None,
            oversight,
        };
        HealthStanding { setting: Some(setting), pilots: vec![] }
    }

    fn access(id: u128, organisation: &str, presentation: Presentation) -> Access {
        Access {
            child: child(),
            id: Uuid::from_u128(id),
            at: clock().now() - jiff::SignedDuration::from_secs(1_000 - i64::try_from(id).expect("small")),
            requester: caller(organisation, &[]).requester,
            organisation: Organisation { code: organisation.into(), name: "Any".into() },
            interaction: Interaction::CareTeam,
            unscheduled: true,
            disclosed: vec![],
            owed: vec![],
            nhs_number: None,
            trace_id: Uuid::nil(),
            care: vec![],
            region: Some("London".into()),
            presentation,
            refused: None,
        }
    }

    fn ask(subject: Subject, reach: Reach) -> AuditSearch {
        AuditSearch { subject, span: Span::new(None, None).expect("all time"), reach }
    }

    const PAGE: PageRequest = PageRequest { limit: 100, after: None };

    async fn admitted(caller: &HealthCaller, standing: &HealthStanding, subject: &Subject) -> Result<Reach, String> {
        let register = Register::default();
        let officer = Officer { caller, standing, search_id: Uuid::from_u128(7), format: "json" };
        let reach = admit(&register, &clock(), &officer, Some(subject)).await.map_err(|error| match error {
            SearchAuditError::Refused(why) => why.code().to_owned(),
            SearchAuditError::Port(error) => error.to_string(),
        });
        let audited = register.audited();
        match &reach {
            Ok(_) => assert_eq!(audited.len(), 0, "an admission is recorded with its search"),
            Err(code) => {
                let entry = &audited[0].entry;
                assert_eq!((entry.kind.as_str(), &entry.details["refused"]), (kind::AUDIT_SEARCH_REFUSED, code), "R53");
            }
        }
        reach
    }

    #[tokio::test]
    async fn r51_only_officers_of_open_organisations_search_and_see_their_own() {
        let closed = |mut standing: HealthStanding| {
            standing.setting.iter_mut().for_each(|setting| setting.status = Status::Closed);
            standing
        };
        let device = Requester::Device(Device { asid: "1".into(), responsible: "Pat".into(), ..Device::default() });
        let device = HealthCaller { requester: device, ..caller("ZX1", &["R0001", "R5105"]) };
        let (own, other) = (Subject::Organisation("ZX1".into()), Subject::Organisation("ZX2".into()));
        let (open, national) = (standing("ZX1", None), standing("ZX1", Some(Oversight::National)));
        let nobody = Err("not-an-officer".to_owned());
        let (near, far) = ([false, true]).map(|national| Ok(Reach { own: "ZX1".into(), national })).into();
        for (caller, standing, subject, expected) in [
            (&caller("ZX1", &["R0001"]), &open, &own, &near),
            (&caller("ZX1", &["R5105"]), &open, &own, &near),
            (&caller("ZX1", &["B0107", "R5105"]), &open, &Subject::Child(child()), &near),
            (&caller("ZX1", &["R5105"]), &open, &Subject::Person("5".into()), &near),
            (&caller("ZX1", &["R5105"]), &open, &other, &Err("other-organisation".into())),
            (&caller("ZX1", &["R5105"]), &national, &other, &far),
            (&caller("ZX1", &["B0107", "B0170"]), &national, &own, &nobody),
            (&caller("ZX1", &["r0001", "R51050", "R000"]), &open, &own, &nobody),
            (&caller("ZX1", &[]), &open, &own, &nobody),
            (&device, &open, &own, &nobody),
            (&caller("ZX1", &["R0001"]), &closed(open.clone()), &own, &Err("organisation-closed".into())),
            (&caller("ZX1", &["R0001"]), &HealthStanding::default(), &own, &Err("organisation-unknown".into())),
        ] {
            assert_eq!(&admitted(caller, standing, subject).await, expected, "{caller:?} {subject:?}");
        }
    }

    #[tokio::test]
    async fn r52_sensitive_care_elsewhere_shows_in_a_childs_search_alone_and_generically() {
        let register = Register::default();
        for (id, organisation, presentation) in
            [(1, "ZX1", Presentation::Generic), (2, "ZX2", Presentation::Generic), (3, "ZX2", Presentation::Full)]
        {
            register.record(&access(id, organisation, presentation)).await.expect("recorded");
        }
        let (caller, standing) = (caller("ZX1", &["R0001"]), standing("ZX1", None));
        let person = Subject::Person("555000000009".into());
        let (full, generic) = (Presentation::Full, Presentation::Generic);
        for (subject, national, expected) in [
            (Subject::Child(child()), true, &[(3, full), (2, generic), (1, full)][..]),
            (Subject::Child(child()), false, &[(1, full)]),
            (person.clone(), true, &[(3, full), (1, full)]),
            (person, false, &[(1, full)]),
            (Subject::Organisation("ZX1".into()), false, &[(1, full)]),
            (Subject::Organisation("ZX2".into()), true, &[(3, full)]),
        ] {
            let officer = Officer { caller: &caller, standing: &standing, search_id: Uuid::new_v4(), format: "json" };
            let asked = ask(subject, Reach { own: "ZX1".into(), national });
            let found = search(&register, &clock(), &officer, &asked, &PAGE).await.expect("found");
            let shown: Vec<_> = found.items.iter().map(|(access, shown)| (access.id.as_u128(), *shown)).collect();
            assert_eq!(shown, expected, "{asked:?}");
        }
    }

    /// A store that finds what may not be seen, or whose log takes nothing.
    struct Faulty<'a>(&'a Register, bool);

    impl AccessSearch for Faulty<'_> {
        async fn search(&self, _: &AuditSearch, _: &PageRequest) -> PortResult<Page<Access>> {
            let items = ["ZX1", "ZX2"].map(|organisation| access(1, organisation, Presentation::Full)).into();
            Ok(Page { items, next: None })
        }
    }

    impl AuditLog for Faulty<'_> {
        async fn append(&self, entries: &[Entry]) -> PortResult<()> {
            if self.1 {
                return self.0.append(entries).await;
            }
            Err(PortError { step: "audit.append", cause: "Down".into(), retryable: true })
        }
    }

    #[tokio::test]
    async fn r53_no_answer_leaves_that_was_not_recorded() {
        let register = Register::default();
        let (caller, standing) = (caller("ZX1", &["R0001"]), standing("ZX1", None));
        let officer = Officer { caller: &caller, standing: &standing, search_id: Uuid::from_u128(7), format: "csv" };
        let asked = ask(Subject::Child(child()), Reach { own: "ZX1".into(), national: false });
        let down = search(&Faulty(&register, false), &clock(), &officer, &asked, &PAGE).await;
        assert!(matches!(down, Err(SearchAuditError::Port(_))), "{down:?}");
        let nurse = HealthCaller { activities: vec![], ..caller.clone() };
        let refused = admit(&Faulty(&register, false), &clock(), &Officer { caller: &nurse, ..officer }, None).await;
        assert!(matches!(refused, Err(SearchAuditError::Port(_))), "{refused:?}");
        assert_eq!(register.audited().len(), 0);

        let officer = Officer { caller: &caller, standing: &standing, search_id: Uuid::from_u128(7), format: "csv" };
        let found = search(&Faulty(&register, true), &clock(), &officer, &asked, &PAGE).await.expect("found");
        assert_eq!(found.items.len(), 1, "R51: what a store finds too much is not shown");
        let entry = register.audited().remove(0).entry;
        assert_eq!((entry.kind.as_str(), entry.organisation.as_str()), (kind::AUDIT_SEARCH, "ZX1"));
        assert_eq!((entry.actor.id.as_str(), &entry.subject), ("555000000009", &Some(child())));
        for (name, value) in [("by", "child"), ("reach", "own"), ("page", "first"), ("format", "csv"), ("shown", "1")] {
            assert_eq!(entry.details[name], value, "{name}");
        }
        assert!(!serde_json::to_string(&entry).expect("JSON").contains(NUMBER), "R31");
    }
}
