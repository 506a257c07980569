//! The work of `benches/peers/works.py` on the same numbers, for `compare.sh`: prints one JSON object with processor
//! and wall seconds, medians of the repeats.
//!
//! ```text
//! works search  ITEMS QUERIES WIDTH K     THREADS REPEATS OUT       ids [queries, k] → OUT
//! works cluster POINTS        WIDTH DEPTH THREADS REPEATS OUT       points by cluster → OUT, 2^DEPTH of equal size
//! works tokenize MODEL TEXTS MAX_LEN      THREADS REPEATS OUT       ids of all texts → OUT
//! ```
//! On a device, for `gpu.py`:
//!
//! ```text
//! works resident ITEMS QUERIES WIDTH K DEVICE GEMM REPEATS OUT       as search, among items that lie there already
//! works head     LABELS WIDTH BATCH    DEVICE GEMM PRECISION STEPS   steps over all labels, whose weights lie there
//! ```
//! Files hold little-endian f32 or u32, rows one after another.

use autograd::SgdRows;
use data::Tokenizer;
use engine::cuda::Gemm;
use engine::{Cuda, Engine, Home, Stream, Table, TablePrecision, Tensor};
use models::heads::{Ids, OneVsAll, Truth};
use rustix::time::{ClockId, clock_gettime};
use samplers::composer::tree::clusters;
use samplers::search::{Limits, search};
use samplers::{Items, Matrix, Resident};
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

/// A device by its name, whose products this one makes.
fn open(device: &str, gemm: &str) -> Cuda {
    let gemm = Gemm::named(gemm).expect("auto, own or cublas");
    Cuda::named(device).and_then(|cuda| cuda.with_gemm(gemm)).expect("a device")
}

/// Steps of binary cross-entropy over all labels, three of each row's being positive, by plain descent: all of them,
/// and the seconds that they took.
fn head([labels, width, batch]: [usize; 3], cuda: Cuda, precision: &str, steps: usize) -> [f64; 2] {
    let is_bf16 = precision == "bf16";
    let cuda = if is_bf16 { cuda.in_bf16() } else { cuda };
    let chance = TablePrecision::Bf16(Stream::new(1, 1));
    let precision = if is_bf16 { chance } else { TablePrecision::F32 };
    let engine = Engine::new(1).with_cuda(cuda.clone());
    let draw = |rows: usize, tag| {
        let numbers = (0..(rows * width) as u64).map(|i| 0.1 * (Stream::new(2, tag).uniform(i) as f32 - 0.5));
        engine.place(&Tensor::from_vec([rows, width], numbers.collect()))
    };
    let mut table = Table::zeros_in(&Home::Device(cuda.clone()), precision, labels, width).expect("it fits");
    let all: Vec<u32> = (0..labels as u32).collect();
    for (i, rows) in all.chunks(1 << 14).enumerate() {
        table.scatter(&engine, 0, rows, &draw(rows.len(), 10 + i as u64));
    }
    let x = draw(batch, 1);
    let starts: Vec<usize> = (0..=batch).map(|row| 3 * row).collect();
    let third = labels as u64 / 3;
    let items: Vec<u32> =
        (0..3 * batch as u64).map(|i| (i % 3 * third + Stream::new(2, 2).below(i, third)) as u32).collect();
    let nobody = vec![0; batch + 1];
    let truth = Truth {
        positives: Ids { starts: &starts, items: &items },
        left_out: Ids { starts: &nobody, items: &[] },
        soft: None,
    };
    let over = OneVsAll { scale: 20.0, shift: -8.0, chunk: 4096 };
    let mut optimizer = SgdRows::new();
    let mut step = || over.step(&engine, &mut table, &mut optimizer, &x, truth, 1e-3).expect("finite");
    (0..2).for_each(|_| drop(step()));
    cuda.wait();
    let run = || {
        (0..steps).for_each(|_| drop(step()));
        cuda.wait();
    };
    timed(1, run).1
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
        ["resident", items, queries, width, k, device, gemm, repeats, out] => {
            let (items, queries, width) = (read(items), read(queries), number(width));
            let (items, queries) = (Matrix::new(&items, width), Matrix::new(&queries, width));
            let (cuda, engine, mut room) = (open(device, gemm), Engine::new(1), usize::MAX);
            let resident = Resident::within(&mut room, &cuda, items).expect("the items fit");
            let items = Items::Resident(&resident, items);
            let find = || items.search(&engine, queries, number(k), Limits::default());
            let (hits, seconds) = timed(number(repeats), find);
            let ids: Vec<u32> = (0..queries.rows()).flat_map(|query| hits.row(query).0.to_vec()).collect();
            write(out, &ids);
            report(queries.rows(), seconds);
        }
        ["head", labels, width, batch, device, gemm, precision, steps] => {
            let sizes = [labels, width, batch].map(number);
            report(number(steps), head(sizes, open(device, gemm), precision, number(steps)));
        }
        _ => {
            eprintln!("usage: works search|cluster|tokenize|resident|head …, as the source says");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
