//! Who was looked at: a model of selection that learns beside the encoder, and what it makes of pairs that nobody gave
//! (after the idea of CET: Cai, Guo, Fan, Ai, Zhang, Cheng, "Hard negatives or false negatives: correcting pooling bias
//! in training neural ranking models", CIKM 2022).
//!
//! A pair is given where it is right *and* somebody looked at it; a pair that is not given is not therefore wrong.
//!
//! ```text
//! ρ = σ(k (s − m)/τ)    right, by the encoder: s is the cosine as it is now; k and m learn what it is worth
//! η = σ(t(f))           looked at, by two layers over f:       t = w₂·tanh(W₁ f + b₁) + b₂
//!     f = what the guide scores, in standard deviations from the mean of the row;  ln(1 + queries of the label)
//!
//! P(given) = ρη         L = −ln ρ_+ η_+ − Σ_u ln(1 − ρ_u η_u)      what k, m and t learn from, a mean over rows
//! a_u = P(wrong | not given) = (1 − ρ_u)/(1 − ρ_u η_u)             the weight ω of a negative, at least `least`
//! ```
//! Where everything that is near was looked at, η is 1 and so is a: hard negatives count in full. Where nobody looked,
//! a is 1 − ρ: what the encoder takes for right by what it learned elsewhere is not held against it. The gradient of L
//! is that of expectation maximisation, each of the two weighing what the other learns from.
//!
//! Pairs count alike in L, however many positives a query has; of an accumulated step each batch moves it once.
//!
//! The paper's form of the weights could not be read; this is our construction. The selection model sees what the guide
//! sees and no text, since two models of the same input could trade their parts.

use super::{State, unfit};
use crate::batch::Batch;
use crate::config::SelectionConfig;
use crate::observer::Observer;
use crate::trainer::Trainer;
use autograd::optim::{AdamW, AdamWOptions, Optimizer};
use autograd::{ParamId, Params, Tape, Var};
use engine::{Engine, Result, Stream, Tensor};
use models::Terms;

/// Numbers that are known of a pair.
const FEATURES: usize = 2;
/// How its parameters and the state of their optimizer are called in a checkpoint.
const NAME: &str = "selection.";

/// The selection model.
pub(crate) struct Selection {
    config: SelectionConfig,
    /// τ of the loss.
    temperature: f32,
    /// Of each label, ln(1 + training queries), in standard deviations from the mean of all labels, `[L]`.
    frequency: Vec<f32>,
    params: Params,
    optimizer: AdamW,
}

/// What a step saw of the pairs of its rows.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// The rows' positives.
    given: Pairs,
    /// The pairs that nobody gave.
    others: Pairs,
}

/// Pairs of a query and a label.
#[derive(Debug, Default, PartialEq)]
struct Pairs {
    /// s/τ, `[pairs]`.
    scores: Vec<f32>,
    /// f, `[pairs, 2]`.
    features: Vec<f32>,
}

