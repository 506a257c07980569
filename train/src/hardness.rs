//! How hard titles and labels are to a model: how long the description of what is right must be (Hase et al. 2024,
//! "The unreasonable effectiveness of easy training data for hard tasks", after Voita & Titov 2020).
//!
//! ```text
//! pair (q, l)   a test title and a label that is right for it
//! options       l, and labels that are not right, drawn at random: eight together
//! S             the first 5, 10, 20, … of all pairs in a random order, up to half of them; ten orders
//! description length of (q, l) = mean over all S without q of −ln p(l | w_S)
//! ```
//! `w_S` is a probe that learned from the pairs S what matters in the frozen embeddings (`hardness/probe.rs`). What a
//! few examples suffice to answer is easy; ln 8 is what a probe says that knows nothing. The paper's probes read a
//! language model's states of question and answer together; ours read x ∘ z, which is all that a bi-encoder has.
//!
//! Wrong options are drawn, and not those that the model ranks highest: beside them a right label scores low, a probe
//! learns just that, and what the model finds at once would have the longest descriptions.

mod probe;

use crate::embed::{embed, normalise};
use crate::evaluate::{Evaluation, Options, Queries, evaluate_with, relevant};
use crate::index::Index;
use crate::network::Network;
use crate::observer::Observer;
use data::{DataSet, Split};
use engine::{Engine, Error, Kind, Packed, Result, Stream};
use probe::{Probe, Task};
use samplers::search::Limits;
use samplers::{Items, Matrix, search};

/// Labels among which a probe chooses.
pub const OPTIONS: usize = 8;
/// Places in which a label counts as found.
pub const FOUND: usize = 5;
/// Pairs of the smallest and of the largest probe, each twice as many as the one before.
const SIZES: [usize; 6] = [5, 10, 20, 40, 80, 160];
/// Orders of the pairs.
const ORDERS: u64 = 10;
/// Pairs that are judged at once.
const BLOCK: usize = 256;

mod tags {
    /// The order of pairs.
    pub(super) const ORDER: u64 = u64::from_be_bytes(*b"t.hardns");
    /// Wrong labels of a query.
    pub(super) const WRONG: u64 = u64::from_be_bytes(*b"t.wrong ");
}

/// A test title and a label that is right for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The title's row among the test queries.
    pub query: u32,
    /// The label.
    pub label: u32,
    /// Description length in nats; NaN where every probe had seen the title.
    pub nats: f64,
    /// Whether the label stands among the first [`FOUND`].
    pub found: bool,
}

/// What a model says of the hardness of the test titles and of the labels.
#[derive(Clone, Debug)]
pub struct Hardness {
    /// Of each test title, whether a right label stands first.
    pub hits: Vec<f64>,
    /// All pairs, by title.
    pub pairs: Vec<Pair>,
    /// 1 − cosine to the nearest training title, of each test title.
    pub titles: Vec<f64>,
    /// The same of each label.
    pub labels: Vec<f64>,
}

