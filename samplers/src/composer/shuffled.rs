//! Random batches: every epoch a new permutation of the rows, cut into batches.

use engine::{Engine, Error, Kind, Result, Stream};

use super::{Composer, Cut, Plan, State};
use crate::{Snapshot, tags};

/// The baseline: in-batch negatives are a random sample of the labels, mostly easy.
#[derive(Clone, Debug)]
pub struct Shuffled {
    rows: Vec<u32>,
    cut: Cut,
}

impl Shuffled {
    /// Over these ids; one that is not among them is in no batch.
    pub fn new(rows: Vec<u32>, cut: Cut) -> Shuffled {
        Shuffled { rows, cut }
    }
}

impl Composer for Shuffled {
    fn wants_embeddings(&self, _epoch: u32) -> bool {
        false
    }
    fn refresh(&mut self, _: &Engine, _epoch: u32, _: &Snapshot<'_>, _: Stream) {}
    fn plan(&self, epoch: u32, stream: Stream) -> Plan {
        let mut order = self.rows.clone();
        stream.at_step(u64::from(epoch)).with_tag(tags::ORDER).shuffle(&mut order);
        Plan::new(order, self.cut)
    }
    fn state(&self) -> State {
        State::default()
    }
    fn restore(&mut self, state: State) -> Result<()> {
        if state == State::default() {
            return Ok(());
        }
        Err(Error::new(Kind::Damaged, "the checkpoint holds clusters, but the composer is `shuffled`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::composer::Last;

    #[test]
    fn each_epoch_is_another_permutation_and_the_same_seed_the_same() {
        let rows: Vec<u32> = (0..100).map(|i| 3 * i).collect();
        let composer = Shuffled::new(rows.clone(), Cut { batch: 32, last: Last::Keep });
        let plan = |seed, epoch| composer.plan(epoch, Stream::new(seed, 0));
        let mut sorted = plan(1, 0).order;
        assert_ne!(sorted, rows);
        sorted.sort_unstable();
        assert_eq!((sorted, plan(1, 0).ends), (rows, vec![32, 64, 96, 100]));
        assert_eq!(plan(1, 4), plan(1, 4));
        assert_ne!(plan(1, 4).order, plan(1, 5).order);
        assert_ne!(plan(1, 4).order, plan(2, 4).order);
    }
}
