//! Made worlds: data sets of which everything is known, to see what a strategy does to labels that nobody gave.
//!
//! ```text
//! topic    t ~ N(0, 1)¹²          aspect  a = t + 0.45·N        document, query  z = a + 0.22·N
//! features x = P z + σ·N, 30      P ~ N(0, 1/3.5²), one for queries, another for documents
//! words    one for each feature: its number, and which of ten equally frequent levels x falls into
//! ```
//! All documents of a query's aspect answer it. Queries and documents share no word, so what they share has to be
//! learned, and BM25 knows nothing. In [`World::hidden`] eight documents answer a query and one of them is known in
//! training: what is near a query is often an answer that nobody labelled. In [`World::plain`] one document answers, so
//! whatever is near is a negative. The test judges with all answers.
//!
//! `docs/worlds.md` holds strategies against their claims in such worlds.

use engine::{Error, Result, Stream};
use rand_distr::{Distribution, StandardNormal};
use serde_json::json;
use std::fmt::Write as _;
use std::path::Path;

/// Numbers that make a topic, an aspect, a document.
const LATENT: usize = 12;
/// Words of a text: as many as `lode prepare` keeps where nobody says more.
const FEATURES: usize = 30;
/// Levels of a feature.
const LEVELS: usize = 10;
/// How far aspects lie from their topic, and texts from their aspect.
const SPREAD: [f64; 2] = [0.45, 0.22];

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct World {
    /// Topics.
    pub topics: usize,
    /// Aspects of each topic.
    pub aspects: usize,
    /// Documents of each aspect: the answers of a query.
    pub documents: usize,
    /// Training queries.
    pub queries: usize,
    /// Test queries.
    pub test_queries: usize,
    /// How unequal aspects are asked for: the i-th of n with probability ∝ 1/i^skew; 0 for all alike.
    pub skew: f64,
    /// Features of which queries and documents have the same words.
    pub shared: usize,
    /// The share of training queries whose known answer is none, but any document.
    pub wrong: f64,
    /// σ, the noise of a feature.
    pub noise: f64,
    /// Whether all answers of training queries are known, or one of them.
    pub judged: bool,
    /// Which world of its kind.
    pub seed: u64,
}

/// What a random number is for.
mod tags {
    pub(super) const LATENT: u64 = u64::from_be_bytes(*b"w.latent");
    pub(super) const TEXTS: u64 = u64::from_be_bytes(*b"w.texts ");
    pub(super) const WRONG: u64 = u64::from_be_bytes(*b"w.wrong ");
    pub(super) const ANSWER: u64 = u64::from_be_bytes(*b"w.answer");
}

/// Aspects and what texts are made with.
struct Maps {
    aspects: Vec<[f64; LATENT]>,
    /// Of queries and of documents.
    projections: [Vec<[f64; LATENT]>; 2],
}

