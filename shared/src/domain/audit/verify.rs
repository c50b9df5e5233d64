//! Checking a copy of the log (R48): it is read once, in order, and what is held of it does not grow. Chains may come one
//! after the other or mixed, each in its own order.
//!
//! The first thing that does not fit raises a suspicion; what comes after it tells which of the entries at hand is at
//! fault, and what was done to it.

use std::{collections::BTreeMap, fmt};

use uuid::Uuid;

use super::{Chained, Hash, Head, Shard};

/// What was done to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tampering {
    /// The entry says other than it did.
    Changed,
    /// The entry is missing.
    Removed,
    /// The entry does not belong here.
    Inserted,
    /// The entry stands in another's place.
    Reordered,
    /// The log ends before this entry, which a signed head vouches for.
    Truncated,
    /// This entry, or one after it up to the next signed head, was replaced, and the chain made anew from there.
    Rewritten,
}

/// The first entry that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What was done.
    pub what: Tampering,
    /// Line of the copy, 1 and on, where it shows; one past the end for what is missing there.
    pub line: u64,
    /// Which chain.
    pub shard: Shard,
    /// Which place in it.
    pub number: u64,
    /// The entry's id, where it can be read.
    pub id: Option<Uuid>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            Tampering::Changed => "was changed",
            Tampering::Removed => "was removed",
            Tampering::Inserted => "was inserted",
            Tampering::Reordered => "was put before its turn",
            Tampering::Truncated => "is missing at the end, and a signed head vouches for it",
            Tampering::Rewritten => {
                "or one soon after it was replaced, and the chain made anew: it does not lead to a signed head"
            }
        };
        write!(f, "line {}: entry {} of shard {}", self.line, self.number, self.shard)?;
        self.id.map_or(Ok(()), |id| write!(f, " (id {id})"))?;
        write!(f, " {what}")
    }
}

/// What was found to be whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many entries.
    pub entries: u64,
    /// Where each chain ends.
    pub heads: Vec<Head>,
}

/// A chain as far as it was read.
#[derive(Debug, Clone)]
struct Chain {
    head: Head,
    /// Line of the last entry, and its id.
    line: u64,
    id: Option<Uuid>,
    /// Hash that the last entry names as the one before.
    before: Hash,
    /// Number of the last entry that a signed head vouches for.
    vouched: u64,
    /// Signed heads still to be met: number and hash.
    ahead: BTreeMap<u64, Hash>,
}

/// Something that does not fit, until what follows has told what it is.
#[derive(Debug, Clone)]
enum Suspicion {
    /// Settled.
    Known(Fault),
    /// A line that is no intact entry.
    Damaged { line: u64, claim: Option<(Shard, u64, Uuid)> },
    /// An entry further on than is its turn.
    Early { fault: Fault, turn_seen: bool, again: bool, furthest: u64 },
    /// A second entry of the same number that follows the same one before.
    Twice { first: Fault, second: Fault, hash: Hash },
    /// An entry that names another as the one before.
    Unlinked { fault: Fault, hash: Hash },
}

/// Checks a copy of the log, entry by entry.
#[derive(Debug, Clone)]
pub struct Verifier {
    chains: Vec<Chain>,
    /// Chain of the last entry read.
    current: Shard,
    line: u64,
    entries: u64,
    suspicion: Option<Suspicion>,
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new([])
    }
}

impl Verifier {
    /// Of a copy that must lead to these heads, whose signatures were checked.
    #[must_use]
    pub fn new(signed: impl IntoIterator<Item = Head>) -> Self {
        let chain = |shard| Chain {
            head: Head::empty(shard),
            line: 0,
            id: None,
            before: Hash::NONE,
            vouched: 0,
            ahead: BTreeMap::new(),
        };
        let mut chains: Vec<_> = Shard::all().map(chain).collect();
        for head in signed.into_iter().filter(|head| head.number > 0) {
            chains[head.shard.index()].ahead.insert(head.number, head.hash);
        }
        Self { chains, current: Shard(0), line: 0, entries: 0, suspicion: None }
    }

    /// Takes the next line: an entry, or `None` where the line is not as the log writes one.
    pub fn push(&mut self, entry: Option<Chained>) {
        self.line += 1;
        match self.suspicion.take() {
            Some(suspicion) => self.suspicion = Some(self.follow(suspicion, entry.as_ref())),
            None => self.suspicion = self.take(entry),
        }
    }

    /// Whether a fault was met: what follows only tells more about it.
    #[must_use]
    pub fn is_suspicious(&self) -> bool {
        self.suspicion.is_some()
    }

