//! The rules of mining: which of a query's nearest labels become its hard negatives.
//!
//! ```text
//! looked at    the W = range_max + m best labels; m: the most positives that any query has
//! left out     the query's positives, then, with s the label's score and p that of the query's lowest positive,
//!              s + absolute > p     s > p − |p|·relative     s > max     s < min          each in f32, in this order
//! window       of what is left the best range_max, without the best range_min
//! kept         the best n of the window, or any n of it (`Sampling::Random`), best first
//! ```
//! These are the rules and defaults of `mine_hard_negatives` in sentence-transformers 6.2.0. With several positives
//! the lowest decides: above it nobody knows. |p| keeps the margin on its side where p is negative.
//!
//! Two departures. A label that a rule took out is counted once, by the first rule that did (there, `min_score` counts
//! what is out already). With `include_positives` positives come in the ranking and no rule takes them out (there,
//! margins would, since each is above the lowest).

use engine::{Error, Result, Stream};

use crate::tags;

/// Candidates for each negative that is wanted, where rules may leave some out.
const SPARE: usize = 10;

/// How negatives are chosen from the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sampling {
    /// The best.
    #[default]
    Top,
    /// Any, every set of that size with the same probability.
    Random,
}

/// What may be a hard negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// So many of the best that are left are passed over.
    pub range_min: usize,
    /// So many of the best that are left are considered; `None` for what [`Rules::range`] says.
    pub range_max: Option<usize>,
    /// A label with a larger score is left out.
    pub max_score: Option<f32>,
    /// A label with a smaller score is left out.
    pub min_score: Option<f32>,
    /// A label must be so far below the lowest positive.
    pub absolute_margin: Option<f32>,
    /// A label must be below the lowest positive by this part of the positive's score.
    pub relative_margin: Option<f32>,
    /// Negatives wanted for each query.
    pub num_negatives: usize,
    /// Which ones.
    pub sampling: Sampling,
    /// Positives stay in the ranking: for sets that measure rerankers, not for training.
    pub include_positives: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            range_min: 0,
            range_max: None,
            max_score: None,
            min_score: None,
            absolute_margin: None,
            relative_margin: None,
            num_negatives: 3,
            sampling: Sampling::Top,
            include_positives: false,
        }
    }
}

/// Why a label that was looked at is no candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is a positive of the query.
    Positive,
    /// It is not far enough below the positive.
    AbsoluteMargin,
    /// It is not far enough below the positive, by the positive's measure.
    RelativeMargin,
    /// Its score is too large.
    MaxScore,
    /// Its score is too small.
    MinScore,
    /// It is among the best, which were to be passed over.
    RangeMin,
}

impl Reason {
    /// All, in the order in which they are asked.
    pub const ALL: [Reason; 6] = [
        Reason::Positive,
        Reason::AbsoluteMargin,
        Reason::RelativeMargin,
        Reason::MaxScore,
        Reason::MinScore,
        Reason::RangeMin,
    ];
    /// As the options are called.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Positive => "positive",
            Reason::AbsoluteMargin => "margin",
            Reason::RelativeMargin => "relative-margin",
            Reason::MaxScore => "max-score",
            Reason::MinScore => "min-score",
            Reason::RangeMin => "range-min",
        }
    }
}

/// What became of the labels that were looked at for a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// Labels and scores, best first.
    pub labels: Vec<(u32, f32)>,
    /// How many labels there were to choose from.
    pub survivors: usize,
    /// How many were left out, in the order of [`Reason::ALL`].
    pub skipped: [u64; Reason::ALL.len()],
}