impl World {
    /// Eight answers to a query, one of them known in training.
    pub fn hidden(seed: u64) -> World {
        World { aspects: 6, documents: 8, ..World::plain(seed) }
    }
    /// One answer to a query, and it is known.
    pub fn plain(seed: u64) -> World {
        World {
            topics: 60,
            aspects: 24,
            documents: 1,
            queries: 9600,
            test_queries: 400,
            skew: 0.0,
            shared: 0,
            wrong: 0.0,
            noise: 0.30,
            judged: false,
            seed,
        }
    }
    /// Writes it as a folder in BEIR's layout, and beside its judgements `qrels/truth.tsv`: all answers of the
    /// training queries.
    ///
    /// # Errors
    /// If the disk is full or the folder cannot be made.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let qrels = folder.join("qrels");
        std::fs::create_dir_all(&qrels).map_err(|e| Error::io(&qrels, e))?;
        let put = |path: &Path, text: &str| std::fs::write(path, text).map_err(|e| Error::io(path, e));
        let maps = self.maps();
        let stream = Stream::new(self.seed, tags::TEXTS);
        let count = maps.aspects.len() * self.documents;
        let line = |id: String, text: String| format!("{}\n", json!({"_id": id, "text": text}));
        let document = |d: usize| {
            line(format!("d{d}"), self.text(&maps, 1, d / self.documents, stream.at_step(d as u64)))
        };
        put(&folder.join("corpus.jsonl"), &(0..count).map(document).collect::<String>())?;
        let header = "query-id\tcorpus-id\tscore\n";
        let (mut queries, mut train, mut test, mut truth) =
            (String::new(), header.to_owned(), header.to_owned(), header.to_owned());
        let chance = Stream::new(self.seed, tags::ANSWER);
        let wrong = Stream::new(self.seed, tags::WRONG);
        let shares = self.shares(maps.aspects.len());
        for q in 0..self.queries + self.test_queries {
            let place = chance.uniform(2 * q as u64);
            let aspect = shares.partition_point(|&below| below <= place).min(shares.len() - 1);
            let answers = aspect * self.documents..(aspect + 1) * self.documents;
            let mut known = answers.start + chance.below(2 * q as u64 + 1, self.documents as u64) as usize;
            if q < self.queries && wrong.uniform(2 * q as u64) < self.wrong {
                known = wrong.below(2 * q as u64 + 1, count as u64) as usize;
                train += &format!("q{q}\td{known}\t1\n");
            }
            queries +=
                &line(format!("q{q}"), self.text(&maps, 0, aspect, stream.at_step((count + q) as u64)));
            for d in answers {
                let judgement = format!("q{q}\td{d}\t1\n");
                if q >= self.queries {
                    test += &judgement;
                    continue;
                }
                truth += &judgement;
                if self.judged || d == known {
                    train += &judgement;
                }
            }
        }
        put(&folder.join("queries.jsonl"), &queries)?;
        put(&qrels.join("train.tsv"), &train)?;
        put(&qrels.join("test.tsv"), &test)?;
        put(&qrels.join("truth.tsv"), &truth)
    }
    /// The share of queries that ask for this aspect or one before it. Aspects stand topic by topic, so popular ones
    /// are dealt out over the topics.
    fn shares(&self, aspects: usize) -> Vec<f64> {
        let rank = |aspect: usize| aspect % self.aspects * self.topics + aspect / self.aspects + 1;
        let weights: Vec<f64> = (0..aspects).map(|aspect| (rank(aspect) as f64).powf(-self.skew)).collect();
        let total: f64 = weights.iter().sum();
        weights
            .iter()
            .scan(0.0, |sum, w| {
                *sum += w / total;
                Some(*sum)
            })
            .collect()
    }
    fn maps(&self) -> Maps {
        let mut normal = normals(Stream::new(self.seed, tags::LATENT));
        let mut projections: [Vec<[f64; LATENT]>; 2] =
            [(); 2].map(|()| (0..FEATURES).map(|_| std::array::from_fn(|_| normal() / 3.5)).collect());
        let common = self.shared.min(FEATURES);
        let [queries, documents] = &mut projections;
        documents[..common].copy_from_slice(&queries[..common]);
        let mut aspects = vec![];
        for _ in 0..self.topics {
            let topic: [f64; LATENT] = std::array::from_fn(|_| normal());
            aspects.extend((0..self.aspects).map(|_| topic.map(|t| t + SPREAD[0] * normal())));
        }
        Maps { aspects, projections }
    }
    /// The words of a query (`side` 0) or a document (1).
    fn text(&self, maps: &Maps, side: usize, aspect: usize, stream: Stream) -> String {
        let mut normal = normals(stream);
        let z = maps.aspects[aspect].map(|a| a + SPREAD[1] * normal());
        let mut text = String::new();
        for (f, row) in maps.projections[side].iter().enumerate() {
            let clean: f64 = row.iter().zip(&z).map(|(p, z)| p * z).sum();
            let variance: f64 =
                row.iter().map(|p| p * p).sum::<f64>() * (1.0 + SPREAD.map(|s| s * s).iter().sum::<f64>());
            let x = (clean + self.noise * normal()) / (variance + self.noise * self.noise).sqrt();
            let level = DECILES.partition_point(|&cut| cut <= x);
            let space = if f == 0 { "" } else { " " };
            let _ = write!(text, "{space}{}", word(if f < self.shared { 2 } else { side }, f, level));
        }
        text
    }
}

/// Where a standard normal variable passes 10 %, 20 %, … 90 %.
const DECILES: [f64; LEVELS - 1] =
    [-1.281_55, -0.841_62, -0.524_40, -0.253_35, 0.0, 0.253_35, 0.524_40, 0.841_62, 1.281_55];

/// A word that can be spoken, another for each feature and level.
fn word(side: usize, feature: usize, level: usize) -> String {
    let syllable = |n: usize| format!("{}{}", b"bdfgklmnprstvz"[n % 14] as char, b"aeiou"[n / 14] as char);
    format!("{}{}{}", ["qu", "x", "w"][side], syllable(feature), syllable(level))
}

