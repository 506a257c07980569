//! The honest baselines: what can be said about a title by counting words, before any encoder is trained.
//!
//! ```text
//! idf_w = ln((1 + n) / (1 + df_w)) + 1        x_w = (1 + ln tf_w) · idf_w        x ← x / |x|
//! label cosine      s_l = x·z_l
//! with neighbours   s_l = x·z_l + weight · Σ_{20 nearest titles t} (x·t)² · 1[l ∈ Y_t]
//! ```
//! Words are runs of at least two letters, digits or underscores, in lower case; n counts the training titles
//! and the label texts together. These are the definitions of scikit-learn's
//! `TfidfVectorizer(sublinear_tf=True)`.

use std::collections::HashMap;

use crate::Csr;
use crate::knn::{Voting, votes};
use crate::ranking::{best, keep_largest, unpack_best};

/// Calls `each` with every word of a text.
fn words(text: &str, mut each: impl FnMut(&str)) {
    let lower = text.to_lowercase();
    let runs = lower.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    runs.filter(|run| run.chars().nth(1).is_some()).for_each(&mut each);
}

/// A text as weighted words: (word, weight) by rising word.
pub type Sparse = Vec<(u32, f32)>;

/// Words and how rare they are. Words are numbered as they first occur; the map is only looked up, never
/// walked.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    words: HashMap<String, u32>,
    idf: Vec<f32>,
}

impl Vocabulary {
    /// Counts in how many of the texts each word occurs.
    pub fn fit(texts: impl Iterator<Item = impl AsRef<str>>) -> Vocabulary {
        let mut vocabulary = Vocabulary::default();
        // For each word: texts that have it, and the last of them.
        let mut seen: Vec<(u32, u32)> = Vec::new();
        let mut n = 0;
        for text in texts {
            n += 1;
            words(text.as_ref(), |word| {
                let id = vocabulary.words.get(word).copied().unwrap_or_else(|| {
                    vocabulary.words.insert(word.to_owned(), seen.len() as u32);
                    seen.push((0, 0));
                    seen.len() as u32 - 1
                });
                let (count, last) = &mut seen[id as usize];
                *count += u32::from(*last != n);
                *last = n;
            });
        }
        let idf = |&(df, _): &(u32, u32)| ((1.0 + f64::from(n)) / (1.0 + f64::from(df))).ln() + 1.0;
        vocabulary.idf = seen.iter().map(|word| idf(word) as f32).collect();
        vocabulary
    }
    /// How many words there are.
    pub fn len(&self) -> usize {
        self.idf.len()
    }
    /// True when no text had a word.
    pub fn is_empty(&self) -> bool {
        self.idf.is_empty()
    }
    /// The known words of a text, ascending, each as often as it occurs, in place of what `ids` held.
    pub fn ids(&self, text: &str, ids: &mut Vec<u32>) {
        ids.clear();
        words(text, |word| ids.extend(self.words.get(word)));
        ids.sort_unstable();
    }
    /// The unit vector of a text. Words never seen are left out; a text without known words is empty.
    pub fn vector(&self, text: &str) -> Sparse {
        let mut ids = Vec::new();
        self.ids(text, &mut ids);
        let weight = |run: &[u32]| (1.0 + (run.len() as f32).ln()) * self.idf[run[0] as usize];
        let mut vector: Sparse = ids.chunk_by(|a, b| a == b).map(|run| (run[0], weight(run))).collect();
        let norm = vector.iter().map(|(_, x)| x * x).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|(_, x)| *x /= norm);
        vector
    }
}

/// An inverted index: for each word the texts that have it.
#[derive(Clone, Debug)]
pub struct Inverted {
    starts: Vec<usize>,
    postings: Vec<(u32, f32)>,
    texts: usize,
}

impl Inverted {
    /// Indexes vectors of `vocabulary`; text ids are their positions.
    pub fn new(vocabulary: &Vocabulary, vectors: &[Sparse]) -> Inverted {
        let mut starts = vec![0; vocabulary.idf.len() + 1];
        vectors.iter().flatten().for_each(|&(word, _)| starts[word as usize + 1] += 1);
        (1..starts.len()).for_each(|w| starts[w] += starts[w - 1]);
        let (mut next, mut postings) = (starts.clone(), vec![(0, 0.0); starts[starts.len() - 1]]);
        for (text, vector) in vectors.iter().enumerate() {
            for &(word, x) in vector {
                postings[next[word as usize]] = (text as u32, x);
                next[word as usize] += 1;
            }
        }
        Inverted { starts, postings, texts: vectors.len() }
    }
    /// The cosine of `vector` with every text.
    pub fn cosines(&self, vector: &Sparse) -> Vec<f32> {
        let mut cosines = vec![0.0; self.texts];
        for &(word, x) in vector {
            let word = word as usize;
            for &(text, y) in &self.postings[self.starts[word]..self.starts[word + 1]] {
                cosines[text as usize] += x * y;
            }
        }
        cosines
    }
}