impl Selection {
    /// One that takes half of all pairs for looked at. `frequencies` are the training queries of each label.
    pub(super) fn new(
        config: &SelectionConfig,
        temperature: f64,
        frequencies: &[u32],
        stream: Stream,
    ) -> Selection {
        let hidden = config.hidden;
        // Rows of W₁ are directions in the plane of the features, and bends lie where the features do.
        let first =
            (0..hidden as u64 * 3).map(|i| 2.0 * stream.uniform(i) as f32 - 1.0).collect::<Vec<f32>>();
        let (weights, biases) = first.split_at(hidden * FEATURES);
        let mut params = Params::default();
        params.add("in.weight", Tensor::from_vec([hidden, FEATURES], weights.to_vec()), false);
        params.add("in.bias", Tensor::from_vec([hidden], biases.to_vec()), false);
        params.add("out.weight", Tensor::from_vec([1, hidden], vec![0.0f32; hidden]), false);
        params.add("out.bias", Tensor::from_vec([1], vec![0.0f32]), false);
        params.add("right.scale", Tensor::from_vec([1], vec![1.0f32]), false);
        params.add("right.middle", Tensor::from_vec([1], vec![(0.5 / temperature) as f32]), false);
        let mut frequency: Vec<f32> = frequencies.iter().map(|&n| (n as f32).ln_1p()).collect();
        standardise(&mut frequency);
        let optimizer = AdamW::new(AdamWOptions { weight_decay: 0.0, ..AdamWOptions::default() });
        Selection { config: *config, temperature: temperature as f32, frequency, params, optimizer }
    }
    /// The features of all pairs of a batch, `[n, U, 2]`, from what the guide scores, `[n, C]`, C ≥ U.
    fn features(&self, batch: &Batch, guide: &Tensor) -> Vec<f32> {
        let columns = batch.labels.len();
        let mut all = Vec::with_capacity(batch.rows.len() * columns * FEATURES);
        for row in guide.data::<f32>().chunks_exact(guide.shape().last()) {
            let mut scores = row[..columns].to_vec();
            standardise(&mut scores);
            let of_labels = batch.labels.iter().map(|&label| self.frequency[label as usize]);
            all.extend(scores.into_iter().zip(of_labels).flat_map(|(score, frequency)| [score, frequency]));
        }
        all
    }
    /// The logit of ρ for these cosines over τ, `[pairs]`: k (s/τ − m/τ).
    fn right<'t>(&self, tape: &'t Tape, scores: &[f32]) -> Var<'t> {
        let [.., scale, middle] = self.ids().map(|id| tape.param(&self.params, id));
        (tape.constant(Tensor::from_vec([scores.len()], scores.to_vec())) - middle) * scale
    }
    /// t, the logit of η, for these features, `[pairs]`.
    fn looked_at<'t>(&self, tape: &'t Tape, features: &[f32]) -> Var<'t> {
        let pairs = features.len() / FEATURES;
        let [w1, b1, w2, b2, ..] = self.ids().map(|id| tape.param(&self.params, id));
        let features = tape.constant(Tensor::from_vec([pairs, FEATURES], features.to_vec()));
        features.linear(w1, Some(b1)).tanh().linear(w2, Some(b2)).reshape([pairs])
    }
    fn ids(&self) -> [ParamId; 6] {
        let mut ids = self.params.ids();
        std::array::from_fn(|_| ids.next().expect("six parameters"))
    }
    /// ω of the terms is multiplied by a, once the warm-up is over.
    ///
    /// # Panics
    /// If the terms have no guide's scores.
    pub(super) fn weigh(
        &self,
        engine: &Engine,
        batch: &Batch,
        scores: &Tensor,
        epoch: u32,
        terms: &mut Terms,
    ) {
        if epoch < self.config.warmup_epochs {
            return;
        }
        let guide = terms.teacher.as_ref().expect("checked with the configuration: there is a guide");
        let (columns, width) = (batch.labels.len(), scores.shape().last());
        let tape = Tape::inference(engine);
        let scaled: Vec<f32> = scores.data::<f32>().iter().map(|s| s / self.temperature).collect();
        let right = self.right(&tape, &scaled).sigmoid().value();
        let looked_at = self.looked_at(&tape, &self.features(batch, guide)).sigmoid().value();
        let (right, looked_at) = (right.data::<f32>(), looked_at.data::<f32>());
        let mut weights = match &terms.weight {
            Some(weights) => weights.data::<f32>().to_vec(),
            None => vec![1.0; scores.len()],
        };
        for (i, &target) in terms.targets.iter().enumerate() {
            for j in (0..columns).filter(|&j| j != target as usize) {
                let wrong = posterior(right[i * width + j], looked_at[i * columns + j]);
                weights[i * width + j] *= wrong.max(self.config.least as f32);
            }
        }
        terms.weight = Some(Tensor::from_vec(scores.shape(), weights));
    }
    /// What is learned from a batch: its positives, and the pairs that its loss took for negatives.
    pub(super) fn see(&self, batch: &Batch, scores: &Tensor, terms: &Terms) -> Seen {
        let guide = terms.teacher.as_ref().expect("checked with the configuration: there is a guide");
        let (features, columns, width) =
            (self.features(batch, guide), batch.labels.len(), scores.shape().last());
        let mut seen = Seen::default();
        for (i, row) in scores.data::<f32>().chunks_exact(width).enumerate() {
            let target = terms.targets[i] as usize;
            for j in (0..columns).filter(|&j| j == target || terms.keep[i * width + j]) {
                let pairs = if j == target { &mut seen.given } else { &mut seen.others };
                pairs.scores.push(row[j] / self.temperature);
                pairs.features.extend_from_slice(&features[(i * columns + j) * FEATURES..][..FEATURES]);
            }
        }
        seen
    }
    /// One step against L.
    pub(super) fn learn(&mut self, engine: &Engine, seen: &Seen) {
        let rows = seen.given.scores.len();
        if rows == 0 {
            return;
        }
        let tape = Tape::new(engine);
        let loss = self.loss(&tape, seen).scale(1.0 / rows as f64);
        let grads = tape.backward_from(loss).into_params();
        drop(tape);
        self.optimizer.step(engine, &mut self.params, &grads, self.config.rate as f32);
    }
    /// L, summed over rows. With the logits x of ρ and t of η, −ln(1 − ρη) is ln(1 + eᵗ) − ln(1 + eᵗ/(1 + eˣ)), in
    /// which no ρ or η near 1 comes to ln 0.
    fn loss<'t>(&self, tape: &'t Tape, seen: &Seen) -> Var<'t> {
        let logits = |pairs: &Pairs| (self.right(tape, &pairs.scores), self.looked_at(tape, &pairs.features));
        let (right, looked_at) = logits(&seen.given);
        let given = right.scale(-1.0).softplus().sum() + looked_at.scale(-1.0).softplus().sum();
        if seen.others.scores.is_empty() {
            return given;
        }
        let (right, looked_at) = logits(&seen.others);
        given + (looked_at.softplus() - (looked_at - right.softplus()).softplus()).sum()
    }
    pub(super) fn state(&self) -> Vec<(String, Tensor)> {
        let params =
            self.params.ids().map(|id| (self.params.name(id).to_owned(), self.params.value(id).clone()));
        params
            .chain(self.optimizer.state(&self.params))
            .map(|(name, value)| (format!("{NAME}{name}"), value))
            .collect()
    }
    /// # Errors
    /// If something is missing or does not fit.
    pub(super) fn restore(&mut self, state: &mut State) -> Result<()> {
        for id in self.params.ids() {
            let name = format!("{NAME}{}", self.params.name(id));
            let value = state.take(&name)?;
            if value.shape() != self.params.value(id).shape() {
                return Err(unfit(&name));
            }
            self.params.set(id, value);
        }
        self.optimizer.restore(&self.params, state.take_all(NAME))
    }
    /// Bytes that it takes beside a batch of so many pairs: their features, twice, and two layers forth and back.
    pub(super) fn bytes(&self, pairs: usize) -> usize {
        4 * (pairs * (3 * FEATURES + 4 * self.config.hidden + 16) + self.frequency.len())
    }
}

