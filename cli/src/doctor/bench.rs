//! `lode doctor --bench`: how fast this machine is at what training and search are made of, measured now.
//!
//! ```text
//! rate    what was done / the seconds of the best of several tries          other programs only make it smaller
//! share   rate of a product, an encoder, a search / the peak of all threads, measured in the same run
//! ```
//! Encoders are fresh and texts are made: speed does not depend on what the numbers are. Texts are ragged, 8 to 24
//! tokens, as titles are.

use crate::context::Context;
use crate::early::Done;
use crate::profile::clock;
use crate::quantity::count;
use crate::render::{rounded, table};
use engine::{Engine, Mat, Packed, Stream, gemm, peak};
use lode::Tape;
use lode::autograd::{AdamW, Optimizer, clip};
use models::{Architecture, InfoNce, Model, Objective, Scope, Terms, bert};
use samplers::Matrix;
use samplers::search::{Limits, search};
use serde_json::{Value, json};

/// Seconds that a measurement takes at least.
pub(super) const BUDGET: f64 = 1.0;
/// Tokens of a shape's rows: what `lode encode` sends through a layer at once.
const ROWS: usize = 2048;
/// Rows of the token table, as in BERT's vocabulary.
const VOCAB: usize = 30_522;
/// What a search looks through, and for how many queries at once.
const ITEMS: (usize, usize) = (100_000, 384);
const QUERIES: usize = 256;
/// Hits of a search.
const HITS: usize = 10;

/// MiniLM-L6 without its weights.
const MINILM: bert::Size = bert::Size { layers: 6, width: 384, heads: 12, ffn: 1536 };

/// All that was measured.
pub(super) struct Measured {
    threads: usize,
    peaks: [Peak; 2],
    products: Vec<Product>,
    encoders: Vec<Speed>,
    search: Search,
}

/// What some threads reach at most: f32 operations and copied bytes a second.
struct Peak {
    threads: usize,
    flops: f64,
    bytes: f64,
}

/// C = A·B, or A·Bᵀ.
struct Product {
    name: &'static str,
    /// m, k, n.
    size: [usize; 3],
    flops: f64,
}

/// How fast an encoder is, in tokens a second.
struct Speed {
    name: &'static str,
    size: bert::Size,
    params: usize,
    /// Without a tape.
    encode: f64,
    /// A whole step: forward, loss, backward, clip, AdamW.
    train: f64,
    /// Operations a token, forward.
    flops: f64,
}

/// Queries a second.
struct Search {
    batch: f64,
    single: f64,
}

/// The seconds of the best of at least two tries, which together take `budget` seconds.
fn best(budget: f64, mut once: impl FnMut()) -> f64 {
    let (begun, mut tries, mut best) = (clock().wall, 0, f64::INFINITY);
    while tries < 2 || clock().wall - begun < budget {
        let since = clock().wall;
        once();
        best = best.min(clock().wall - since);
        tries += 1;
    }
    best
}

fn numbers(engine: &Engine, tag: u64, count: usize) -> Vec<f32> {
    let stream = Stream::new(1, tag);
    let mut numbers = vec![0.0f32; count];
    engine.chunks(&mut numbers, 1 << 14, |chunk, numbers| {
        for (i, number) in numbers.iter_mut().enumerate() {
            *number = 2.0 * stream.uniform(((chunk << 14) + i) as u64) as f32 - 1.0;
        }
    });
    numbers
}

/// Measures with so many threads, each thing for about `budget` seconds.
pub(super) fn measure(context: &Context, budget: f64) -> Done<Measured> {
    let engine = context.engine()?;
    let told = |what: &str| {
        context.tell(&format!("measuring {what}"));
        context.check_stop()
    };
    told("the peaks")?;
    let peaks = [Engine::try_new(1, None)?, engine.clone()].map(|engine| Peak {
        threads: engine.threads(),
        flops: peak::flops_peak(&engine, clock),
        bytes: peak::bytes_peak(&engine, clock),
    });
    told("products")?;
    let products = products(&engine, budget);
    let mut encoders = vec![];
    for (name, size) in [("tiny", bert::Size::TINY), ("MiniLM-L6", MINILM)] {
        told(name)?;
        encoders.push(speed(&engine, name, size, budget));
    }
    told("search")?;
    Ok(Measured { threads: engine.threads(), peaks, products, encoders, search: searched(&engine, budget) })
}

