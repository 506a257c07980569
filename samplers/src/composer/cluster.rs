//! **NGAME batches**: queries that lie near each other share a batch, so that the positives of one are hard
//! negatives of the others, at no extra cost. (Dahiya et al., "NGAME: Negative Mining-aware Mini-batching for
//! Extreme Classification", WSDM 2023.)
//!
//! ```text
//! stored embeddings ──► balanced clusters ──► shuffle the clusters ──► lay end to end ──► cut by B
//!     [N, d]          every few epochs          every epoch          c₅ c₂ c₉ …       | batch | …
//! ```
//! A batch then holds about B / size whole clusters: each query meets size − 1 neighbours and B − size random
//! others. If label l is a hard negative of query i, some query j with label l lies near i; clusters bring i
//! and j together, and l stands in the batch as j's positive. No index, no search, no extra text is encoded.
//!
//! Before the first clustering every query is a cluster of its own: plain shuffling. The published code
//! installs new clusters one epoch late (it rewrites the order at the end of an epoch); here they take effect
//! at once.
//!
//! ```
//! use engine::{Engine, Stream};
//! use samplers::composer::schedule::Schedule;
//! use samplers::{Cluster, Composer, Cut, Last, Matrix, Snapshot};
//!
//! // Six queries around the circle, three pairs of neighbours; two random epochs, then clusters of three.
//! let angle = [0.0f32, 2.1, 4.2, 0.1, 2.2, 4.3];
//! let stored: Vec<f32> = angle.iter().flat_map(|a| [a.cos(), a.sin()]).collect();
//! let cut = Cut { batch: 3, last: Last::Keep };
//! let mut composer = Cluster::new((0..6).collect(), cut, Schedule::fixed(3, 2, 5)?);
//! assert!(!composer.wants_embeddings(1));
//! assert!(composer.wants_embeddings(2));
//!
//! let told = Snapshot { made_at_step: 40, embeddings: Matrix::new(&stored, 2) };
//! composer.refresh(&Engine::new(1), 2, &told, Stream::new(1, 0));
//! assert!(!composer.wants_embeddings(2) && !composer.wants_embeddings(6) && composer.wants_embeddings(7));
//! assert_eq!(composer.clusters().1, [3, 6]); // two clusters of three
//! assert_eq!(composer.plan(2, Stream::new(1, 0)).len(), 2);
//! # Ok::<(), engine::Error>(())
//! ```

use engine::{Engine, Error, Kind, Result, Stream};

use super::schedule::{Schedule, depth};
use super::tree::clusters;
use super::{Composer, Cut, Plan, State};
use crate::{Snapshot, tags};

/// Composes NGAME batches.
#[derive(Clone, Debug)]
pub struct Cluster {
    rows: Vec<u32>,
    cut: Cut,
    schedule: Schedule,
    state: State,
}

impl Cluster {
    /// Over these ids; one that is not among them is in no batch.
    pub fn new(rows: Vec<u32>, cut: Cut, schedule: Schedule) -> Cluster {
        Cluster { rows, cut, schedule, state: State::default() }
    }
    /// The clusters in force: ids, cluster after cluster, and where each ends. Empty while batches are
    /// random.
    pub fn clusters(&self) -> (&[u32], &[u32]) {
        (&self.state.order, &self.state.ends)
    }
}

impl Composer for Cluster {
    fn wants_embeddings(&self, epoch: u32) -> bool {
        let due = self.schedule.made_at(epoch);
        let made = (!self.state.order.is_empty()).then_some(self.state.epoch);
        due > made && !self.rows.is_empty()
    }

    fn refresh(&mut self, engine: &Engine, epoch: u32, snapshot: &Snapshot<'_>, stream: Stream) {
        let Some(size) = self.schedule.size(epoch) else { return };
        let depth = depth(self.rows.len(), size as usize);
        let made = clusters(engine, snapshot.embeddings, &self.rows, depth, stream.at_step(u64::from(epoch)));
        self.state = State { order: made.order, ends: made.ends, epoch, made_at_step: snapshot.made_at_step };
    }

    fn plan(&self, epoch: u32, stream: Stream) -> Plan {
        let stream = stream.at_step(u64::from(epoch)).with_tag(tags::ORDER);
        if self.state.order.is_empty() {
            let mut order = self.rows.clone();
            stream.shuffle(&mut order);
            return Plan::new(order, self.cut);
        }
        let starts = std::iter::once(0).chain(self.state.ends.iter().copied());
        let mut spans: Vec<(u32, u32)> = starts.zip(self.state.ends.iter().copied()).collect();
        stream.shuffle(&mut spans);
        let members = |(start, end): (u32, u32)| &self.state.order[start as usize..end as usize];
        Plan::new(spans.into_iter().flat_map(members).copied().collect(), self.cut)
    }

    fn state(&self) -> State {
        self.state.clone()
    }

