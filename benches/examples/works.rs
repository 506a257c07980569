//! The work of `benches/peers/works.py` on the same numbers, for `compare.sh`: prints one JSON object with processor
//! and wall seconds, medians of the repeats.
//!
//! ```text
//! works search  ITEMS QUERIES WIDTH K     THREADS REPEATS OUT       ids [queries, k] → OUT
//! works cluster POINTS        WIDTH DEPTH THREADS REPEATS OUT       points by cluster → OUT, 2^DEPTH of equal size
//! works tokenize MODEL TEXTS MAX_LEN      THREADS REPEATS OUT       ids of all texts → OUT
//! ```
//! Files hold little-endian f32 or u32, rows one after another.

use data::Tokenizer;
use engine::{Engine, Stream};
use rustix::time::{ClockId, clock_gettime};
use samplers::Matrix;
use samplers::composer::tree::clusters;
use samplers::search::{Limits, search};
use std::path::Path;
use std::process::ExitCode;

fn read(path: &str) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("a file of numbers");
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn write(path: &str, ids: &[u32]) {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    std::fs::write(path, bytes).expect("written");
}

fn now(clock: ClockId) -> f64 {
    let t = clock_gettime(clock);
    t.tv_sec as f64 + 1e-9 * t.tv_nsec as f64
}

/// The last result, and the median seconds by the processor and by the wall.
fn timed<R>(repeats: usize, mut work: impl FnMut() -> R) -> (R, [f64; 2]) {
    let clocks = [ClockId::ProcessCPUTime, ClockId::Monotonic];
    let mut times = [vec![], vec![]];
    let mut last = None;
    for _ in 0..repeats.max(1) {
        let since = clocks.map(now);
        last = Some(work());
        for (i, times) in times.iter_mut().enumerate() {
            times.push(now(clocks[i]) - since[i]);
        }
    }
    let medians = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    (last.expect("it ran"), medians)
}

fn report(amount: usize, [cpu, wall]: [f64; 2]) {
    println!("{{\"amount\": {amount}, \"cpu\": {cpu}, \"wall\": {wall}}}");
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<usize>().expect("a number");
    match words[..] {
        ["search", items, queries, width, k, threads, repeats, out] => {
            let (items, queries, width) = (read(items), read(queries), number(width));
            let (items, queries) = (Matrix::new(&items, width), Matrix::new(&queries, width));
            let engine = Engine::new(number(threads));
            let find = || search(&engine, queries, items, number(k), Limits::default());
            let (hits, seconds) = timed(number(repeats), find);
            let ids: Vec<u32> = (0..queries.rows()).flat_map(|query| hits.row(query).0.to_vec()).collect();
            write(out, &ids);
            report(queries.rows(), seconds);
        }
        ["cluster", points, width, depth, threads, repeats, out] => {
            let (points, width) = (read(points), number(width));
            let points = Matrix::new(&points, width);
            let engine = Engine::new(number(threads));
            let ids: Vec<u32> = (0..points.rows() as u32).collect();
            let cut = || clusters(&engine, points, &ids, number(depth) as u32, Stream::new(1, 0));
            let (clusters, seconds) = timed(number(repeats), cut);
            write(out, &clusters.order);
            report(points.rows(), seconds);
        }
        ["tokenize", model, texts, longest, threads, repeats, out] => {
            let tokenizer = Tokenizer::from_dir(Path::new(model)).expect("a tokenizer");
            let texts = std::fs::read_to_string(texts).expect("a file of texts");
            let (texts, engine): (Vec<&str>, _) = (texts.lines().collect(), Engine::new(number(threads)));
            let encode = || tokenizer.encode_batch(&engine, &texts, number(longest)).expect("encodes");
            let ((packed, _), seconds) = timed(number(repeats), encode);
            write(out, &packed.tokens);
            report(texts.len(), seconds);
        }
        _ => {
            eprintln!("usage: works search|cluster|tokenize …, as the source says");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
