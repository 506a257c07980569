//! `--score`: what ranks labels, as it is typed.

use clap::ValueEnum;
use train::scoring::Score;

/// What ranks labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// The labels' texts
    Text,
    /// The learned label weights
    Classifier,
    /// Their weighted sum
    Fusion,
}

impl By {
    pub(crate) fn score(self) -> Score {
        match self {
            By::Text => Score::Text,
            By::Classifier => Score::Classifier,
            By::Fusion => Score::Fusion,
        }
    }
}
