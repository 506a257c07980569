//! What this crate draws random numbers for. Eight readable bytes each: a new use shifts no other.

/// The order of the rows, or of the clusters, in an epoch.
pub(crate) const ORDER: u64 = u64::from_be_bytes(*b"s.order ");
/// The two rows from which a cluster's split starts. The level of the tree is added.
pub(crate) const START: u64 = u64::from_be_bytes(*b"s.start\0");
/// Which of a query's positives is drawn.
pub(crate) const POSITIVE: u64 = u64::from_be_bytes(*b"s.posit ");
/// Which of a label's queries is drawn.
pub(crate) const QUERY: u64 = u64::from_be_bytes(*b"s.query ");
/// Labels drawn by a law.
pub(crate) const RANDOM: u64 = u64::from_be_bytes(*b"s.random");
/// Labels drawn from ranked lists. The row's positive is added: a query stands in a batch once for each.
pub(crate) const LISTED: u64 = u64::from_be_bytes(*b"s.li\0\0\0\0");
/// What is mixed of a queue.
pub(crate) const MIXED: u64 = u64::from_be_bytes(*b"s.mix\0\0\0");
/// Negatives drawn from a window of mining. The step is the query.
pub(crate) const MINED: u64 = u64::from_be_bytes(*b"s.mined ");
