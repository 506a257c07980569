//! Sources of data sets, and the files of ids that are read against one.

use super::{Kind, Read};
use data::{
    CsvSource, DataSet, FastTextSource, LabelFile, OnBadLine, PrepareOptions, Ratio, Source, TokenizerChoice,
    Verify, read_judgements, read_negatives,
};
use engine::{Engine, Result};
use flate2::{Compression, write::GzEncoder};
use std::io::Write;
use std::path::{Path, PathBuf};

const MIB: usize = 1 << 20;

pub(super) const JSONL: Kind = Kind {
    name: "jsonl",
    parts: &["trn.jsonl", "lbl.jsonl", "tst.jsonl.gz", "filter_labels_train.txt"],
    container: None,
    bytes_max: 8 * MIB,
    make: jsonl,
};

pub(super) const CSV: Kind = Kind {
    name: "csv",
    parts: &["shop.csv", "labels.csv", "labels.jsonl"],
    container: None,
    bytes_max: 8 * MIB,
    make: csv,
};

pub(super) const XC: Kind = Kind {
    name: "xc",
    parts: &["trn_X_Y.txt", "tst_X_Y.txt", "Y.txt", "trn_X.txt"],
    container: None,
    bytes_max: 8 * MIB,
    make: xc,
};

pub(super) const NPZ: Kind =
    Kind { name: "npz", parts: &["Y.trn.npz"], container: None, bytes_max: 8 * MIB, make: npz };

pub(super) const BEIR: Kind = Kind {
    name: "beir",
    parts: &["corpus.jsonl", "queries.jsonl", "qrels/train.tsv"],
    container: None,
    bytes_max: 8 * MIB,
    make: beir,
};

pub(super) const MSMARCO: Kind = Kind {
    name: "msmarco",
    parts: &["collection.tsv", "queries.train.tsv", "qrels.train.tsv"],
    container: None,
    bytes_max: BEIR.bytes_max,
    make: msmarco,
};

pub(super) const FASTTEXT: Kind = Kind {
    name: "fasttext",
    parts: &["lines.ft"],
    container: None,
    bytes_max: BEIR.bytes_max,
    make: fasttext,
};

pub(super) const LISTS: Kind = Kind {
    name: "lists",
    parts: &["negatives.jsonl", "judgements.tsv"],
    container: None,
    bytes_max: 4 * MIB,
    make: lists,
};

pub(super) fn put(path: &Path, bytes: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, bytes).expect("written");
}

/// The pieces of a small vocabulary, by line.
pub(super) const PIECES: &str =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\ns\n##a\n##b\n##s\nred\nboat\nshoe\n";

/// Prepares a source, and, where a line is refused, once more without that line. What was made must be whole.
fn preparing(source: Source, tokenizer: TokenizerChoice, out: PathBuf, engine: &Engine) -> Read {
    let options = |on_bad_line| PrepareOptions {
        out: out.clone(),
        tokenizer: tokenizer.clone(),
        max_len: 6,
        prompts: data::Prompts::default(),
        content: true,
        on_bad_line,
        engine: engine.clone(),
    };
    let (strict, lenient) = (options(OnBadLine::Stop), options(OnBadLine::Skip));
    Box::new(move |_| {
        let prepare = |options: &PrepareOptions| -> Result<()> {
            data::prepare(&source, options, &mut |_| {})?;
            DataSet::open(&options.out, Verify::Full).expect("what was prepared is whole");
            std::fs::remove_file(&options.out).expect("removed");
            Ok(())
        };
        prepare(&strict).inspect_err(|_| {
            let _ = prepare(&lenient);
        })
    })
}

/// The folder of a vocabulary.
fn vocabulary(dir: &Path) -> TokenizerChoice {
    put(&dir.join("tokenizer/vocab.txt"), PIECES);
    TokenizerChoice::Directory(dir.join("tokenizer"))
}

pub(super) fn gzip(text: &str) -> Vec<u8> {
    let mut out = GzEncoder::new(vec![], Compression::best());
    out.write_all(text.as_bytes()).expect("in memory");
    out.finish().expect("in memory")
}

const LABELS: &str = "{\"uid\":\"x\",\"title\":\"red\"}\n{\"uid\":2,\"title\":\"boat\",\"content\":\"a\"}\n";

fn jsonl(dir: &Path, engine: &Engine) -> Read {
    let train = "{\"uid\":\"q\",\"title\":\"r\u{e9}d\\n\",\"target_ind\":[0,1],\"target_rel\":[1.0,0.5]}\n\
                 {\"id\":7,\"text\":\"boats\",\"labels\":[\"x\",2]}\n";
    put(&dir.join("trn.jsonl"), train);
    put(&dir.join("lbl.jsonl"), LABELS);
    put(&dir.join("tst.jsonl.gz"), gzip("{\"_id\":\"t\",\"title\":\"a\",\"target_ind\":[1]}\n"));
    put(&dir.join("filter_labels_train.txt"), "0 1\n1 0\n");
    preparing(Source::Jsonl(dir.to_owned()), vocabulary(dir), dir.join("out.lode"), engine)
}