impl Hardness {
    /// Measures a network whose index exists, with titles.
    ///
    /// # Errors
    /// If there are not twice as many pairs as the smallest probe needs, and as [`evaluate_with`].
    ///
    /// # Panics
    /// If the index was built without titles.
    pub fn of(
        (engine, network, index): (&Engine, &Network, &Index<'_>),
        data: &DataSet,
        options: &Options,
        observer: &mut dyn Observer,
    ) -> Result<Hardness> {
        let test = data.queries(Split::Test);
        let options = Options { depth: FOUND, ..options.clone() };
        let all = Queries { split: Split::Test, rows: None };
        let Evaluation { rankings, hits, .. } =
            evaluate_with(engine, network, index, data, all, &options, observer)?;
        let push = |i: usize, packed: &mut Packed| test.push_to(i, packed);
        let width = network.width();
        let mut embeddings = embed(engine, network, test.len(), push, "test titles", observer)?;
        embeddings.chunks_exact_mut(width).for_each(normalise);
        let labels = directions(index.labels(), data.labels().len());
        let titles = directions(index.titles(), data.queries(Split::Train).len());
        let [queries, labels, trained] = [&embeddings, &labels, &titles].map(|rows| Matrix::new(rows, width));
        let mut tasks = vec![];
        for ranked in &rankings {
            let right = relevant(data, Split::Test, ranked.query);
            let wrong = wrong(ranked.query, &right, data.labels().len());
            let options = |&l: &u32| std::iter::once(l).chain(wrong.iter().copied()).collect();
            tasks.extend(right.iter().map(|l| Task { query: ranked.query, options: options(l) }));
        }
        if tasks.len() < 2 * SIZES[0] {
            let message = format!("there are {} pairs of a test title and its label", tasks.len());
            return Err(Error::input(message).help(format!("probes need {} of them", 2 * SIZES[0])));
        }
        let nats = lengths(engine, queries, labels.into(), &tasks, observer)?;
        let found = |task: &Task| {
            let row = rankings.binary_search_by_key(&task.query, |r| r.query);
            row.is_ok_and(|i| rankings[i].labels.iter().take(FOUND).any(|&(l, _)| l == task.options[0]))
        };
        let pair = |(task, nats): (&Task, f64)| {
            let found = found(task);
            Pair { query: task.query, label: task.options[0], nats, found }
        };
        let pairs = tasks.iter().zip(nats).map(pair).collect();
        let [titles, labels] = [queries, labels].map(|rows| distances(engine, rows, trained));
        Ok(Hardness { hits, pairs, titles, labels })
    }
}

/// Labels that are not right for a query, all different, as many as there are up to the options.
fn wrong(query: u32, right: &[u32], labels: usize) -> Vec<u32> {
    let wanted = (OPTIONS - 1).min(labels - right.len());
    let stream = Stream::new(0, tags::WRONG).at_step(query.into());
    let mut drawn: Vec<u32> = vec![];
    for i in 0.. {
        if drawn.len() == wanted {
            break;
        }
        let label = stream.below(i, labels as u64) as u32;
        if !right.contains(&label) && !drawn.contains(&label) {
            drawn.push(label);
        }
    }
    drawn
}

/// The first `n` items scaled to length 1: not every model does that.
fn directions(items: Items<'_>, n: usize) -> Vec<f32> {
    let mut rows: Vec<f32> = (0..n).flat_map(|i| items.row(i).into_owned()).collect();
    rows.chunks_exact_mut(items.width()).for_each(normalise);
    rows
}

/// 1 − cosine to the nearest training title.
fn distances(engine: &Engine, rows: Matrix<'_>, trained: Matrix<'_>) -> Vec<f64> {
    let hits = search(engine, rows, trained, 1, Limits::default());
    (0..rows.rows())
        .map(|i| hits.row(i).1.first().map_or(f64::NAN, |&cosine| 1.0 - f64::from(cosine)))
        .collect()
}

/// The description length of each task.
fn lengths(
    engine: &Engine,
    queries: Matrix<'_>,
    labels: Items<'_>,
    tasks: &[Task],
    observer: &mut dyn Observer,
) -> Result<Vec<f64>> {
    let sizes: Vec<usize> = SIZES.into_iter().filter(|&n| 2 * n <= tasks.len()).collect();
    let orders: Vec<Vec<u32>> = (0..ORDERS)
        .map(|i| {
            let mut order: Vec<u32> = (0..tasks.len() as u32).collect();
            Stream::new(0, tags::ORDER).at_step(i).shuffle(&mut order);
            order.truncate(SIZES[sizes.len() - 1]);
            order
        })
        .collect();
    let subset = |i: usize| &orders[i / sizes.len()][..sizes[i % sizes.len()]];
    let probes = engine.map(orders.len() * sizes.len(), |i| {
        let learned: Vec<&Task> = subset(i).iter().map(|&at| &tasks[at as usize]).collect();
        let mut seen: Vec<u32> = learned.iter().map(|task| task.query).collect();
        seen.sort_unstable();
        (Probe::fit(&learned, queries, labels), seen)
    });
    if observer.stop() {
        return Err(Error::new(Kind::Interrupted, "stopped before the pairs were judged"));
    }
    let judged = |task: &Task| {
        let fresh = probes.iter().filter(|(_, seen)| seen.binary_search(&task.query).is_err());
        let nats: Vec<f64> = fresh.map(|(probe, _)| probe.nats(task, queries, labels)).collect();
        nats.iter().sum::<f64>() / nats.len() as f64
    };
    let blocks = engine.map(tasks.len().div_ceil(BLOCK), |block| {
        tasks[block * BLOCK..].iter().take(BLOCK).map(judged).collect::<Vec<f64>>()
    });
    Ok(blocks.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_embeddings_tell_is_easy_and_what_they_tell_wrongly_is_hard() {
        // Four labels along four axes; each query points along that of its label, but every tenth along the next.
        let axis = |i: usize| (0..4).map(move |j| f32::from(u8::from(i % 4 == j)));
        let labels: Vec<f32> = (0..4).flat_map(axis).collect();
        let is_odd = |i: usize| i % 10 == 7;
        let queries: Vec<f32> = (0..60).flat_map(|i| axis(if is_odd(i) { i + 1 } else { i })).collect();
        let options = |i: usize| (0..4).map(|o| ((i + o) % 4) as u32).collect();
        let tasks: Vec<Task> = (0..60).map(|i| Task { query: i as u32, options: options(i) }).collect();
        let (queries, labels) = (Matrix::new(&queries, 4), Items::F32(Matrix::new(&labels, 4)));
        let nats = lengths(&Engine::new(2), queries, labels, &tasks, &mut crate::Silent).unwrap();
        let nothing = 4f64.ln();
        for (i, nats) in nats.iter().enumerate() {
            assert!(if is_odd(i) { *nats > 1.2 * nothing } else { *nats < 0.8 * nothing }, "{i}: {nats}");
        }
    }

    #[test]
    fn wrong_options_are_different_labels_that_are_not_right() {
        let mut drawn = wrong(3, &[1, 4], 20);
        assert_eq!(drawn, wrong(3, &[1, 4], 20));
        assert_ne!(drawn, wrong(4, &[1, 4], 20));
        drawn.sort_unstable();
        drawn.dedup();
        assert!(
            drawn.len() == OPTIONS - 1 && drawn.iter().all(|l| *l < 20 && ![1, 4].contains(l)),
            "{drawn:?}"
        );
        let mut few = wrong(0, &[1], 4);
        few.sort_unstable();
        assert_eq!(few, [0, 2, 3]);
    }
}
