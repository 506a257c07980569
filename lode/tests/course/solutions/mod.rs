//! Worked solutions, under the names of the exercises.

pub(crate) mod bag;
pub(crate) mod infonce;
pub(crate) mod outer;
pub(crate) mod slope;
