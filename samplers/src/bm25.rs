//! BM25: labels ranked by the words that they share with a query, before any encoder is trained.
//!
//! ```text
//! idf_w  = ln(1 + (L − df_w + ½) / (df_w + ½))
//! s(q,l) = Σ_{w ∈ q} idf_w · tf_wl (k₁ + 1) / (tf_wl + k₁ (1 − b + b |l| / mean |l|))        w as often as q has it
//! ```
//! Robertson and Zaragoza, "The probabilistic relevance framework: BM25 and beyond", 2009, eq. 3.15, with the idf of
//! Lucene, which is never negative. k₁ says how soon more of a word stops counting, b how much long texts are held
//! against it. All of a term but the sum over the query's words is known beforehand and stored: a query adds up the
//! postings of its words and touches no other label.

use crate::Csr;
use crate::ranking::{best, keep_largest, unpack_best};
use crate::search::Hits;
use crate::tfidf::Vocabulary;
use engine::Engine;

/// k₁ and b.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bm25Options {
    /// k₁ ≥ 0.
    pub k1: f32,
    /// b, from 0 to 1.
    pub b: f32,
}

impl Default for Bm25Options {
    /// Those of Pyserini for MS MARCO passages, and of most that came after: 0.9 and 0.4.
    fn default() -> Bm25Options {
        Bm25Options { k1: 0.9, b: 0.4 }
    }
}

/// An inverted index over texts.
#[derive(Clone, Debug)]
pub struct Bm25 {
    vocabulary: Vocabulary,
    /// Word w has the postings `starts[w] .. starts[w + 1]`.
    starts: Vec<usize>,
    /// A text, and what the word gives to it.
    postings: Vec<(u32, f32)>,
    texts: usize,
}

/// Queries that one task answers.
const BLOCK: usize = 256;

impl Bm25 {
    /// Indexes texts; their ids are their positions.
    pub fn new(texts: impl Iterator<Item = impl AsRef<str>> + Clone, options: Bm25Options) -> Bm25 {
        let vocabulary = Vocabulary::fit(texts.clone());
        let mut starts = vec![0; vocabulary.len() + 1];
        let (mut lengths, mut ids) = (vec![], vec![]);
        for text in texts.clone() {
            vocabulary.ids(text.as_ref(), &mut ids);
            lengths.push(ids.len() as f32);
            ids.chunk_by(|a, b| a == b).for_each(|run| starts[run[0] as usize + 1] += 1);
        }
        (1..starts.len()).for_each(|w| starts[w] += starts[w - 1]);
        let total = lengths.len() as f32;
        let mean = (lengths.iter().sum::<f32>() / total.max(1.0)).max(f32::MIN_POSITIVE);
        let Bm25Options { k1, b } = options;
        let (mut next, mut postings) = (starts.clone(), vec![(0, 0.0); starts[starts.len() - 1]]);
        for ((text, length), id) in texts.zip(&lengths).zip(0u32..) {
            vocabulary.ids(text.as_ref(), &mut ids);
            for run in ids.chunk_by(|a, b| a == b) {
                let word = run[0] as usize;
                let (df, tf) = ((starts[word + 1] - starts[word]) as f32, run.len() as f32);
                let idf = ((total - df + 0.5) / (df + 0.5)).ln_1p();
                let gain = idf * tf * (k1 + 1.0) / (tf + k1 * (1.0 - b + b * length / mean));
                postings[next[word]] = (id, gain);
                next[word] += 1;
            }
        }
        Bm25 { vocabulary, starts, postings, texts: lengths.len() }
    }
    /// The `k` best texts of each query that are not excluded: row `i` of `exclude` for query `i`. Texts without a
    /// common word are no hits; ties by id. The same for any number of threads.
    pub fn search(&self, engine: &Engine, queries: &[&str], k: usize, exclude: Option<Csr<'_>>) -> Hits {
        let mut hits = Hits::none(queries.len(), k);
        let size = (BLOCK * k).max(1);
        engine.chunks2((&mut hits.ids, size), (&mut hits.scores, size), |block, ids, scores| {
            let mut sums = Sums { of: vec![0.0; self.texts], touched: vec![] };
            let first = block * BLOCK;
            for (i, (ids, scores)) in ids.chunks_mut(k).zip(scores.chunks_mut(k)).enumerate() {
                let excluded = exclude.map_or(&[][..], |exclude| exclude.row(first + i));
                let words = self.ranked(queries[first + i], k, excluded, &mut sums);
                for (at, word) in words.into_iter().enumerate() {
                    (ids[at], scores[at]) = unpack_best(word);
                }
            }
        });
        hits
    }
    /// The score of each of `texts` for a query.
    pub fn scores(&self, query: &str, texts: &[u32]) -> Vec<f32> {
        let mut sums = Sums { of: vec![0.0; self.texts], touched: vec![] };
        self.add_up(query, &mut sums);
        texts.iter().map(|&text| sums.of[text as usize]).collect()
    }
    /// The lowest score among the texts of row `i` of `of`, for query `i`; −∞ where there is none.
    pub fn lowest(&self, engine: &Engine, queries: &[&str], of: Csr<'_>) -> Vec<f32> {
        let mut lowest = vec![f32::NEG_INFINITY; queries.len()];
        engine.chunks(&mut lowest, BLOCK, |block, lowest| {
            let mut sums = Sums { of: vec![0.0; self.texts], touched: vec![] };
            for (i, lowest) in lowest.iter_mut().enumerate() {
                let query = block * BLOCK + i;
                self.add_up(queries[query], &mut sums);
                let scores = of.row(query).iter().map(|&text| sums.of[text as usize]);
                *lowest = scores.reduce(f32::min).unwrap_or(f32::NEG_INFINITY);
                sums.clear();
            }
        });
        lowest
    }
    fn add_up(&self, query: &str, sums: &mut Sums) {
        let mut words = vec![];
        self.vocabulary.ids(query, &mut words);
        for word in words {
            for &(text, gain) in &self.postings[self.starts[word as usize]..self.starts[word as usize + 1]] {
                if sums.of[text as usize] == 0.0 {
                    sums.touched.push(text);
                }
                sums.of[text as usize] += gain;
            }
        }
    }
    fn ranked(&self, query: &str, k: usize, excluded: &[u32], sums: &mut Sums) -> Vec<u64> {
        self.add_up(query, sums);
        let allowed = sums.touched.iter().filter(|text| excluded.binary_search(text).is_err());
        let mut words: Vec<u64> = allowed.map(|&text| best(sums.of[text as usize], text)).collect();
        keep_largest(&mut words, k);
        sums.clear();
        words
    }
}

