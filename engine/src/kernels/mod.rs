//! The arithmetic of the operations: plain generic functions over slices, f32 and f64 from one body.
//!
//! The generic text is the specification, the fallback and the oracle; a faster form of a kernel is tested against it.

/// Calls a generic kernel in the float type of a tensor: `for_real!(x, run(engine, x))` is `run::<f32>(engine, x)` or
/// `run::<f64>(engine, x)`.
#[macro_export]
macro_rules! for_real {
    ($tensor:expr, $run:ident($($argument:expr),* $(,)?)) => {
        match $tensor.dtype() {
            $crate::DType::F32 => $run::<f32>($($argument),*),
            $crate::DType::F64 => $run::<f64>($($argument),*),
            other => panic!("a kernel of floats was applied to {other:?}"),
        }
    };
}

pub mod adagrad;
pub mod adamw;
pub mod attention;
pub mod bce;
pub mod broadcast;
pub mod decoupled_softmax;
pub mod dropout;
pub mod feed_forward;
pub mod given;
pub mod lamb;
pub mod lanes;
pub mod layer_norm;
pub mod linear;
pub mod logsumexp;
pub mod map;
pub mod matmul;
pub mod mean;
pub mod multi_triplet;
pub mod normalise;
pub mod pool;
pub mod relevance;
pub mod residual_norm;
pub mod rotary;
mod row_loss;
pub mod rows;
pub mod sgd;
pub mod slice;
pub mod soft_top_k;
pub mod softmax;
pub mod softmax_loss;
pub mod squares;
pub mod top_k;
pub mod triplet;

/// Rows of one parallel task that needs a row of scratch: `work` numbers at least, and so many that there are at most
/// 64 tasks. The scratch of all tasks together is then at most 64 rows, whatever the number of threads.
fn rows_with_scratch(rows: usize, width: usize, work: usize) -> usize {
    const TASKS: usize = 64;
    (work / width.max(1)).max(rows.div_ceil(TASKS)).max(1)
}
