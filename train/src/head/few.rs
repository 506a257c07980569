//! How a step learns from a few of the labels: by their weights, and by their texts where these are compared as well
//! (UniDEC; Kharbanda et al., "UniDEC: unified dual encoder and classifier training for extreme multi-label
//! classification", WWW 2025).
//!
//! ```text
//! s_il = x̃_i·w_l                     the classifier: x̃ is x with dropout; cosines for the triplet loss
//! c_il = cos(x_i, z_l)                the dual encoder: z_l the embedding of the label's text in this step
//! L    = (1 − λ) ℓ(s) + λ ℓ(c)        one loss ℓ over one pool of labels,  λ = head.text_share
//! ```
//! With λ = 0, the default, no text of a label is encoded. What a label is to a row, and how many labels it stands
//! for, is the same on both sides; but a label without a text plays no part in ℓ(c).

use super::candidates::Candidates;
use super::live::Live;
use super::shortlist::Shortlist;
use super::soft::OfRows;
use super::{Embedded, Head, Learned, Learning, Tables, dense, norm, tags};
use crate::config::HeadConfig;
use crate::text_ids::{TextIds, is_nameless};
use autograd::{Relevance, RowGrad, Tape, Var};
use data::DataSet;
use engine::{Engine, Stream, Table, Tensor};
use models::losses::set::{SetObjective, SetTerms};
use samplers::{Matrix, TableRows};

/// How a step comes to the labels that it scores.
pub(super) enum Finder {
    /// Hard negatives from lists, and uniform ones.
    Shortlist(Shortlist),
    /// By a search.
    Live(Live),
}

/// The labels that a step scores.
#[derive(Clone)]
pub(crate) struct Found {
    candidates: Candidates,
    /// Soft targets by their places among the scores.
    soft: Vec<(usize, f32)>,
    /// Pairs that may not count.
    masked: usize,
}

/// The labels whose texts stand beside the queries of a batch.
pub(crate) struct Texts {
    pub(crate) found: Found,
    /// The embeddings of their texts `[m, d]`.
    pub(crate) z: Tensor,
}

impl Found {
    /// Labels, one a column, ascending: `[m]`.
    pub(crate) fn labels(&self) -> &[u32] {
        &self.candidates.labels
    }
}

impl Head {
    /// The labels that a step on `rows` scores, where it wants their texts encoded beside the queries.
    pub(crate) fn pool(&self, of: (&DataSet, &TextIds), rows: &[u32], stream: Stream) -> Option<Found> {
        match &self.learning {
            Learning::Few { finder: Finder::Shortlist(list), .. } if self.config.has_texts() => {
                Some(drawn(list, &self.config, of, (rows, stream), None))
            }
            Learning::All { .. } | Learning::Few { .. } => None,
        }
    }
    /// As many labels as [`Head::pool`] finds for such a batch at most, before there are lists to draw from: any that
    /// stand for those of lists.
    pub(crate) fn any_pool(
        &self,
        (data, ids): (&DataSet, &TextIds),
        rows: &[u32],
        stream: Stream,
    ) -> Vec<u32> {
        if !self.config.has_texts() {
            return vec![];
        }
        let (labels, mined) = (data.labels().len() as u64, (rows.len() * self.config.mined) as u64);
        let any: Vec<u32> = (0..mined).map(|i| stream.below(i, labels) as u32).collect();
        Candidates::compose(data, ids, rows, &any, self.config.uniform, stream).labels
    }
}

impl Finder {
    /// The labels that a step scores for a batch whose rows look like `queries`; and the soft targets among its scores,
    /// whose labels are certain to be there.
    fn find(
        &self,
        engine: &Engine,
        config: &HeadConfig,
        batch: &Embedded<'_>,
        (queries, table): (&Tensor, &Table),
        soft: Option<&OfRows>,
    ) -> Found {
        let of = (batch.data, batch.ids);
        match self {
            Finder::Shortlist(list) => drawn(list, config, of, (batch.rows, batch.stream), soft),
            Finder::Live(live) => {
                let queries = queries.to_cpu();
                let queries = Matrix::new(queries.data(), table.width());
                let weights = TableRows { table, factor: None, normalised: config.is_cosine() };
                let (candidates, masked) = live.find(engine, of, batch.rows, (queries, weights));
                Found { candidates, soft: vec![], masked }
            }
        }
    }
}

