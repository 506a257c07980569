//! Losses on a device (`kernels/{losses,triplets}.cu`): the arms of `kernels/{softmax_loss,decoupled_softmax,
//! soft_top_k,top_k,triplet,multi_triplet,bce}.rs`. Masks and ids are sent with the call.

use super::{Block, Cuda, args};
use crate::kernels::bce::{Ids, Truth};
use crate::kernels::decoupled_softmax::DecoupledSoftmax;
use crate::kernels::multi_triplet::MultiTriplet;
use crate::kernels::relevance::Relevance;
use crate::kernels::soft_top_k::SoftTopK;
use crate::kernels::softmax_loss::{SoftmaxLoss, Target};
use crate::kernels::triplet::{Triplet, Weighting};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// What a softmax loss brings along, on the device.
struct Constants {
    keep: Option<Block>,
    omega: Option<Tensor>,
    beta: Option<Tensor>,
    target: Option<Tensor>,
    columns: Option<Block>,
}

impl Constants {
    fn new(cuda: &Cuda, s: Shape, loss: &SoftmaxLoss) -> Constants {
        let numbers = |x: &Tensor| {
            assert_eq!(x.shape(), s, "a constant of a softmax loss has another shape than the scores");
            cuda.here(x)
        };
        let (target, columns) = match &loss.target {
            Target::Column(columns) => {
                let fits = columns.len() == s.rows() && columns.iter().all(|&c| (c as usize) < s.last());
                assert!(fits, "softmax_loss: a target column for every row");
                (None, Some(cuda.send(columns)))
            }
            Target::Distribution(t) => (Some(numbers(t)), None),
        };
        assert!(
            loss.keep.as_ref().is_none_or(|k| k.len() == s.len()),
            "softmax_loss: one flag for each score"
        );
        Constants {
            keep: loss.keep.as_ref().map(|keep| cuda.send(keep)),
            omega: loss.omega.as_ref().map(numbers),
            beta: loss.beta.as_ref().map(numbers),
            target,
            columns,
        }
    }
}

pub(crate) fn softmax_loss(cuda: &Cuda, s: &Tensor, loss: &SoftmaxLoss) -> (Tensor, Tensor) {
    let (n, m, c) = (s.shape().rows(), s.shape().last(), Constants::new(cuda, s.shape(), loss));
    let (losses, log_z) = (cuda.floats([n]), cuda.floats([n]));
    cuda.rows(
        "softmax_loss",
        n,
        args![losses, log_z, s, c.keep, c.omega, c.beta, c.target, c.columns, m, loss.scale as f32],
    );
    (losses, log_z)
}

pub(crate) fn softmax_loss_back(
    cuda: &Cuda,
    s: &Tensor,
    log_z: &Tensor,
    g: &Tensor,
    loss: &SoftmaxLoss,
) -> Tensor {
    let (n, m, c) = (s.shape().rows(), s.shape().last(), Constants::new(cuda, s.shape(), loss));
    let (ds, g) = (cuda.floats(s.shape()), cuda.here(g));
    cuda.rows(
        "softmax_loss_back",
        n,
        args![ds, log_z, g, s, c.keep, c.omega, c.beta, c.target, c.columns, m, loss.scale as f32],
    );
    ds
}

/// The marks of all scores.
fn marks(cuda: &Cuda, s: &Tensor, relevance: &Relevance) -> [Block; 2] {
    assert!(relevance.fits(s.len()), "positives and negatives have one entry for every score");
    [&relevance.positive, &relevance.negative].map(|marks| cuda.send(marks))
}

pub(crate) fn decoupled_softmax(cuda: &Cuda, s: &Tensor, loss: &DecoupledSoftmax) -> (Tensor, Tensor) {
    let (n, m, [positive, negative]) = (s.shape().rows(), s.shape().last(), marks(cuda, s, &loss.relevance));
    let (losses, log_n) = (cuda.floats([n]), cuda.floats([n]));
    let omega = loss.omega.as_ref().map(|x| cuda.here(x));
    let scale = loss.scale as f32;
    cuda.rows("decoupled_softmax", n, args![losses, log_n, s, positive, negative, omega, m, scale]);
    (losses, log_n)
}

