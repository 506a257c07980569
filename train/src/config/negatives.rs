//! What a batch is scored against besides its positives, and who judges that.

use engine::{Error, Result};
use serde::{Deserialize, Serialize};

/// Where negatives may come from.
const SOURCES: [&str; 7] = ["batch", "all", "random", "bm25", "model", "tree", "file"];

/// Which labels a batch is scored against besides its positives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NegativesConfig {
    /// `batch` for the other rows' positives alone; `all` for every label, whose texts are then encoded in every step;
    /// `random` by a law; `bm25`, `model`, `tree` or `file` from ranked lists.
    pub from: String,
    /// Labels drawn for each row, besides the positives of the batch.
    pub count: usize,
    /// Each row meets the labels drawn for it alone, and no other row's.
    pub own: bool,
    /// Random: `uniform`, `log-uniform` (by rank of frequency) or `popularity`.
    pub law: String,
    /// Random: the power of the frequency under `popularity`.
    pub alpha: f64,
    /// Random: correct the loss for the law, as if every label were scored.
    pub correct: bool,
    /// Lists: labels kept for each query.
    pub depth: usize,
    /// Lists: the best so many, after filtering, are left out.
    pub skip: usize,
    /// Lists: `top`, `uniform`, `window` or `bins`.
    pub pick: String,
    /// Lists, window: a of exp(−a (s(q,d) − s(q,p) − b)²).
    pub window_narrow: f64,
    /// Lists, window: b.
    pub window_above: f64,
    /// Lists: a label must lie so far below the query's lowest positive; below 0 for no such rule.
    pub absolute_margin: f64,
    /// Lists: a label must lie so far below it, as a share of its score; below 0 for no such rule.
    pub relative_margin: f64,
    /// Lists: a label must not score higher.
    pub max_score: f64,
    /// Lists of a model, or of a tree: make them anew every so many steps; 0 for once.
    pub refresh_steps: u64,
    /// Lists of a model, or of a tree: whose; empty for the model in training as it is then.
    pub model: String,
    /// Lists of a tree: labels in a leaf, at most.
    pub leaf: usize,
    /// Lists of a tree: leaves that a query is matched to, besides those of its positives.
    pub beam: usize,
    /// Lists: a cross-encoder's directory, which reads each query with each of its labels; its scores are then those
    /// that the rules ask. Empty for none.
    pub rescore: String,
    /// Lists of a file: which, as `lode mine` writes it.
    pub file: String,
    /// BM25: how soon more of a word stops counting.
    pub k1: f64,
    /// BM25: how much long texts are held against it.
    pub b: f64,
}

/// A model that judges pairs while another learns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuideConfig {
    /// A model directory or a run; `start` for the model that the run starts from; empty for no guide.
    pub model: String,
    /// Mask negatives that the guide finds nearer to a row than its positive less the margin.
    pub mask: bool,
    /// How far below its positive, for the guide.
    pub margin: f64,
    /// The margin is a share of the positive's score.
    pub relative: bool,
}

impl Default for NegativesConfig {
    fn default() -> NegativesConfig {
        NegativesConfig {
            from: "batch".into(),
            count: 1,
            own: false,
            law: "uniform".into(),
            alpha: 0.75,
            correct: true,
            depth: 50,
            skip: 0,
            pick: "uniform".into(),
            window_narrow: 0.5,
            window_above: 0.0,
            absolute_margin: -1.0,
            relative_margin: -1.0,
            max_score: f64::INFINITY,
            refresh_steps: 0,
            model: String::new(),
            leaf: 32,
            beam: 4,
            rescore: String::new(),
            file: String::new(),
            k1: 0.9,
            b: 0.4,
        }
    }
}
impl Default for GuideConfig {
    fn default() -> GuideConfig {
        GuideConfig { model: String::new(), mask: true, margin: 0.0, relative: false }
    }
}

