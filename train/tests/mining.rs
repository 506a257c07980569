//! Mining hard negatives: what is found, and that it is found again after any interruption.

use data::{DataSet, PrepareOptions, Source, Split, TokenizerChoice, Verify};
use engine::container::{Container, Scalar, Writer};
use engine::{Engine, Kind, Packed};
use models::{Architecture, Model, bag};
use samplers::mining::{Reason, Rules, Sampling};
use std::path::Path;
use train::embed::embed;
use train::mining::{Mined, Mining, Options, Statistics};
use train::{Event, Network, Observer, Silent};

/// Labels: more than one file of the corpus holds.
const LABELS: usize = 17_000;
const WIDTH: usize = 16;

/// 340 queries of one or two labels, and a bag with weights drawn by chance, whose embeddings have any length.
fn set(dir: &Path, labels: usize) -> (DataSet, Network) {
    filtered_set(dir, labels, "")
}

/// The same, with lines of query and label that must not meet.
fn filtered_set(dir: &Path, labels: usize, filters: &str) -> (DataSet, Network) {
    let write = |name: &str, lines: String| std::fs::write(dir.join(name), lines).expect("written");
    let label = |l: usize| format!("{{\"uid\":\"l{l}\",\"title\":\"label {l} {}\"}}\n", l % 13);
    let query = |i: usize| {
        let (a, b) = (i * 7919 % labels, i % 3 * 104_729 % labels);
        format!("{{\"uid\":\"q{i}\",\"title\":\"query {a} of {i}\",\"target_ind\":[{a},{b}]}}\n")
    };
    write("lbl.jsonl", (0..labels).map(label).collect());
    write("trn.jsonl", (0..20).map(query).collect());
    write("tst.jsonl", (20..360).map(query).collect());
    if !filters.is_empty() {
        write("filter_labels_test.txt", filters.into());
    }
    let out = dir.join("set.lode");
    let options = PrepareOptions::new(&out, TokenizerChoice::Train(300));
    data::prepare(&Source::Jsonl(dir.into()), &options, &mut |_| {}).expect("prepared");
    let data = DataSet::open(&out, Verify::Full).expect("opens");
    let config = bag::Config { vocab: data.vocab_size(), width: WIDTH, normalise: false };
    (data, Network::new(Model::fresh(Architecture::Bag(config), 32, 1)))
}

fn options() -> Options {
    let rules =
        Rules { num_negatives: 4, max_score: Some(0.97), sampling: Sampling::Random, ..Rules::default() };
    let (query_prompt, corpus_prompt) = (String::new(), String::new());
    Options { split: Split::Test, rules, seed: 1, query_prompt, corpus_prompt, memory: 1 << 30, cache: None }
}

/// Stops when it is asked so often; counts the texts that are embedded.
struct Stopping {
    left: usize,
    embedded: usize,
}

impl Observer for Stopping {
    fn seconds(&mut self) -> f64 {
        0.0
    }
    fn stop(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left == 0
    }
    fn event(&mut self, event: &Event<'_>) {
        self.embedded += usize::from(matches!(event, Event::Embedding { .. }));
    }
}

fn rows(mining: &Mining<'_>) -> (Vec<Mined>, Statistics) {
    let mut all = vec![];
    let statistics = mining.rows(&mut |mined| {
        all.push(mined.clone());
        Ok(())
    });
    (all, statistics.expect("rows"))
}

