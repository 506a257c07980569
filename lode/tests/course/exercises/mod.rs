//! What the reader of the course fills in. Each file has one `HOLE`.

pub(crate) mod bag;
pub(crate) mod infonce;
pub(crate) mod outer;
pub(crate) mod slope;
