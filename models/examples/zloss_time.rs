//! A step over all labels by their factors beside one that reads all of them, over the number of labels.
//!
//! ```text
//! cargo run --release --locked -p models --example zloss_time
//! ```
//! Tables of f32 of width 128, batches of 64 rows with two labels each. `factored` is the Z-loss, `all` the shortcut
//! gradient of binary cross-entropy with plain descent: three products of 2·n·L·d, which a Z-loss without factors needs
//! as well. Medians of the wall; a fold and what is counted after it stand by themselves, since no step needs them.

use autograd::SgdRows;
use engine::kernels::bce::{Ids, Truth};
use engine::{Engine, Stream, Table, Tensor};
use models::heads::factored::CHECK_EVERY;
use models::heads::{Factored, Factors, OneVsAll, ZLoss};
use std::time::Instant;

const WIDTH: usize = 128;
const ROWS: usize = 64;

fn main() {
    let engine = Engine::new(std::thread::available_parallelism().map_or(1, usize::from));
    println!("{} threads, {:?}", engine.threads(), engine.kernel_class());
    println!("| labels | factored, ms | all, ms | ratio | fold and count, s |\n|---|---|---|---|---|");
    for labels in [1_000, 10_000, 100_000, 1_000_000] {
        let mut table = drawn(labels);
        let since = Instant::now();
        let mut factors = Factors::new(&engine, &table);
        factors.factor().multiply(&engine, table.data_mut());
        let folding = since.elapsed().as_secs_f64();
        let head = Factored { loss: ZLoss { sharpness: 1.0, location: 0.0 }, check_every: CHECK_EVERY };
        let mut sgd = SgdRows::new();
        let factored = median(61, labels, |x, truth| {
            head.step(&engine, (&mut table, &mut factors), &mut sgd, x, truth, 1.0).is_some()
        });
        let all = OneVsAll { scale: 20.0, shift: -5.0, chunk: 4096 };
        let each = median(if labels > 100_000 { 7 } else { 21 }, labels, |x, truth| {
            all.step(&engine, &mut table, &mut sgd, x, truth, 0.01).is_some()
        });
        let [factored, each] = [factored, each].map(|seconds| 1e3 * seconds);
        println!("| {labels} | {factored:.2} | {each:.2} | {:.1} | {folding:.3} |", each / factored);
    }
}

fn drawn(labels: usize) -> Table {
    let mut table = Table::zeros(labels, WIDTH);
    let stream = Stream::new(1, 1);
    for (i, x) in table.data_mut().iter_mut().enumerate() {
        *x = 0.2 * (stream.uniform(i as u64) as f32 - 0.5);
    }
    table
}

/// Seconds of a step: the middle of so many, after three that warm up.
fn median(steps: u64, labels: usize, mut step: impl FnMut(&Tensor, Truth<'_>) -> bool) -> f64 {
    let mut seconds: Vec<f64> = (0..steps + 3)
        .map(|at| {
            let stream = Stream::new(2, 1).at_step(at);
            let draw = |i: usize| stream.uniform(i as u64) as f32 - 0.5;
            let x = Tensor::from_vec([ROWS, WIDTH], (0..ROWS * WIDTH).map(draw).collect::<Vec<f32>>());
            let label = |i: usize| stream.below((ROWS * WIDTH + i) as u64, labels as u64 / 2) as u32;
            let items: Vec<u32> = (0..ROWS).flat_map(|i| [2 * label(i), 2 * label(i) + 1]).collect();
            let (starts, none) = ((0..=ROWS).map(|i| 2 * i).collect::<Vec<_>>(), vec![0; ROWS + 1]);
            let positives = Ids { starts: &starts, items: &items };
            let truth = Truth { positives, left_out: Ids { starts: &none, items: &[] }, soft: None };
            let since = Instant::now();
            assert!(step(&x, truth), "a number is not finite");
            since.elapsed().as_secs_f64()
        })
        .skip(3)
        .collect();
    seconds.sort_unstable_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
