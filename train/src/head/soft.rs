//! Soft targets from a teacher: LEVER (Buvanesh et al., "Enhancing tail performance in extreme classifiers by label
//! variance reduction", ICLR 2024).
//!
//! ```text
//! min  λ ℓ(y, x·w_l) + (1 − λ) ℓ(p, x·w_l)                 eq. 6
//!    = ℓ(t, x·w_l)      t = λ y + (1 − λ) p                since binary cross-entropy is linear in its target
//!
//! p_ql = (cos + 1)/2,  or σ(a·cos + b)                     q the text of a label, l one of the labels nearest to it
//!      = y_ql                                              elsewhere: the teacher is not asked
//! ```
//! A label with few titles learns from its neighbours' texts what they have in common. Only near pairs are stored, 8
//! bytes each; of all others the loss is what it was, in chunks of labels or over candidates. As in the published code
//! known positives keep their target, and so does what must not count at all. That code can also bring training titles
//! near to a label (τ_d), of which the paper found no need in most cases; here it is not.
//!
//! a and b are fitted to held-out queries and the labels nearest to each, by Platt's method ("Probabilistic outputs for
//! support vector machines", 1999): what a cosine of the teacher is worth where it was not trained.

use super::labels::AllLabels;
use crate::checkpoint::SoftState;
use crate::config::HeadConfig;
use crate::embed::{all_labels, embed, normalise};
use crate::evaluate::relevant;
use crate::network::Network;
use crate::observer::{Event, Observer};
use crate::text_ids::{TextIds, filtered, is_nameless};
use crate::voting::{QUERIES_MAX, QUERIES_MIN};
use data::{DataSet, Split};
use engine::{Engine, Error, Kind, Packed, Result};
use models::heads::{Ids, Soft};
use samplers::search::Limits;
use samplers::{Lists, Matrix, search};

/// Labels whose neighbours are looked for at once.
pub(super) const ROWS: usize = 4096;
/// Labels of each held-out query, the nearest, that the sigmoid is fitted to.
const NEAREST: usize = 20;

/// Targets of the pairs of a label's text and a label of which the teacher was asked.
#[derive(Debug, PartialEq)]
pub(crate) struct SoftTargets {
    /// The training query that is the text of label 0: the others follow.
    first: u32,
    /// Row `l`: the labels near the text of label `l`, ascending.
    near: Lists,
    /// Their t.
    targets: Vec<f32>,
}

/// Those of the rows of a batch.
pub(crate) struct OfRows {
    starts: Vec<usize>,
    /// The labels, ascending in each row.
    pub(crate) labels: Vec<u32>,
    targets: Vec<f32>,
}

/// Who is asked, and about what.
pub(crate) struct Question<'a> {
    pub(crate) teacher: &'a Network,
    pub(crate) data: &'a DataSet,
    pub(crate) ids: &'a TextIds,
    /// Training queries that are held out.
    pub(crate) held_out: &'a [u32],
}

