//! Cold start: from exec to the first `next`.

use crate::{
    report::{Bound, Report},
    samples::Samples,
    stage::{Stage, Tables},
};
use cpis_tests::runtime_api::Function;

const ROUNDS: usize = 60;
/// Python is a hundred times slower: one round in so many has it.
const PYTHON_EVERY: usize = 4;

pub(crate) async fn measure(stage: &Stage, report: &mut Report) {
    let tables = Tables::new().await;
    let env = tables.environment();
    let (mut empty, mut ours, mut python) = (Samples::default(), Samples::default(), Samples::default());
    // Once unmeasured: files come into memory, Python compiles its modules.
    for function in [stage.start("baseline-empty", &env).await, stage.start_twin(&env).await] {
        function.stop().await;
    }
    stage.start("flag-lookup", &env).await.stop().await;
    for round in 0..ROUNDS {
        sample(stage.start("baseline-empty", &env).await, &mut empty).await;
        sample(stage.start("flag-lookup", &env).await, &mut ours).await;
        if round % PYTHON_EVERY == 0 {
            sample(stage.start_twin(&env).await, &mut python).await;
        }
    }
    report.ratio("cold start", Bound::AtMost(1.5), &ours, ("empty function", &empty), "ms");
    report.ratio("cold start", Bound::AtMost(1.0 / 15.0), &ours, ("Python twin", &python), "ms");
}

async fn sample(function: Function, samples: &mut Samples) {
    samples.push_time(function.cold_start());
    function.stop().await;
}
