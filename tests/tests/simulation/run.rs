//! One run of a seed, from its beginning to the moment when all is quiet.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use cpis::simulation::{Bug, plant, set_time};
use cpis_tests::world::AUTHORITIES;
use futures_util::future::{Either, FutureExt, join, join_all, join3, select};
use tokio::time::{sleep, timeout};

use super::{
    PANICS,
    faults::Counts,
    functions::Functions,
    history::Violation,
    invariants::{self, Invariant},
    people, pumps,
    wire::milliseconds,
    world::{CALM_FROM, World},
};

/// How long the system has to drain, in milliseconds.
const DRAINS_WITHIN: u64 = 2 * 3_600_000;
/// How long a run lasts at the most, in milliseconds.
const ENDS_WITHIN: u64 = 4 * 3_600_000;

/// Runs so far in this process.
static RUNS: AtomicUsize = AtomicUsize::new(0);

/// What a run came to.
pub(crate) struct Outcome {
    pub(crate) violations: Vec<Violation>,
    pub(crate) counts: Counts,
    pub(crate) trace: Vec<String>,
}

/// Runs a seed, with a bug or without.
pub(crate) fn run(seed: u64, bug: Option<Bug>, traced: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    fastrand::seed(seed);
    plant(bug);
    let world = runtime.block_on(async { World::new(seed, RUNS.fetch_add(1, Ordering::Relaxed), traced) });
    let world = Arc::new(world);
    let ended = catch_unwind(AssertUnwindSafe(|| runtime.block_on(live(&world))));
    plant(None);
    set_time(None);
    if let Err(panic) = ended {
        let why = panic.downcast_ref::<String>().cloned();
        let why = why.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        world.note(|| format!("panics: {why}"));
        world.history().violated(Invariant::Panics, why);
    }
    let counts = std::mem::take(&mut world.weather().counts);
    let violations = std::mem::take(&mut world.history().violations);
    Outcome { violations, counts, trace: world.trace() }
}

async fn live(world: &Arc<World>) {
    let functions = &Functions::new(world);
    let world = &**world;
    people::write_files(world);
    let pumps = join(
        join3(pumps::stream(world, functions), pumps::schedule(world, functions), pumps::queue(world, functions)),
        join3(
            pumps::queue(world, functions),
            people::operator(world, functions),
            join_all(AUTHORITIES.map(|code| people::clerk(world, functions, code))),
        ),
    );
    // Whoever is still at work when all is quiet has nothing left to do.
    let story = timeout(milliseconds(ENDS_WITHIN), story(world, functions));
    let ended = match select(pin!(story), pin!(pumps)).await {
        Either::Left((ended, _)) => ended,
        Either::Right((_, story)) => story.await,
    };
    if ended.is_err() {
        world.history().violated(Invariant::Answered, "people do not get their answers".into());
    }
}

async fn story(world: &World, functions: &Functions) {
    let files = world.history().uploads.len();
    let people = join3(
        join_all((0..files).map(|place| people::send_file(world, functions, place).boxed_local())),
        join_all(people::visits().map(|number| people::visit(world, functions, number).boxed_local())),
        people::directory(world),
    );
    let weather = async {
        sleep(milliseconds(CALM_FROM)).await;
        assert!(world.seed != PANICS, "as it is told to");
        world.weather().clear_up();
        world.note(|| "calm".into());
    };
    join(people, weather).await;
    drains(world).await;
    people::final_visits(world, functions).await;
    drains(world).await;
    world.over.store(true, Ordering::Relaxed);
    invariants::in_the_end(world);
}

/// Waits until nothing is on its way any more, but not for ever.
async fn drains(world: &World) {
    while world.elapsed() < CALM_FROM + DRAINS_WITHIN && !invariants::drained(world).is_empty() {
        sleep(people::MOMENT).await;
    }
}