impl Rules {
    /// `range_max`, or what it is if nobody says: tenfold what is wanted where rules may leave labels out.
    /// `positives_max` is the largest number of positives of a query.
    ///
    /// # Errors
    /// If nothing is wanted, or the window cannot hold what is wanted.
    pub fn range(&self, positives_max: usize) -> Result<usize> {
        let Rules { range_min, num_negatives, .. } = *self;
        if num_negatives == 0 {
            return Err(Error::input("--num-negatives must be at least 1"));
        }
        let strict = [self.absolute_margin, self.relative_margin, self.max_score];
        let spare = if strict.iter().any(Option::is_some) { SPARE } else { 1 };
        let range_max = self.range_max.unwrap_or_else(|| {
            let wanted = range_min.saturating_add(num_negatives.saturating_mul(spare));
            wanted.saturating_add(positives_max)
        });
        if self.relative_margin.is_some_and(|margin| margin >= 1.0) {
            return Err(Error::input("--relative-margin is a share of the positive's score, below 1")
                .help("0.05 for 5 %"));
        }
        if range_max < range_min.saturating_add(num_negatives) {
            let left = range_max.saturating_sub(range_min);
            let what = format!(
                "{num_negatives} negatives are wanted of the {left} between --range-min {range_min} and --range-max \
                 {range_max}"
            );
            return Err(Error::input(what).help("raise --range-max, or lower --range-min or --num-negatives"));
        }
        Ok(range_max)
    }
    /// Chooses. `ranking` holds the best labels and their scores, best first, the query's positives among them;
    /// `positives` ascend, `lowest` is the smallest of their scores. `stream` stands at a step of its own for each
    /// query.
    pub fn keep(
        &self,
        (ids, scores): (&[u32], &[f32]),
        (positives, lowest): (&[u32], f32),
        range_max: usize,
        stream: Stream,
    ) -> Kept {
        let mut kept = Kept::default();
        let mut skip = |reason: Reason, times: usize| kept.skipped[reason as usize] += times as u64;
        let mut left = vec![];
        for (&id, &score) in ids.iter().zip(scores) {
            let reason = match positives.binary_search(&id) {
                Ok(_) if self.include_positives => None,
                Ok(_) => Some(Reason::Positive),
                Err(_) => self.reason(score, lowest),
            };
            match reason {
                Some(reason) => skip(reason, 1),
                None => left.push((id, score)),
            }
        }
        left.truncate(range_max);
        let passed = self.range_min.min(left.len());
        skip(Reason::RangeMin, passed);
        left.drain(..passed);
        kept.survivors = left.len();
        kept.labels = self.pick(left, stream);
        kept
    }
    /// Why a label that is no positive is left out.
    fn reason(&self, score: f32, lowest: f32) -> Option<Reason> {
        let broken = [
            (Reason::AbsoluteMargin, self.absolute_margin.is_some_and(|m| score + m > lowest)),
            (Reason::RelativeMargin, self.relative_margin.is_some_and(|m| score > lowest - lowest.abs() * m)),
            (Reason::MaxScore, self.max_score.is_some_and(|max| score > max)),
            (Reason::MinScore, self.min_score.is_some_and(|min| score < min)),
        ];
        broken.into_iter().find(|(_, is_broken)| *is_broken).map(|(reason, _)| reason)
    }
    fn pick(&self, mut window: Vec<(u32, f32)>, stream: Stream) -> Vec<(u32, f32)> {
        if self.sampling == Sampling::Random {
            let mut places: Vec<usize> = (0..window.len()).collect();
            stream.with_tag(tags::MINED).shuffle(&mut places);
            places.truncate(self.num_negatives);
            places.sort_unstable();
            window = places.into_iter().map(|place| window[place]).collect();
        }
        window.truncate(self.num_negatives);
        window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Label i has score 0.9 − 0.1·i; the query's positives are 1 (0.8) and 4 (0.5).
    const IDS: [u32; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
    const SCORES: [f32; 8] = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2];

    fn kept(rules: Rules) -> Kept {
        let range_max = rules.range(2).unwrap();
        rules.keep((&IDS, &SCORES), (&[1, 4], 0.5), range_max, Stream::new(1, 0))
    }

    #[track_caller]
    fn check(rules: Rules, want: &[u32], skipped: [u64; 6]) {
        let kept = kept(rules);
        let ids: Vec<u32> = kept.labels.iter().map(|label| label.0).collect();
        assert_eq!((&ids[..], kept.skipped), (want, skipped), "{rules:?}");
        assert!(kept.labels.iter().all(|&(id, score)| SCORES[id as usize] == score));
    }

    #[test]
    fn each_rule_leaves_out_what_it_says() {
        let all = Rules { num_negatives: 8, ..Rules::default() };
        check(Rules::default(), &[0, 2, 3], [2, 0, 0, 0, 0, 0]);
        check(all, &[0, 2, 3, 5, 6, 7], [2, 0, 0, 0, 0, 0]);
        // The lowest positive decides: at most 0.35.
        check(Rules { absolute_margin: Some(0.15), ..all }, &[6, 7], [2, 4, 0, 0, 0, 0]);
        // At most 0.5 − 0.5 · 0.3 = 0.35, too.
        check(Rules { relative_margin: Some(0.3), ..all }, &[6, 7], [2, 0, 4, 0, 0, 0]);
        // The limits themselves are allowed.
        check(Rules { max_score: Some(0.6), ..all }, &[3, 5, 6, 7], [2, 0, 0, 2, 0, 0]);
        check(Rules { min_score: Some(0.6), ..all }, &[0, 2, 3], [2, 0, 0, 0, 3, 0]);
        // What a rule took out is not counted again.
        let several =
            Rules { absolute_margin: Some(0.0), max_score: Some(0.45), min_score: Some(0.25), ..all };
        check(several, &[5, 6], [2, 3, 0, 0, 1, 0]);
    }

    #[test]
    fn the_window_is_cut_after_the_rules() {
        let rules = Rules { range_min: 2, num_negatives: 2, ..Rules::default() };
        check(rules, &[3, 5], [2, 0, 0, 0, 0, 2]);
        // 0 and 2 are out: 3 is passed over, 5 and 6 fill up the window.
        let rules =
            Rules { range_min: 1, range_max: Some(3), max_score: Some(0.65), num_negatives: 2, ..rules };
        check(rules, &[5, 6], [2, 0, 0, 2, 0, 1]);
        check(Rules { range_min: 7, range_max: Some(9), ..rules }, &[], [2, 0, 0, 2, 0, 4]);
    }

    #[test]
    fn a_margin_below_a_negative_positive_is_below_it() {
        let rules = Rules { relative_margin: Some(0.5), num_negatives: 1, ..Rules::default() };
        // −0.2 − 0.1 = −0.3; (1 − 0.5) · −0.2 = −0.1 would let −0.25 pass.
        let kept = |score| rules.keep((&[3], &[score]), (&[9], -0.2), 10, Stream::new(1, 0)).labels.len();
        assert_eq!((kept(-0.25), kept(-0.31)), (0, 1));
    }

    #[test]
    fn the_arithmetic_is_that_of_f32() {
        // The nearest f32 to 0.5 and 0.2 sum up to more than the one to 0.7, which is their sum in f32.
        let rules = Rules { absolute_margin: Some(0.2), num_negatives: 1, ..Rules::default() };
        let kept =
            |lowest: f32| rules.keep((&[3], &[0.5]), (&[9], lowest), 10, Stream::new(1, 0)).labels.len();
        assert_eq!((kept(0.7), kept(0.7f32.next_down())), (1, 0));
    }

    #[test]
    fn positives_that_stay_come_in_the_ranking_and_no_rule_takes_them_out() {
        let rules = Rules { include_positives: true, num_negatives: 5, ..Rules::default() };
        check(rules, &[0, 1, 2, 3, 4], [0; 6]);
        check(Rules { max_score: Some(0.45), ..rules }, &[1, 4, 5, 6, 7], [0, 0, 0, 3, 0, 0]);
    }

    #[test]
    fn chance_draws_every_label_of_the_window_and_keeps_their_order() {
        let rules =
            Rules { sampling: Sampling::Random, num_negatives: 2, range_max: Some(4), ..Rules::default() };
        let mut times = [0; 8];
        for query in 0..600 {
            let kept = rules.keep((&IDS, &SCORES), (&[1, 4], 0.5), 4, Stream::new(3, 0).at_step(query));
            assert!(kept.labels.len() == 2 && kept.labels[0].1 > kept.labels[1].1 && kept.survivors == 4);
            kept.labels.iter().for_each(|label| times[label.0 as usize] += 1);
        }
        // Two of 0, 2, 3 and 5: each in half of all draws, 300 ± 12.
        assert!([0, 2, 3, 5].iter().all(|&id| (240..360).contains(&times[id])), "{times:?}");
        assert_eq!(times.iter().sum::<i32>(), 1200);
        let again = rules.keep((&IDS, &SCORES), (&[1, 4], 0.5), 4, Stream::new(3, 0).at_step(599));
        assert_eq!(again, rules.keep((&IDS, &SCORES), (&[1, 4], 0.5), 4, Stream::new(3, 0).at_step(599)));
        let few = Rules { num_negatives: 4, ..rules };
        let kept = few.keep((&IDS[..3], &SCORES[..3]), (&[1, 4], 0.5), 4, Stream::new(3, 0));
        assert_eq!(kept.labels, [(0, 0.9), (2, 0.7)]);
    }

    #[test]
    fn the_depth_follows_from_what_is_wanted() {
        let range = |rules: Rules| rules.range(39).unwrap();
        assert_eq!(range(Rules::default()), 42);
        assert_eq!(range(Rules { relative_margin: Some(0.05), num_negatives: 5, ..Rules::default() }), 89);
        assert_eq!(range(Rules { min_score: Some(0.1), range_min: 4, ..Rules::default() }), 46);
        assert_eq!(range(Rules { range_max: Some(7), max_score: Some(0.9), ..Rules::default() }), 7);
        for wrong in [
            Rules { num_negatives: 0, ..Rules::default() },
            Rules { range_min: 5, range_max: Some(7), ..Rules::default() },
            Rules { range_min: 9, range_max: Some(7), ..Rules::default() },
        ] {
            let told = wrong.range(39).expect_err("no window").to_string();
            assert!(told.contains("--num-negatives") || told.contains("--range-max 7"), "{told}");
        }
    }
}