    fn restore(&mut self, state: State) -> Result<()> {
        let sorted = |ids: &[u32]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids
        };
        let none = state.order.is_empty() && state.ends.is_empty();
        let whole = state.ends.is_sorted() && state.ends.last().copied() == Some(state.order.len() as u32);
        let ours = whole && sorted(&state.order) == sorted(&self.rows);
        if !(none || ours) {
            let why = "the checkpoint's clusters are not a partition of what is composed";
            return Err(Error::new(Kind::Damaged, why).help("was the data set or the split changed since?"));
        }
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;
    use crate::composer::Last;

    const N: u32 = 200;

    fn composer() -> Cluster {
        let schedule = Schedule::new(vec![(2, 4), (5, 16)], 3).unwrap();
        Cluster::new((0..N).collect(), Cut { batch: 32, last: Last::Keep }, schedule)
    }

    /// Query i points in direction i mod 50: fifty topics of four.
    fn told(composer: &mut Cluster, engine: &Engine, epoch: u32) {
        let angle = |i: u32| f64::from(i % 50) * std::f64::consts::TAU / 50.0;
        let data: Vec<f32> = (0..N).flat_map(|i| [angle(i).cos() as f32, angle(i).sin() as f32]).collect();
        let embeddings = Matrix::new(&data, 2);
        let snapshot = Snapshot { made_at_step: 100 + u64::from(epoch), embeddings };
        composer.refresh(engine, epoch, &snapshot, Stream::new(1, 0));
    }

    #[test]
    fn embeddings_are_asked_for_when_clusters_are_due_and_not_again() {
        let (engine, mut composer, mut asked) = (Engine::new(1), composer(), vec![]);
        for epoch in 0..10 {
            if composer.wants_embeddings(epoch) {
                asked.push(epoch);
                told(&mut composer, &engine, epoch);
                assert!(!composer.wants_embeddings(epoch));
            }
        }
        assert_eq!(asked, [2, 5, 8]);
    }

    #[test]
    fn new_clusters_take_effect_in_the_epoch_that_made_them() {
        let (engine, mut composer, stream) = (Engine::new(1), composer(), Stream::new(1, 0));
        let near = |plan: &Plan| {
            let pairs = |b: usize| plan.batch(b).windows(2).filter(|w| w[0] % 50 == w[1] % 50).count();
            (0..plan.len()).map(pairs).sum::<usize>()
        };
        let random = near(&composer.plan(2, stream));
        told(&mut composer, &engine, 2);
        let clustered = near(&composer.plan(2, stream));
        assert!(random < 20 && clustered > 60, "{random} {clustered}");
        assert_eq!(composer.clusters().1.len(), 64);
    }

    #[test]
    fn every_epoch_shuffles_whole_clusters() {
        let (engine, mut composer) = (Engine::new(1), composer());
        told(&mut composer, &engine, 2);
        let plan = composer.plan(3, Stream::new(1, 0));
        let mut sorted = plan.order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..N).collect::<Vec<_>>());
        assert_ne!(plan, composer.plan(4, Stream::new(1, 0)));
        let (order, ends) = composer.clusters();
        let mut start = 0;
        for &end in ends {
            let cluster = &order[start..end as usize];
            assert!(plan.order.windows(cluster.len()).any(|w| w == cluster), "{cluster:?} was torn");
            start = end as usize;
        }
    }

    #[test]
    fn a_restored_composer_plans_the_same_batches() {
        let (engine, mut composer, stream) = (Engine::new(1), composer(), Stream::new(1, 0));
        told(&mut composer, &engine, 5);
        let mut resumed = self::composer();
        resumed.restore(composer.state()).unwrap();
        assert_eq!((resumed.plan(6, stream), resumed.wants_embeddings(6)), (composer.plan(6, stream), false));
        assert_eq!(resumed.state().made_at_step, 105);
    }

    #[test]
    fn a_state_over_other_queries_is_refused() {
        let (engine, mut composer) = (Engine::new(1), composer());
        told(&mut composer, &engine, 5);
        let good = composer.state();
        let mut other = good.clone();
        other.order[0] = N;
        let mut short = good.clone();
        short.ends.pop();
        assert!(composer.restore(other).is_err() && composer.restore(short).is_err());
        assert!(composer.restore(good).is_ok() && composer.restore(State::default()).is_ok());
    }

    #[test]
    fn one_query_or_none_still_makes_a_plan() {
        let engine = Engine::new(1);
        for n in [0u32, 1] {
            let cut = Cut { batch: 4, last: Last::Keep };
            let mut one = Cluster::new((0..n).collect(), cut, Schedule::short(0));
            assert_eq!(one.wants_embeddings(0), n == 1);
            if n == 1 {
                told(&mut one, &engine, 0);
            }
            assert_eq!(one.plan(0, Stream::new(1, 0)).order, (0..n).collect::<Vec<_>>());
        }
    }
}