/// The products of a layer of MiniLM-L6 and of tiny, and the scores of a batch.
fn products(engine: &Engine, budget: f64) -> Vec<Product> {
    let shapes = [
        ("MiniLM-L6, attention", [ROWS, 384, 384]),
        ("MiniLM-L6, wider", [ROWS, 384, 1536]),
        ("MiniLM-L6, narrower", [ROWS, 1536, 384]),
        ("tiny, attention", [ROWS, 128, 128]),
        ("tiny, wider", [ROWS, 128, 512]),
        ("scores of a batch", [1024, 384, 1024]),
    ];
    let one = |(name, size): (&'static str, [usize; 3])| {
        let [m, k, n] = size;
        // The right side lies as weights and labels do: [n, k], read transposed.
        let (a, b, mut c) = (numbers(engine, 1, m * k), numbers(engine, 2, n * k), vec![0.0f32; m * n]);
        let product = || gemm(engine, 1.0, Mat::new(&a, m, k), Mat::new(&b, n, k).t(), 0.0, &mut c);
        Product { name, size, flops: 2.0 * (m * k * n) as f64 / best(budget / 6.0, product) }
    };
    shapes.into_iter().map(one).collect()
}

/// Texts of 8 to 24 tokens, `[CLS]` and `[SEP]` among them.
fn texts(count: usize) -> Packed {
    let (lengths, tokens) = (Stream::new(2, 1), Stream::new(2, 2));
    let mut texts = Packed::default();
    for i in 0..count as u64 {
        let length = 8 + lengths.below(i, 17);
        texts.push((0..length).map(|t| tokens.below(i << 8 | t, VOCAB as u64) as u32));
    }
    texts
}

fn speed(engine: &Engine, name: &'static str, size: bert::Size, budget: f64) -> Speed {
    let config = bert::Config::from_size(size, VOCAB, 64);
    let mut model = Model::fresh(Architecture::Bert(config), 64, 1);
    let encoder = model.encoder();
    let whole = texts(ROWS / 16);
    let encode = || {
        let tape = Tape::inference(engine);
        encoder.encode(&Scope::new(&tape, &model.params), &whole, 0);
    };
    let seconds = best(budget, encode);
    let encode = whole.tokens.len() as f64 / seconds;

    // A step of 32 queries and their labels.
    let batch = texts(64);
    let half = batch.len() / 2;
    let terms = Terms::masked((0..half as u32).collect(), vec![true; half * half].into());
    let (mut optimizer, mut step) = (AdamW::default(), 0);
    let seconds = best(budget, || {
        let tape = Tape::new(engine);
        let dropout = Some(Stream::new(3, 0).at_step(step));
        let scope = Scope { dropout, ..Scope::new(&tape, &model.params) };
        let e = encoder.encode(&scope, &batch, 0);
        let scores = e.slice(0, 0..half).matmul_nt(e.slice(0, half..2 * half));
        let loss = InfoNce { temperature: 0.05, symmetric: false, top_rows: 1.0 }.loss(scores, &terms);
        let mut grads = tape.backward_from(loss).into_params();
        drop(tape);
        clip(engine, &mut grads, 1.0);
        optimizer.step(engine, &mut model.params, &grads, 1e-5);
        step += 1;
    });
    let length = whole.tokens.len() as f64 / whole.len() as f64;
    Speed {
        name,
        size,
        params: model.params.count(),
        encode,
        train: batch.tokens.len() as f64 / seconds,
        flops: encoder.flops_per_token(length),
    }
}

fn searched(engine: &Engine, budget: f64) -> Search {
    let (items, width) = ITEMS;
    let (labels, queries) = (numbers(engine, 4, items * width), numbers(engine, 5, QUERIES * width));
    let labels = Matrix::new(&labels, width);
    let rate = |queries: &[f32]| {
        let queries = Matrix::new(queries, width);
        let seconds = best(budget, || drop(search(engine, queries, labels, HITS, Limits::default())));
        queries.rows() as f64 / seconds
    };
    Search { batch: rate(&queries), single: rate(&queries[..width]) }
}

