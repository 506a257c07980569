//! What strategies claim, held against made worlds (`docs/worlds.md`): which way each pulls, judged by all answers, and
//! controls in which its premise is false and it must not win.
//!
//! The large effects are tested on three seeds. `SLOW=1` runs all on ten (`SEEDS=3`: on three; `ONLY=gist`: those that
//! have it in their name) and prints the table of `docs/worlds.md`:
//! `SLOW=1 cargo test --release --locked -p train --test honest -- --nocapture`.

mod world;

use data::metrics::Metric;
use data::{PrepareOptions, Source, Split, TokenizerChoice, World};
use engine::Engine;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use train::evaluate::{Options, Queries, evaluate_with};
use train::index::Index;
use train::race::{Versus, paired};
use train::scoring::Score;
use train::{Silent, Trainer, load, run};

/// What is said of two ways to train.
#[derive(Clone, Copy, PartialEq)]
enum Says {
    /// The first is better, by so much that three seeds show it.
    Plainly,
    /// The first is better.
    Better,
    /// A control: the first is not better.
    NoBetter,
    /// A control: the first is not worse.
    NoWorse,
    /// Nothing: both are shown.
    Shown,
}
use Says::{Better, NoBetter, NoWorse, Plainly, Shown};

/// A way to train, settings with spaces between, against another; and the steps of both, which begin afresh or, where a
/// settings says so, from a model that saw 600 batches.
struct Claim(Says, &'static str, &'static str, u64);

/// Eight answers to a query, one of them known. P@8 decides.
const HIDDEN: &[Claim] = &[
    // A guide takes the hidden answers out; one that knows nothing takes out whatever it likes.
    Claim(Better, "gist T guide.model=GUIDE", "gist T guide.model=GUIDE guide.mask=false", 1200),
    Claim(Plainly, "gist T guide.model=GUIDE guide.mask=false", "gist T guide.model=start", 1200),
    Claim(Plainly, "SHARED guide.model=GUIDE guide.margin=0.05", "SHARED", 1200),
    Claim(Plainly, "CLUSTERS guide.model=GUIDE guide.margin=0.05", "CLUSTERS", 1200),
    // The nearest labels are answers; a distance from the positive leaves them out.
    Claim(Plainly, "in-batch T", "SHARED negatives.pick=top", 1200),
    Claim(
        Plainly,
        "nv-retriever T negatives.model=GUIDE",
        "nv-retriever T negatives.model=GUIDE NOMARGIN",
        1200,
    ),
    Claim(Plainly, "simans T", "simans T negatives.pick=top", 1200),
    // A teacher knows more than one label; one that knows nothing teaches nothing.
    Claim(Plainly, "margin-mse guide.model=GUIDE", "in-batch T", 1200),
    Claim(Plainly, "distil T guide.model=GUIDE loss.teacher_temperature=0.1", "in-batch T", 1200),
    Claim(Plainly, "in-batch T", "margin-mse guide.model=start", 1200),
    Claim(Better, "TAS", "in-batch T", 1200),
    Claim(Shown, "TAS", "margin-mse guide.model=GUIDE", 1200),
    Claim(Shown, "TAS WARM", "margin-mse guide.model=GUIDE WARM", 300),
    Claim(Shown, "TAS negatives.pick=uniform", "TAS", 1200),
    Claim(Better, "gte T", "in-batch T", 1200),
    Claim(Better, "uniform T", "in-batch T", 1200),
    Claim(Better, "log-uniform T", "log-uniform T negatives.correct=false", 1200),
    Claim(Shown, "star I negatives.count=4 WARM", "in-batch T WARM", 300),
    Claim(Shown, "SHARED WARM", "in-batch T WARM", 300),
    Claim(Shown, "TREE WARM", "in-batch T WARM", 300),
    Claim(Better, "TREE WARM", "SHARED WARM", 300),
    // Labels rest, and queries come nearer to them. What is nearest are answers, and nothing takes them out.
    Claim(Better, "LIVE", "LIVE train.lr=1e-9", 300),
    Claim(Shown, "LIVE", "REST head.mined=0 head.uniform=100", 300),
    Claim(Shown, "LIVE", "in-batch T WARM", 300),
    Claim(Shown, "LIVE head.shortlist=20", "LIVE", 300),
    Claim(Shown, "CLUSTERS", "in-batch T", 1200),
    Claim(Shown, "CLUSTERS WARM", "in-batch T WARM", 300),
    Claim(Shown, "ngame-labels I", "in-batch T", 1200),
    Claim(Shown, "popularity T", "popularity T negatives.correct=false", 1200),
    Claim(Shown, "debiased", "in-batch loss.temperature=0.5", 1200),
    Claim(Shown, "CLUSTERS DCL", "CLUSTERS DCL loss.false_negatives=0.0", 1200),
    Claim(Shown, "hard-weighted loss.false_negatives=0.0", "in-batch loss.temperature=0.5", 300),
    Claim(Shown, "hard-weighted loss.false_negatives=0.0", "in-batch loss.temperature=0.5", 1200),
    Claim(Shown, "hardness T", "in-batch T", 1200),
    Claim(Shown, "dexml-hard T", "in-batch T", 1200),
    Claim(Better, "dexml T", "in-batch T", 1200),
    Claim(Shown, "cosent", "in-batch loss.temperature=0.05", 1200),
    Claim(Shown, "cosent loss.similarity=angle", "cosent", 1200),
];