#[test]
fn mining_finds_what_scoring_everything_finds() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data, network) = set(dir.path(), LABELS);
    let engine = Engine::new(2);
    let rules = Rules { range_min: 1, num_negatives: 5, relative_margin: Some(0.1), ..Rules::default() };
    let options = Options { rules, ..options() };
    let mining = Mining::new(&engine, &network, &data, options, &dir.path().join("work")).expect("planned");
    mining.run(&mut Silent).expect("mined");
    let (found, statistics) = rows(&mining);
    let all = |texts: data::Texts<'_>| {
        let push = |i: usize, packed: &mut Packed| texts.push_to(i, packed);
        embed(&engine, &network, texts.len(), push, "", &mut Silent).expect("embedded")
    };
    let (labels, queries) = (all(data.labels()), all(data.queries(Split::Test)));
    let of = |q: usize, l: usize| {
        cosine(&queries[q * WIDTH..(q + 1) * WIDTH], &labels[l * WIDTH..(l + 1) * WIDTH])
    };
    assert!(found.len() > 100 && statistics.corpus == LABELS);
    for mined in &found {
        let q = mined.query as usize;
        let own: Vec<u32> = mined.positives.iter().map(|p| p.0).collect();
        let lowest = own.iter().map(|&l| of(q, l as usize)).fold(f64::INFINITY, f64::min);
        let limit = lowest - lowest.abs() * 0.1;
        let near = |&(l, score): &(u32, f32)| (f64::from(score) - of(q, l as usize)).abs() < 1e-5;
        assert!(mined.positives.iter().all(near), "{mined:?}");
        let mut scores: Vec<f64> =
            (0..LABELS).filter(|&l| !own.contains(&(l as u32))).map(|l| of(q, l)).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        // Ten candidates for each that is wanted, and what range-min and the positives take.
        scores.truncate(mining.range_max() + own.len());
        let want: Vec<f64> = scores.into_iter().filter(|&s| s <= limit + 1e-6).skip(1).take(5).collect();
        assert_eq!(mined.negatives.len(), want.len(), "{mined:?} {want:?}");
        for (&(label, score), want) in mined.negatives.iter().zip(want) {
            let own = of(q, label as usize);
            assert!((f64::from(score) - want).abs() < 1e-5 && (own - want).abs() < 1e-5, "{mined:?}");
        }
    }
    assert_eq!(
        (statistics.skipped[0].0, statistics.skipped[1].0),
        (Reason::Positive, Reason::RelativeMargin)
    );
    assert!(statistics.suspects == 0 && statistics.positive_mean() > statistics.negative_mean());
    assert_eq!(statistics.negatives, found.iter().map(|m| m.negatives.len() as u64).sum::<u64>());
    assert_eq!(statistics.none, found.iter().filter(|m| m.negatives.is_empty()).count());
}

/// In f64.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn what_is_filtered_for_a_query_is_not_mined_for_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = Engine::new(1);
    let options = Options { rules: Rules { num_negatives: 5, ..Rules::default() }, ..options() };
    let found = |data: &DataSet, network: &Network, name: &str| {
        let mining =
            Mining::new(&engine, network, data, options.clone(), &dir.path().join(name)).expect("planned");
        mining.run(&mut Silent).expect("mined");
        rows(&mining).0
    };
    let (data, network) = set(dir.path(), 600);
    let before = found(&data, &network, "a");
    // The best of each is forbidden to it: the others move up.
    let filters: String = before.iter().map(|m| format!("{} {}\n", m.query, m.negatives[0].0)).collect();
    let (data, network) = filtered_set(dir.path(), 600, &filters);
    for (mined, before) in found(&data, &network, "b").iter().zip(&before) {
        assert_eq!(mined.negatives[..4], before.negatives[1..], "{mined:?} {before:?}");
    }
}

#[test]
fn mining_that_is_stopped_anywhere_goes_on_and_finds_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data, network) = set(dir.path(), LABELS);
    let (engine, work) = (Engine::new(2), dir.path().join("work"));
    // The least memory with which it begins: the smallest blocks.
    let planned = |memory: usize, work: &Path| {
        let options = Options { memory, ..options() };
        Mining::new(&engine, &network, &data, options, &dir.path().join(work))
    };
    let memory =
        (0..400).map(|i| (i << 18) + 1).find(|&memory| planned(memory, &dir.path().join("probe")).is_ok());
    let memory = memory.expect("some memory suffices");
    let refused = planned(memory - (1 << 18), &work).err().expect("too little");
    assert_eq!(refused.kind(), Kind::Refused);
    assert!(refused.to_string().contains("--max-memory") && !work.exists(), "{refused}");

    let whole = planned(memory, &dir.path().join("whole")).expect("planned");
    let mut all = Stopping { left: usize::MAX, embedded: 0 };
    whole.run(&mut all).expect("mined");
    let want = rows(&whole);
    assert!(want.0.len() > 2 * 64, "several blocks are wanted, {} queries are there", want.0.len());
    let mut attempts = 0;
    let (got, last) = loop {
        attempts += 1;
        let mining = planned(memory, &work).expect("planned");
        let mut observer = Stopping { left: 3 * attempts, embedded: 0 };
        let ended = mining.run(&mut observer);
        match ended {
            Ok(()) => break (rows(&mining), observer.embedded),
            Err(e) => assert_eq!(e.kind(), Kind::Interrupted),
        }
    };
    assert_eq!(got, want);
    assert!(attempts > 5 && last < all.embedded / 2, "{attempts} attempts, {last} of {}", all.embedded);
    // What is done is not done again, and what lies in the folder is taken away, but nothing else.
    let again = planned(memory, &work).expect("planned");
    let mut observer = Stopping { left: 1, embedded: 0 };
    again.run(&mut observer).expect("there is nothing left to stop");
    std::fs::write(work.join("corpus.txt"), "not ours").expect("written");
    again.finish().expect("removed");
    whole.finish().expect("removed");
    let left: Vec<_> =
        std::fs::read_dir(&work).expect("it stays").map(|e| e.expect("an entry").file_name()).collect();
    assert!(left == ["corpus.txt"] && !dir.path().join("whole").exists(), "{left:?}");
}