pub(crate) fn decoupled_softmax_back(
    cuda: &Cuda,
    s: &Tensor,
    log_n: &Tensor,
    g: &Tensor,
    loss: &DecoupledSoftmax,
) -> Tensor {
    let (n, m, [positive, negative]) = (s.shape().rows(), s.shape().last(), marks(cuda, s, &loss.relevance));
    let (ds, g, scale) = (cuda.floats(s.shape()), cuda.here(g), loss.scale as f32);
    let omega = loss.omega.as_ref().map(|x| cuda.here(x));
    cuda.rows("decoupled_softmax_back", n, args![ds, log_n, g, s, positive, negative, omega, m, scale]);
    ds
}

/// `steps`: halvings of the interval, and steps of Newton after them.
pub(crate) fn soft_top_k(cuda: &Cuda, s: &Tensor, top: &SoftTopK, steps: [usize; 2]) -> Tensor {
    let (n, m, [positive, negative]) = (s.shape().rows(), s.shape().last(), marks(cuda, s, &top.relevance));
    let (y, [halvings, polish]) = (cuda.floats(s.shape()), steps.map(|n| n as u32));
    let (k, alpha) = (top.k as f32, top.sharpness as f32);
    cuda.rows("soft_top_k", n, args![y, s, positive, negative, m, k, alpha, halvings, polish]);
    y
}

pub(crate) fn soft_top_k_back(cuda: &Cuda, y: &Tensor, g: &Tensor, top: &SoftTopK) -> Tensor {
    let (ds, g) = (cuda.floats(y.shape()), cuda.here(g));
    let (n, m) = (y.shape().rows(), y.shape().last());
    cuda.rows("soft_top_k_back", n, args![ds, y, g, m, top.sharpness as f32]);
    ds
}

pub(crate) fn top_k(cuda: &Cuda, x: &Tensor, k: usize) -> (Tensor, Tensor) {
    let (to, n, width) = (x.shape().with_last(k), x.shape().rows(), x.shape().last());
    let (values, places) = (cuda.floats(to), cuda.words(to));
    cuda.rows("top_k", n, args![values, places, x, width, k]);
    (values, places)
}

pub(crate) fn top_k_back(cuda: &Cuda, to: Shape, places: &Tensor, g: &Tensor) -> Tensor {
    let (dx, g, k) = (cuda.floats(to), cuda.here(g), g.shape().last());
    cuda.rows("top_k_back", to.rows(), args![dx, places, g, to.last(), k]);
    dx
}

fn code(weighting: Weighting) -> u32 {
    match weighting {
        Weighting::None => 0,
        Weighting::Active => 1,
        Weighting::Published => 2,
    }
}

fn targets(cuda: &Cuda, s: &Tensor, loss: &Triplet) -> Block {
    let (n, m) = (s.shape().rows(), s.shape().last());
    let fits = loss.target.len() == n && loss.target.iter().all(|&c| (c as usize) < m);
    assert!(
        fits && loss.keep.as_ref().is_none_or(|k| k.len() == s.len()),
        "triplet: constants of other scores"
    );
    cuda.send(&loss.target)
}

pub(crate) fn triplet(cuda: &Cuda, s: &Tensor, loss: &Triplet) -> (Tensor, Tensor) {
    let (n, m, k) = (s.shape().rows(), s.shape().last(), loss.k);
    let (losses, columns, target) = (cuda.floats([n]), cuda.words([n, k]), targets(cuda, s, loss));
    let keep = loss.keep.as_ref().map(|keep| cuda.send(keep));
    let (margin, sharpness) = (loss.margin as f32, (1.0 / loss.temperature) as f32);
    let weighting = code(loss.weighting);
    cuda.rows("triplet", n, args![losses, columns, s, target, keep, m, k, margin, sharpness, weighting]);
    (losses, columns)
}