/// One answer to a query, so that no negative is false. MRR@10 decides.
const PLAIN: &[Claim] = &[
    // Hard negatives help where none is false, once the model has begun to know what is near.
    Claim(Better, "star I negatives.count=4 WARM", "in-batch T WARM", 300),
    Claim(Plainly, "SHARED WARM", "in-batch T WARM", 300),
    Claim(Better, "TREE WARM", "in-batch T WARM", 300),
    Claim(Shown, "TREE WARM", "SHARED WARM", 300),
    // Where labels rest: what is found at the moment against nothing, labels by chance, and lists made once.
    Claim(Better, "LIVE", "LIVE train.lr=1e-9", 300),
    Claim(Shown, "LIVE", "REST head.mined=0 head.uniform=100", 300),
    Claim(Shown, "LIVE", "REST head.mined=4 head.uniform=0", 300),
    Claim(Better, "LIVE", "in-batch T WARM", 300),
    Claim(Shown, "LIVE head.shortlist=20", "LIVE", 300),
    Claim(Shown, "LIVE head.loss=decoupled", "LIVE", 300),
    // There is nothing to take out.
    Claim(NoBetter, "gist T guide.model=GUIDE", "gist T guide.model=GUIDE guide.mask=false", 1200),
    Claim(NoBetter, "SHARED guide.model=GUIDE guide.margin=0.05", "SHARED", 1200),
    Claim(
        NoWorse,
        "nv-retriever T negatives.model=GUIDE",
        "nv-retriever T negatives.model=GUIDE NOMARGIN",
        1200,
    ),
    Claim(Better, "simans T", "simans T negatives.pick=top", 1200),
    Claim(Better, "margin-mse guide.model=GUIDE", "in-batch T", 1200),
    Claim(Plainly, "in-batch T", "margin-mse guide.model=start", 1200),
    Claim(Better, "gte T", "in-batch T", 1200),
    Claim(Better, "uniform T", "in-batch T", 1200),
    Claim(Shown, "log-uniform T", "log-uniform T negatives.correct=false", 1200),
    // Labels share no word with queries: of a copy that is never trained on labels, their words stay as they were.
    Claim(Plainly, "in-batch T", "moco T memory.queue=512 memory.momentum=0.99", 1200),
    Claim(Shown, "memory-queue T memory.queue=512", "in-batch T", 1200),
    Claim(Better, "memory-queue T memory.queue=64", "in-batch T", 1200),
    Claim(NoBetter, "dbpm T memory.easy=0 memory.hard=1.5", "in-batch T", 1200),
    Claim(Shown, "dbpm T", "in-batch T", 1200),
    Claim(Shown, "ps-kd T", "in-batch T", 1200),
    Claim(Shown, "top-loss T", "in-batch T", 1200),
    Claim(Shown, "CLUSTERS", "in-batch T", 1200),
    Claim(Shown, "CLUSTERS WARM", "in-batch T WARM", 300),
    Claim(Shown, "ngame-labels I", "in-batch T", 1200),
    Claim(Shown, "popularity T", "popularity T negatives.correct=false", 1200),
    Claim(Shown, "debiased", "in-batch loss.temperature=0.5", 1200),
    Claim(Shown, "hard-weighted loss.false_negatives=0.0", "in-batch loss.temperature=0.5", 300),
    Claim(Shown, "hard-weighted loss.false_negatives=0.0", "in-batch loss.temperature=0.5", 1200),
    Claim(Shown, "hardness T", "in-batch T", 1200),
    Claim(Shown, "dexml-hard T", "in-batch T", 1200),
    Claim(Better, "dexml T", "in-batch T", 1200),
    Claim(Shown, "cosent", "in-batch loss.temperature=0.05", 1200),
    Claim(Shown, "cosent loss.similarity=angle", "cosent", 1200),
];