#[test]
fn files_of_another_mining_are_not_taken() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data, network) = set(dir.path(), 600);
    let (engine, work) = (Engine::new(1), dir.path().join("work"));
    let run = |network: &Network, options: Options, work: &Path| {
        let mining = Mining::new(&engine, network, &data, options, work).expect("planned");
        let mut observer = Stopping { left: usize::MAX, embedded: 0 };
        mining.run(&mut observer).expect("mined");
        (rows(&mining).0, observer.embedded)
    };
    let fresh =
        |network: &Network, options: Options, name: &str| run(network, options, &dir.path().join(name)).0;
    let (first, all) = run(&network, options(), &work);
    assert_eq!(run(&network, options(), &work), (first.clone(), 0));
    // Another rule: the corpus is there, the queries are embedded again.
    let other = Options { rules: Rules { num_negatives: 2, ..options().rules }, ..options() };
    let (found, embedded) = run(&network, other.clone(), &work);
    assert!(found == fresh(&network, other, "a") && embedded > 0 && embedded < all, "{embedded} of {all}");
    // Another seed draws others; another prompt or model changes all.
    assert_eq!(run(&network, options(), &work).0, first);
    let other = Options { seed: 2, ..options() };
    assert!(run(&network, other, &work).0 != first);
    let other = Options { corpus_prompt: "of 7 ".into(), query_prompt: "label ".into(), ..options() };
    let (found, embedded) = run(&network, other.clone(), &work);
    assert!(found == fresh(&network, other, "b") && found != first && embedded >= all, "{embedded} of {all}");
    assert_eq!(run(&network, options(), &work).0, first);
    let model = Network::new(Model::fresh(network.model.architecture.clone(), 32, 9));
    let (found, embedded) = run(&model, options(), &work);
    assert!(found == fresh(&model, options(), "c") && found != first && embedded == all);
    // A damaged file is made again.
    let mut bytes = std::fs::read(work.join("queries-00000.lode")).expect("read");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(work.join("queries-00000.lode"), bytes).expect("written");
    assert_eq!(run(&model, options(), &work).0, found);
    let held = Mining::new(&engine, &network, &data, options(), &work).expect("planned");
    let busy =
        Mining::new(&engine, &network, &data, options(), &work).err().expect("another one works there");
    assert!(busy.kind() == Kind::Refused && busy.to_string().contains("another process"), "{busy}");
    drop(held);
}

