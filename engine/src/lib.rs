//! Layer 0: tensors, kernels, threads, random numbers, mapped files. Knows no gradient, no token, no label.
//!
//! All `unsafe` code of the house lives in this crate. Read `tensor.rs` and `engine.rs` first; a kernel is a plain
//! generic function over slices in `kernels/`, and `Engine::chunks` runs it on many cores.

pub mod container;
pub mod cuda;
pub mod engine;
pub mod error;
pub mod fault;
pub mod gemm;
pub mod heap;
pub mod kernels;
pub mod math;
pub mod packed;
pub mod peak;
pub mod pool;
pub mod profile;
pub mod quantised;
pub mod random;
pub mod real;
pub mod shape;
pub mod table;
pub mod tensor;

pub use cuda::Cuda;
pub use engine::{Engine, KernelClass};
pub use error::{Error, Kind, Result};
pub use gemm::{Mat, gemm, gemm_alone, gemm_beside, gemm_then, scratch_for};
pub use packed::{Packed, Places};
pub use pool::{Buf, PoolStats, pooled_bytes};
pub use quantised::{Precision, Support, Weight};
pub use random::Stream;
pub use real::{Element, Real};
pub use shape::{Shape, ShapeError};
pub use table::{Factor, Home, Numbers, Run, Table, TablePrecision};
pub use tensor::{DType, Storage, Tensor};