/// Both baselines over one training set.
#[derive(Clone, Debug)]
pub struct Baselines<'a> {
    vocabulary: Vocabulary,
    labels: Inverted,
    titles: Inverted,
    positives: Csr<'a>,
}

impl<'a> Baselines<'a> {
    /// From the training titles, the label texts, and the labels of each title.
    pub fn fit(titles: &[&str], labels: &[&str], positives: Csr<'a>) -> Baselines<'a> {
        let vocabulary = Vocabulary::fit(titles.iter().chain(labels).copied());
        let index = |texts: &[&str]| {
            let vectors: Vec<Sparse> = texts.iter().map(|text| vocabulary.vector(text)).collect();
            Inverted::new(&vocabulary, &vectors)
        };
        let (labels, titles) = (index(labels), index(titles));
        Baselines { vocabulary, labels, titles, positives }
    }
    /// The cosine of a title with every label text, `[L]`.
    pub fn label_cosines(&self, title: &str) -> Vec<f32> {
        self.labels.cosines(&self.vocabulary.vector(title))
    }
    /// The label cosines plus the votes of the nearest training titles, `[L]`.
    pub fn with_neighbours(&self, title: &str, voting: Voting) -> Vec<f32> {
        let vector = self.vocabulary.vector(title);
        let nearest = top(&self.titles.cosines(&vector), voting.nearest);
        let (near, cosines): (Vec<u32>, Vec<f32>) = nearest.into_iter().unzip();
        let mut scores = self.labels.cosines(&vector);
        for (label, vote) in votes(&near, &cosines, self.positives, voting.power) {
            scores[label as usize] += voting.weight * vote;
        }
        scores
    }
}

/// The `k` highest scores as (id, score), ties by id.
pub fn top(scores: &[f32], k: usize) -> Vec<(u32, f32)> {
    let mut words: Vec<u64> = scores.iter().zip(0..).map(|(&score, id)| best(score, id)).collect();
    keep_largest(&mut words, k);
    words.into_iter().map(unpack_best).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_lower_case_runs_of_two_or_more() {
        let mut got = vec![];
        words("A Guide to X-ray_2, Äpfel & 42: e-books", |word| got.push(word.to_owned()));
        assert_eq!(got, ["guide", "to", "ray_2", "äpfel", "42", "books"]);
    }

    /// By hand: n = 3; df(apple) = 2, df(tree) = 1, df(green) = 2.
    #[test]
    fn weights_follow_the_formula() {
        let vocabulary = Vocabulary::fit(["apple tree apple", "green apple", "green"].into_iter());
        let idf = |df: f32| (4.0 / (1.0 + df)).ln() + 1.0;
        let raw = [(1.0 + 2f32.ln()) * idf(2.0), idf(1.0)];
        let norm = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
        let got = vocabulary.vector("Apple unknown tree APPLE");
        assert_eq!(got.len(), 2);
        for (got, want) in got.iter().zip(raw) {
            assert!((got.1 - want / norm).abs() < 1e-6);
        }
        assert!(vocabulary.vector("nothing known").is_empty());
    }

    #[test]
    fn an_inverted_index_gives_the_cosines() {
        let texts = ["red fox", "red red wine", "blue whale", ""];
        let vocabulary = Vocabulary::fit(texts.into_iter());
        let vectors: Vec<Sparse> = texts.iter().map(|text| vocabulary.vector(text)).collect();
        let index = Inverted::new(&vocabulary, &vectors);
        let query = vocabulary.vector("red wine fox");
        let dense = |v: &Sparse| {
            let mut dense = [0.0; 5];
            v.iter().for_each(|&(w, x)| dense[w as usize] = x);
            dense
        };
        for (got, text) in index.cosines(&query).iter().zip(&vectors) {
            let want: f32 = dense(&query).iter().zip(dense(text)).map(|(a, b)| a * b).sum();
            assert!((got - want).abs() < 1e-6);
        }
    }

    #[test]
    fn neighbours_vote_for_their_labels() {
        let positives = Csr { starts: &[0, 1, 2], items: &[1, 0] };
        let titles = ["cooking with herbs", "whale songs"];
        let baselines = Baselines::fit(&titles, &["biology", "food"], positives);
        assert_eq!(baselines.label_cosines("herbs"), [0.0, 0.0]);
        let voting = Voting { nearest: 1, power: 2, weight: 3.0 };
        let scores = baselines.with_neighbours("cooking with herbs", voting);
        assert!(scores[0] == 0.0 && (scores[1] - 3.0).abs() < 1e-5, "{scores:?}");
        assert_eq!(top(&[0.5, 2.0, 0.5], 2), [(1, 2.0), (0, 0.5)]);
    }
}
