//! Recall and time of the searches there are, for `benches/peers/ann.py` beside it: a table of markdown.
//!
//! ```text
//! recall ITEMS.npy QUERIES.npy      f32 [L, d] and [Q, d], as `lode encode` writes them; one thread, top 100
//! ```

use engine::Engine;
use rustix::time::{ClockId, clock_gettime};
use samplers::int8::{Int8Rows, rescored, search_int8};
use samplers::search::{Hits, Limits, search};
use samplers::{Items, Matrix};
use std::process::ExitCode;

const TOP: usize = 100;
/// Best by bytes that are scored again in f32.
const AGAIN: usize = 200;
/// Queries at a time, and how many in all: one at a time takes longest.
const BATCHES: [(usize, usize); 3] = [(1, 200), (8, 1000), (1000, 1000)];

/// A way to find the best [`TOP`] items of each query.
type Search<'a> = &'a dyn Fn(Matrix<'_>) -> Hits;

/// The numbers of an .npy file, and the width of its rows.
fn read(path: &str) -> Option<(Vec<f32>, usize)> {
    let bytes = std::fs::read(path).ok()?;
    let start = 10 + usize::from(u16::from_le_bytes([*bytes.get(8)?, *bytes.get(9)?]));
    let header = String::from_utf8_lossy(bytes.get(10..start)?);
    let shape = header.split_once('(')?.1.split_once(')')?.0;
    let width = shape.split(',').nth(1)?.trim().parse().ok()?;
    Some((
        bytes[start..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        width,
    ))
}

fn seconds() -> f64 {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    t.tv_sec as f64 + 1e-9 * t.tv_nsec as f64
}

/// The share of the `k` best of `exact`, from its query `first` on, that `found` has among its `k` best.
fn recall(found: &Hits, exact: &Hits, first: usize, rows: usize, k: usize) -> f64 {
    let of = |row: usize| {
        let best = &exact.row(first + row).0[..k];
        found.row(row).0[..k].iter().filter(|id| best.contains(id)).count()
    };
    (0..rows).map(of).sum::<usize>() as f64 / k as f64
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let files: Vec<_> = words.iter().filter_map(|path| read(path)).collect();
    let [(items, width), (queries, _)] = &files[..] else {
        eprintln!("usage: recall ITEMS.npy QUERIES.npy");
        return ExitCode::from(2);
    };
    let (engine, items) = (Engine::new(1), Matrix::new(items, *width));
    let total = queries.len() / width;
    let some = |from: usize, to: usize| Matrix::new(&queries[from * width..to * width], *width);
    let exact = search(&engine, some(0, total), items, TOP, Limits::default());
    let bytes = Int8Rows::new(&engine, items);
    let by_f32 = |queries: Matrix<'_>| Items::F32(items).search(&engine, queries, TOP, Limits::default());
    let by_bytes = |queries: Matrix<'_>| search_int8(&engine, queries, &bytes, TOP, Limits::default());
    let twice = |queries: Matrix<'_>| {
        let hits = search_int8(&engine, queries, &bytes, AGAIN, Limits::default());
        rescored(&engine, queries, items, &hits, TOP)
    };
    let ways: [(&str, Search); 3] = [("f32", &by_f32), ("int8", &by_bytes), ("int8, rescored", &twice)];
    println!("| search | queries at a time | R@10 | R@100 | ms a query |\n|---|---|---|---|---|");
    for (name, way) in ways {
        for (batch, wanted) in BATCHES {
            let (mut spent, mut near, mut far, mut done) = (0.0, 0.0, 0.0, 0);
            while done + batch <= wanted.min(total) {
                let since = seconds();
                let hits = way(some(done, done + batch));
                spent += seconds() - since;
                near += recall(&hits, &exact, done, batch, 10);
                far += recall(&hits, &exact, done, batch, TOP);
                done += batch;
            }
            let mean = |sum: f64| sum / done as f64;
            println!(
                "| {name} | {batch} | {:.4} | {:.4} | {:.3} |",
                mean(near),
                mean(far),
                1e3 * mean(spent)
            );
        }
    }
    ExitCode::SUCCESS
}
