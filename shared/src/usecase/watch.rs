//! Counts look-ups against budgets, and finds those that no care explains (R55–R59). Called with what the stream of accesses
//! brings; the same accesses again, or in another order, come to the same.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream, try_join};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    domain::{
        access::Access,
        audit::{Actor, Entry, kind},
        contact::seconds_ahead_in_england,
        nhs_number::ChildKey,
        time::sortable,
        watch::{
            Budget, Circle, Code, Finding, HOUR, Kind, Limits, Mark, Peak, SURGE_DAYS, SURGE_LEAST, Span, Subject,
            Window, child_mark, circle, frees_at, moment, most_children, most_misses, returns, surge_limit,
        },
    },
    ports::{AccessHistory, AuditLog, PageRequest, PortError, PortResult, Stops, Tally},
};

/// Windows looked at at once.
const CONCURRENCY: usize = 16;
/// Somebody else of the organisation who looks at the child within this time of a visit has a part in the same care.
const EPISODE: u32 = 16 * HOUR;
/// The most accesses of a child that are read to see who else looked at it, in pages.
const PAGES: usize = 10;
/// See [`PAGES`].
const PAGE: usize = 100;

/// What became of a batch of accesses.
#[derive(Debug, Default)]
pub struct Watched {
    /// What was found and told for the first time.
    pub findings: Vec<Finding>,
    /// Accesses that could not be counted, or whose findings could not be told: try them again.
    pub unfinished: BTreeSet<Uuid>,
    /// The last error met.
    pub error: Option<PortError>,
}

/// What the use case works with.
#[derive(Debug)]
pub struct Watch<'a, T, H, L> {
    /// Where look-ups are counted.
    pub tally: &'a T,
    /// Where it reads who else looked at a child.
    pub history: &'a H,
    /// Where findings are told.
    pub log: &'a L,
    /// What is looked for; [`Code::ALL`] but in tests.
    pub codes: &'a [Code],
}

/// An access with its mark.
type Marked<'a> = (&'a Access, Mark);

/// What a detector says: code, count, limit, and the mark that brought it about.
struct Found {
    code: Code,
    count: usize,
    limit: usize,
    at: u32,
    until: Option<Timestamp>,
}

