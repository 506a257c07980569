//! A world on disk, models that know it, and runs in it.

use crate::claims::SHORT;
use crate::world;
use data::metrics::Metric;
use data::{PrepareOptions, Source, Split, TokenizerChoice, World};
use engine::Engine;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use train::evaluate::{Options, Queries, evaluate_with};
use train::index::Index;
use train::scoring::Score;
use train::{Silent, Trainer, load, run};

/// What is made of a world.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// What it says.
    Plain,
    /// Short texts, and a cross-encoder that learned from all answers.
    Read,
    /// All answers are known that somebody looked at, by so many searches: [`look`].
    Pooled(usize),
    /// All answers are known.
    Judged,
}

/// How a reader is trained: a tiny transformer, each pair for itself, so that its numbers become probabilities.
const READS: &str = "model.width=32 cross.model=tiny cross.loss=pairs cross.lr=2e-3 model.dropout=0";

fn spelled(arm: &str) -> String {
    SHORT.iter().fold(arm.to_owned(), |arm, (short, long)| {
        let word = |word: &str| if word == *short { (*long).to_owned() } else { word.to_owned() };
        arm.split(' ').map(word).collect::<Vec<_>>().join(" ")
    })
}

/// A world on disk, and two models that were trained in it: one on all answers, and one that has begun.
pub(crate) struct Place {
    data: PathBuf,
    pub(crate) truth: PathBuf,
    guide: PathBuf,
    begun: PathBuf,
    /// A cross-encoder that was trained on all answers, where one is asked for.
    reader: PathBuf,
    /// A model that has hardly begun, by whose search answers were looked at, where they were.
    weak: PathBuf,
    seed: u64,
}

impl Place {
    pub(crate) fn new(dir: &Path, world: World, kind: Kind) -> Place {
        let seed = world.seed;
        let tokens = match kind {
            Kind::Read => 14,
            _ => PrepareOptions::new(Path::new(""), TokenizerChoice::Train(0)).max_len,
        };
        let read = |folder: &Path, tokenizer: TokenizerChoice| {
            let out = folder.with_extension("lode");
            let options = PrepareOptions { max_len: tokens, ..PrepareOptions::new(&out, tokenizer) };
            data::prepare(&Source::Beir(folder.to_owned()), &options, &mut |_| {}).expect("prepared");
            (out, folder.join("qrels/truth.tsv"))
        };
        let prepared = |name: &str, world: World| {
            let folder = dir.join(format!("{name}{seed}"));
            world.write(&folder).expect("written");
            read(&folder, TokenizerChoice::Train(2000))
        };
        let ((mut data, truth), (judged, _)) =
            (prepared("w", world), prepared("judged", World { judged: true, ..world }));
        let kept = |name: &str, trainer: &Trainer| {
            let path = dir.join(format!("{name}{seed}"));
            load::write_model(&trainer.network, trainer.data(), &path, models::hf::Card::default())
                .expect("written");
            path
        };
        let model = |name: &str, data: &Path, arm: &str, steps, seed| {
            kept(name, &trained(data, &truth, arm, steps, seed))
        };
        let guide = model("guide", &judged, "in-batch T train.batch=256", 1500, 77);
        let begun = model("begun", &data, "in-batch T", 600, 78);
        let mut weak = PathBuf::new();
        if matches!(kind, Kind::Pooled(_) | Kind::Judged) {
            let searches = [80, 81].map(|seed| trained(&judged, &truth, "in-batch T", WEAK, seed));
            weak = kept("weak", &searches[0]);
            data.clone_from(&judged);
            if let Kind::Pooled(count) = kind {
                look(&dir.join(format!("judged{seed}")), &searches[..count]);
                let words = searches[0].data().tokenizer_json().expect("words");
                std::fs::write(weak.join("tokenizer.json"), words).expect("written");
                // Who lost all answers is no training query any more, and the words stay what they were.
                data = read(&dir.join(format!("judged{seed}")), TokenizerChoice::Directory(weak.clone())).0;
            }
        }
        let reader = dir.join(format!("reader{seed}"));
        if kind == Kind::Read {
            let arm = format!(
                "cross-encoder negatives.from=model negatives.depth=40 model.source={}",
                guide.display()
            );
            let arm = format!("{arm} {READS}");
            let trainer = trained(&judged, &truth, &arm, 3000, 79);
            trainer.write_cross(&models::hf::Card::default(), &reader).expect("written");
        }
        Place { data, truth, guide, begun, reader, weak, seed }
    }
    /// P@8 and MRR@10 of the test queries, and the share of false negatives.
    pub(crate) fn run(&self, arm: &str, steps: u64) -> [f64; 3] {
        let (trainer, share) = self.trained(arm, steps);
        let (engine, network, data) = (trainer.engine().clone(), &trainer.network, trainer.data());
        let classifier = trainer.classifier();
        let score = if classifier.is_some() { Score::Classifier } else { Score::Text };
        let metrics = Metric::list("P@8,MRR@10").expect("metrics");
        let options = Options { metrics, score, ..Options::default() };
        let queries = Queries { split: Split::Test, rows: None };
        let index = Index::build(&engine, network, data, false, &mut Silent).expect("an index");
        let index = index.with_classifier(classifier).expect("it fits");
        let found = evaluate_with(&engine, network, &index, data, queries, &options, &mut Silent);
        let found = found.expect("measured").metrics;
        [found[0].1, found[1].1, share]
    }
    /// A run of so many steps, and the share of false negatives.
    pub(crate) fn trained(&self, arm: &str, steps: u64) -> (Trainer, f64) {
        let mut trainer = self.assembled(arm, steps);
        let mut share = 0.0;
        for _ in 0..trainer.total_steps() {
            let found = trainer.next_step(&mut Silent).expect("a step").false_negatives;
            share += found.unwrap_or(f64::NAN);
        }
        let steps = trainer.total_steps() as f64;
        (trainer, share / steps)
    }
    /// A run that has not begun.
    pub(crate) fn assembled(&self, arm: &str, steps: u64) -> Trainer {
        let named = [
            ("GUIDE", &self.guide),
            ("BEGUN", &self.begun),
            ("READER", &self.reader),
            ("WEAK", &self.weak),
            ("TRUTH", &self.truth),
        ];
        let replaced =
            |arm: String, (name, path): &(&str, &PathBuf)| arm.replace(name, path.to_str().expect("a name"));
        let arm = named.iter().fold(spelled(arm), replaced);
        assembled(&self.data, &self.truth, &arm, steps, self.seed)
    }
}