impl SoftTargets {
    /// Asks a teacher for the labels nearest to the text of each label, and how likely they are.
    ///
    /// # Errors
    /// [`Kind::Interrupted`] if the observer wants to stop; if a sigmoid cannot be fitted.
    pub(crate) fn ask(
        engine: &Engine,
        question: &Question<'_>,
        config: &HeadConfig,
        observer: &mut dyn Observer,
    ) -> Result<SoftTargets> {
        let since = observer.seconds();
        let Question { teacher, data, ids, .. } = *question;
        let (labels, width) = (data.labels(), teacher.width());
        let first = data.queries(Split::Train).len() as u32;
        let push = |i: usize, packed: &mut Packed| labels.push_to(i, packed);
        let mut texts = embed(engine, teacher, labels.len(), push, "labels by the teacher", observer)?;
        // As a query a label is its text alone, and as a label it has the auxiliary vector of a teacher with such.
        let mut beside = teacher.vectors_of(data).map(|_| texts.clone());
        if let Some(rows) = &mut beside {
            teacher.add_vectors(engine, data, &all_labels(data), rows);
        }
        [Some(&mut texts), beside.as_mut()].into_iter().flatten().for_each(|rows| {
            rows.chunks_exact_mut(width).for_each(normalise);
        });
        let (asked, texts) =
            (Matrix::new(&texts, width), Matrix::new(beside.as_ref().unwrap_or(&texts), width));
        // To an encoder labels without a text are one.
        let named: Vec<u32> = (0..labels.len() as u32).filter(|&label| !is_nameless(data, label)).collect();
        let relevance = Relevance::of(engine, question, config, (texts, &named), observer)?;
        let (known, mut rows) = (AllLabels::new(data, ids), vec![vec![]; labels.len()]);
        for (i, block) in named.chunks(ROWS).enumerate() {
            if observer.stop() {
                let what = format!("stopped after {} of {} labels of the teacher", i * ROWS, named.len());
                return Err(Error::new(Kind::Interrupted, what));
            }
            let queries: Vec<f32> =
                block.iter().flat_map(|&label| asked.row(label as usize)).copied().collect();
            let of: Vec<u32> = block.iter().map(|&label| first + label).collect();
            let barred = known.barred(data, ids, &of);
            let limits = Limits { exclude: Some(barred.csr()), only: Some(&named) };
            let most = config.near_labels.min(named.len());
            let hits = search(engine, Matrix::new(&queries, width), texts, most, limits);
            for (row, &label) in block.iter().enumerate() {
                let (near, cosines) = hits.row(row);
                let near = near.iter().zip(cosines).filter(|(_, cosine)| **cosine >= config.near_cosine);
                let target = |cosine: f32| ((1.0 - config.hard_share) * relevance.at(cosine)) as f32;
                let mut found: Vec<(u32, f32)> =
                    near.map(|(&near, &cosine)| (near, target(cosine))).collect();
                found.sort_unstable_by_key(|pair| pair.0);
                rows[label as usize] = found;
            }
        }
        let near: Lists =
            rows.iter().map(|row| row.iter().map(|pair| pair.0).collect::<Vec<u32>>()).collect();
        let targets: Vec<f32> = rows.iter().flatten().map(|pair| pair.1).collect();
        let seconds = observer.seconds() - since;
        observer.event(&Event::Taught {
            near: targets.len() as f64 / named.len().max(1) as f64,
            empty: named.iter().filter(|&&label| rows[label as usize].is_empty()).count(),
            seconds,
        });
        Ok(SoftTargets { first, near, targets })
    }
    /// Those of `rows`, training queries of which some are texts of labels.
    pub(crate) fn of(&self, rows: &[u32]) -> OfRows {
        let mut of = OfRows { starts: vec![0], labels: vec![], targets: vec![] };
        for row in rows {
            if let Some(label) = row.checked_sub(self.first) {
                let starts = &self.near.csr().starts[label as usize..];
                of.labels.extend(self.near.row(label as usize));
                of.targets.extend(&self.targets[starts[0] as usize..starts[1] as usize]);
            }
            of.starts.push(of.labels.len());
        }
        of
    }
    /// Bytes of those of so many labels, each with so many near ones.
    pub(crate) fn bytes(labels: usize, near: usize) -> usize {
        8 * labels * (1 + near)
    }
    /// For a checkpoint.
    pub(crate) fn state(&self) -> SoftState<'_> {
        let near = self.near.csr();
        SoftState { starts: near.starts.into(), labels: near.items.into(), targets: self.targets[..].into() }
    }
    /// What [`SoftTargets::state`] gave, of so many labels behind `first` queries; none if it is of others.
    pub(crate) fn restored(state: SoftState<'_>, first: u32, labels: usize) -> Option<SoftTargets> {
        let SoftState { starts, labels: near, targets } = state;
        let ends = starts.split_first().filter(|(start, _)| **start == 0)?.1;
        let whole = ends.len() == labels && starts.is_sorted() && starts.last() == Some(&(near.len() as u64));
        if !whole || targets.len() != near.len() || !targets.iter().all(|t| (0.0..=1.0).contains(t)) {
            return None;
        }
        let near = Lists::new(ends.iter().copied(), near.into_owned());
        let ascends = |row: &[u32]| row.is_sorted_by(|a, b| a < b);
        let fits =
            (0..labels).all(|l| ascends(near.row(l)) && near.row(l).iter().all(|&l| l < labels as u32));
        fits.then(|| SoftTargets { first, near, targets: targets.into_owned() })
    }
}

impl OfRows {
    /// As a loss over all labels reads them.
    pub(crate) fn soft(&self) -> Soft<'_> {
        Soft { ids: Ids { starts: &self.starts, items: &self.labels }, targets: &self.targets }
    }
    /// As a loss over `candidates` (ascending, these labels among them) reads them: the place among its scores, and the
    /// target.
    pub(crate) fn places(&self, candidates: &[u32]) -> Vec<(usize, f32)> {
        let rows = self.starts.windows(2).enumerate();
        let place = |label| candidates.binary_search(label).expect("near labels are candidates");
        let of_row = |(i, ends): (usize, &[usize])| -> Vec<(usize, f32)> {
            let span = ends[0]..ends[1];
            let pairs = self.labels[span.clone()].iter().zip(&self.targets[span]);
            pairs.map(|(label, &target)| (i * candidates.len() + place(label), target)).collect()
        };
        rows.flat_map(of_row).collect()
    }
}