fn drawn(
    list: &Shortlist,
    config: &HeadConfig,
    (data, ids): (&DataSet, &TextIds),
    (rows, stream): (&[u32], Stream),
    soft: Option<&OfRows>,
) -> Found {
    let [mined, uniform] = [tags::MINED, tags::UNIFORM].map(|tag| stream.with_tag(tag));
    let mut certain = list.draw(rows, config.mined, mined);
    certain.extend(soft.iter().flat_map(|soft| &soft.labels));
    let candidates = Candidates::compose(data, ids, rows, &certain, config.uniform, uniform);
    let soft = soft.map_or(vec![], |soft| soft.places(&candidates.labels));
    let masked = candidates.left_out();
    Found { candidates, soft, masked }
}

/// Learns from a batch whose embeddings are `x`, and `seen` with dropout, on `tape`: moves weights at `rate`, unless a
/// number is not finite.
pub(super) fn learn<'t>(
    (engine, tape): (&Engine, &'t Tape),
    (objective, finder, config): (&dyn SetObjective, &Finder, &HeadConfig),
    batch: &Embedded<'_>,
    (x, seen): (Var<'t>, Var<'t>),
    Tables { weights: table, optimizer }: &mut Tables,
    (soft, rate): (Option<&OfRows>, f32),
) -> Learned {
    let found = match &batch.texts {
        Some(texts) => texts.found.clone(),
        None => finder.find(engine, config, batch, (&seen.value(), table), soft),
    };
    let Found { candidates: Candidates { labels, relevance, omega }, soft, masked } = found;
    let rests = config.labels_rest();
    let gathered = table.gather(engine, &labels).beside(&batch.x);
    let weights = if rests { tape.constant(gathered) } else { tape.leaf(gathered) };
    let scores = match config.is_cosine() {
        true => seen.normalise().matmul_nt(weights.normalise()),
        false => seen.matmul_nt(weights),
    };
    let terms = SetTerms { relevance, omega: Some(omega), soft };
    let by_weights = objective.loss(scores, &terms);
    let texts = batch.texts.as_ref().map(|texts| {
        let z = tape.leaf(texts.z.clone());
        let relevance = with_text(&terms.relevance, batch.data, &labels);
        (z, objective.loss(x.normalise().matmul_nt(z.normalise()), &SetTerms { relevance, ..terms.clone() }))
    });
    let loss = match texts {
        Some((_, by_texts)) => by_weights.scale(1.0 - config.text_share) + by_texts.scale(config.text_share),
        None => by_weights,
    };
    // What is not a number finds nothing, and a row that found nothing has no loss.
    let value = if norm(&seen.value()).is_finite() { loss.value().item() } else { f64::NAN };
    let mut grads = tape.backward_from(loss);
    let dx = dense(engine, grads.take(x));
    let dz = texts.map(|(z, _)| dense(engine, grads.take(z)));
    let is_finite = [Some(&dx), dz.as_ref()].into_iter().flatten().all(|grad| norm(grad).is_finite());
    if !rests && value.is_finite() && is_finite {
        let values = table.bring(&dense(engine, grads.take(weights)));
        let grad = RowGrad { rows: labels, values, table: [table.rows(), table.width()].into() };
        optimizer.step(engine, table, &grad, rate);
    }
    Learned { loss: value, dx, dz, masked: masked as u64, anomaly: tape.anomaly() }
}