pub(crate) fn triplet_back(cuda: &Cuda, s: &Tensor, columns: &Tensor, g: &Tensor, loss: &Triplet) -> Tensor {
    let (n, m, k) = (s.shape().rows(), s.shape().last(), loss.k);
    let (ds, g, target) = (cuda.floats(s.shape()), cuda.here(g), targets(cuda, s, loss));
    let (margin, sharpness) = (loss.margin as f32, (1.0 / loss.temperature) as f32);
    let weighting = code(loss.weighting);
    cuda.rows("triplet_back", n, args![ds, columns, g, s, target, m, k, margin, sharpness, weighting]);
    ds
}

pub(crate) fn multi_triplet(cuda: &Cuda, s: &Tensor, loss: &MultiTriplet) -> (Tensor, Tensor) {
    let (n, m, [positive, negative]) = (s.shape().rows(), s.shape().last(), marks(cuda, s, &loss.relevance));
    let (p, k, margin) = (loss.positives, loss.negatives, loss.margin as f32);
    let (losses, columns) = (cuda.floats([n]), cuda.words([n, p + k]));
    cuda.rows("multi_triplet", n, args![losses, columns, s, positive, negative, m, p, k, margin]);
    (losses, columns)
}

pub(crate) fn multi_triplet_back(
    cuda: &Cuda,
    s: &Tensor,
    columns: &Tensor,
    g: &Tensor,
    loss: &MultiTriplet,
) -> Tensor {
    let (ds, g, n, m) = (cuda.floats(s.shape()), cuda.here(g), s.shape().rows(), s.shape().last());
    let (p, k, margin) = (loss.positives, loss.negatives, loss.margin as f32);
    cuda.rows("multi_triplet_back", n, args![ds, columns, g, s, m, p, k, margin]);
    ds
}

/// The lists of a batch, and the loss of each row so far.
pub(crate) struct Bce {
    sums: Block,
    n: usize,
    positives: [Block; 2],
    left_out: [Block; 2],
    soft: Option<[Block; 2]>,
    targets: Option<Block>,
}

impl Bce {
    pub(crate) fn new(cuda: &Cuda, n: usize, truth: Truth<'_>) -> Bce {
        let list = |ids: Ids<'_>| {
            assert!(ids.starts.len() == n + 1 && ids.starts[n] <= ids.items.len(), "a list for each row");
            [cuda.send(ids.starts), cuda.send(ids.items)]
        };
        Bce {
            sums: cuda.blank(8 * n),
            n,
            positives: list(truth.positives),
            left_out: list(truth.left_out),
            soft: truth.soft.map(|soft| list(soft.ids)),
            targets: truth.soft.map(|soft| cuda.send(soft.targets)),
        }
    }
    /// Logits of the labels from `first` on become gradients, in place.
    pub(crate) fn step(&self, z: &Tensor, (first, shift): (usize, f32), per: f32) {
        let (Bce { sums, n, targets, .. }, m) = (self, z.shape().last());
        assert_eq!(z.shape().rows(), *n, "bce: logits of these rows");
        let ([p_starts, positives], [o_starts, left_out]) = (&self.positives, &self.left_out);
        let [s_starts, soft] = [0, 1].map(|i| self.soft.as_ref().map(|of| &of[i]));
        let cuda = z.cuda().expect("logits on the device of the lists");
        cuda.rows(
            "bce",
            *n,
            args![
                sums, z, p_starts, positives, o_starts, left_out, s_starts, soft, targets, first, m, shift,
                per
            ],
        );
    }
    pub(crate) fn losses(&self) -> Vec<f64> {
        self.sums.home.fetch(self.sums.at(), self.n)
    }
}
