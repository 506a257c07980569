//! The weight of near titles is fitted, and on held-out queries alone.

mod world;

use data::{DataSet, Split, Verify};
use engine::Engine;
use models::{Architecture, Model, bag};
use samplers::knn::Voting;
use std::path::Path;
use train::index::Index;
use train::{Network, Silent, voting};

/// Three hundred titles of which each names its own label, which no other title has: what neighbours say is always
/// wrong, what the label's text says is right.
fn misleading_neighbours(dir: &Path) -> DataSet {
    let rows = (0..300).map(|i| format!("common words of group {} key{i},key{i}\n", i % 3));
    let csv = "title,label\n".to_owned() + &rows.collect::<String>();
    let out = world::prepared(dir, &csv, 600, |source| source.split = "100/0".parse().expect("a ratio"));
    DataSet::open(&out, Verify::Full).expect("opens")
}

#[test]
fn neighbours_that_mislead_get_little_weight_and_few_queries_decide_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = misleading_neighbours(dir.path());
    let config = bag::Config { vocab: data.vocab_size(), width: 64, normalise: true };
    let network = Network::new(Model::fresh(Architecture::Bag(config), 32, 1));
    let engine = Engine::new(2);
    let index = Index::build(&engine, &network, &data, true, &mut Silent).expect("nothing stops it");
    let all: Vec<u32> = (0..data.queries(Split::Train).len() as u32).collect();
    let fitted = voting::fit(&engine, &index, &data, &all[..150], 20);
    assert!(fitted.weight <= 0.1, "{fitted:?}");
    assert_eq!(
        voting::fit(&engine, &index, &data, &all[..99], 20),
        Voting { nearest: 20, ..Voting::EMBEDDINGS }
    );
}