/// Scores of one query, all zero but those touched.
struct Sums {
    of: Vec<f32>,
    touched: Vec<u32>,
}

impl Sums {
    fn clear(&mut self) {
        self.touched.drain(..).for_each(|text| self.of[text as usize] = 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 4] = ["red fox", "red red hen", "a grey goose in the grey grass", ""];

    fn index(options: Bm25Options) -> Bm25 {
        Bm25::new(TEXTS.into_iter(), options)
    }

    #[test]
    fn scores_are_those_of_the_formula() {
        // By hand, k₁ = 1.2, b = 0.75. Words of two letters and more: lengths 2, 3, 6, 0, mean 2.75.
        let red = (2.5f32 / 2.5).ln_1p();
        let fox = (3.5f32 / 1.5).ln_1p();
        let part = |tf: f32, length: f32| tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * length / 2.75));
        let got = index(Bm25Options { k1: 1.2, b: 0.75 }).scores("Red fox, red?", &[0, 1, 2, 3]);
        let want = [2.0 * red * part(1.0, 2.0) + fox * part(1.0, 2.0), 2.0 * red * part(2.0, 3.0), 0.0, 0.0];
        got.iter().zip(want).for_each(|(got, want)| assert!((got - want).abs() < 1e-6, "{got} {want}"));
    }

    #[test]
    fn long_texts_are_held_against_only_as_far_as_b_says() {
        let gain = |b| index(Bm25Options { k1: 1.2, b }).scores("goose", &[2])[0];
        assert!(gain(0.0) > gain(0.4) && gain(0.4) > gain(1.0));
    }

    #[test]
    fn the_best_that_are_not_excluded_come_first_whatever_the_threads() {
        let queries: Vec<&str> = std::iter::repeat_n("red hen", 600).collect();
        let rows: crate::Lists = (0..600u32).map(|i| if i == 599 { vec![1] } else { vec![] }).collect();
        let index = index(Bm25Options::default());
        for threads in [1, 3] {
            let hits = index.search(&Engine::new(threads), &queries, 3, Some(rows.csr()));
            assert_eq!((hits.row(0).0, hits.row(598).0), (&[1, 0][..], &[1, 0][..]));
            assert_eq!(hits.row(599).0, [0], "its label is excluded");
            let positives: crate::Lists =
                (0..600).map(|i| if i == 5 { vec![] } else { vec![0, 1] }).collect();
            let lowest = index.lowest(&Engine::new(threads), &queries, positives.csr());
            assert_eq!((lowest[5], lowest[599]), (f32::NEG_INFINITY, index.scores("red hen", &[0])[0]));
            assert_eq!(hits.row(0).1[1], index.scores("red hen", &[0])[0]);
        }
    }
}
