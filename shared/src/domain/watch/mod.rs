//! Watching who looks children up: what is kept of each look-up to count it, for whom, and what may be found.
//!
//! Everything here works on sets of [`Mark`]s, so that it comes to the same whatever the order in which look-ups arrive and
//! however often each does (R57).

mod circle;
mod count;
mod limits;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use circle::{Circle, Returns, SESSION_GAP, circle, returns};
pub use count::{HOUR, Peak, SURGE_DAYS, SURGE_LEAST, frees_at, most_children, most_misses, surge_limit};
pub use limits::{Budget, LIMITS, Limits, Volume};

use super::{access::Access, caller::Requester, nhs_number::ChildKey};

/// Who is counted: `person:555000000001`, `device:200000000001:…` or `organisation:ZX001`. The name of a device's
/// responsible person stands in it as a digest, because this is a table's key (R31).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subject(String);

/// What kind of [`Subject`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Somebody who signed in, in whichever organisation.
    Person,
    /// A system, with the person who answers for it.
    Device,
    /// An organisation, with everybody in it.
    Organisation,
}

impl Subject {
    /// A person, by SDS user id.
    #[must_use]
    pub fn person(user: &str) -> Self {
        Self(format!("person:{user}"))
    }

    /// A device, by ASID and the name of who answers for it.
    #[must_use]
    pub fn device(asid: &str, responsible: &str) -> Self {
        let digest = Sha256::digest(responsible.as_bytes());
        let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self(format!("device:{asid}:{short}"))
    }

    /// An organisation, by ODS code.
    #[must_use]
    pub fn organisation(code: &str) -> Self {
        Self(format!("organisation:{code}"))
    }

    /// Who asks.
    #[must_use]
    pub fn of(requester: &Requester) -> Self {
        match requester {
            Requester::Person(person) => Self::person(&person.user),
            Requester::Device(device) => Self::device(&device.asid, &device.responsible),
        }
    }

    /// A subject from its text; `None` where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let known = ["person", "device", "organisation"].contains(&kind) && !rest.is_empty();
        known.then(|| Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.0.split(':').next() {
            Some("person") => Kind::Person,
            Some("device") => Kind::Device,
            _ => Kind::Organisation,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is kept of a look-up to count it: 21 bytes that tell nobody which child it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// When, in seconds since 1970.
    pub at: u32,
    /// Beginning of the access's id, so that an access counts once; 0 where the moment and the child say enough.
    pub id: u64,
    /// What tells the child apart from others: see [`child_mark`].
    pub child: u64,
    /// What the look-up was like.
    pub traits: Traits,
}

/// What a look-up was like, as far as counting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Traits {
    /// Whether a plan was shown.
    pub hit: bool,
    /// Whether it was unscheduled care.
    pub unscheduled: bool,
    /// Whether the same patients come back to the same person there, as in a midwife's care or a health visitor's.
    pub caseload: bool,
    /// How many such organisations see.
    pub volume: Volume,
}

impl Traits {
    fn to_byte(self) -> u8 {
        u8::from(self.hit) | u8::from(self.unscheduled) << 1 | u8::from(self.caseload) << 2 | (self.volume as u8) << 4
    }

    fn of_byte(byte: u8) -> Self {
        let bit = |n: u8| byte >> n & 1 == 1;
        Self { hit: bit(0), unscheduled: bit(1), caseload: bit(2), volume: Volume::of_number(byte >> 4) }
    }
}

impl Mark {
    /// Length of [`Mark::to_bytes`].
    pub const BYTES: usize = 21;

    /// The mark of an access; `None` for one that was refused, which shows nobody anything (R57).
    #[must_use]
    pub fn of(access: &Access) -> Option<Self> {
        access.refused.is_none().then(|| Self {
            at: u32::try_from(access.at.as_second()).unwrap_or_default(),
            id: beginning(access.id.as_bytes()),
            child: child_mark(&access.child),
            traits: limits::traits(access),
        })
    }

    /// The same look-up as it is kept for weeks: to the quarter of an hour, a child once in each.
    #[must_use]
    pub fn coarse(self) -> Self {
        const QUARTER: u32 = 15 * 60;
        Self { at: self.at / QUARTER * QUARTER, id: 0, traits: Traits { hit: false, ..self.traits }, ..self }
    }

    /// As bytes, whose order is the order in time.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&self.at.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.id.to_be_bytes());
        bytes[12..20].copy_from_slice(&self.child.to_be_bytes());
        bytes[20] = self.traits.to_byte();
        bytes
    }

    /// From [`Mark::to_bytes`]; `None` for bytes that are none.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let at = u32::from_be_bytes(bytes[..4].try_into().ok()?);
        Some(Self {
            at,
            id: beginning(&bytes[4..12]),
            child: beginning(&bytes[12..20]),
            traits: Traits::of_byte(bytes[20]),
        })
    }

    /// The moment.
    #[must_use]
    pub fn moment(&self) -> Timestamp {
        moment(self.at)
    }
}

/// A child as marks know it: FNV-1a, 64 bits, of its key. A key is an HMAC, so nobody can choose one to collide with another.
#[must_use]
pub fn child_mark(child: &ChildKey) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    child.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

fn beginning(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A moment from seconds since 1970.
#[must_use]
pub fn moment(seconds: u32) -> Timestamp {
    Timestamp::from_second(i64::from(seconds)).unwrap_or_default()
}

/// A stretch of time in which a subject's marks are kept together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Span {
    /// An hour, counted from 1970: for budgets.
    Hour(u32),
    /// Two weeks, counted from 1970: for who comes back to whom.
    Fortnight(u32),
}