    /// How many lines were taken.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.line
    }

    /// The end of the copy.
    ///
    /// # Errors
    /// The first entry that is not as it was.
    pub fn finish(mut self) -> Result<Verified, Fault> {
        match self.suspicion.take() {
            Some(suspicion) => Err(self.settle(suspicion)),
            None => self.end(),
        }
    }

    fn end(self) -> Result<Verified, Fault> {
        for chain in &self.chains {
            if chain.ahead.last_key_value().is_some_and(|(number, _)| *number > chain.head.number) {
                return Err(Fault {
                    what: Tampering::Truncated,
                    line: self.line + 1,
                    shard: chain.head.shard,
                    number: chain.head.number + 1,
                    id: None,
                });
            }
        }
        Ok(Verified { entries: self.entries, heads: self.chains.iter().map(|chain| chain.head).collect() })
    }

    /// Takes an entry while all before it fits.
    fn take(&mut self, entry: Option<Chained>) -> Option<Suspicion> {
        let line = self.line;
        let claim = entry.as_ref().map(|entry| (entry.shard, entry.number, entry.entry.id));
        let Some(entry) = entry.filter(Chained::is_intact) else {
            return Some(Suspicion::Damaged { line, claim });
        };
        self.current = entry.shard;
        let chain = &mut self.chains[entry.shard.index()];
        let turn = chain.head.number + 1;
        let fault = |what, number, id| Fault { what, line, shard: entry.shard, number, id };
        let own = |what| fault(what, entry.number, Some(entry.entry.id));
        if entry.number > turn {
            let fault = own(Tampering::Reordered);
            return Some(Suspicion::Early { fault, turn_seen: false, again: false, furthest: chain.head.number });
        }
        if entry.number < turn {
            let rival = entry.number == chain.head.number && entry.previous == chain.before;
            if !rival || entry.hash == chain.head.hash {
                return Some(Suspicion::Known(own(Tampering::Inserted)));
            }
            let first = Fault { line: chain.line, id: chain.id, ..own(Tampering::Inserted) };

            return Some(Suspicion::Twice { first, second: own(Tampering::Inserted), hash: entry.hash });
        }
        if entry.previous != chain.head.hash {
            return Some(Suspicion::Unlinked { fault: own(Tampering::Changed), hash: entry.hash });
        }
        chain.before = entry.previous;
        chain.head = Head { shard: entry.shard, number: entry.number, hash: entry.hash };
        (chain.line, chain.id) = (line, Some(entry.entry.id));
        self.entries += 1;
        if let Some(signed) = chain.ahead.remove(&entry.number) {
            if signed != entry.hash {
                return Some(Suspicion::Known(fault(Tampering::Rewritten, chain.vouched + 1, None)));
            }
            chain.vouched = entry.number;
        }
        None
    }

    /// What the next line tells about a suspicion.
    fn follow(&self, suspicion: Suspicion, next: Option<&Chained>) -> Suspicion {
        // A second fault right behind tells nothing about the first.
        let Some(next) = next.filter(|next| next.is_intact()) else { return suspicion };
        let chain = &self.chains[next.shard.index()];
        let turn = chain.head.number + 1;
        let in_turn = next.number == turn && next.previous == chain.head.hash;
        match suspicion {
            Suspicion::Damaged { line, claim } => {
                let id = claim.map(|(_, _, id)| id);
                let fault = |what| Fault { what, line, shard: next.shard, number: turn, id };
                if next.number == turn + 1 {
                    Suspicion::Known(fault(Tampering::Changed))
                } else if in_turn && next.shard == self.current {
                    Suspicion::Known(fault(Tampering::Inserted))
                } else {
                    Suspicion::Known(self.settle(suspicion))
                }
            }
            Suspicion::Early { fault, mut turn_seen, mut again, mut furthest } => {
                if next.shard == fault.shard {
                    turn_seen |= next.number == turn;
                    again |= next.number == fault.number;
                    furthest = furthest.max(next.number);
                }
                Suspicion::Early { fault, turn_seen, again, furthest }
            }
            Suspicion::Twice { ref first, hash, .. }
                if next.shard == first.shard && next.number == first.number + 1 =>
            {
                if next.previous == hash {
                    return Suspicion::Known(first.clone());
                }
                Suspicion::Known(self.settle(suspicion))
            }
            Suspicion::Unlinked { ref fault, hash } if next.shard == fault.shard => {
                if in_turn {
                    Suspicion::Known(Fault { what: Tampering::Inserted, ..fault.clone() })
                } else if next.previous != hash {
                    // Neither neighbour knows it.
                    Suspicion::Known(fault.clone())
                } else {
                    Suspicion::Known(self.settle(suspicion))
                }
            }
            other => other,
        }
    }

    /// What a suspicion comes to when nothing more is known.
    fn settle(&self, suspicion: Suspicion) -> Fault {
        match suspicion {
            Suspicion::Known(fault) => fault,
            Suspicion::Damaged { line, claim } => {
                let turn = |shard: Shard| self.chains[shard.index()].head.number + 1;
                let claimed = claim.filter(|(shard, number, _)| *number == turn(*shard));
                let shard = claimed.map_or(self.current, |(shard, _, _)| shard);
                let id = claim.map(|(_, _, id)| id);
                Fault { what: Tampering::Changed, line, shard, number: turn(shard), id }
            }
            Suspicion::Early { fault, turn_seen: false, .. } => {
                let number = self.chains[fault.shard.index()].head.number + 1;
                Fault { what: Tampering::Removed, number, id: None, ..fault }
            }
            Suspicion::Early { fault, again, furthest, .. } => {
                let stray = again || fault.number > furthest + 1;
                Fault { what: if stray { Tampering::Inserted } else { Tampering::Reordered }, ..fault }
            }
            Suspicion::Twice { second, .. } => second,
            // The entry before was changed and hashed anew; this one still knows it as it was.
            Suspicion::Unlinked { fault, .. } => {
                let chain = &self.chains[fault.shard.index()];
                match chain.head.number {
                    0 => fault,
                    number => Fault { line: chain.line, number, id: chain.id, ..fault },
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
