//! Layer 1: a tape of operations and the chain rule. Knows nothing of text, files or labels.
//!
//! A step records operations on a [`Tape`] while it computes them, then walks the tape backwards:
//!
//! ```
//! use autograd::Tape;
//! use engine::{Engine, Tensor};
//!
//! let tape = Tape::new(&Engine::new(1));
//! let x = tape.leaf(Tensor::from_vec([2], vec![3.0f32, 4.0]));
//! let loss = (x * x).sum();                       // x₀² + x₁²
//! let grads = tape.backward_from(loss);
//! assert_eq!(loss.value().item(), 25.0);
//! assert_eq!(grads.of(x).to_f64(), [6.0, 8.0]);   // 2x
//! ```
//!
//! Read [`tape`] next, and [`op`], what an operation is; then `ops/mul.rs`, the shortest one, and `ops/attention.rs`,
//! the longest. To add an operation: write its file in `ops/` and one line in `ops/mod.rs`; the gradient checker takes
//! it from there.
#![forbid(unsafe_code)]

pub mod clip;
pub mod grad;
pub mod gradcheck;
pub mod op;
pub mod ops;
pub mod optim;
pub mod param;
pub mod recompute;
pub mod schedule;
pub mod tape;
pub mod watch;

pub use clip::{clip, clip_together};
pub use engine::kernels::relevance::Relevance;
pub use grad::{Grad, Grads, RowGrad};
pub use op::{Backward, Flops, Forward, Keep, Op, Sizes};
pub use ops::{
    Activation, DecoupledSoftmax, Dropout, MultiTriplet, Pairwise, Pool, SoftTopK, SoftmaxLoss, Target,
    Triplet, Weighting,
};
pub use optim::{
    AdagradRows, AdamW, AdamWOptions, Lamb, LambOptions, LazyAdamW, Optimizer, Sgd, SgdRows, TableOptimizer,
};
pub use param::{ParamGrads, ParamId, Params};
pub use recompute::Segment;
pub use schedule::{Schedule, ScheduleKind};
pub use tape::{Anomaly, Tape, Var};
pub use watch::{Seen, Watch};