/// As [`PLAIN`], and of a fifth of the training queries the known answer is wrong.
const WRONG: &[Claim] = &[
    Claim(Better, "dbpm T memory.easy=0 memory.hard=1.5", "in-batch T", 1200),
    Claim(Shown, "dbpm T", "in-batch T", 1200),
    Claim(Better, "in-batch T", "top-loss T", 1200),
    Claim(Shown, "ps-kd T", "in-batch T", 1200),
    Claim(Shown, "ps-kd T memory.past=0.4", "in-batch T", 1200),
];

/// As [`PLAIN`], in words that queries and documents share.
const ONE_LANGUAGE: &[Claim] = &[
    Claim(Better, "memory-queue T memory.queue=512", "in-batch T", 1200),
    Claim(Better, "memory-queue T memory.queue=64", "in-batch T", 1200),
    Claim(Plainly, "MOCO memory.momentum=0.99", "MOCO memory.momentum=0.9999", 1200),
    Claim(Shown, "MOCO memory.momentum=0.99", "MOCO memory.momentum=0.01", 1200),
    Claim(Shown, "MOCO memory.momentum=0.99", "in-batch T", 1200),
    Claim(
        Better,
        "mochi T memory.queue=512 memory.momentum=0.99 WARM",
        "MOCO memory.momentum=0.99 WARM",
        300,
    ),
];

/// As [`PLAIN`], with two words of five the same in queries and documents: BM25 knows something.
const SOME_WORDS: &[Claim] =
    &[Claim(Better, "bm25 T", "in-batch T", 1200), Claim(Shown, "bm25 T", "uniform T", 1200)];

/// As [`HIDDEN`], small enough for a cross-encoder to learn something: READER learned from all answers for 3000 steps.
const READ: &[Claim] = &[
    Claim(Shown, "rocketqa I ONCE negatives.rescore=READER negatives.max_score=0.3", "star I ONCE", 300),
    Claim(Shown, "RANKED cross.model=READER", "ance I LISTS", 600),
    Claim(Shown, "RANKED cross.model=READER", "in-batch T", 600),
    // One that has not learned teaches nothing.
    Claim(Plainly, "ance I LISTS", "RANKED cross.model=tiny model.dropout=0", 600),
    Claim(Shown, "RANKED cross.model=READER cross.share=0.25", "RANKED cross.model=READER", 600),
    Claim(Shown, "RANKED cross.model=READER loss.adversarial=0.5", "RANKED cross.model=READER", 600),
    Claim(
        Shown,
        "RANKED cross.model=READER cross.share=0.25 loss.adversarial=0.5",
        "RANKED cross.model=READER cross.share=0.25",
        600,
    ),
];

