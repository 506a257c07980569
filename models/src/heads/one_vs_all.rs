//! Binary cross-entropy over all labels, without ever keeping all logits: Renée's shortcut gradient (Jain et al.,
//! "Renée: End-to-end training of extreme classification models", MLSys 2023) in chunks of labels, with the gradient
//! fused into the update (ELMO, Zhang et al., ICML 2025).
//!
//! ```text
//! x [n, d] embeddings, W [L, d] label weights, y_il ∈ {0, 1}, or between them where a teacher has a say
//!
//! L = (1/n) Σ_i Σ_l log(1 + e^{z_il}) − y_il z_il            z = κ X Wᵀ + β
//! for every chunk W_c of labels:
//!     G = (σ(κ X W_cᵀ + β) − Y_c)/n
//!     X̄ ← X̄ + κ G W_c                  by the weights before their update
//!     W_c ← update(W_c, κ Gᵀ X)
//! ```
//! The derivative of the loss is known, so neither the loss nor its graph has to exist: one buffer of n × chunk numbers
//! serves logits and gradients, and ∇W lives for one chunk. X̄ is returned: it is the seed with which the tape of an
//! encoder goes on backward. Three products of 2·n·L·d flops bound it; memory does not depend on L.
//!
//! Embeddings on a device are multiplied there, in bf16 where it was asked to: x, W_c and G are rounded once for their
//! products, W_c not at all where it is kept in bf16 (Renée and ELMO train so). A table that lies on the device, too,
//! is updated there, and no number of it moves; of another one each W_c is sent, ∇W_c comes back, and the table is
//! updated where it lies.

use autograd::{RowGrad, TableOptimizer};
use engine::kernels::bce::Bce;
use engine::kernels::map::{add_to, linear};
use engine::kernels::matmul::{Factor, as_layers_multiply, product};
use engine::{Engine, Mat, Table, Tensor, gemm};

pub use engine::kernels::bce::{Ids, Soft, Truth};

/// Binary cross-entropy over all rows of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneVsAll {
    /// κ: turns a score into a logit.
    pub scale: f64,
    /// β: the logit of a score of 0.
    pub shift: f64,
    /// Labels in a chunk of a table on the CPU.
    pub chunk: usize,
}

/// How many times larger a chunk is where the table lies on a device: a chunk for the caches of a CPU would leave most
/// of its multiprocessors without a tile.
const LARGER: usize = 8;
/// A chunk of a device has a multiple of so many labels, but for a last one of fewer: lines of G then begin where
/// tensor cores can take them.
const LINE: usize = 8;

impl OneVsAll {
    /// Labels in a chunk of a table that lies on a device, or does not.
    pub fn chunk_of(&self, is_on_device: bool) -> usize {
        if is_on_device { LARGER * self.chunk } else { self.chunk }
    }
    /// One step: moves all rows of `table`, and gives the loss before it and X̄ `[n, d]`. None if a number is not
    /// finite: rows of chunks before that one have moved then, and on a device all of them, which is not waited for.
    ///
    /// # Panics
    /// If sizes differ.
    pub fn step(
        &self,
        engine: &Engine,
        table: &mut Table,
        optimizer: &mut dyn TableOptimizer,
        x: &Tensor,
        truth: Truth<'_>,
        rate: f32,
    ) -> Option<(f64, Tensor)> {
        let (n, d, labels) = (x.shape().dim(0), x.shape().last(), table.rows());
        assert_eq!(d, table.width(), "embeddings and label weights differ in width");
        let mut chunks = match x.cuda() {
            Some(_) => {
                let scaled = as_layers_multiply(&linear(engine, x, [self.scale, 0.0]));
                Chunks::Device(scaled, linear(engine, x, [0.0, 0.0]))
            }
            None => Chunks::Cpu(x, Tensor::from_buf([n, d], engine.zeros::<f32>(n * d))),
        };
        let mut bce = Bce::new(n, x, truth, 1.0 / n as f32);
        optimizer.begin();
        let (chunk, mut range) = (self.chunk_of(table.is_on_device()).max(1), 0..0);
        while range.end < labels {
            let first = range.end;
            range = first..labels.min(first + chunk);
            if x.cuda().is_some() && range.len() > LINE {
                range.end -= range.len() % LINE;
            }
            let weights = as_layers_multiply(&table.slice_as_kept(engine, range.clone()).beside(x));
            let mut z = chunks.logits(engine, &weights, self);
            bce.step(engine, &mut z, (first, chunks.shift(self)));
            if !table.is_on_device() && !bce.losses().iter().all(|loss| loss.is_finite()) {
                return None;
            }
            let values = table.bring(&chunks.learn(engine, z, &weights, self));
            let rows = range.clone().map(|label| label as u32).collect();
            optimizer.update(engine, table, &RowGrad { rows, values, table: [labels, d].into() }, rate);
        }
        let loss = bce.losses().iter().sum::<f64>() / n as f64;
        loss.is_finite().then(|| (loss, chunks.dx(engine, self)))
    }
}

