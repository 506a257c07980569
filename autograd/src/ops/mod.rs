//! Every operation, one file each: its equation, its shape rule, what it keeps, forward, backward, and the cases with
//! which the gradient checker tries it. To add one, write the file and add its line to [`OPS`].

use crate::gradcheck::Case;

mod add;
mod attention;
mod concat;
mod decoupled_softmax;
mod detach;
mod div;
mod dropout;
mod exp;
mod feed_forward;
mod gather;
mod gelu;
mod layer_norm;
mod linear;
mod log;
mod logsumexp;
mod matmul;
mod mean;
mod mul;
mod multi_triplet;
mod normalise;
mod pairwise;
mod pool;
mod relu;
mod reshape;
mod residual_norm;
mod rotary;
mod scale;
mod sigmoid;
mod slice;
mod soft_top_k;
mod softmax;
mod softmax_loss;
mod softplus;
mod sub;
mod sum;
mod tanh;
mod top_k;
mod triplet;

pub use decoupled_softmax::DecoupledSoftmax;
pub use dropout::Dropout;
pub use feed_forward::Activation;
pub use multi_triplet::MultiTriplet;
pub use pairwise::Pairwise;
pub use pool::Pool;
pub use soft_top_k::SoftTopK;
pub use softmax_loss::{SoftmaxLoss, Target};
pub use triplet::{Triplet, Weighting};

/// An operation in the list.
pub struct Entry {
    /// The name that the operation bears on the tape.
    pub name: &'static str,
    /// Where the gradient checker tries it.
    pub cases: &'static [Case],
}

/// All operations.
pub const OPS: &[Entry] = &[
    add::ENTRY,
    concat::ENTRY,
    detach::ENTRY,
    div::ENTRY,
    exp::ENTRY,
    gather::ENTRY,
    gelu::ENTRY,
    linear::ENTRY,
    log::ENTRY,
    logsumexp::ENTRY,
    matmul::ENTRY,
    mean::ENTRY,
    mul::ENTRY,
    relu::ENTRY,
    reshape::ENTRY,
    scale::ENTRY,
    sigmoid::ENTRY,
    slice::ENTRY,
    softmax::ENTRY,
    softplus::ENTRY,
    sub::ENTRY,
    sum::ENTRY,
    tanh::ENTRY,
    top_k::ENTRY,
    attention::ENTRY,
    decoupled_softmax::ENTRY,
    dropout::ENTRY,
    feed_forward::ENTRY,
    layer_norm::ENTRY,
    multi_triplet::ENTRY,
    normalise::ENTRY,
    pairwise::ENTRY,
    pool::ENTRY,
    residual_norm::ENTRY,
    rotary::ENTRY,
    soft_top_k::ENTRY,
    softmax_loss::ENTRY,
    triplet::ENTRY,
];