/// What the texts of `labels` are to each row: nothing where there is no text.
fn with_text(relevance: &Relevance, data: &DataSet, labels: &[u32]) -> Relevance {
    let has: Vec<bool> = labels.iter().map(|&label| !is_nameless(data, label)).collect();
    let of = |pairs: &[bool]| pairs.iter().zip(has.iter().cycle()).map(|(&pair, &has)| pair && has).collect();
    Relevance { positive: of(&relevance.positive), negative: of(&relevance.negative) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::exec::Record;
    use crate::fixture;
    use crate::observer::Silent;
    use crate::trainer::Trainer;
    use crate::{recipes, run};
    use autograd::{Grad, ParamGrads};
    use std::path::Path;

    /// Titles of which each shares words with others, with `labels` of nine each.
    fn titles(labels: usize) -> (tempfile::TempDir, DataSet) {
        let name = |i: usize| format!("w{} w{}", i % 9, (2 * i + 1) % 9);
        let row = |i: usize| {
            let names: Vec<String> = (0..labels).map(|j| name(i + 4 * j)).collect();
            format!("w{} w{} n{},{}\n", i % 9, (i * i) % 7, i % 5, names.join("|"))
        };
        fixture::csv(&(0..40).map(row).collect::<String>())
    }

    fn assembled(dir: &Path, changes: &[&str]) -> Trainer {
        let mut settings = Settings::default();
        settings.flag("data.path", dir.join("t.lode").to_str().expect("a name"), "DATA").expect("a path");
        let base = ["model.source=bag", "model.width=16", "train.batch=12", "composer.name=shuffled"];
        let set = |change: &&str| settings.set(change).expect("a setting");
        base.iter().chain(changes).for_each(set);
        recipes::apply_defaults(&mut settings).expect("defaults");
        run::assemble(&Engine::new(2), &settings).expect("assembles")
    }

    /// A classifier whose encoder learns, too.
    const HEAD: [&str; 5] = [
        "head.name=classifier",
        "head.loss=supcon",
        "head.labels=sampled",
        "head.encoder_lr=1e-3",
        "head.optimizer=sgd",
    ];

    fn with_head(dir: &Path, share: f64, changes: &[&str]) -> Trainer {
        let mut trainer = assembled(dir, &[&HEAD, changes].concat());
        // Beyond what a user may say: 1 is the texts alone.
        trainer.config.head.text_share = share;
        trainer.head.as_mut().expect("a head").config.text_share = share;
        trainer
    }

    fn flat(trainer: &Trainer, grads: &ParamGrads) -> Vec<f64> {
        let params = &trainer.network.model.params;
        let one = |id| grads.get(id).map_or_else(|| vec![0.0; params.value(id).len()], Grad::to_f64);
        params.ids().flat_map(one).collect()
    }

    /// Loss and gradient of the encoder in the next step; and the weights after it.
    fn stepped(trainer: &mut Trainer) -> (f64, Vec<f64>, Vec<f32>) {
        let rows = trainer.next_batches(&mut Silent).expect("a batch").remove(0);
        let of = (&trainer.data, &trainer.text_ids);
        let pool = trainer.head.as_ref().expect("a head").pool(of, &rows, trainer.stream(0));
        let (texts, places) = trainer.packed(&rows, pool.as_ref().map_or(&[], Found::labels));
        let (learned, grads) = trainer.walk_jointly((&rows, pool.as_ref()), &texts, &places, Record::Checked);
        assert!(learned.anomaly.is_none() && learned.dz.is_some() == pool.is_some());
        (learned.loss, flat(trainer, &grads), trainer.classifier().expect("weights").rows)
    }

    #[track_caller]
    fn assert_near(got: &[f64], want: &[f64], most: f64) {
        let largest = want.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let off = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(got.len() == want.len() && largest > 0.0 && off <= most * largest, "{off} of {largest}");
    }

    #[test]
    fn both_heads_learn_what_each_does_by_its_share() {
        let (dir, _) = titles(2);
        let changes = ["head.mined=2", "head.uniform=3", "train.lr=0.1"];
        let by = |share| stepped(&mut with_head(dir.path(), share, &changes));
        let (weights, texts, both) = (by(0.0), by(1.0), by(0.3));
        assert!(
            (both.0 - 0.7 * weights.0 - 0.3 * texts.0).abs() < 1e-5,
            "{} {} {}",
            both.0,
            weights.0,
            texts.0
        );
        let sum: Vec<f64> = weights.1.iter().zip(&texts.1).map(|(w, t)| 0.7 * w + 0.3 * t).collect();
        assert_near(&both.1, &sum, 1e-5);
        // The texts alone leave the weights as they began, and the classifier's share moves them by so much.
        let moved = |by: &[f32]| -> Vec<f64> {
            by.iter().zip(&texts.2).map(|(after, before)| f64::from(after - before)).collect()
        };
        let alone: Vec<f64> = moved(&weights.2).iter().map(|x| 0.7 * x).collect();
        assert_near(&moved(&both.2), &alone, 1e-3);
    }

    /// Another step of the house, which knows nothing of heads, has the same loss and gradient.
    #[test]
    fn the_texts_alone_teach_what_infonce_over_the_batch_does() {
        let (dir, _) = titles(1);
        let changes = ["head.mined=0", "head.uniform=0", "head.temperature=0.1"];
        let (loss, grad, _) = stepped(&mut with_head(dir.path(), 1.0, &changes));
        let infonce = ["strategy.name=in-batch", "loss.name=infonce", "loss.temperature=0.1"];
        let mut encoder = assembled(dir.path(), &infonce);
        let (want, pulled) = encoder.gradient_of_next_batch(&mut Silent).expect("a gradient");
        assert!((loss - want).abs() < 1e-5 * want, "{loss}, {want}");
        assert_near(&grad, &pulled, 1e-5);
    }

    #[test]
    fn the_gradient_of_both_heads_is_that_of_their_loss() {
        let (dir, _) = titles(2);
        for loss in ["supcon", "decoupled", "bce", "softtopk"] {
            let told = format!("head.loss={loss}");
            let changes =
                [&*told, "head.mined=2", "head.uniform=3", "head.temperature=0.5", "train.lr=1e-30"];
            let mut trainer = with_head(dir.path(), 0.4, &changes);
            let (_, grad, _) = stepped(&mut trainer);
            let square: f64 = grad.iter().map(|g| g * g).sum();
            // Along the gradient the loss changes by its square.
            let far = 0.02 / square.sqrt();
            let mut moved = |sign: f64| {
                let params = &mut trainer.network.model.params;
                let mut grad = grad.iter();
                for id in params.ids().collect::<Vec<_>>() {
                    let value = params.value(id);
                    let by = |x: &f32| x + (sign * far * grad.next().expect("one each")) as f32;
                    let to = Tensor::from_vec(value.shape(), value.data::<f32>().iter().map(by).collect());
                    params.set(id, to);
                }
                stepped(&mut trainer).0
            };
            let (above, below) = (moved(1.0), moved(-2.0));
            let slope = (above - below) / (2.0 * far);
            assert!((slope - square).abs() < 0.02 * square, "{loss}: {slope}, {square}");
        }
    }

    #[test]
    fn chunks_change_no_gradient_of_both_heads() {
        let (dir, _) = titles(2);
        let by = |chunk| {
            let changes = ["model.source=tiny", "model.dropout=0.2", "head.uniform=4", chunk];
            stepped(&mut with_head(dir.path(), 0.5, &changes))
        };
        let (whole, pieces) = (by("train.chunk=0"), by("train.chunk=5"));
        assert!((whole.0 - pieces.0).abs() < 1e-5, "{}, {}", whole.0, pieces.0);
        assert_near(&pieces.1, &whole.1, 1e-5);
    }

    #[test]
    fn equal_texts_of_titles_and_labels_are_encoded_once() {
        let (dir, _) = fixture::csv("red shoe,red  Shoe\nblue boot,boots\nboots,blue boot\n");
        let trainer = with_head(dir.path(), 0.5, &["data.validation_per_mille=0", "train.batch=3"]);
        let (texts, places) = trainer.packed(&[0, 1, 2], &[0, 1, 2]);
        assert_eq!(texts.len(), 3);
        assert_eq!(places, [0, 1, 2, 0, 2, 1], "rows, then labels");
    }

    /// Weights begin at the texts, and nothing is dropped: whatever stands for many does so on both sides.
    #[test]
    fn both_heads_say_the_same_before_weights_have_moved() {
        let (dir, _) = titles(2);
        let changes = ["train.batch=2", "head.mined=0", "head.uniform=1", "head.dropout=0.0"];
        let by = |share| stepped(&mut with_head(dir.path(), share, &changes)).0;
        let (weights, texts) = (by(0.0), by(1.0));
        assert!(weights > 0.1 && (weights - texts).abs() < 1e-5, "{weights}, {texts}");
    }

    #[test]
    fn a_label_without_a_text_is_compared_with_nothing() {
        let positives = "2 3\n1:1\n1:1\n";
        let (dir, data) = fixture::xc("red\n\nblue\n", "red shoe\nblue boot\n", positives, &[]);
        let loss = |share| {
            let changes = ["data.validation_per_mille=0", "train.batch=2", "head.uniform=2"];
            stepped(&mut with_head(dir.path(), share, &changes)).0
        };
        assert!(loss(1.0) == 0.0 && loss(0.0) > 0.0, "{}, {}", loss(1.0), loss(0.0));
        let relevance = Relevance {
            positive: [true, true, false, false, false, true].into(),
            negative: [false, false, true, true, true, false].into(),
        };
        let of_texts = with_text(&relevance, &data, &[0, 1, 2]);
        assert_eq!(*of_texts.positive, [true, false, false, false, false, true]);
        assert_eq!(*of_texts.negative, [false, false, true, true, false, false]);
    }
}