impl<T: Tally + Stops, H: AccessHistory, L: AuditLog> Watch<'_, T, H, L> {
    /// Counts these accesses, tells what is found, and stops whoever is over a hard limit.
    pub async fn accesses(&self, accesses: &[Access]) -> Watched {
        let mut groups: BTreeMap<Window, Vec<Marked<'_>>> = BTreeMap::new();
        for (access, mark) in accesses.iter().filter_map(|access| Some((access, Mark::of(access)?))) {
            let person = Subject::of(&access.requester);
            let long = (person.kind() == Kind::Person).then(|| (person.clone(), Span::fortnight_of(mark.at)));
            let organisation = Subject::organisation(&access.organisation.code);
            let hours = [person, organisation].map(|subject| (subject, Span::hour_of(mark.at)));
            for (subject, span) in hours.into_iter().chain(long) {
                groups.entry(Window { subject, span }).or_default().push((access, mark));
            }
        }
        let outcomes: Vec<_> = groups.iter().map(|(window, marked)| self.window(window, marked)).collect();
        let mut outcomes = stream::iter(outcomes).buffer_unordered(CONCURRENCY);
        let mut watched = Watched::default();
        while let Some((outcome, marked)) = outcomes.next().await {
            match outcome {
                Ok(findings) => watched.findings.extend(findings),
                Err(error) => {
                    watched.unfinished.extend(marked.iter().map(|(access, _)| access.id));
                    watched.error = Some(error);
                }
            }
        }
        watched
    }

    async fn window<'m>(
        &self,
        window: &Window,
        marked: &'m [Marked<'m>],
    ) -> (PortResult<Vec<Finding>>, &'m [Marked<'m>]) {
        let found = match window.span {
            Span::Hour(_) => self.hour(window, marked).await,
            Span::Fortnight(_) => self.fortnight(window, marked).await,
        };
        match found {
            Ok(found) => (self.tell(window, marked, found).await, marked),
            Err(error) => (Err(error), marked),
        }
    }

    /// R58: first into the audit log, where an id counts once, and then the note that it is there.
    async fn tell(&self, window: &Window, marked: &[Marked<'_>], found: Vec<Found>) -> PortResult<Vec<Finding>> {
        let organisation = marked.last().map_or_else(String::new, |(access, _)| access.organisation.code.clone());
        let finding = |Found { code, count, limit, at, until }| Finding {
            code,
            window: window.clone(),
            organisation: organisation.clone(),
            at: moment(at),
            count,
            limit,
            until,
        };
        let findings: Vec<_> = found.into_iter().map(finding).collect();
        if !findings.is_empty() {
            self.log.append(&findings.iter().map(entry).collect::<Vec<_>>()).await?;
        }
        for finding in &findings {
            self.tally.tell(window, finding.code).await?;
        }
        Ok(findings)
    }

    /// R55: the hour that ends with each of these look-ups.
    async fn hour(&self, window: &Window, marked: &[Marked<'_>]) -> PortResult<Vec<Found>> {
        let marks: Vec<_> = marked.iter().map(|(_, mark)| *mark).collect();
        let before = Window { span: window.span.before(), ..window.clone() };
        let (tallied, before) =
            try_join!(self.tally.add(window, &marks), self.tally.marks(std::slice::from_ref(&before)))?;
        let all = [before.concat(), tallied.marks].concat();
        let from = marks.iter().map(|mark| mark.at).min().unwrap_or_default();
        let limits = Limits::of(&window.subject, &all);
        if all.len() < limits.least() {
            return Ok(Vec::new());
        }
        let ((children, minute), misses) = (most_children(&all, from), most_misses(&all, from));
        let mut found = Vec::new();
        for (code, peak, limit) in [
            (Code::Children, children, limits.children.soft),
            (Code::Misses, misses, limits.misses.soft),
            (Code::Pace, minute, limits.pace),
        ] {
            found.extend(over(code, peak, limit, &all));
        }
        if window.subject.kind() == Kind::Organisation {
            found.extend(self.surge(window, children, &all).await?);
        }
        for (budget, peak) in [(limits.children, children), (limits.misses, misses)] {
            found.extend(self.stop(&window.subject, budget, peak, &all).await?);
        }
        let untold = |found: &Found| !tallied.told.iter().any(|told| told == found.code.as_str());
        let mut seen = BTreeSet::new();
        found.retain(|f| self.codes.contains(&f.code) && untold(f) && seen.insert(f.code));
        Ok(found)
    }

    async fn surge(&self, window: &Window, children: Peak, all: &[Mark]) -> PortResult<Option<Found>> {
        if children.count < SURGE_LEAST {
            return Ok(None);
        }
        let Span::Hour(now) = window.span else { return Ok(None) };
        let hour = |n: u32| Window { subject: window.subject.clone(), span: Span::Hour(now.saturating_sub(n)) };
        let hours: Vec<_> = (1..=SURGE_DAYS).flat_map(|day| [hour(24 * day), hour(24 * day - 12)]).collect();
        let marks = self.tally.marks(&hours).await?;
        let days: Vec<_> = marks.chunks_exact(2).map(|pair| [pair[0].clone(), pair[1].clone()]).collect();
        Ok(surge_limit(&days).and_then(|limit| over(Code::Surge, children, limit, all)))
    }

    /// R55: over the hard limit a subject is stopped until enough of what it looked up is an hour old. What was looked up
    /// before an operator cleared it does not count.
    async fn stop(&self, subject: &Subject, budget: Budget, peak: Peak, all: &[Mark]) -> PortResult<Option<Found>> {
        let Some(hard) = budget.hard.filter(|hard| peak.count >= *hard) else { return Ok(None) };
        let held = self.tally.stops_of(std::slice::from_ref(subject)).await?;
        let cleared = held.first().and_then(|stop| stop.cleared);
        let counted: Vec<_> =
            all[peak.first..=peak.last].iter().filter(|m| cleared.is_none_or(|at| m.moment() > at)).copied().collect();
        let children: BTreeSet<_> = counted.iter().map(|mark| mark.child).collect();
        if children.len() < hard {
            return Ok(None);
        }
        let until = moment(frees_at(&counted, hard));
        self.tally.stop(subject, until).await?;
        let at = all[peak.last].at;
        Ok(Some(Found { code: Code::Stopped, count: children.len(), limit: hard, at, until: Some(until) }))
    }

    /// R59: what these look-ups look like among all that the person looked up in two to four weeks.
    async fn fortnight(&self, window: &Window, marked: &[Marked<'_>]) -> PortResult<Vec<Found>> {
        let marks: Vec<_> = marked.iter().map(|(_, mark)| mark.coarse()).collect();
        let before = Window { span: window.span.before(), ..window.clone() };
        let (tallied, before) =
            try_join!(self.tally.add(window, &marks), self.tally.marks(std::slice::from_ref(&before)))?;
        let all = [before.concat(), tallied.marks].concat();
        let mut found: Vec<Found> = Vec::new();
        let mut children = BTreeSet::new();
        // The last look-up of each child stands for the others.
        for (access, mark) in marked.iter().rev().filter(|(_, mark)| children.insert(mark.child)) {
            for candidate in self.candidates(access, mark.at, &all).await? {
                let known = found.iter().any(|f| f.code == candidate.code);
                let told = tallied.told.iter().any(|told| told == candidate.code.as_str());
                if !known && !told && self.codes.contains(&candidate.code) {
                    found.push(candidate);
                }
            }
        }
        Ok(found)
    }

    async fn candidates(&self, access: &Access, at: u32, all: &[Mark]) -> PortResult<Vec<Found>> {
        let child = child_mark(&access.child);
        let circle = circle(all, child, seconds_ahead_in_england(access.at));
        let returns = returns(all, child);
        let visits = returns.iter().flat_map(|r| r.visits.iter().copied());
        let starts = circle.iter().flat_map(Circle::sessions).chain(visits);
        let Some(first) = starts.map(|(from, _)| from).min() else { return Ok(Vec::new()) };
        let others = self.looks_since(&access.child, moment(first.saturating_sub(EPISODE))).await?;
        let alone = |visit| !is_accompanied(visit, access, &others);
        let circle = circle.map(|c| c.only(alone)).filter(|c| c.is_finding());
        let returns = returns.map(|r| r.only(alone)).filter(|r| r.is_finding());
        let found = |code, count, limit| Found { code, count, limit, at, until: None };
        let circle =
            circle.map(|c| c.sessions().count()).map(|sessions| found(Code::OddHours, sessions, sessions.min(3)));
        Ok(circle.into_iter().chain(returns.map(|r| found(Code::Unaccompanied, r.visits.len(), r.needed))).collect())
    }

    /// Accesses of a child since a moment, as far back as [`PAGES`] go: a child whom so many look at is not alone with
    /// anybody.
    async fn looks_since(&self, child: &ChildKey, since: Timestamp) -> PortResult<Vec<Access>> {
        let mut request = PageRequest { limit: PAGE, after: None };
        let mut found: Vec<Access> = Vec::new();
        for _ in 0..PAGES {
            let page = self.history.accesses_of(child, &request).await?;
            let all_later = page.items.iter().all(|access| access.at >= since);
            found.extend(page.items.into_iter().filter(|access| access.at >= since && access.refused.is_none()));
            request.after = page.next;
            if !all_later || request.after.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

fn over(code: Code, peak: Peak, limit: usize, marks: &[Mark]) -> Option<Found> {
    let at = marks.get(peak.last)?.at;
    (peak.count >= limit).then_some(Found { code, count: peak.count, limit, at, until: None })
}

/// Whether, around a visit of a child by whoever made this access, somebody else of the organisation for which the visit was
/// made looked at the child too.
fn is_accompanied((from, to): (u32, u32), access: &Access, looks: &[Access]) -> bool {
    const QUARTER: i64 = 15 * 60;
    let (from, to) = (i64::from(from), i64::from(to) + QUARTER);
    let within = |a: &Access, margin: i64| (from - margin..to + margin).contains(&a.at.as_second());
    let who = access.requester.identity();
    let (own, others): (Vec<_>, Vec<_>) = looks.iter().partition(|a| a.requester.identity() == who);
    let organisations: BTreeSet<_> =
        own.iter().filter(|a| within(a, 0)).map(|a| a.organisation.code.as_str()).collect();
    others.iter().any(|a| organisations.contains(a.organisation.code.as_str()) && within(a, i64::from(EPISODE)))
}

/// R58: a finding as the audit log has it. It names no child.
fn entry(finding: &Finding) -> Entry {
    let Finding { code, window, organisation, at, count, limit, until } = finding;
    Entry::new(finding.id(), *at, kind::FINDING, Actor::system("audit-ledger"), organisation)
        .with("code", code.as_str())
        .with("who", &window.subject)
        .with("from", sortable(moment(window.span.begins())))
        .with("to", sortable(moment(window.span.ends())))
        .with("count", count)
        .with("limit", limit)
        .with("until", until.map(sortable).unwrap_or_default())
}