impl NegativesConfig {
    /// Whether they are drawn from ranked lists.
    pub fn listed(&self) -> bool {
        ["bm25", "model", "tree", "file"].contains(&&*self.from)
    }
    /// Whether a model's embeddings rank them.
    pub fn embedded(&self) -> bool {
        ["model", "tree"].contains(&&*self.from)
    }
    /// Steps between two refreshes of the lists; 0 where they are made once: what does not learn ranks alike for ever.
    pub(crate) fn refreshed_every(&self) -> u64 {
        if self.embedded() && self.model.is_empty() { self.refresh_steps } else { 0 }
    }
    /// Whether labels may leave their lists for a score itself, and not for a difference of two.
    pub(super) fn limits_scores(&self) -> bool {
        self.max_score < f64::INFINITY || self.relative_margin >= 0.0
    }
    /// Checks ranges and names.
    ///
    /// # Errors
    /// Names the value, its range and what was given.
    pub(super) fn check(&self, strategy: &str) -> Result<()> {
        let wrong = |key: &str, range: &str, got: &str| {
            Err(Error::input(format!("`negatives.{key}` must be {range}, it is {got}")))
        };
        let names = [
            ("from", &SOURCES[..], &self.from),
            ("law", &["uniform", "log-uniform", "popularity"], &self.law),
            ("pick", &["top", "uniform", "window", "bins"], &self.pick),
        ];
        for (key, known, got) in names {
            if !known.contains(&&**got) {
                return wrong(key, &format!("one of {}", known.join(", ")), got);
            }
        }
        let drawn = self.listed() || self.from == "random";
        if drawn && self.count == 0 {
            return wrong("count", "at least 1", "0");
        }
        if self.listed() && self.depth < self.count {
            return wrong("depth", "at least negatives.count", &self.depth.to_string());
        }
        if self.leaf == 0 {
            return wrong("leaf", "at least 1", "0");
        }
        if (self.from == "file") == self.file.is_empty() {
            let e = Error::input("`negatives.from=file` and `negatives.file` need each other");
            return Err(
                e.help("--set negatives.from=file --set negatives.file=NEGATIVES; `lode mine` makes one")
            );
        }
        if self.rescore.is_empty() && strategy == "rocketqa" {
            let e = Error::input(
                "rocketqa asks a cross-encoder which labels are no negatives, and none is named",
            );
            return Err(e.help("--set negatives.rescore=DIR"));
        }
        if !self.rescore.is_empty() && !self.listed() {
            let e = Error::input("`negatives.rescore` is for labels of lists");
            return Err(e.help("negatives.from = bm25, model, tree or file"));
        }
        if self.own && !drawn {
            let e = Error::input(format!(
                "`negatives.own` needs labels that are drawn for each row, not `{}`",
                self.from
            ));
            return Err(e.help("negatives.from = random, bm25, model, tree or file"));
        }
        if !(self.k1 >= 0.0 && (0.0..=1.0).contains(&self.b)) {
            return wrong(
                "k1 and negatives.b",
                "0 or more, and from 0 to 1",
                &format!("{} and {}", self.k1, self.b),
            );
        }
        if !(self.alpha.is_finite() && self.window_narrow >= 0.0 && self.window_above.is_finite()) {
            return wrong("alpha, window_narrow and window_above", "finite, window_narrow 0 or more", "not");
        }
        let margins = [self.absolute_margin, self.relative_margin];
        if margins.iter().any(|m| !m.is_finite())
            || self.max_score.is_nan()
            || !self.window_narrow.is_finite()
        {
            return wrong("absolute_margin, relative_margin, max_score and window_narrow", "numbers", "not");
        }
        if !(-10.0..=10.0).contains(&self.alpha) {
            return wrong("alpha", "from -10 to 10", &self.alpha.to_string());
        }
        Ok(())
    }
    /// Whether the loss is corrected for a law, and knows it.
    pub(super) fn corrects(&self) -> bool {
        self.from == "random" && self.correct
    }
}