fn csv(dir: &Path, engine: &Engine) -> Read {
    let table = "id,title,kind,more\n1,\"a \"\"red\"\" shoe\",x;y,\"b\nb\"\n2,boat,y,\n3,boats: a b,x,s\n";
    put(&dir.join("shop.csv"), table);
    put(&dir.join("labels.csv"), "id,text\nx,red\ny,\"boat, a\"\n");
    put(&dir.join("labels.jsonl"), LABELS);
    let source = CsvSource {
        content: Some("more".into()),
        id: Some("id".into()),
        label_separator: Some(";".into()),
        labels_file: Some(dir.join("labels.csv")),
        ..CsvSource::new(dir.join("shop.csv"), "title", "kind")
    };
    let learned = TokenizerChoice::Train(60);
    let prepare = preparing(Source::Csv(source), learned, dir.join("out.lode"), engine);
    let dir = dir.to_owned();
    Box::new(move |part| {
        if part == 2 {
            let labels = LabelFile::read(&dir.join("labels.jsonl"), &dir.join("out.lode"))?;
            (0..labels.len()).for_each(|i| assert!(labels.text(i).len() >= labels.title(i).len()));
            return Ok(());
        }
        let columns = data::columns(&dir.join("shop.csv"));
        prepare(part).and(columns.map(|_| ()))
    })
}

fn sparse(dir: &Path, engine: &Engine) -> Read {
    put(&dir.join("trn_X.txt"), "red boat\na shoe\nb\n");
    put(&dir.join("tst_X.txt"), "boats\n");
    put(&dir.join("Y.txt"), "red\nboat\nshoe\na b\n");
    put(&dir.join("tst_X_Y.txt"), "1 4\n0:1\n");
    preparing(Source::Xc(dir.to_owned()), vocabulary(dir), dir.join("out.lode"), engine)
}

fn xc(dir: &Path, engine: &Engine) -> Read {
    put(&dir.join("trn_X_Y.txt"), "3 4\n0:1 2:0.5\n3:1.0\n1:1e-2\n");
    sparse(dir, engine)
}

fn npz(dir: &Path, engine: &Engine) -> Read {
    put(&dir.join("Y.trn.npz"), include_bytes!("../../../tests/golden/relevance.npz"));
    sparse(dir, engine)
}

fn beir(dir: &Path, engine: &Engine) -> Read {
    put(
        &dir.join("corpus.jsonl"),
        "{\"_id\":\"d1\",\"title\":\"red\",\"text\":\"boat\"}\n{\"_id\":2,\"text\":\"shoe\"}\n",
    );
    put(
        &dir.join("queries.jsonl"),
        "{\"_id\":\"q1\",\"text\":\"red?\"}\n{\"_id\":\"q2\",\"text\":\"a shoe\"}\n",
    );
    put(&dir.join("qrels/train.tsv"), "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\t2\t2\n");
    put(&dir.join("qrels/test.tsv"), "q1\t2\t1\n");
    preparing(Source::Beir(dir.to_owned()), vocabulary(dir), dir.join("out.lode"), engine)
}

fn msmarco(dir: &Path, engine: &Engine) -> Read {
    put(&dir.join("collection.tsv"), "7\ta red boat\n9\tshoe\n");
    put(&dir.join("queries.train.tsv"), "1\tred?\n2\ta shoe\n");
    put(&dir.join("qrels.train.tsv"), "1\t0\t7\t1\n2 0 9 2\n1\t0\t9\t0\n");
    preparing(Source::MsMarco(dir.to_owned()), vocabulary(dir), dir.join("out.lode"), engine)
}

fn fasttext(dir: &Path, engine: &Engine) -> Read {
    put(&dir.join("lines.ft"), "__label__red-boat a red boat\nshoe __label__shoe __label__a\n");
    let (path, split) = (dir.join("lines.ft"), Ratio { train: 1.0 });
    let source = Source::FastText(FastTextSource { path, labels_file: None, split });
    preparing(source, vocabulary(dir), dir.join("out.lode"), engine)
}

fn lists(dir: &Path, engine: &Engine) -> Read {
    let data = super::mapped::data_set(dir, engine);
    put(
        &dir.join("negatives.jsonl"),
        "{\"uid\":\"q1\",\"negatives\":[\"x\",3],\"scores\":[0.5,-1e-1],\"positive_scores\":[0.75]}\n\
         {\"uid\":\"q2\",\"negatives\":[]}\n",
    );
    put(&dir.join("judgements.tsv"), "query\tlabel\tscore\nq1\tx\t1\nq2\ty\t0.5\nz\tx\t1\n\nq2\tx\t0\n");
    let dir = dir.to_owned();
    Box::new(move |_| {
        let mut finite = true;
        let negatives = read_negatives(&dir.join("negatives.jsonl"), &data, |row| {
            let mut scores = row.scores.iter().flatten().chain(&row.lowest_positive);
            finite &= scores.all(|score| score.is_finite());
            assert!(row.labels.iter().all(|&label| (label as usize) < data.labels().len()));
        });
        assert!(finite, "a score that is no number was handed on");
        let judgements = read_judgements(&dir.join("judgements.tsv"), &data);
        negatives.and(judgements.map(|_| ()))
    })
}
