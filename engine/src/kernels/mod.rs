//! The arithmetic of the operations: plain generic functions over slices, f32 and f64 from one body.
//!
//! The generic text is the specification, the fallback and the oracle; a faster form of a kernel is tested against it.

pub mod map;