/// As [`HIDDEN`], of sixteen classes: most batches hold several rows of each, and each has its own answer.
const CLASSES: &[Claim] = &[
    Claim(Better, "STAGE WARM negatives.own=true", "STAGE WARM", 300),
    Claim(Shown, "STAGE negatives.own=true", "STAGE", 600),
    Claim(Shown, "STAGE WARM", "in-batch T WARM", 300),
];

/// As [`HIDDEN`], and all answers are known that one of two weak searches has among its first ten: [`pooled`].
const POOLED: &[Claim] = &[
    // The better the search that negatives come from, the more of them are answers that nobody looked at.
    Claim(Better, "NAIVE negatives.model=WEAK", "NAIVE negatives.model=GUIDE", 1200),
    Claim(Better, "NAIVE negatives.model=GUIDE ORACLE", "NAIVE negatives.model=GUIDE", 1200),
    Claim(Better, "LOOKED negatives.model=GUIDE", "NAIVE negatives.model=GUIDE", 1200),
    Claim(Shown, "LOOKED negatives.model=GUIDE guide.model=GUIDE", "NAIVE negatives.model=GUIDE", 1200),
    Claim(Shown, "NAIVE negatives.model=GUIDE ORACLE", "LOOKED negatives.model=GUIDE", 1200),
];

/// The same, where somebody looked at all pairs.
const JUDGED: &[Claim] =
    &[Claim(NoBetter, "LOOKED negatives.model=GUIDE", "NAIVE negatives.model=GUIDE", 1200)];

/// Short for settings that many have in common.
const SHORT: &[(&str, &str)] = &[
    ("SHARED", "ance I negatives.refresh_steps=100 negatives.own=false negatives.count=4 negatives.depth=20"),
    ("LIVE", "adore head.temperature=0.1 WARM"),
    (
        "REST",
        "in-batch head.name=classifier head.optimizer=none head.labels=sampled head.loss=decoupled HEADS",
    ),
    ("HEADS", "head.dropout=0.0 head.refresh_epochs=1000 head.shortlist=200 head.temperature=0.1 WARM"),
    ("TREE", "label-tree T negatives.refresh_steps=100 negatives.leaf=16"),
    ("CLUSTERS", "ngame I composer.sizes=['0:8']"),
    ("RANKED", "ar2 T LISTS cross.share=0.0 loss.adversarial=0.0 cross.lr=1e-3"),
    ("ONCE", "LISTS negatives.refresh_steps=0 WARM"),
    ("LISTS", "negatives.count=7 negatives.depth=40 negatives.refresh_steps=100 negatives.own=true"),
    ("LOOKED", "cet T negatives.depth=20 negatives.refresh_steps=0 guide.model=WEAK"),
    ("NAIVE", "ance I negatives.own=false negatives.count=4 negatives.depth=20 negatives.refresh_steps=0"),
    ("ORACLE", "data.exclude=TRUTH"),
    ("STAGE", "nv-embed T model.pooling= negatives.model=GUIDE"),
    ("MOCO", "moco T memory.queue=512"),
    ("TAS", "tas-balanced guide.model=GUIDE negatives.model=GUIDE composer.sizes=['0:8']"),
    ("DCL", "loss.name=debiased loss.temperature=0.5 loss.false_negatives=0.1"),
    ("NOMARGIN", "negatives.relative_margin=-1.0"),
    ("WARM", "model.source=BEGUN model.width=0"),
    ("I", "loss.name=infonce T"),
    ("T", "loss.temperature=0.1"),
];

/// How a reader is trained: a tiny transformer, each pair for itself, so that its numbers become probabilities.
const READS: &str = "model.width=32 cross.model=tiny cross.loss=pairs cross.lr=2e-3 model.dropout=0";

fn spelled(arm: &str) -> String {
    SHORT.iter().fold(arm.to_owned(), |arm, (short, long)| {
        let word = |word: &str| if word == *short { (*long).to_owned() } else { word.to_owned() };
        arm.split(' ').map(word).collect::<Vec<_>>().join(" ")
    })
}