/// Where chunks are multiplied: X and X̄ so far; on a device κX and X̄/κ.
enum Chunks<'a> {
    Cpu(&'a Tensor, Tensor),
    Device(Tensor, Tensor),
}

impl Chunks<'_> {
    /// κ X W_cᵀ + β, but for [`Chunks::shift`].
    fn logits(&self, engine: &Engine, weights: &Tensor, head: &OneVsAll) -> Tensor {
        match self {
            Chunks::Cpu(x, _) => {
                let (n, width) = (x.shape().dim(0), weights.shape().dim(0));
                let mut z = engine.buffer::<f32>(n * width);
                z.fill(head.shift as f32);
                gemm(engine, head.scale as f32, mat(x), mat(weights).t(), 1.0, &mut z);
                Tensor::from_buf([n, width], z)
            }
            Chunks::Device(x, _) => product(engine, Factor::new(x), Factor::new(weights).t()),
        }
    }
    /// What is still to be added to logits.
    fn shift(&self, head: &OneVsAll) -> f32 {
        match self {
            Chunks::Cpu(..) => 0.0,
            Chunks::Device(..) => head.shift as f32,
        }
    }
    /// Adds κ G W_c to X̄, and gives κ Gᵀ X.
    fn learn(&mut self, engine: &Engine, g: Tensor, weights: &Tensor, head: &OneVsAll) -> Tensor {
        match self {
            Chunks::Cpu(x, dx) => {
                let (scale, [width, d]) = (head.scale as f32, [0, 1].map(|i| weights.shape().dim(i)));
                gemm(engine, scale, mat(&g), mat(weights), 1.0, dx.data_mut());
                let mut dw = engine.buffer::<f32>(width * d);
                gemm(engine, scale, mat(&g).t(), mat(x), 0.0, &mut dw);
                Tensor::from_buf([width, d], dw)
            }
            Chunks::Device(x, dx) => {
                let g = {
                    let rounded = as_layers_multiply(&g);
                    drop(g);
                    rounded
                };
                add_to(engine, dx, &product(engine, Factor::new(&g), Factor::new(weights)));
                product(engine, Factor::new(&g).t(), Factor::new(x))
            }
        }
    }
    fn dx(self, engine: &Engine, head: &OneVsAll) -> Tensor {
        match self {
            Chunks::Cpu(_, dx) => dx,
            Chunks::Device(_, dx) => linear(engine, &dx, [head.scale, 0.0]),
        }
    }
}