/// Steps of a search that is weak, and the places in which somebody looks.
const WEAK: u64 = 100;
const LOOKED_AT: usize = 10;

/// Leaves of the training queries' answers those that one of the searches has among its first.
fn look(folder: &Path, searches: &[Trainer]) {
    let mut pool = HashSet::new();
    for trainer in searches {
        let (engine, network, data) = (trainer.engine().clone(), &trainer.network, trainer.data());
        let index = Index::build(&engine, network, data, false, &mut Silent).expect("an index");
        let options = Options { depth: LOOKED_AT, score: Score::Text, ..Options::default() };
        let queries = Queries { split: Split::Train, rows: None };
        let found = evaluate_with(&engine, network, &index, data, queries, &options, &mut Silent);
        for ranked in found.expect("measured").rankings {
            let query = data.queries(Split::Train).uid(ranked.query as usize);
            let label = |l: u32| data.labels().uid(l as usize);
            pool.extend(ranked.labels.iter().map(|&(l, _)| format!("{query}\t{}", label(l))));
        }
    }
    let path = folder.join("qrels/train.tsv");
    let all = std::fs::read_to_string(&path).expect("answers");
    let is_known = |line: &&str| line.starts_with("query-id") || pool.contains(line.trim_end_matches("\t1"));
    let known: Vec<&str> = all.lines().filter(is_known).collect();
    println!("{} of {} answers were looked at", known.len() - 1, all.lines().count() - 1);
    std::fs::write(&path, known.join("\n") + "\n").expect("written");
}

/// A bag of 16 channels, batches of 32, a rate of 0.003 throughout.
fn assembled(data: &Path, truth: &Path, arm: &str, steps: u64, seed: u64) -> Trainer {
    let arm = format!("strategy.name={}", spelled(arm));
    let (steps, seed, truth) = (
        format!("train.steps={steps}"),
        format!("train.seed={seed}"),
        format!("data.truth={}", truth.display()),
    );
    let base =
        ["model.source=bag", "model.width=16", "train.batch=32", "train.lr=3e-3", "train.schedule=constant"];
    let more =
        ["train.warmup_steps=0", "train.weight_decay=0", "train.clip=0", "data.validation_per_mille=0"];
    // What a classifier's step meets is not counted.
    let has_head = arm.contains("adore") || arm.contains("head.name");
    let truth = if has_head { &[][..] } else { &[&*truth] };
    let base = [&base[..], &more, &[&*steps, &*seed], truth].concat();
    let settings = world::settings(data, &base, &arm.split(' ').collect::<Vec<_>>());
    run::assemble(&Engine::new(1), &settings).expect("fits")
}

/// The same, run to its end.
fn trained(data: &Path, truth: &Path, arm: &str, steps: u64, seed: u64) -> Trainer {
    let mut trainer = assembled(data, truth, arm, steps, seed);
    (0..trainer.total_steps()).for_each(|_| _ = trainer.next_step(&mut Silent).expect("a step"));
    trainer
}