impl Measured {
    /// The peak of all threads.
    fn flops_peak(&self) -> f64 {
        self.peaks[1].flops
    }
    /// Operations of a search of one query.
    fn search_flops() -> f64 {
        2.0 * (ITEMS.0 * ITEMS.1) as f64
    }
    pub(super) fn json(&self) -> Value {
        let share = |flops: f64| rounded(flops / self.flops_peak());
        let peak =
            |p: &Peak| json!({"threads": p.threads, "flops": rounded(p.flops), "bytes": rounded(p.bytes)});
        let product = |p: &Product| {
            json!({"name": p.name, "m": p.size[0], "k": p.size[1], "n": p.size[2],
            "flops": rounded(p.flops), "of_peak": share(p.flops)})
        };
        let encoder = |e: &Speed| {
            json!({"name": e.name, "layers": e.size.layers, "width": e.size.width,
            "parameters": e.params,
            "encode_tokens_per_second": rounded(e.encode), "encode_of_peak": share(e.encode * e.flops),
            "train_tokens_per_second": rounded(e.train), "train_of_peak": share(3.0 * e.train * e.flops)})
        };
        json!({
            "threads": self.threads,
            "peaks": self.peaks.iter().map(peak).collect::<Vec<_>>(),
            "products": self.products.iter().map(product).collect::<Vec<_>>(),
            "encoders": self.encoders.iter().map(encoder).collect::<Vec<_>>(),
            "search": {"labels": ITEMS.0, "width": ITEMS.1, "hits": HITS,
                "queries_per_second": rounded(self.search.batch),
                "single_queries_per_second": rounded(self.search.single),
                "of_peak": share(self.search.batch * Measured::search_flops())},
        })
    }
    pub(super) fn text(&self) -> String {
        let row = |cells: &[&str]| cells.iter().map(|&cell| cell.to_owned()).collect::<Vec<String>>();
        let share = |flops: f64| format!("{:.0} %", 100.0 * flops / self.flops_peak());
        let giga = |x: f64| format!("{:.1}", x / 1e9);
        let mut peaks = vec![row(&["peak of", "GFLOP/s, f32", "GB/s, copied"])];
        for p in &self.peaks {
            let threads =
                if p.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", p.threads) };
            peaks.push(vec![threads, giga(p.flops), giga(p.bytes)]);
        }
        let mut products = vec![row(&["product", "m × k × n", "GFLOP/s", "of the peak"])];
        for p in &self.products {
            let [m, k, n] = p.size;
            products.push(vec![p.name.into(), format!("{m} × {k} × {n}"), giga(p.flops), share(p.flops)]);
        }
        let mut encoders =
            vec![row(&["encoder", "shape", "encodes", "of the peak", "trains on", "of the peak"])];
        for e in &self.encoders {
            let rate = |x: f64| format!("{} tokens/s", count(x as u64));
            let shape = format!("{} × {}", e.size.layers, e.size.width);
            let (encode, train) = (share(e.encode * e.flops), share(3.0 * e.train * e.flops));
            encoders.push(vec![e.name.into(), shape, rate(e.encode), encode, rate(e.train), train]);
        }
        let size = format!("{} × {}", count(ITEMS.0 as u64), ITEMS.1);
        let queries = |x: f64| format!("{} queries/s", count(x as u64));
        let of_peak = share(self.search.batch * Measured::search_flops());
        // One query reads every label once, so memory bounds it.
        let read = format!("{} GB/s read", giga(self.search.single * Measured::search_flops() * 2.0));
        let search = [
            row(&["search", "labels × width", "finds", "of the peak"]),
            vec![format!("{QUERIES} at once"), size.clone(), queries(self.search.batch), of_peak],
            vec!["one by one".into(), size, queries(self.search.single), read],
        ];
        let tables = [&peaks[..], &products, &encoders, &search].map(table).join("\n");
        format!("measured now, {} threads where nothing else is said\n\n{tables}", self.threads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the least time; what it comes to is the machine's affair, how it hangs together is not.
    #[test]
    fn everything_is_measured_and_adds_up() {
        let engine = Engine::new(2);
        let peaks = [1, 2].map(|threads| Peak { threads, flops: 1e11, bytes: 1e10 });
        let encoders =
            vec![speed(&engine, "tiny", bert::Size::TINY, 0.0), speed(&engine, "MiniLM-L6", MINILM, 0.0)];
        let (products, search) = (products(&engine, 0.0), searched(&engine, 0.0));
        let measured = Measured { threads: 2, peaks, products, encoders, search };
        let found = measured.json();
        let number = |path: &str| found.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN);
        for (i, operations) in [(0, 2.0 * 196_608.0 * 2.0), (1, 2.0 * 1_769_472.0 * 6.0)] {
            let at = |name: &str| number(&format!("/encoders/{i}/{name}"));
            let (encode, train) = (at("encode_tokens_per_second"), at("train_tokens_per_second"));
            assert!(train > 0.0 && encode > 1.5 * train, "a step goes forward and back: {encode} {train}");
            // The matrices of the layers; attention adds some percent.
            let share = encode * operations / 1e11;
            assert!((1.0..1.1).contains(&(at("encode_of_peak") / share)), "{} {share}", at("encode_of_peak"));
            assert!((1.0..1.1).contains(&(at("train_of_peak") / (3.0 * train * operations / 1e11))));
        }
        let tiny = number("/encoders/0/encode_tokens_per_second");
        assert!(tiny > 3.0 * number("/encoders/1/encode_tokens_per_second"));
        assert_eq!(found["products"].as_array().map(Vec::len), Some(6));
        for i in 0..6 {
            let (flops, share) =
                (number(&format!("/products/{i}/flops")), number(&format!("/products/{i}/of_peak")));
            assert!(flops > 1e8 && (share - flops / 1e11).abs() < 1e-5, "{flops} {share}");
        }
        let (batch, single) =
            (number("/search/queries_per_second"), number("/search/single_queries_per_second"));
        assert!(batch > single && single > 0.0, "{batch} {single}");
        assert!((number("/search/of_peak") - batch * 76.8e6 / 1e11).abs() < 1e-5);
        let text = measured.text();
        let words =
            ["2 threads", "GB/s, copied", "tiny, wider", "6 × 384", "256 at once", "tokens/s", "GB/s read"];
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
}