/// Length of [`Span::Fortnight`] in seconds.
const FORTNIGHT: u32 = 14 * 24 * HOUR;

impl Span {
    /// The hour of a moment.
    #[must_use]
    pub const fn hour_of(at: u32) -> Self {
        Self::Hour(at / HOUR)
    }

    /// The two weeks of a moment.
    #[must_use]
    pub const fn fortnight_of(at: u32) -> Self {
        Self::Fortnight(at / FORTNIGHT)
    }

    /// The one before.
    #[must_use]
    pub const fn before(self) -> Self {
        match self {
            Self::Hour(n) => Self::Hour(n.saturating_sub(1)),
            Self::Fortnight(n) => Self::Fortnight(n.saturating_sub(1)),
        }
    }

    /// Its first second.
    #[must_use]
    pub const fn begins(self) -> u32 {
        match self {
            Self::Hour(n) => n * HOUR,
            Self::Fortnight(n) => n * FORTNIGHT,
        }
    }

    /// The first second after it.
    #[must_use]
    pub const fn ends(self) -> u32 {
        match self {
            Self::Hour(n) => (n + 1) * HOUR,
            Self::Fortnight(n) => (n + 1) * FORTNIGHT,
        }
    }

    /// When nothing needs it any more: hours are compared with those of a week before, weeks with the two before.
    #[must_use]
    pub const fn forgotten(self) -> u32 {
        self.begins() + 3 * FORTNIGHT
    }

    /// The most marks that are kept of it; whoever has more has long been found. It bounds the size of an item (21 bytes
    /// a mark).
    #[must_use]
    pub const fn capacity(self) -> usize {
        2_000
    }

    /// Its name in a table: `hour#0000493824`.
    #[must_use]
    pub fn key(self) -> String {
        match self {
            Self::Hour(n) => format!("hour#{n:010}"),
            Self::Fortnight(n) => format!("fortnight#{n:06}"),
        }
    }
}

/// Where marks are kept together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    /// Whose.
    pub subject: Subject,
    /// When.
    pub span: Span,
}

/// What may be found. The codes are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// More children in an hour than care explains.
    Children,
    /// More look-ups in a row that find nothing than care explains: somebody is guessing.
    Misses,
    /// More children in a minute than a human reads.
    Pace,
    /// An organisation looks far more children up than at this hour of other days.
    Surge,
    /// A few children, again and again, at hours at which this person does nothing else.
    OddHours,
    /// A child, on several days, by one person alone: nobody else of the organisation ever saw it then.
    Unaccompanied,
    /// The hard limit: further look-ups are refused for a while.
    Stopped,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Children, Self::Misses, Self::Pace, Self::Surge, Self::OddHours, Self::Unaccompanied, Self::Stopped];

    /// Its text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Children => "children",
            Self::Misses => "misses",
            Self::Pace => "pace",
            Self::Surge => "surge",
            Self::OddHours => "odd-hours",
            Self::Unaccompanied => "unaccompanied",
            Self::Stopped => "stopped",
        }
    }
}

/// Something that a privacy officer should look at. It names no child (R58).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub code: Code,
    /// Where it was found, and so whose it is.
    pub window: Window,
    /// The organisation for which the look-up in hand was made.
    pub organisation: String,
    /// When the look-up was made that brought it about.
    pub at: Timestamp,
    /// How many: children, misses, visits, as the code says.
    pub count: usize,
    /// From how many on it is a finding.
    pub limit: usize,
    /// Until when look-ups are refused, for [`Code::Stopped`].
    pub until: Option<Timestamp>,
}

/// Name space of findings' ids (UUID version 5, RFC 9562 section 5.5).
const FINDING_IDS: Uuid = Uuid::from_u128(0x2d0a_91b7_6c35_4f1e_8a44_90be_17c3_5f6d);

impl Finding {
    /// Its business id: a subject's finding of a kind is one for each window, however often it is found (R58).
    #[must_use]
    pub fn id(&self) -> Uuid {
        let name = format!("{}|{}|{}", self.window.subject, self.window.span.key(), self.code.as_str());
        Uuid::new_v5(&FINDING_IDS, name.as_bytes())
    }
}

/// A subject whose look-ups are refused for a while (R55).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Who.
    pub subject: Subject,
    /// Until when.
    pub until: Timestamp,
    /// What was looked up before this moment counts towards no stop: an operator cleared it.
    pub cleared: Option<Timestamp>,
}

impl Stop {
    /// The longest that a caller is told to wait, in seconds.
    pub const LONGEST: u32 = HOUR;

    /// Seconds until it ends, 1 to 3,600; `None` once it has ended.
    #[must_use]
    pub fn seconds_left(&self, now: Timestamp) -> Option<u32> {
        let left = self.until.duration_since(now);
        (left.is_positive()).then(|| u32::try_from(left.as_secs() + 1).unwrap_or(u32::MAX).clamp(1, Self::LONGEST))
    }
}

/// R55, R56: for how many seconds a look-up is refused, from the stops that hold for its subjects. Where the organisation
/// gives unscheduled care its own count stops nobody: an emergency department at Christmas is never locked out.
#[must_use]
pub fn refused_for(stops: &[Stop], gives_unscheduled_care: bool, now: Timestamp) -> Option<u32> {
    let counts = |stop: &&Stop| !(gives_unscheduled_care && stop.subject.kind() == Kind::Organisation);
    stops.iter().filter(counts).filter_map(|stop| stop.seconds_left(now)).max()
}
