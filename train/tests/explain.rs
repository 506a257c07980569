//! What an explanation says holds: by encoding again, and by finite differences.

mod world;

use autograd::Tape;
use data::{DataSet, Split};
use engine::{Engine, Kind, Packed};
use std::path::PathBuf;
use train::explain::Explainer;
use train::{Network, Silent, load, run};
use world::{settings, topics};

fn trained(dir: &tempfile::TempDir, model: &str, more: &[&str]) -> PathBuf {
    let data = topics(dir.path(), 300);
    let model = format!("model.source={model}");
    let base = [&model, "model.width=32", "train.batch=32", "train.epochs=2", "train.lr=3e-3"];
    let out = dir.path().join("run");
    let (mut trainer, files) =
        run::begin(&Engine::new(2), &settings(&data, &base, more), &out).expect("begins");
    run::run(&mut trainer, &files, &mut Silent).expect("ends");
    out
}

fn embed(network: &Network, ids: &[u32]) -> Vec<f64> {
    let mut packed = Packed::default();
    packed.push(ids.iter().copied());
    network.encode(&Tape::inference(&Engine::new(1)), &packed, 0, None).value().to_f64()
}

/// The title of a training query, with a word of its own twice, and its token ids.
fn text(data: &DataSet) -> (String, Vec<u32>) {
    let title = data.queries(Split::Train).title(3).to_owned();
    let first = title.split(' ').next().expect("a word").to_owned();
    let text = format!("{title} {first}");
    let ids = data.tokenizer().expect("one").encode(&text, data.max_len()).expect("ids").to_vec();
    (text, ids)
}

#[test]
fn what_a_token_is_worth_is_what_is_lost_without_it() {
    for model in ["bag", "tiny"] {
        let dir = tempfile::tempdir().expect("a directory");
        let out = trained(&dir, model, &[]);
        let explainer = Explainer::open(&Engine::new(2), &out, "", &mut Silent).expect("opens");
        let (data, mut network) = (explainer.data(), load::network(&out).expect("a model"));
        let (text, ids) = text(data);
        let found = explainer.best(&text, 3).expect("explains");
        assert_eq!(found.iter().map(|e| e.above).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(found.is_sorted_by(|a, b| a.score >= b.score));
        let one = &found[0];
        assert_eq!(one.tokens.len(), ids.len() - 2, "all but the first and the last");

        let label: Vec<u32> = data.labels().tokens(one.label as usize).collect();
        let weights = embed(&network, &label);
        let score = |network: &Network, ids: &[u32]| -> f64 {
            embed(network, ids).iter().zip(&weights).map(|(a, b)| a * b).sum()
        };
        let whole = score(&network, &ids);
        assert!((whole - f64::from(one.score)).abs() < 1e-5);
        for (i, token) in one.tokens.iter().enumerate() {
            let fewer = [&ids[..=i], &ids[i + 2..]].concat();
            let lost = whole - score(&network, &fewer);
            assert!((lost - f64::from(token.without)).abs() < 1e-5, "{model} {token:?} {lost}");
        }
        // The row of a token is made longer and shorter: all places that have it move together.
        let table = network.model.architecture.token_table(&network.model.params);
        let width = network.model.params.value(table).shape().last();
        for (i, token) in one.tokens.iter().enumerate() {
            let id = ids[i + 1];
            let times = ids.iter().filter(|&&other| other == id).count() as f64;
            let mut at = |factor: f32| {
                let row = id as usize * width..(id as usize + 1) * width;
                network.model.params.value_mut(table).data_mut::<f32>()[row]
                    .iter_mut()
                    .for_each(|x| *x *= factor);
                score(&network, &ids)
            };
            let (more, less) = (at(1.01), at(0.99 / 1.01));
            at(1.0 / 0.99);
            let slope = (more - less) / 0.02 / times;
            let told = f64::from(token.gradient);
            assert!((slope - told).abs() < 2e-3 + 0.02 * told.abs(), "{model} {token:?} {slope}");
        }
        if model == "bag" {
            let sum: f32 = one.tokens.iter().map(|t| t.gradient).sum();
            assert!(sum.abs() < 1e-4, "a vector of length 1 does not see how long the rows are: {sum}");
        }
    }
}

#[test]
fn who_has_the_label_pulls_and_who_has_it_not_pushes() {
    let dir = tempfile::tempdir().expect("a directory");
    let out = trained(&dir, "bag", &["head.name=classifier"]);
    let explainer = Explainer::open(&Engine::new(2), &out, "", &mut Silent).expect("opens");
    assert!(explainer.is_classifier());
    let data = explainer.data();
    let one = explainer.best(&text(data).0, 1).expect("explains").remove(0);
    let has = |row: u32| data.positives(Split::Train, row as usize).contains(&one.label);
    assert!(!one.pulled.is_empty() && one.pulled.iter().all(|t| has(t.row)));
    assert!(!one.pushed.is_empty() && one.pushed.iter().all(|t| !has(t.row)));
    assert!(one.pulled.is_sorted_by(|a, b| a.cosine >= b.cosine));
    assert!(one.pushed.is_sorted_by(|a, b| a.cosine >= b.cosine));
    assert_eq!(explainer.best("", 1).expect_err("nothing to explain").kind(), Kind::Input);
    let unknown = explainer.label("anything", 1 << 30).expect_err("no such label");
    assert_eq!(unknown.kind(), Kind::Input);
}