impl Trainer {
    /// How likely the selection model finds it that somebody looked at the pairs of the next batch: query, label and η
    /// of each, known positives among them. Nothing is learned; for tests and for the curious.
    ///
    /// # Errors
    /// If the observer wants to stop while texts are embedded.
    ///
    /// # Panics
    /// If the run has no selection model.
    pub fn looked_at_in_next_batch(&mut self, observer: &mut dyn Observer) -> Result<Vec<(u32, u32, f32)>> {
        let batches = self.next_batches(observer)?;
        let batch = Batch::compose(self.source(), &batches[0], self.stream(0));
        let guide = self.taught(&batch)?.expect("checked with the configuration: there is a guide");
        let selection = self.memory.selection.as_ref().expect("the run has a selection model");
        let tape = Tape::inference(&self.engine);
        let looked_at = selection.looked_at(&tape, &selection.features(&batch, &guide)).sigmoid().value();
        let pairs =
            batch.rows.iter().flat_map(|&query| batch.labels.iter().map(move |&label| (query, label)));
        Ok(pairs.zip(looked_at.data::<f32>()).map(|((query, label), &eta)| (query, label, eta)).collect())
    }
}

/// a = (1 − ρ)/(1 − ρη): how likely a pair is wrong that nobody gave. It is 1 where both are certain.
fn posterior(right: f32, looked_at: f32) -> f32 {
    let not_given = 1.0 - right * looked_at;
    if not_given > 0.0 { (1.0 - right) / not_given } else { 1.0 }
}

