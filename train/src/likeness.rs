//! What a classifier would say of a label that it never learned, told from the label's text.
//!
//! ```text
//! x·w_l ≈ level + slope cos(x, z_l)     least squares over held-out queries x and the labels nearest to each by text
//! ```
//! A label that is added to a run has no weights. Those that training begins with (level 0, slope 1) are not on a
//! par with learned ones, which were pushed down wherever they were wrong. On the demo's data, with 756 labels
//! added to 6,795 whose share of the truth is 9 %, added labels came first for 48 % of test titles and P@1 fell
//! from 27.1 to 22.4 %; on the line they come first for 8 %, and it rises to 28.0 %. Pairs are chosen by text
//! alone, so the mean for a cosine is that of all labels of such a cosine, and not of those of which the classifier
//! is fond.
//!
//! Where labels have auxiliary vectors (`auxiliary.rs`) the line is drawn over cos(x, z'_l) and used for an added label
//! at cos(x, E(z_l)), which has none: what learned to lie near its queries has higher cosines, so that added labels may
//! be held too unlikely; by how much was not measured. No index has texts without vectors, and all of them would have
//! to be embedded at each start.

use crate::embed::embed;
use crate::index::Index;
use crate::network::Network;
use crate::observer::Observer;
use crate::voting::{QUERIES_MAX, QUERIES_MIN};
use data::{DataSet, Split};
use engine::{Engine, Packed, Result};
use samplers::Matrix;
use samplers::search::Limits;

/// Labels of each query, the nearest by text, that the line is drawn through.
const NEAREST: usize = 20;

/// A line through the scores of a classifier over cosines to label texts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Likeness {
    level: f32,
    slope: f32,
}

impl Likeness {
    /// What the classifier would say where the cosine to the label's text is this.
    pub(crate) fn of(self, cosine: f32) -> f32 {
        self.level + self.slope * cosine
    }
    /// The weights that training begins with.
    pub(crate) const START: Likeness = Likeness { level: 0.0, slope: 1.0 };

    /// The line of an index with a classifier; [`Likeness::START`] where the queries are too few to say.
    ///
    /// # Errors
    /// As [`embed`].
    ///
    /// # Panics
    /// If the index has no classifier.
    pub(crate) fn fit(
        (engine, network, index): (&Engine, &Network, &Index),
        data: &DataSet,
        held_out: &[u32],
        observer: &mut dyn Observer,
    ) -> Result<Likeness> {
        if held_out.len() < QUERIES_MIN {
            return Ok(Likeness::START);
        }
        let held_out = &held_out[..held_out.len().min(QUERIES_MAX)];
        let texts = data.queries(Split::Train);
        let push = |i: usize, packed: &mut Packed| texts.push_to(held_out[i] as usize, packed);
        let rows = embed(engine, network, held_out.len(), push, "held-out queries", observer)?;
        let queries = Matrix::new(&rows, network.width());
        let panel = index.panel(data, 0, None, None);
        let near = panel.text.search(engine, queries, NEAREST, Limits::default());
        let mut pairs = Vec::with_capacity(held_out.len() * NEAREST);
        for q in 0..queries.rows() {
            let (labels, cosines) = near.row(q);
            let scores = panel.classifier.scores(engine, queries.row(q), labels);
            pairs.extend(cosines.iter().copied().zip(scores));
        }
        Ok(line(&pairs))
    }
}

/// The line through points (x, y) with the least squares; level where all x are equal.
fn line(points: &[(f32, f32)]) -> Likeness {
    let n = points.len().max(1) as f64;
    let mean = |of: fn(&(f32, f32)) -> f32| points.iter().map(|p| f64::from(of(p))).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let (mut xx, mut xy) = (0.0, 0.0);
    for &(px, py) in points {
        let dx = f64::from(px) - x;
        xx += dx * dx;
        xy += dx * (f64::from(py) - y);
    }
    // A label is not less likely for a nearer text.
    let slope = if xx > 0.0 { (xy / xx).max(0.0) } else { 0.0 };
    Likeness { level: (y - slope * x) as f32, slope: slope as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_through_its_points_and_between_others() {
        assert_eq!(line(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]), Likeness { level: 1.0, slope: 2.0 });
        // Normal equations by hand: Σdx² = 2, Σdx·dy = 1, means 1 and 1.
        assert_eq!(line(&[(0.0, 0.0), (1.0, 2.0), (2.0, 1.0)]), Likeness { level: 0.5, slope: 0.5 });
        assert_eq!(line(&[(3.0, 1.0), (3.0, 2.0)]), Likeness { level: 1.5, slope: 0.0 });
    }
}