/// A world on disk, and two models that were trained in it: one on all answers, and one that has begun.
struct Place {
    data: PathBuf,
    truth: PathBuf,
    guide: PathBuf,
    begun: PathBuf,
    /// A cross-encoder that was trained on all answers, where one is asked for.
    reader: PathBuf,
    /// A model that has hardly begun, by whose search answers were looked at, where they were.
    weak: PathBuf,
    seed: u64,
}

impl Place {
    fn new(dir: &Path, (world, tokens): (World, usize), kind: Kind) -> Place {
        let seed = world.seed;
        let read = |folder: &Path| {
            let out = folder.with_extension("lode");
            let options =
                PrepareOptions { max_len: tokens, ..PrepareOptions::new(&out, TokenizerChoice::Train(2000)) };
            data::prepare(&Source::Beir(folder.to_owned()), &options, &mut |_| {}).expect("prepared");
            (out, folder.join("qrels/truth.tsv"))
        };
        let prepared = |name: &str, world: World| {
            let folder = dir.join(format!("{name}{seed}"));
            world.write(&folder).expect("written");
            read(&folder)
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
            kept(name, &trained(data, &truth, arm, steps, seed).0)
        };
        let guide = model("guide", &judged, "in-batch T train.batch=256", 1500, 77);
        let begun = model("begun", &data, "in-batch T", 600, 78);
        let mut weak = PathBuf::new();
        if [Kind::Pooled, Kind::Judged].contains(&kind) {
            let searches = [80, 81].map(|seed| trained(&judged, &truth, "in-batch T", WEAK, seed).0);
            weak = kept("weak", &searches[0]);
            data.clone_from(&judged);
            if kind == Kind::Pooled {
                look(&dir.join(format!("judged{seed}")), &searches);
                data = read(&dir.join(format!("judged{seed}"))).0;
            }
        }
        let reader = dir.join(format!("reader{seed}"));
        if kind == Kind::Read {
            let arm = format!(
                "cross-encoder negatives.from=model negatives.depth=40 model.source={}",
                guide.display()
            );
            let arm = format!("{arm} {READS}");
            let (trainer, _) = trained(&judged, &truth, &arm, 3000, 79);
            trainer.write_cross(&models::hf::Card::default(), &reader).expect("written");
        }
        Place { data, truth, guide, begun, reader, weak, seed }
    }
    /// P@8 and MRR@10 of the test queries, and the share of false negatives.
    fn run(&self, arm: &str, steps: u64) -> [f64; 3] {
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
        let (trainer, share) = trained(&self.data, &self.truth, &arm, steps, self.seed);
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
fn trained(data: &Path, truth: &Path, arm: &str, steps: u64, seed: u64) -> (Trainer, f64) {
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
    let mut trainer = run::assemble(&Engine::new(1), &settings).expect("fits");
    let mut share = 0.0;
    for _ in 0..trainer.total_steps() {
        let found = trainer.next_step(&mut Silent).expect("a step").false_negatives;
        share += if has_head { f64::NAN } else { found.expect("a truth") };
    }
    let steps = trainer.total_steps() as f64;
    (trainer, share / steps)
}

/// Runs each arm once for each seed.
struct Runs {
    places: Vec<Place>,
    done: HashMap<(&'static str, u64), Vec<[f64; 3]>>,
}

impl Runs {
    fn of(&mut self, arm: &'static str, steps: u64) -> &[[f64; 3]] {
        let all = || self.places.iter().map(|place| place.run(arm, steps)).collect();
        self.done.entry((arm, steps)).or_insert_with(all)
    }
}

fn mean(values: &[[f64; 3]], which: usize) -> f64 {
    values.iter().map(|v| v[which]).sum::<f64>() / values.len() as f64
}

/// What is made of a world.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// What it says.
    Plain,
    /// Short texts, and a cross-encoder that learned from all answers.
    Read,
    /// All answers are known that somebody looked at: [`look`].
    Pooled,
    /// All answers are known.
    Judged,
}

fn check(claims: &[Claim], make: fn(u64) -> World, (metric, name): (usize, &str), kind: Kind) {
    let slow = std::env::var_os("SLOW").is_some();
    let seeds: u64 =
        std::env::var("SEEDS").map_or(if slow { 10 } else { 3 }, |n| n.parse().expect("a number"));
    let only = std::env::var("ONLY").unwrap_or_default();
    let asked = |claim: &&Claim| (slow || claim.0 == Plainly) && claim.1.contains(&only);
    if !claims.iter().any(|claim| asked(&claim)) {
        println!("skipped: nothing here is asked for");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let tokens = match kind {
        Kind::Read => 14,
        _ => PrepareOptions::new(Path::new(""), TokenizerChoice::Train(0)).max_len,
    };
    let places = (0..seeds).map(|seed| Place::new(dir.path(), (make(seed), tokens), kind)).collect();
    let mut runs = Runs { places, done: HashMap::new() };
    let mut failed = vec![];
    println!("\n| | {name} | false | against | {name} | false | difference | | steps |");
    println!("{}|", "|---".repeat(9));
    for &Claim(says, first, second, steps) in claims.iter().filter(asked) {
        let [a, b] = [first, second].map(|arm| runs.of(arm, steps).to_vec());
        let [x, y] = [&a, &b].map(|of| of.iter().map(|v| v[metric]).collect::<Vec<f64>>());
        let versus @ Versus { mean: by, half } = paired(&x, &y);
        let holds = match says {
            Plainly if !slow => x.iter().zip(&y).all(|(x, y)| x > y),
            Plainly | Better => by > 0.0 && versus.is_clear(),
            NoBetter => by <= 0.0 || !versus.is_clear(),
            NoWorse => by >= 0.0 || !versus.is_clear(),
            Shown => true,
        };
        let [(m, f), (n, g)] = [&a, &b].map(|of| (100.0 * mean(of, metric), 100.0 * mean(of, 2)));
        let mark = match says {
            Plainly | Better => "asserted",
            NoBetter | NoWorse => "control",
            Shown => "shown",
        };
        let [f, g] = [f, g].map(|share| if share.is_nan() { "–".into() } else { format!("{share:.2} %") });
        let sides = format!("| `{first}` | {m:.1} | {f} | `{second}` | {n:.1} | {g}");
        println!("{sides} | {:+.1} ± {:.1} | {mark} | {steps} |", 100.0 * by, 100.0 * half);
        if !holds {
            failed.push(format!("{first} against {second}: {x:?} against {y:?}"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn where_answers_are_hidden() {
    check(HIDDEN, World::hidden, (0, "P@8"), Kind::Plain);
}

#[test]
fn where_some_labels_are_wrong() {
    check(WRONG, |seed| World { wrong: 0.2, ..World::plain(seed) }, (1, "MRR@10"), Kind::Plain);
}

#[test]
fn where_some_words_are_shared() {
    check(SOME_WORDS, |seed| World { shared: 12, ..World::plain(seed) }, (1, "MRR@10"), Kind::Plain);
}

#[test]
fn where_words_are_shared() {
    check(ONE_LANGUAGE, |seed| World { shared: 30, ..World::plain(seed) }, (1, "MRR@10"), Kind::Plain);
}

#[test]
fn where_a_cross_encoder_can_learn() {
    if std::env::var_os("SLOW").is_none() {
        println!("skipped: set SLOW=1");
        return;
    }
    let make = |seed| World { topics: 12, aspects: 4, queries: 4800, ..World::hidden(seed) };
    check(READ, make, (0, "P@8"), Kind::Read);
}

#[test]
fn where_rows_share_classes() {
    let make = |seed| World { topics: 8, aspects: 2, queries: 4800, ..World::hidden(seed) };
    check(CLASSES, make, (0, "P@8"), Kind::Plain);
}

#[test]
fn where_no_negative_is_false() {
    check(PLAIN, World::plain, (1, "MRR@10"), Kind::Plain);
}

#[test]
fn where_somebody_looked_at_some() {
    check(POOLED, World::hidden, (0, "P@8"), Kind::Pooled);
}

#[test]
fn where_somebody_looked_at_all() {
    check(JUDGED, World::hidden, (0, "P@8"), Kind::Judged);
}
