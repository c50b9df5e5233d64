//! Fuzzing on stable Rust: inputs made from good ones by mutation, guided by what became of them.
//!
//! Coverage-guided fuzzers need a nightly compiler or a tool chain of their own. Our parsers are safe Rust, so there is no memory to
//! corrupt: what there is to find are panics, endless work, and answers that contradict each other. And every refusal names its
//! reason: an input that is refused for a new one has gone a new way, and is kept to be changed further.
//!
//! In `make test` each target runs [`RUNS`] inputs from a fixed seed; `make fuzz SECONDS=600` runs each for that long from a new
//! seed. An input that breaks a target is printed and written to `target/fuzz/`; mend the code, and put the file into
//! `shared/fuzz/TARGET/`, from where every later run begins.

use std::{
    collections::{BTreeMap, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Inputs of a short run.
const RUNS: usize = 1_500;
/// The longest input, in bytes.
const MAX_INPUT: usize = 8_192;
/// The most inputs kept for each way that inputs went.
const MAX_KEPT: usize = 16;
/// Bytes that mean something to some parser.
const BYTES: &[u8] = b"\0\x01\t\n\r \"%&'()*+,-./0129:;=@AZ[\\]_`az{|}~\x7f\x80\xbf\xc0\xe2\xed\xef\xf0\xfe\xff";
/// Words that mean something to some parser.
const WORDS: [&str; 22] = [
    "null",
    "true",
    "-1",
    "0",
    "1e400",
    "18446744073709551616",
    "\\ud800",
    "\\u0000",
    "\u{feff}",
    "\u{fffd}",
    "\u{202e}",
    "\u{e9}",
    "%00",
    "%c0%ae",
    "\r\n",
    "\"\"",
    "[[[[[[[[",
    "{\"a\":",
    "9990000018",
    "2026-02-29",
    "0000-00-00",
    "+01:00",
];

/// Runs a target over inputs made from the seeds. The target panics where an input breaks what it promises, and otherwise says
/// in a few words, the same for the same way, what became of the input.
///
/// # Panics
/// Where the target does, once the input has been printed and written to a file; or where none of the inputs went the way `due`,
/// so that the target tries nothing.
pub fn run(name: &str, due: &str, seeds: &[&[u8]], target: impl Fn(&[u8]) -> String) {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).map(Duration::from_secs);
    let mut random = Random(seconds.map_or(0x5eed, |_| RandomState::new().build_hasher().finish()));
    let mut kept = Kept::default();
    let (began, mut runs) = (Instant::now(), 0);
    for input in seeds.iter().map(|seed| seed.to_vec()).chain(corpus(name)) {
        kept.add(attempt(name, &target, &input), input);
    }
    while seconds.map_or(runs < RUNS, |limit| began.elapsed() < limit) {
        let input = random.changed(&kept);
        kept.add(attempt(name, &target, &input), input);
        runs += 1;
    }
    let ways = kept.0.len();
    assert!(kept.0.contains_key(due), "{name}: none of {runs} inputs was {due}: {:?}", kept.0.keys());
    if seconds.is_some() {
        let line = format!("{name}: {runs} inputs went {ways} ways\n");
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    }
}

/// The inputs that broke the target at some time.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name);
    let Ok(files) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

fn attempt(name: &str, target: &impl Fn(&[u8]) -> String, input: &[u8]) -> String {
    catch_unwind(AssertUnwindSafe(|| target(input))).unwrap_or_else(|panic| {
        let path = save(name, input);
        let text = String::from_utf8_lossy(input);
        let line = format!("{name}: this input breaks it ({}): {text:?}\n", path.display());
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
        resume_unwind(panic)
    })
}

fn save(name: &str, input: &[u8]) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"));
    let directory = target.join("fuzz");
    let path = directory.join(format!("{name}-{:016x}", input.iter().fold(0xcbf2_9ce4_8422_2325, fnv)));
    let _ = std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&path, input));
    path
}

/// One step of the hash FNV-1a, which names files alike from run to run.
fn fnv(hash: u64, byte: &u8) -> u64 {
    (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
}

/// The inputs worth changing further, by the way they went.
#[derive(Default)]
struct Kept(BTreeMap<String, Vec<Vec<u8>>>);

impl Kept {
    fn add(&mut self, way: String, input: Vec<u8>) {
        let inputs = self.0.entry(way).or_default();
        if inputs.len() < MAX_KEPT {
            inputs.push(input);
        }
    }
}

/// Pseudo-random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound, 0 where that is 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap_or_default()
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// A kept input; each way is as likely, however many went it.
    fn kept<'a>(&mut self, kept: &'a Kept) -> &'a [u8] {
        let way = self.below(kept.0.len());
        let inputs = kept.0.values().nth(way).map_or(&[][..], Vec::as_slice);
        self.one(inputs).map_or(&[], Vec::as_slice)
    }

    fn changed(&mut self, kept: &Kept) -> Vec<u8> {
        let mut input = self.kept(kept).to_vec();
        for _ in 0..=self.below(4) {
            self.change(&mut input, kept);
        }
        input.truncate(MAX_INPUT);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, kept: &Kept) {
        let (from, to) = {
            let (a, b) = (self.below(input.len() + 1), self.below(input.len() + 1));
            (a.min(b), a.max(b))
        };
        // Short parts more often than long ones.
        let near = to.min(from + 1 + self.below(8));
        match self.below(9) {
            0 if from < input.len() => input[from] ^= 1 << self.below(8),
            1 if from < input.len() => input[from] = *self.one(BYTES).unwrap_or(&0),
            2 => input.insert(from, *self.one(BYTES).unwrap_or(&0)),
            3 => drop(input.drain(from..near)),
            4 => drop(input.splice(from..near, self.one(&WORDS).copied().unwrap_or_default().bytes())),
            5 => drop(input.splice(from..from, input[from..to].to_vec())),
            6 => input.truncate(to),
            7 => {
                let other = self.kept(kept);
                let start = self.below(other.len());
                let part = other[start..].iter().take(1 + self.below(64)).copied().collect::<Vec<_>>();
                drop(input.splice(from..near, part));
            }
            _ => self.number(input, from),
        }
    }

    /// Another number for the next one behind a place.
    fn number(&mut self, input: &mut Vec<u8>, from: usize) {
        let Some(start) = input[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else { return };
        let length = input[start..].iter().take_while(|b| b.is_ascii_digit()).count();
        let number = match self.below(4) {
            0 => "0".to_owned(),
            1 => self.below(10).to_string(),
            2 => (1_u64 << self.below(64)).to_string(),
            _ => self.next().to_string(),
        };
        drop(input.splice(start..start + length, number.into_bytes()));
    }
}

#[cfg(test)]
mod tests;