/// How likely a label is right for a text, by the cosine of the two.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Relevance {
    /// (cos + 1)/2.
    Linear,
    /// σ(slope · cos + level).
    Sigmoid { slope: f64, level: f64 },
}

impl Relevance {
    /// As it is configured; a sigmoid is fitted.
    fn of(
        engine: &Engine,
        question: &Question<'_>,
        config: &HeadConfig,
        (texts, named): (Matrix<'_>, &[u32]),
        observer: &mut dyn Observer,
    ) -> Result<Relevance> {
        if config.relevance != "sigmoid" {
            return Ok(Relevance::Linear);
        }
        let Question { teacher, data, held_out, .. } = *question;
        let count = held_out.len().min(QUERIES_MAX);
        if count < QUERIES_MIN {
            let what = "`head.relevance = sigmoid` is fitted to queries that are held out";
            return Err(Error::input(format!("{what}: {count} are, at least {QUERIES_MIN} are needed"))
                .help("a larger --set data.validation_per_mille, or head.relevance=linear"));
        }
        let queries = data.queries(Split::Train);
        let push = |i: usize, packed: &mut Packed| queries.push_to(held_out[i] as usize, packed);
        let mut rows = embed(engine, teacher, count, push, "held-out queries by the teacher", observer)?;
        rows.chunks_exact_mut(teacher.width()).for_each(normalise);
        let exclude = filtered(data, Split::Train, &held_out[..count]);
        let limits = Limits { exclude: exclude.as_ref().map(Lists::csr), only: Some(named) };
        let hits = search(engine, Matrix::new(&rows, teacher.width()), texts, NEAREST, limits);
        let pairs = held_out[..count].iter().enumerate().flat_map(|(i, &query)| {
            let (right, (labels, cosines)) = (relevant(data, Split::Train, query), hits.row(i));
            let pair = |(label, &cosine): (&u32, &f32)| (f64::from(cosine), right.contains(label));
            labels.iter().zip(cosines).map(pair).collect::<Vec<_>>()
        });
        let found = sigmoid(&pairs.collect::<Vec<_>>());
        found.map(|(slope, level)| Relevance::Sigmoid { slope, level }).ok_or_else(|| {
            let what = "no rising sigmoid fits the teacher's cosines: near labels are right no more often than others";
            Error::input(what).help("name a trained teacher, or set head.relevance=linear")
        })
    }
    fn at(self, cosine: f32) -> f64 {
        let cosine = f64::from(cosine);
        match self {
            Relevance::Linear => ((cosine + 1.0) / 2.0).clamp(0.0, 1.0),
            Relevance::Sigmoid { slope, level } => logistic(slope * cosine + level),
        }
    }
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Slope and level of P(right | x) = σ(slope · x + level): Newton's method on Platt's smoothed targets, which keeps
/// both finite where a cosine tells everything; none where it does not rise.
fn sigmoid(points: &[(f64, bool)]) -> Option<(f64, f64)> {
    let right = points.iter().filter(|p| p.1).count() as f64;
    let wrong = points.len() as f64 - right;
    let target = |is_right: bool| if is_right { (right + 1.0) / (right + 2.0) } else { 1.0 / (wrong + 2.0) };
    let loss = |(slope, level): (f64, f64)| -> f64 {
        let of = |&(x, is_right): &(f64, bool)| {
            let z = slope * x + level;
            z.max(0.0) + (-z.abs()).exp().ln_1p() - target(is_right) * z
        };
        points.iter().map(of).sum()
    };
    let mut at = (0.0, ((right + 1.0) / (wrong + 1.0)).ln());
    for _ in 0..100 {
        let (mut g, mut h) = ([0.0; 2], [1e-12, 0.0, 1e-12]);
        for &(x, is_right) in points {
            let p = logistic(at.0 * x + at.1);
            let (d, v) = (p - target(is_right), p * (1.0 - p));
            g = [g[0] + d * x, g[1] + d];
            h = [h[0] + v * x * x, h[1] + v * x, h[2] + v];
        }
        let det = h[0] * h[2] - h[1] * h[1];
        let step = ((h[2] * g[0] - h[1] * g[1]) / det, (h[0] * g[1] - h[1] * g[0]) / det);
        let before = loss(at);
        let shorter = (0..30).map(|k| 0.5f64.powi(k)).map(|s| (at.0 - s * step.0, at.1 - s * step.1));
        let Some(next) = shorter.into_iter().find(|&to| loss(to) < before) else { break };
        at = next;
        if before - loss(at) < 1e-12 * before {
            break;
        }
    }
    (at.0 > 0.0 && at.1.is_finite()).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use crate::observer::Silent;
    use models::{Architecture, Model, bag};

    /// Found elsewhere by a search in nested thirds, which knows no derivative.
    #[test]
    fn a_sigmoid_is_fitted_to_what_was_seen() {
        let right = |i: usize| (i * 7) % 10 < i / 2;
        let points: Vec<(f64, bool)> = (0..20).map(|i| (i as f64 / 20.0, right(i))).collect();
        let (slope, level) = sigmoid(&points).expect("it rises");
        assert!((slope - 3.850_700).abs() < 1e-4 && (level + 2.080_635).abs() < 1e-4, "{slope}, {level}");
        // One that tells everything has a finite slope, one that falls is none.
        let apart: Vec<(f64, bool)> = (0..20).map(|i| (f64::from(i), i >= 10)).collect();
        assert!(sigmoid(&apart).is_some_and(|(slope, _)| (slope - 0.424_848).abs() < 1e-4));
        let falls: Vec<(f64, bool)> = apart.iter().map(|&(x, is_right)| (x, !is_right)).collect();
        assert!(sigmoid(&falls).is_none());
        let linear = Relevance::Linear;
        assert!((linear.at(0.6) - 0.8).abs() < 1e-7 && linear.at(1.000_001) == 1.0);
    }

    /// Seven labels behind two queries: two have one text, one has none; the text of `boot` is a query about `blue`.
    fn named() -> (tempfile::TempDir, DataSet) {
        let names = "red shoe\nred shoe\nblue boot\nboot\n\nred boot\nblue\n";
        fixture::xc(names, "a red shoe\nboot\n", "2 7\n0:1\n6:1\n", &[])
    }

    /// Every pair by itself.
    #[test]
    fn the_nearest_labels_have_the_targets_of_the_equation() {
        let (_dir, data) = named();
        // As a directory without a module that scales: cosines are none of its inner products.
        let config = bag::Config { vocab: data.vocab_size(), width: 16, normalise: false };
        let teacher = Network::new(Model::fresh(Architecture::Bag(config), 32, 5));
        let (engine, ids) = (Engine::new(2), TextIds::of(&data, true).with_nameless_apart(&data));
        let labels = data.labels();
        let push = |i: usize, packed: &mut Packed| labels.push_to(i, packed);
        let mut texts = embed(&engine, &teacher, 7, push, "", &mut Silent).expect("embedded");
        texts.chunks_exact_mut(16).for_each(|row| {
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            row.iter_mut().for_each(|x| *x /= length.max(1e-30));
        });
        let row = |label: u32| &texts[16 * label as usize..][..16];
        let cosine = |a: u32, b: u32| row(a).iter().zip(row(b)).map(|(x, y)| x * y).sum::<f32>();
        // What each text must not push is what is known of it, and other labels of such a text.
        let known: [&[u32]; 7] = [&[0, 1], &[0, 1], &[2], &[3, 6], &[4], &[5], &[6]];
        let question = Question { teacher: &teacher, data: &data, ids: &ids, held_out: &[] };
        for (near_labels, near_cosine, hard_share) in [(9, -1.0, 0.5), (2, -1.0, 0.25), (9, 0.1, 0.5)] {
            let config = HeadConfig { near_labels, near_cosine, hard_share, ..HeadConfig::default() };
            let soft = SoftTargets::ask(&engine, &question, &config, &mut Silent).expect("asked");
            let mut pairs = 0;
            for label in 0..7u32 {
                let mut near: Vec<u32> = (0..7).filter(|l| *l != 4 && label != 4).collect();
                near.retain(|l| !known[label as usize].contains(l) && cosine(label, *l) >= near_cosine);
                near.sort_by(|&a, &b| cosine(label, b).total_cmp(&cosine(label, a)).then(a.cmp(&b)));
                near.truncate(near_labels);
                near.sort_unstable();
                let of = soft.of(&[2 + label]);
                assert_eq!(of.labels, near, "label {label}");
                pairs += near.len();
                for (&l, target) in near.iter().zip(of.targets) {
                    let want = (1.0 - hard_share) * (f64::from(cosine(label, l)) + 1.0) / 2.0;
                    assert!((f64::from(target) - want).abs() < 1e-6, "{label}, {l}: {target}, {want}");
                }
            }
            assert!(pairs > 5, "{pairs} pairs of at least {near_cosine}");
        }
    }

    /// Held-out titles of which each has a word of its label's name, so that the sigmoid rises; fitted here to pairs
    /// that are found one by one.
    #[test]
    fn a_sigmoid_is_fitted_to_held_out_queries_and_their_labels() {
        const WORDS: [&str; 8] = ["red", "green", "shoe", "boot", "lamp", "wine", "table", "clock"];
        let word = |i: usize| WORDS[i % 8];
        let titles = (0..160).map(|i| format!("{} {} number\n", word(i), word(i / 8 + 3 * i)));
        let positives = (0..160).map(|i| format!("{}:1\n", i % 8)).collect::<String>();
        let names = WORDS.map(|word| format!("{word}\n")).concat();
        let (_dir, data) =
            fixture::xc(&names, &titles.collect::<String>(), &format!("160 8\n{positives}"), &[]);
        let config = bag::Config { vocab: data.vocab_size(), width: 32, normalise: false };
        let teacher = Network::new(Model::fresh(Architecture::Bag(config), 32, 5));
        let (engine, ids) = (Engine::new(2), TextIds::of(&data, true).with_nameless_apart(&data));
        let directions = |n: usize, of: data::Texts<'_>| -> Vec<Vec<f64>> {
            let push = |i: usize, packed: &mut Packed| of.push_to(i, packed);
            let rows = embed(&engine, &teacher, n, push, "", &mut Silent).expect("embedded");
            let scaled = |row: &[f32]| {
                let length = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
                row.iter().map(|&x| f64::from(x) / length).collect()
            };
            rows.chunks_exact(32).map(scaled).collect()
        };
        let cosine = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let labels = directions(8, data.labels());
        let titles = directions(160, data.queries(Split::Train));
        let held_out: Vec<u32> = (20..150).collect();
        let of_title = |i: &u32| {
            let (title, right) = (&titles[*i as usize], *i as usize % 8);
            labels.iter().enumerate().map(move |(l, label)| (cosine(title, label), l == right))
        };
        let points: Vec<(f64, bool)> = held_out.iter().flat_map(of_title).collect();
        let (slope, level) = sigmoid(&points).expect("it rises");
        let question = Question { teacher: &teacher, data: &data, ids: &ids, held_out: &held_out };
        let config = HeadConfig { near_cosine: -1.0, relevance: "sigmoid".into(), ..HeadConfig::default() };
        let soft = SoftTargets::ask(&engine, &question, &config, &mut Silent).expect("asked");
        for label in 0..8 {
            let of = soft.of(&[160 + label as u32]);
            assert_eq!(of.labels.len(), 7, "all labels but its own");
            for (&near, target) in of.labels.iter().zip(of.targets) {
                let want = logistic(slope * cosine(&labels[label], &labels[near as usize]) + level) / 2.0;
                assert!((f64::from(target) - want).abs() < 1e-4, "{label}, {near}: {target}, {want}");
            }
        }
    }

    fn two() -> SoftTargets {
        SoftTargets { first: 3, near: Lists::new([2, 2, 3], vec![1, 2, 0]), targets: vec![0.4, 0.3, 0.25] }
    }

    #[test]
    fn rows_that_are_texts_of_labels_have_their_targets() {
        let of = two().of(&[5, 1, 3]);
        assert_eq!(
            (&of.starts[..], &of.labels[..], &of.targets[..]),
            (&[0, 1, 1, 3][..], &[0, 1, 2][..], &[0.25, 0.4, 0.3][..])
        );
        assert_eq!(of.places(&[0, 1, 2, 9]), [(0, 0.25), (9, 0.4), (10, 0.3)]);
    }

    #[test]
    fn what_does_not_fit_is_not_restored() {
        let soft = two();
        assert_eq!(SoftTargets::restored(soft.state(), 3, 3).as_ref(), Some(&soft));
        assert_eq!(SoftTargets::restored(soft.state(), 3, 4), None, "of other labels");
        let check = |change: fn(&mut SoftState<'_>)| {
            let mut state = soft.state();
            change(&mut state);
            assert_eq!(SoftTargets::restored(state, 3, 3), None);
        };
        check(|state| state.starts.to_mut()[1] = 9);
        check(|state| state.starts.to_mut()[0] = 1);
        check(|state| state.starts.to_mut().clear());
        check(|state| state.labels.to_mut()[2] = 3);
        check(|state| state.labels.to_mut()[1] = 1);
        check(|state| state.targets.to_mut()[1] = 1.5);
        check(|state| state.targets.to_mut()[1] = f32::NAN);
        check(|state| state.targets.to_mut().truncate(2));
    }
}