fn normals(stream: Stream) -> impl FnMut() -> f64 {
    let mut reader = stream.reader();
    move || StandardNormal.sample(&mut reader)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataSet, PrepareOptions, Source, Split, TokenizerChoice, Verify, prepare, read_judgements};

    fn small(judged: bool) -> World {
        World { topics: 5, aspects: 3, queries: 200, test_queries: 20, judged, ..World::hidden(3) }
    }

    fn prepared(world: World) -> (tempfile::TempDir, DataSet) {
        let dir = tempfile::tempdir().expect("a directory");
        let (folder, out) = (dir.path().join("world"), dir.path().join("world.lode"));
        world.write(&folder).expect("written");
        let options = PrepareOptions::new(&out, TokenizerChoice::Train(2000));
        prepare(&Source::Beir(folder), &options, &mut |_| {}).expect("prepared");
        let data = DataSet::open(&out, Verify::Full).expect("opens");
        (dir, data)
    }

    #[test]
    fn training_knows_one_answer_the_truth_and_the_test_know_all() {
        let (dir, data) = prepared(small(false));
        let truth = read_judgements(&dir.path().join("world/qrels/truth.tsv"), &data).expect("a truth");
        assert_eq!((data.labels().len(), truth.len()), (120, 200));
        for (q, answers) in truth.iter().enumerate() {
            let known = data.positives(Split::Train, q);
            assert_eq!((known.len(), answers.len()), (1, 8));
            assert!(answers.contains(&known[0]));
            assert!(answers.iter().all(|a| a / 8 == answers[0] / 8), "answers are documents of one aspect");
        }
        assert!((0..20).all(|q| data.positives(Split::Test, q).len() == 8));
        let (_dir, judged) = prepared(small(true));
        assert!((0..200).all(|q| judged.positives(Split::Train, q) == &truth[q][..]));
        assert!(
            (0..200).all(|q| judged.queries(Split::Train).title(q) == data.queries(Split::Train).title(q))
        );
    }

    /// Texts of one aspect share words, those of queries and documents share none unless they are told to.
    #[test]
    fn words_say_which_aspect_a_text_is_of() {
        let (_dir, data) = prepared(World { shared: 6, ..small(false) });
        let words =
            |d: usize| -> Vec<String> { data.labels().text(d).split(' ').map(str::to_owned).collect() };
        let alike = |a: usize, b: usize| words(a).iter().zip(words(b)).filter(|(a, b)| *a == b).count();
        let mean = |pairs: &[(usize, usize)]| {
            pairs.iter().map(|&(a, b)| alike(a, b)).sum::<usize>() as f64 / pairs.len() as f64
        };
        let same: Vec<_> = (0..15).map(|aspect| (8 * aspect, 8 * aspect + 1)).collect();
        let topic: Vec<_> = (0..5).map(|topic| (24 * topic, 24 * topic + 8)).collect();
        let far: Vec<_> = (0..4).map(|topic| (24 * topic, 24 * topic + 24)).collect();
        let [same, topic, far] = [&same, &topic, &far].map(|pairs| mean(pairs));
        assert!(same > topic + 2.0 && topic > far + 2.0, "{same} {topic} {far}");
        let query = data.queries(Split::Train).text(0).into_owned();
        let query: Vec<&str> = query.split(' ').collect();
        assert_eq!(query.len(), FEATURES);
        let shared = query.iter().filter(|w| (0..120).any(|d| words(d).iter().any(|v| v == *w))).count();
        assert_eq!(shared, 6);
        // A shared word is of a shared feature: a query and its answer have it in common more often than by chance.
        let common = |q: usize, d: usize| {
            let text = data.queries(Split::Train).text(q).into_owned();
            text.split(' ').zip(words(d)).filter(|(a, b)| a == b).count() as f64
        };
        let answer = |q: usize| data.positives(Split::Train, q)[0] as usize;
        let own: f64 = (0..200).map(|q| common(q, answer(q))).sum();
        let other: f64 = (0..200).map(|q| common(q, (answer(q) + 48) % 120)).sum();
        assert!(own > 1.5 * other, "{own} {other}");
    }

    #[test]
    fn of_some_queries_the_known_answer_is_wrong() {
        let (dir, data) = prepared(World { wrong: 0.2, queries: 1000, ..small(false) });
        let truth = read_judgements(&dir.path().join("world/qrels/truth.tsv"), &data).expect("a truth");
        let known = |q: usize| data.positives(Split::Train, q);
        assert!((0..1000).all(|q| known(q).len() == 1 && truth[q].len() == 8));
        // A document drawn from 120 is one of the eight that answer now and then: 1000 · 0.2 · 112/120 = 187 ± 12.
        let wrong = (0..1000).filter(|&q| !truth[q].contains(&known(q)[0])).count();
        assert!((140..235).contains(&wrong), "{wrong}");
    }

    #[test]
    fn a_skewed_world_asks_for_some_aspects_most_of_the_time() {
        let counts = |skew| {
            let (_dir, data) = prepared(World { skew, queries: 2000, ..small(false) });
            let mut counts = [0; 15];
            (0..2000).for_each(|q| counts[data.positives(Split::Train, q)[0] as usize / 8] += 1);
            counts
        };
        // The first aspect of each topic comes before all others.
        let (even, skewed) = (counts(0.0), counts(1.0));
        assert!(even.iter().all(|&n| (90..180).contains(&n)), "{even:?}");
        let harmonic: f64 = (1..=15).map(|i| 1.0 / f64::from(i)).sum();
        let want = 2000.0 / harmonic;
        assert!((f64::from(skewed[0]) - want).abs() < 0.15 * want, "{skewed:?}");
        assert!((f64::from(skewed[1]) - want / 6.0).abs() < 0.4 * want / 6.0, "{skewed:?}");
    }
}
