//! Vectors that are learned beside an encoder, and stand beside the texts of labels (DEXA).

use super::Config;
use engine::{Error, Result};
use serde::{Deserialize, Serialize};

/// Vectors beside the texts of labels ([`crate::auxiliary`]).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuxiliaryConfig {
    /// Clusters of labels, each with a vector that its labels share, a power of two; 0 for no vectors at all. Where
    /// there are fewer than two labels for each, there are fewer clusters.
    pub clusters: usize,
    /// The most frequent labels that have a vector each of their own, beside those of the clusters.
    pub private: usize,
    /// Learning rate of the vectors, which do not decay; 0 for that of the encoder.
    pub lr: f64,
}

impl AuxiliaryConfig {
    /// Whether there are such vectors.
    pub fn is_on(&self) -> bool {
        self.clusters > 0
    }
    /// Vectors of single labels and of clusters, for so many labels.
    ///
    /// # Errors
    /// If no two labels are left for a cluster.
    pub(crate) fn sizes(&self, labels: usize) -> Result<(usize, usize)> {
        let Some(shared) = labels.checked_sub(self.private).filter(|&shared| shared >= 2) else {
            let what = format!("`auxiliary.private` is {}, and there are {labels} labels", self.private);
            let most = labels.saturating_sub(2);
            let help = format!(
                "at least two labels must be left for the clusters: --set auxiliary.private=N, in a pipeline --set \
                 encoder.auxiliary.private=N, N at most {most}"
            );
            return Err(Error::input(what).help(help));
        };
        Ok((self.private, self.clusters.min(1 << (shared / 2).ilog2())))
    }
    /// Checks ranges, and what does not go together.
    ///
    /// # Errors
    /// Names the value, its range and what was given.
    pub(super) fn check(&self, of: &Config) -> Result<()> {
        if !(self.lr >= 0.0 && self.lr.is_finite()) {
            return Err(Error::input(format!("`auxiliary.lr` must be 0 or more, it is {}", self.lr)));
        }
        if !self.is_on() {
            return match self.private {
                0 => Ok(()),
                _ => {
                    Err(Error::input("`auxiliary.private` is for some labels beside clusters of the others")
                        .help("--set auxiliary.clusters=1024"))
                }
            };
        }
        if !self.clusters.is_power_of_two() {
            let what = format!("`auxiliary.clusters` must be a power of two, it is {}", self.clusters);
            let (less, more) = (1 << self.clusters.ilog2(), self.clusters.next_power_of_two());
            return Err(Error::input(what).help(format!("{less} or {more}: clusters are halves of halves")));
        }
        let rules = [
            (
                of.head.is_on(),
                "auxiliary vectors are learned with an encoder, and this run learns a classifier",
                "it starts from those of a run with such vectors: --model RUN; in a pipeline, \
                 --set encoder.auxiliary.clusters=1024",
            ),
            (
                of.cross.alone(),
                "auxiliary vectors stand beside the embeddings of labels, and a cross-encoder that learns alone \
                 makes none",
                "--set auxiliary.clusters=0, or cross.share=0.5",
            ),
            (
                of.memory.momentum > 0.0,
                "auxiliary vectors are learned through the labels of a batch, and here a copy of the encoder embeds \
                 these, from which nothing goes back",
                "--set auxiliary.clusters=0, or memory.momentum=0",
            ),
        ];
        match rules.into_iter().find(|(broken, ..)| *broken) {
            Some((_, what, help)) => Err(Error::input(what).help(help)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_two_labels_for_each_cluster_at_least() {
        let of = |clusters, private| AuxiliaryConfig { clusters, private, ..AuxiliaryConfig::default() };
        assert_eq!(of(65_536, 1000).sizes(131_073).expect("enough"), (1000, 32_768));
        assert_eq!(of(65_536, 1000).sizes(1_305_265).expect("enough"), (1000, 65_536));
        assert_eq!(of(8, 0).sizes(2).expect("enough"), (0, 1));
        assert!(of(8, 9).sizes(10).is_err() && of(8, 11).sizes(10).is_err());
    }
}