fn mat(x: &Tensor) -> Mat<'_, f32> {
    Mat::new(x.data::<f32>(), x.shape().dim(0), x.shape().last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::set::{Bce, SetObjective, SetTerms};
    use autograd::{LazyAdamW, Relevance, SgdRows, Tape};
    use engine::{Home, Stream, TablePrecision};

    const N: usize = 9;
    const D: usize = 5;
    const L: usize = 140;

    fn draw(n: usize, tag: u64) -> Vec<f32> {
        (0..n as u64).map(|i| 2.0 * Stream::new(4, tag).uniform(i) as f32 - 1.0).collect()
    }
    /// Rows 0..N with some ids each; row 4 has none.
    fn ids(rest: u64) -> (Vec<usize>, Vec<u32>) {
        let (mut starts, mut items) = (vec![0], vec![]);
        for i in 0..N as u64 {
            let one = (0..L as u64).filter(|l| i != 4 && (5 * l + i) % 17 == rest).map(|l| l as u32);
            items.extend(one);
            starts.push(items.len());
        }
        (starts, items)
    }
    /// Numbers between 0 and 1.
    fn targets(n: usize) -> Vec<f32> {
        draw(n, 3).into_iter().map(f32::abs).collect()
    }
    fn table() -> Table {
        let mut table = Table::zeros(L, D);
        table.data_mut().copy_from_slice(&draw(L * D, 2));
        table
    }
    /// Loss, X̄ and the weights after a step.
    fn step(engine: &Engine, chunk: usize, optimizer: &mut dyn TableOptimizer) -> (f64, Tensor, Table) {
        let ((ps, pi), (ls, li), (ss, si)) = (ids(3), ids(9), ids(5));
        let targets = targets(si.len());
        let truth = Truth {
            positives: Ids { starts: &ps, items: &pi },
            left_out: Ids { starts: &ls, items: &li },
            soft: Some(Soft { ids: Ids { starts: &ss, items: &si }, targets: &targets }),
        };
        let (mut table, x) = (table(), Tensor::from_vec([N, D], draw(N * D, 1)));
        let head = OneVsAll { scale: 3.0, shift: -2.0, chunk };
        let (loss, dx) = head.step(engine, &mut table, optimizer, &x, truth, 0.25).expect("finite");
        (loss, dx, table)
    }

    /// The tape, which keeps everything, is the oracle.
    #[test]
    fn the_shortcut_is_the_gradient_of_the_tape() {
        let ((ps, pi), (ls, li), (ss, si)) = (ids(3), ids(9), ids(5));
        let mark = |starts: &[usize], items: &[u32]| {
            let mut marks = vec![false; N * L];
            for i in 0..N {
                items[starts[i]..starts[i + 1]].iter().for_each(|&l| marks[i * L + l as usize] = true);
            }
            marks
        };
        let (positive, out) = (mark(&ps, &pi), mark(&ls, &li));
        assert!(!positive.iter().zip(&out).any(|(p, o)| *p && *o), "a positive is not left out");
        let negative: Vec<bool> = out.iter().map(|o| !o).collect();
        let relevance = Relevance { positive: positive.into(), negative: negative.into() };
        let tape = Tape::new(&Engine::poisoned(1));
        let x = tape.leaf(Tensor::from_vec([N, D], draw(N * D, 1)));
        let w = tape.leaf(Tensor::from_vec([L, D], draw(L * D, 2)));
        let row = |k: usize| ss.partition_point(|&start| start <= k) - 1;
        let soft = si.iter().enumerate().map(|(k, &l)| row(k) * L + l as usize);
        let soft = soft.zip(targets(si.len())).collect();
        let terms = SetTerms { relevance, omega: None, soft };
        let loss = Bce { scale: 3.0, shift: -2.0 }.loss(x.matmul_nt(w), &terms);
        let want = loss.value().item();
        let grads = tape.backward_from(loss);
        let near = |got: &[f64], want: &[f64]| got.iter().zip(want).all(|(g, w)| (g - w).abs() < 2e-5);
        for chunk in [L, 64, 1] {
            let (got, dx, after) = step(&Engine::poisoned(2), chunk, &mut SgdRows::new());
            assert!((got - want).abs() < 1e-4 * want, "{got} is not {want}");
            assert!(near(&dx.to_f64(), &grads.of(x).to_f64()), "X̄ in chunks of {chunk}");
            let moved = table()
                .data()
                .iter()
                .zip(after.data())
                .map(|(a, b)| f64::from(a - b) / 0.25)
                .collect::<Vec<_>>();
            assert!(near(&moved, &grads.of(w).to_f64()), "W̄ in chunks of {chunk}");
        }
    }

    #[test]
    fn chunks_of_one_step_share_its_number_and_threads_change_no_bit() {
        let run = |threads, chunk| {
            let mut adam = LazyAdamW::new(&table(), &Home::Heap).expect("heap");
            let (_, dx, after) = step(&Engine::new(threads), chunk, &mut adam);
            (adam.steps(), dx.to_f64(), after.data().to_vec())
        };
        assert_eq!(run(1, 64), run(3, 64));
        // One step of Adam moves by its rate, whatever the chunk: the bias correction is that of step 1.
        let (steps, _, after) = run(1, 16);
        assert_eq!(steps, 1);
        let moves = table().data().iter().zip(&after).map(|(a, b)| (a - b).abs()).collect::<Vec<_>>();
        assert!(moves.iter().all(|m| (m - 0.25).abs() < 1e-3), "{moves:?}");
    }

    #[test]
    fn a_number_that_is_not_finite_stops_the_step() {
        let (starts, mut weights) = (vec![0; N + 1], table());
        weights.data_mut()[100 * D] = f32::NAN;
        let before = weights.data()[100 * D + 1..].to_vec();
        let nobody = Ids { starts: &starts, items: &[] };
        let head = OneVsAll { scale: 1.0, shift: 0.0, chunk: 64 };
        let truth = Truth { positives: nobody, left_out: nobody, soft: None };
        let x = Tensor::from_vec([N, D], draw(N * D, 1));
        let got = head.step(&Engine::new(1), &mut weights, &mut SgdRows::new(), &x, truth, 0.1);
        assert!(got.is_none() && weights.data()[100 * D + 1..] == before);
    }

    #[test]
    fn weights_of_bf16_learn_too() {
        let precision = TablePrecision::Bf16(Stream::new(1, 1));
        let mut weights = Table::zeros_in(&Home::Heap, precision, L, D).expect("heap");
        let (engine, (starts, items)) = (Engine::new(2), ids(3));
        let none = vec![0; N + 1];
        let truth = Truth {
            positives: Ids { starts: &starts, items: &items },
            left_out: Ids { starts: &none, items: &[] },
            soft: None,
        };
        let (x, head) =
            (Tensor::from_vec([N, D], draw(N * D, 1)), OneVsAll { scale: 3.0, shift: -2.0, chunk: 50 });
        let mut adam = LazyAdamW::new(&weights, &Home::Heap).expect("heap");
        let mut loss = || head.step(&engine, &mut weights, &mut adam, &x, truth, 0.05).expect("finite").0;
        let first = loss();
        let last = (0..60).map(|_| loss()).last().expect("steps");
        assert!(last < 0.5 * first, "{first}, then {last}");
    }
}
