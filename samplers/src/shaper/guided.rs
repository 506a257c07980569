//! A guide judges: what it finds nearer to a row than the row's own positive is no negative.
//!
//! ```text
//! g_i = G(q_i, p_i)        keep'[i, j] = 0  where  G_ij > g_i − m              (absolute margin m)
//!                                          where  G_ij > g_i − |g_i|·m         (relative margin m)
//! ```
//! Solatorio, "GISTEmbed: Guided in-sample selection of training negatives", 2024, with the margins of
//! sentence-transformers. Blocks of queries against queries and of labels against labels are judged by the same g_i.
//! The target stays in any case, and a pair that is masked already stays masked.

use super::{Edits, Scores, Shaper};

/// Masks what the guide takes for a positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guided {
    /// How far below the positive a negative must lie for the guide.
    pub margin: Margin,
}

/// A distance below the score of a positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Margin {
    /// m, in units of the score.
    Absolute(f32),
    /// A share m of the score's absolute value: right for scores below 0, too.
    Relative(f32),
}

impl Margin {
    /// The highest score of a negative beside this positive.
    pub fn below(self, positive: f32) -> f32 {
        match self {
            Margin::Absolute(margin) => positive - margin,
            Margin::Relative(margin) => positive - positive.abs() * margin,
        }
    }
}

impl Shaper for Guided {
    fn shape(&self, scores: &Scores<'_>, edits: &mut Edits) {
        let Some(guide) = scores.guide else { return };
        for (i, keep) in edits.keep.chunks_exact_mut(guide.width).enumerate() {
            let (row, target) = (guide.row(i), scores.target[i] as usize);
            let most = self.margin.below(row[target]);
            for (j, keep) in keep.iter_mut().enumerate() {
                if j != target && row[j] > most {
                    *keep = 0.0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;

    fn kept(margin: Margin, guide: [f32; 4], target: u32) -> Vec<f32> {
        let (values, target) = ([0.0; 4], [target]);
        let mut scores = Scores::new(Matrix::new(&values, 4), &target);
        scores.guide = Some(Matrix::new(&guide, 4));
        let mut edits = Edits::masked(vec![1.0, 1.0, 1.0, 0.0]);
        Guided { margin }.shape(&scores, &mut edits);
        edits.keep
    }

    #[test]
    fn what_the_guide_finds_nearer_than_the_positive_is_no_negative() {
        let guide = [0.5, 0.51, 0.47, -1.0];
        assert_eq!(kept(Margin::Absolute(0.0), guide, 0), [1.0, 0.0, 1.0, 0.0]);
        assert_eq!(kept(Margin::Absolute(0.05), guide, 0), [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(kept(Margin::Relative(0.1), guide, 0), [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(kept(Margin::Relative(0.05), guide, 0), [1.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn a_relative_margin_asks_for_less_than_a_negative_positive_too() {
        let guide = [-0.5, -0.51, -0.56, 0.0];
        assert_eq!(kept(Margin::Relative(0.1), guide, 0), [1.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn the_target_stays_though_the_guide_puts_all_above_it() {
        assert_eq!(kept(Margin::Absolute(0.0), [0.1, 0.2, 0.3, 0.4], 0), [1.0, 0.0, 0.0, 0.0]);
    }
}