#[test]
fn a_cache_keeps_the_corpus_for_other_rules_and_splits_and_no_other_corpus_is_taken_from_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data, network) = set(dir.path(), LABELS);
    let engine = Engine::new(2);
    let run = |network: &Network, options: &Options, cache: Option<&str>| {
        let options = Options { cache: cache.map(|name| dir.path().join(name)), ..options.clone() };
        let work = dir.path().join("work");
        let mining = Mining::new(&engine, network, &data, options, &work).expect("planned");
        let mut observer = Stopping { left: usize::MAX, embedded: 0 };
        mining.run(&mut observer).expect("mined");
        let found = rows(&mining);
        mining.finish().expect("removed");
        assert!(!work.exists());
        (found, observer.embedded)
    };
    let of_train = Options { split: Split::Train, ..options() };
    let behind_prompt = Options { corpus_prompt: "of 7 ".into(), ..options() };
    let other = Network::new(Model::fresh(network.model.architecture.clone(), 32, 9));
    let (want, all) = run(&network, &options(), None);
    assert_eq!(run(&network, &options(), Some("cache")), (want.clone(), all));
    let mut queries = 0;
    for (network, options, taken) in [
        (&network, options(), true),
        (&network, of_train, true),
        (&network, behind_prompt, false),
        (&other, options(), false),
        (&network, options(), true),
    ] {
        let (fresh, all) = run(network, &options, None);
        let (found, embedded) = run(network, &options, Some("cache"));
        assert_eq!(found, fresh);
        assert!(if taken { embedded < all } else { embedded == all }, "{embedded} of {all}");
        queries = queries.max(if taken { embedded } else { 0 });
    }
    assert!(queries < all / 4, "{queries} of {all}");
    // What is damaged is made again; who works there is alone.
    let files =
        std::fs::read_dir(dir.path().join("cache")).expect("a folder").map(|e| e.expect("an entry").path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some()).collect();
    assert_eq!(files.len(), 3 * LABELS.div_ceil(1 << 14), "three corpora lie there");
    files.sort();
    let mut bytes = std::fs::read(&files[0]).expect("read");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&files[0], bytes).expect("written");
    assert_eq!(run(&network, &options(), Some("cache")).0, want);
    let options = Options { cache: Some(dir.path().join("cache")), ..options() };
    let planned = |work: &str| Mining::new(&engine, &network, &data, options.clone(), &dir.path().join(work));
    let same = planned("cache").err().expect("no cache").to_string();
    assert!(same.contains("--cache takes another folder"), "{same}");
    let held = planned("one").expect("planned");
    let busy = planned("two").err().expect("another one works there").to_string();
    assert!(busy.contains("another process") && busy.contains("cache"), "{busy}");
    drop(held);
}

#[test]
fn a_prompt_stands_before_every_text_and_needs_texts() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data, network) = set(dir.path(), 600);
    let engine = Engine::new(1);
    let prompted = Options { query_prompt: "label ".into(), ..options() };
    let planned = |data: &DataSet, options: Options, name: &str| -> engine::Result<Vec<Mined>> {
        let mining = Mining::new(&engine, &network, data, options, &dir.path().join(name))?;
        mining.run(&mut Silent)?;
        Ok(rows(&mining).0)
    };
    let found = planned(&data, prompted.clone(), "a").expect("mined");
    let (tokenizer, texts) = (data.tokenizer().expect("a tokenizer"), data.queries(Split::Test));
    let labels = data.labels();
    for mined in &found {
        let text = "label ".to_owned() + &texts.text(mined.query as usize);
        let tokens = tokenizer.encode(&text, data.max_len()).expect("tokens");
        let push = |i: usize, packed: &mut Packed| match i {
            0 => packed.push(tokens.iter().copied()),
            _ => labels.push_to(mined.positives[0].0 as usize, packed),
        };
        let pair = embed(&engine, &network, 2, push, "", &mut Silent).expect("embedded");
        let score = cosine(&pair[..WIDTH], &pair[WIDTH..]);
        assert!((score - f64::from(mined.positives[0].1)).abs() < 1e-5, "{score} {mined:?}");
    }
    // A file of before contents were kept.
    let file = Container::open(data.path(), "dataset", Verify::Full).expect("opens");
    let mut older = Writer::create(&dir.path().join("older"), "dataset").expect("begun");
    for section in file.sections() {
        let name = &*section.name;
        match section.scalar {
            Scalar::U8 if name == "meta" => {
                let text = String::from_utf8(file.bytes(name).expect("there").to_vec()).expect("JSON");
                older.section(name, text.replace("\"whole_texts\":true,", "").as_bytes())
            }
            Scalar::U8 => older.section(name, file.slice::<u8>(name).expect("there")),
            Scalar::U16 => older.section(name, file.slice::<u16>(name).expect("there")),
            Scalar::U32 => older.section(name, file.slice::<u32>(name).expect("there")),
            Scalar::U64 => older.section(name, file.slice::<u64>(name).expect("there")),
            Scalar::F32 => older.section(name, file.slice::<f32>(name).expect("there")),
        }
        .expect("written");
    }
    older.commit().expect("written");
    let older = DataSet::open(&dir.path().join("older"), Verify::Full).expect("opens");
    let refused = planned(&older, prompted, "b").expect_err("no texts").to_string();
    assert!(refused.contains("older") && refused.contains("lode prepare"), "{refused}");
    assert!(planned(&older, options(), "c").is_ok());
}
