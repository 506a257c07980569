//! Kernels that no operation calls, on a device and on the CPU: the gradient over all labels, and the best of each row.

use engine::cuda::{Columns, Nearest};
use engine::kernels::bce::{Bce, Ids, Soft, Truth};
use engine::{Engine, Stream, Tensor};

/// Rows and columns: more than a block has threads.
const ROWS: usize = 5;
const COLUMNS: usize = 700;
/// The label of the first column.
const FIRST: usize = 90;

/// Lists of ids, `rest` apart: some below and above those of the columns, one list empty.
fn lists(rest: usize) -> (Vec<usize>, Vec<u32>) {
    let (mut starts, mut items) = (vec![0], vec![]);
    for row in 0..ROWS {
        items.extend((0..900u32).filter(|&id| row != 3 && (id as usize + row) % 17 == rest));
        starts.push(items.len());
    }
    (starts, items)
}

/// Numbers, as the tests of operations compare them.
type Made = Vec<Option<Vec<f64>>>;

/// What both computed of each kernel: on the device, on the CPU.
pub(super) fn both(device: &Engine, cpu: &Engine) -> Vec<(&'static str, [Made; 2])> {
    let pair = |of: fn(&Engine) -> Made| [of(device), of(cpu)];
    vec![("bce", pair(gradient)), ("nearest", pair(best)), ("nearest, long rows", pair(of_long_rows))]
}

/// Losses and gradients of two chunks, far from 0 among them, with soft targets and without.
fn gradient(engine: &Engine) -> Made {
    let ((ps, pi), (ls, li), (ss, si)) = (lists(3), lists(9), lists(5));
    let stream = Stream::new(6, 1);
    let targets: Vec<f32> = (0..si.len() as u64).map(|i| stream.uniform(i) as f32).collect();
    let soft = Soft { ids: Ids { starts: &ss, items: &si }, targets: &targets };
    let mut all = vec![];
    for soft in [None, Some(soft)] {
        let truth = Truth {
            positives: Ids { starts: &ps, items: &pi },
            left_out: Ids { starts: &ls, items: &li },
            soft,
        };
        let chunk = |columns: usize| {
            let logit = |i| 60.0 * (stream.uniform(i + 9000) as f32 - 0.5);
            let z = (0..(ROWS * columns) as u64).map(logit).collect();
            engine.place(&Tensor::from_vec([ROWS, columns], z))
        };
        let mut chunks = [(chunk(FIRST), 0), (chunk(COLUMNS), FIRST)];
        let mut bce = Bce::new(ROWS, &chunks[0].0, truth, 0.25);
        for (z, first) in &mut chunks {
            bce.step(engine, z, (*first, 0.5));
            all.push(Some(z.to_f64()));
        }
        all.push(Some(bce.losses().iter().map(|loss| loss / 1e3).collect()));
    }
    all
}

/// The words of the best columns of two tiles; by sorting on the CPU.
fn best(engine: &Engine) -> Made {
    let (starts, excluded) = lists(3);
    let starts: Vec<u64> = starts.into_iter().map(|at| at as u64).collect();
    // Whole numbers: many are equal. Two that are no hits.
    let score = |row: usize, id: u32| match (id, row) {
        (100, _) => f32::NAN,
        (101, _) => f32::NEG_INFINITY,
        (102, 1) => -0.0,
        _ => Stream::new(6, 2).below(1000 * row as u64 + u64::from(id), 300) as f32 - 250.0,
    };
    let word = |row: usize, id: u32| {
        let bits = (score(row, id) + 0.0).to_bits();
        let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        u64::from(ordered) << 32 | u64::from(!id)
    };
    // The second tile has every third id.
    let second: Vec<u32> = (0..2100).step_by(3).map(|i| i + (FIRST + COLUMNS) as u32).collect();
    let first: Vec<u32> = (0..COLUMNS).map(|c| (FIRST + c) as u32).collect();
    let below = vec![word(0, 400) | u64::from(u32::MAX); ROWS];
    let mut all = vec![];
    // The last finds less than it has room for: there what is no hit would be seen.
    for (k, below) in [(1, None), (40, Some(&below)), (40, None), (1024, None), (1024, Some(&below))] {
        let words: Vec<u64> = match engine.cuda() {
            Some(cuda) => {
                let mut nearest =
                    Nearest::new(cuda, [ROWS, k], Some((&starts, &excluded)), below.map(|words| &words[..]));
                for (ids, columns) in [(&first, Columns::From(FIRST)), (&second, Columns::These(&second))] {
                    let scores =
                        (0..ROWS).flat_map(|row| ids.iter().map(move |&id| score(row, id))).collect();
                    nearest.offer(&engine.place(&Tensor::from_vec([ROWS, ids.len()], scores)), columns);
                }
                let per = nearest.spans() * k;
                let words = nearest.fetch();
                words.chunks(per).flat_map(|row| sorted(row.to_vec(), k)).collect()
            }
            None => (0..ROWS)
                .flat_map(|row| {
                    let barred = &excluded[starts[row] as usize..starts[row + 1] as usize];
                    let counts = |id: &&u32| score(row, **id) > f32::NEG_INFINITY && !barred.contains(id);
                    let words = first.iter().chain(&second).filter(counts).map(|&id| word(row, id));
                    sorted(words.filter(|&w| below.is_none_or(|below| w < below[row])).collect(), k)
                })
                .collect(),
        };
        all.push(Some(words.into_iter().flat_map(scores_and_ids).collect()));
    }
    all
}

/// Rows that are not cut into spans, and in which the list behind the best fills up again and again: the longer it is
/// walked along, the better a column is, in every second row.
fn of_long_rows(engine: &Engine) -> Made {
    const LONG: [usize; 2] = [260, 3000];
    const K: usize = 9;
    let score = |row: usize, id: usize| match row % 2 {
        0 => id as f32,
        _ => Stream::new(6, 3).below((3000 * row + id) as u64, 1000) as f32,
    };
    let word = |row, id: usize| u64::from(score(row, id).to_bits() | 1 << 31) << 32 | u64::from(!(id as u32));
    let words = match engine.cuda() {
        Some(cuda) => {
            let mut nearest = Nearest::new(cuda, [LONG[0], K], None, None);
            assert_eq!(nearest.spans(), 1);
            let scores = (0..LONG[0]).flat_map(|row| (0..LONG[1]).map(move |id| score(row, id))).collect();
            nearest.offer(&engine.place(&Tensor::from_vec(LONG, scores)), Columns::From(0));
            nearest.fetch()
        }
        None => {
            (0..LONG[0]).flat_map(|row| sorted((0..LONG[1]).map(|id| word(row, id)).collect(), K)).collect()
        }
    };
    vec![Some(words.into_iter().flat_map(scores_and_ids).collect())]
}

/// What a word says; −1 twice where it is none.
fn scores_and_ids(word: u64) -> [f64; 2] {
    let ordered = (word >> 32) as u32;
    let bits = if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered };
    if word == 0 { [-1.0; 2] } else { [f64::from(f32::from_bits(bits)), f64::from(!(word as u32))] }
}

fn sorted(mut words: Vec<u64>, k: usize) -> Vec<u64> {
    words.sort_unstable_by(|a, b| b.cmp(a));
    words.resize(k.max(words.len()), 0);
    words.truncate(k);
    words
}
