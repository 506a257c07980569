//! Files of our own that are mapped: any container, data sets, indexes, overlays.

use super::text::put;
use super::{Kind, Read, model};
use data::{DataSet, LabelFile, PrepareOptions, Source, Split, TokenizerChoice, Verify};
use engine::container::{Container, Writer};
use engine::{Engine, Error, Result};
use samplers::Matrix;
use std::path::Path;
use train::index::{Index, Ranking};
use train::scoring::Scoring;
use train::{Network, Overlay, RunDir, Silent};

const MIB: usize = 1 << 20;

pub(super) const CONTAINER: Kind = Kind {
    name: "container",
    parts: &["file.lode"],
    container: Some("sample"),
    bytes_max: MIB,
    make: container,
};

pub(super) const DATASET: Kind = Kind {
    name: "dataset",
    parts: &["data.lode"],
    container: Some("dataset"),
    bytes_max: 4 * MIB,
    make: dataset,
};

pub(super) const INDEX: Kind =
    Kind { name: "index", parts: &["index.lode"], container: Some("index"), bytes_max: 4 * MIB, make: index };

pub(super) const OVERLAY: Kind = Kind {
    name: "overlay",
    parts: &["overlay.lode"],
    container: Some("overlay"),
    bytes_max: 4 * MIB,
    make: overlay,
};

fn container(dir: &Path, _: &Engine) -> Read {
    let path = dir.join("file.lode");
    let mut writer = Writer::create(&path, "sample").expect("created");
    writer.section("bytes", b"some bytes").expect("written");
    writer.section("narrow", &[1u16, 2, 3]).expect("written");
    writer.section("ids", &[7u32; 20]).expect("written");
    writer.section("offsets", &[u64::MAX, 0]).expect("written");
    writer.section("values", &[0.5f32, -1.0]).expect("written");
    writer.section::<f32>("none", &[]).expect("written");
    writer.commit().expect("written");
    Box::new(move |_| {
        let file = Container::open(&path, "sample", Verify::Full)?;
        for section in file.sections() {
            assert_eq!(file.bytes(&section.name)?.len() as u64, section.bytes);
        }
        let _ = (file.slice::<u16>("narrow"), file.view::<u64>("offsets"), file.slice::<f32>("none"));
        Ok(())
    })
}

/// A data set of every section that there is, as `data.lode`.
pub(super) fn data_set(dir: &Path, engine: &Engine) -> DataSet {
    let source = dir.join("source");
    put(&source.join("lbl.jsonl"), LABELS);
    put(&source.join("trn.jsonl"), TRAIN);
    put(&source.join("tst.jsonl"), TEST);
    put(&source.join("filter_labels_train.txt"), "0 1\n");
    put(&dir.join("tokenizer/vocab.txt"), super::text::PIECES);
    let options = PrepareOptions {
        engine: engine.clone(),
        max_len: 6,
        ..PrepareOptions::new(dir.join("data.lode"), TokenizerChoice::Directory(dir.join("tokenizer")))
    };
    data::prepare(&Source::Jsonl(source), &options, &mut |_| {}).expect("prepared");
    DataSet::open(&options.out, Verify::Full).expect("whole")
}

const LABELS: &str = r#"{"uid":"x","title":"red","content":"a"}
{"uid":"y","title":"boat"}
{"uid":"3","title":"shoes"}
"#;
const TRAIN: &str = r#"{"uid":"q1","title":"red boat","content":"b s","target_ind":[0,1],"target_rel":[1,0.5]}
{"uid":"q2","title":"a shoe","target_ind":[2]}
{"uid":"q3","title":"boats","target_ind":[1]}
"#;
const TEST: &str = r#"{"uid":"t1","title":"shoes","target_ind":[2]}
"#;

fn dataset(dir: &Path, engine: &Engine) -> Read {
    drop(data_set(dir, engine));
    let path = dir.join("data.lode");
    Box::new(move |_| {
        let header = DataSet::open(&path, Verify::Header);
        let data = DataSet::open(&path, Verify::Full)?;
        assert!(header.is_ok(), "what is whole has a header");
        walk(&data)
    })
}

