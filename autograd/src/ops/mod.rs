//! Every operation, one file each: its equation, its shape rule, what it keeps, forward, backward, and the cases with
//! which the gradient checker tries it. To add one, write the file and add its line to [`OPS`].

use crate::gradcheck::Case;

mod add;
mod attention;
mod dropout;
mod layer_norm;
mod mul;
mod normalise;
mod pairwise;
mod pool;
mod softmax_loss;
mod sum;
mod triplet;

pub use dropout::Dropout;
pub use pairwise::Pairwise;
pub use pool::Pool;
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
    add::ENTRY, //
    attention::ENTRY,
    dropout::ENTRY,
    layer_norm::ENTRY,
    mul::ENTRY,
    normalise::ENTRY,
    pairwise::ENTRY,
    pool::ENTRY,
    softmax_loss::ENTRY,
    sum::ENTRY,
    triplet::ENTRY,
];