/// Takes the mean off and divides by the standard deviation; zeros where all are the same.
fn standardise(values: &mut [f32]) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let deviation = (values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n).sqrt();
    let scale = if deviation > 1e-6 { 1.0 / deviation } else { 0.0 };
    values.iter_mut().for_each(|x| *x = ((f64::from(*x) - mean) * scale) as f32);
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn selection(hidden: usize, rate: f64) -> Selection {
        let config = SelectionConfig { rate, hidden, warmup_epochs: 1, least: 0.05 };
        Selection::new(&config, 0.5, &[3, 0, 3, 9], Stream::new(5, 0))
    }

    /// Rows of queries 4 and 5 against labels 0, 2 and 3, of which 2 and 3 are their positives.
    fn batch() -> Batch {
        testing::batch(vec![0, 2, 3], [1, 2])
    }

    fn terms(keep: [bool; 6], guide: [f32; 6]) -> Terms {
        Terms {
            targets: [1, 2].into(),
            keep: keep.into(),
            weight: None,
            shift: None,
            row_weight: None,
            teacher: Some(Tensor::from_vec([2, 3], guide.to_vec())),
            soft: None,
        }
    }

    #[test]
    fn what_nobody_gave_is_wrong_by_bayes_rule() {
        // P(given) = ρη; P(wrong and not given) = 1 − ρ.
        assert!((posterior(0.5, 0.5) - 0.5 / 0.75).abs() < 1e-7);
        assert_eq!([posterior(0.0, 0.3), posterior(0.9, 1.0), posterior(1.0, 1.0)], [1.0; 3]);
        assert!((posterior(0.9, 0.0) - 0.1).abs() < 1e-6, "where nobody looks the encoder is believed");
    }

    /// ρ = σ(2 (s/τ − 1)), and η = 0.75 of all pairs.
    fn told(mut selection: Selection) -> Selection {
        for (name, value) in [("right.scale", 2.0), ("right.middle", 1.0), ("out.bias", 3.0f32.ln())] {
            let id = selection.params.find(name).expect("a parameter");
            selection.params.set(id, Tensor::from_vec([1], vec![value]));
        }
        selection
    }

    fn sigma(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    #[test]
    fn after_the_warm_up_negatives_weigh_their_posterior_and_targets_one() {
        let (engine, selection) = (Engine::new(1), told(selection(2, 1e-3)));
        let scores = Tensor::from_vec([2, 3], vec![0.5f32, 0.2, -0.3, 9.0, 0.1, 0.0]);
        let mut terms = terms([true; 6], [0.0; 6]);
        selection.weigh(&engine, &batch(), &scores, 0, &mut terms);
        assert!(terms.weight.is_none(), "the warm-up");
        selection.weigh(&engine, &batch(), &scores, 1, &mut terms);
        // τ is 0.5.
        let a = |s: f64| (1.0 - sigma(4.0 * s - 2.0)) / (1.0 - 0.75 * sigma(4.0 * s - 2.0));
        let want = [a(0.5), 1.0, a(-0.3), 0.05, a(0.1), 1.0];
        let got = terms.weight.clone().expect("weights");
        got.data::<f32>()
            .iter()
            .zip(want)
            .for_each(|(g, w)| assert!((f64::from(*g) - w).abs() < 1e-6, "{g} {w}"));
        // What others weighed is kept.
        selection.weigh(&engine, &batch(), &scores, 1, &mut terms);
        let twice = terms.weight.expect("weights");
        assert!((f64::from(twice.data::<f32>()[0]) - a(0.5).powi(2)).abs() < 1e-6);
    }

    #[test]
    fn a_guide_is_heard_in_deviations_of_its_row_and_labels_in_those_of_their_frequency() {
        let (selection, keep) = (selection(2, 1e-3), [true, true, false, true, true, true]);
        let scores = Tensor::from_vec([2, 3], vec![0.5f32, 0.1, 7.0, 0.2, 0.3, 0.4]);
        let seen = selection.see(&batch(), &scores, &terms(keep, [1.0, 2.0, 3.0, 7.0, 7.0, 7.0]));
        // ln 4, 0, ln 4, ln 10 have the mean m and the deviation s.
        let logs = [4.0f64.ln(), 0.0, 4.0f64.ln(), 10.0f64.ln()];
        let m = logs.iter().sum::<f64>() / 4.0;
        let s = (logs.iter().map(|x| (x - m).powi(2)).sum::<f64>() / 4.0).sqrt();
        let of = |label: usize| (logs[label] - m) / s;
        let near = |got: &[f32], want: &[f64]| {
            assert_eq!(got.len(), want.len());
            got.iter()
                .zip(want)
                .for_each(|(g, w)| assert!((f64::from(*g) - w).abs() < 1e-6, "{got:?} {want:?}"));
        };
        near(&seen.given.features, &[0.0, of(2), 0.0, of(3)]);
        near(&seen.given.scores, &[0.2, 0.8]);
        // The masked column of the first row is not learned from.
        near(&seen.others.features, &[-(1.5f64.sqrt()), of(0), 0.0, of(0), 0.0, of(2)]);
        near(&seen.others.scores, &[1.0, 0.4, 0.6]);
    }

    #[test]
    fn its_gradient_is_that_of_expectation_maximisation() {
        let (engine, selection) = (Engine::new(1), told(selection(1, 1e-3)));
        let pairs = |scores: Vec<f32>| Pairs { features: vec![0.0; 2 * scores.len()], scores };
        let seen = Seen { given: pairs(vec![1.5, 1.0]), others: pairs(vec![1.2, -3.0, 4.0]) };
        let tape = Tape::new(&engine);
        let loss = selection.loss(&tape, &seen);
        let eta = 0.75;
        let rho = |s: f64| sigma(2.0 * (s - 1.0));
        let given: f64 = [1.5, 1.0].iter().map(|&s| -(rho(s) * eta).ln()).sum();
        let others: f64 = [1.2, -3.0, 4.0].iter().map(|&s| -(1.0 - rho(s) * eta).ln()).sum();
        assert!((loss.value().item() - given - others).abs() < 1e-5);
        let grads = tape.backward_from(loss).into_params();
        let got = |name: &str| {
            let id = selection.params.find(name).expect("a parameter");
            grads.get(id).expect("a gradient").to_f64()[0]
        };
        // E-step: how likely a pair that nobody gave was looked at, or is right; M-step: the gradients of two logistic
        // regressions whose targets these are.
        let missed = |s: f64, of: f64, other: f64| of * (1.0 - other) / (1.0 - rho(s) * eta);
        let of_t: f64 = [1.2, -3.0, 4.0].iter().map(|&s| eta - missed(s, eta, rho(s))).sum();
        assert!((got("out.bias") - (of_t + 2.0 * (eta - 1.0))).abs() < 1e-5);
        let of_x: f64 = [1.2, -3.0, 4.0].iter().map(|&s| rho(s) - missed(s, rho(s), eta)).sum();
        let of_x = of_x + rho(1.5) + rho(1.0) - 2.0;
        // x = 2 (s − m).
        assert!((got("right.middle") + 2.0 * of_x).abs() < 1e-5);
    }

    #[test]
    fn it_finds_where_somebody_looked_and_what_a_cosine_is_worth() {
        let (engine, mut selection) = (Engine::new(1), selection(8, 0.03));
        // Right pairs lie at cosines above 0.2, and were given where the guide's score is above 0.
        let draw = Stream::new(6, 0);
        for step in 0..600 {
            let (at, mut seen) = (draw.at_step(step), Seen::default());
            for i in 0..60 {
                let place = 4.0 * at.uniform(2 * i) as f32 - 2.0;
                let cosine = 2.0 * at.uniform(2 * i + 1) as f32 - 1.0;
                let pairs = if cosine > 0.2 && place > 0.0 { &mut seen.given } else { &mut seen.others };
                pairs.features.extend([place, 0.0]);
                pairs.scores.push(cosine / selection.temperature);
            }
            selection.learn(&engine, &seen);
        }
        let tape = Tape::inference(&engine);
        let eta = selection.looked_at(&tape, &[1.0, 0.0, -1.0, 0.0]).sigmoid().value();
        let rho = selection.right(&tape, &[1.0, -0.2]).sigmoid().value();
        let (eta, rho) = (eta.data::<f32>(), rho.data::<f32>());
        assert!(eta[0] > 0.9 && eta[1] < 0.1 && rho[0] > 0.9 && rho[1] < 0.1, "{eta:?} {rho:?}");
    }

    #[test]
    fn what_is_saved_goes_on_as_it_would_have() {
        let (engine, mut one) = (Engine::new(1), selection(4, 0.01));
        let given = Pairs { scores: vec![1.3], features: vec![1.0, 0.5] };
        let seen =
            Seen { given, others: Pairs { scores: vec![0.7, -0.1], features: vec![-1.0, 0.0, 0.3, 0.2] } };
        (0..3).for_each(|_| one.learn(&engine, &seen));
        let copied = |t: &Tensor| Tensor::from_vec(t.shape(), t.data::<f32>().to_vec());
        let state: Vec<(String, Tensor)> = one
            .state()
            .into_iter()
            .map(|(n, t)| {
                let t = if n.ends_with("steps") { t } else { copied(&t) };
                (n, t)
            })
            .collect();
        let mut other = selection(4, 0.01);
        let mut from = State(state.clone());
        other.restore(&mut from).expect("it fits");
        assert!(from.0.is_empty());
        drop((state, from));
        [&mut one, &mut other].into_iter().for_each(|s| s.learn(&engine, &seen));
        let bits = |s: &Selection| -> Vec<u32> {
            s.params
                .ids()
                .flat_map(|id| s.params.value(id).data::<f32>().to_vec())
                .map(f32::to_bits)
                .collect()
        };
        assert_eq!(bits(&one), bits(&other));
        let error =
            selection(5, 0.01).restore(&mut State(one.state())).expect_err("another width").to_string();
        assert!(error.contains("selection.in.weight"), "{error}");
    }
}