/// Looks at all that a data set has.
fn walk(data: &DataSet) -> Result<()> {
    let (labels, vocabulary) = (data.labels(), data.vocab_size());
    for split in [Split::Train, Split::Test] {
        for i in 0..data.queries(split).len() {
            let ids = [data.positives(split, i), data.filtered(split, i)].concat();
            assert!(ids.iter().all(|&label| (label as usize) < labels.len()));
            assert!(
                data.relevance(split, i).is_none_or(|values| values.len() == data.positives(split, i).len())
            );
        }
    }
    for texts in [data.queries(Split::Train), data.queries(Split::Test), labels] {
        for i in 0..texts.len() {
            assert!(texts.tokens(i).all(|token| (token as usize) < vocabulary));
            assert!(
                texts.text(i).len() >= texts.title(i).len()
                    && texts.token_count(i) as u64 <= texts.tokens_total()
            );
            let _ = (texts.uid(i), texts.content(i));
        }
    }
    let queries = data.queries(Split::Train).len();
    for label in 0..labels.len() {
        assert!(data.titles_of(label).iter().all(|&query| (query as usize) < queries));
    }
    assert_eq!(data.label_frequency().len(), labels.len());
    let _ = format!("{:?} {} {}", data.summary(), data.source(), data.fingerprint());
    let ids = data.tokenizer()?.encode("a red boat", data.max_len())?;
    assert!(ids.iter().all(|&token| (token as usize) < vocabulary), "a token that no model has");
    Ok(())
}

/// A model over the vocabulary of the sample.
fn network(dir: &Path) -> Network {
    model::bag(&dir.join("model"), super::text::PIECES.lines().count());
    train::load::network(&dir.join("model")).expect("a model")
}

fn index(dir: &Path, engine: &Engine) -> Read {
    let (data, network, path) = (data_set(dir, engine), network(dir), dir.join("index.lode"));
    let engine = engine.clone();
    Index::load_or_build(&path, &engine, &network, &data, true, &mut Silent).expect("built");
    Box::new(move |_| {
        if !Index::is_current(&path, &network, &data) {
            return Err(Error::input("the index is made anew"));
        }
        // What is current is read and not made anew, unless the titles alone are damaged.
        let before = std::fs::read(&path).expect("read");
        let index = Index::load_or_build(&path, &engine, &network, &data, true, &mut Silent)?;
        let query = vec![0.5; network.width()];
        let ranking = Ranking { k: 3, ..Ranking::default() };
        for scoring in [Scoring::Text(None), Scoring::Text(Some(samplers::knn::Voting::default()))] {
            let found = index.rank(&engine, &data, Matrix::new(&query, network.width()), &scoring, &ranking);
            assert!(found[0].iter().all(|&(label, _)| (label as usize) < data.labels().len()));
        }
        match std::fs::read(&path).expect("read") == before {
            true => Ok(()),
            false => Err(Error::input("the index was made anew")),
        }
    })
}

fn overlay(dir: &Path, engine: &Engine) -> Read {
    let (data, network, run) = (data_set(dir, engine), network(dir), RunDir::at(dir));
    put(
        &dir.join("more.jsonl"),
        "{\"id\":\"n1\",\"text\":\"a boat\"}\n{\"id\":\"n2\",\"text\":\"red shoes\"}\n",
    );
    let labels = LabelFile::read(&dir.join("more.jsonl"), &dir.join("out")).expect("labels");
    let mut overlay = Overlay::open(&run, &data).expect("none yet");
    overlay.add(&labels, &data).expect("added");
    overlay.remove(&["y".into()], &data).expect("removed");
    overlay.embed(engine, &network, &data, &mut Silent).expect("embedded");
    overlay.write().expect("written");
    let engine = engine.clone();
    Box::new(move |_| {
        let mut overlay = Overlay::open(&run, &data)?;
        let removed = overlay.removed();
        assert!(removed.is_sorted() && removed.iter().all(|&row| (row as usize) < data.labels().len()));
        let _ = overlay.unknown(&["n1".into(), "y".into()], &data);
        overlay.embed(&engine, &network, &data, &mut Silent)?;
        assert!(overlay.is_of(&network));
        // Vectors that are not of this model's width would be searched as if they were.
        overlay.write()?;
        if !overlay.is_empty() {
            let file = Container::open(&run.overlay(), "overlay", Verify::Full)?;
            let numbers = file.slice::<f32>("vectors")?.len();
            assert_eq!(numbers, overlay.added().len() * network.width());
        }
        Ok(())
    })
}
