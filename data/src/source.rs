//! What is to be prepared, and how.

use crate::delimited::Dialect;
use crate::prompts::Prompts;
use crate::title::Ratio;
use engine::Engine;
use std::path::PathBuf;

/// Where a data set comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// One table with a text column and a column of labels.
    Csv(CsvSource),
    /// A folder as the extreme classification repository ships it: `trn`, `tst` and `lbl` as `.json.gz`, or
    /// raw text lines beside matrices, `trn_X_Y.txt` or `Y.trn.npz`, as Renée, DEXML and PECOS name them;
    /// `filter_labels_{train,test}.txt` with either.
    Xc(PathBuf),
    /// A folder with `trn`, `tst` and `lbl` as `.jsonl` or `.jsonl.gz`, fields as in [`Source::Xc`], or
    /// `{"id", "text", "labels": [label ids]}` with labels `{"id", "text"}`.
    Jsonl(PathBuf),
    /// A folder with `corpus.jsonl`, `queries.jsonl` and `qrels/{train,test,dev}.tsv`: documents are the
    /// labels.
    Beir(PathBuf),
    /// A folder with `collection.tsv`, `queries.{train,dev}.tsv` and `qrels.{train,dev}.tsv`: passages are the labels.
    MsMarco(PathBuf),
    /// Lines of text in which words that begin with `__label__` are the labels.
    FastText(FastTextSource),
}

impl Source {
    /// The name that is kept in the data set: the last part of the path, nothing of the machine.
    pub fn name(&self) -> String {
        let path = match self {
            Source::Csv(csv) => &csv.path,
            Source::FastText(lines) => &lines.path,
            Source::Xc(path) | Source::Jsonl(path) | Source::Beir(path) | Source::MsMarco(path) => path,
        };
        let whole = path.canonicalize().unwrap_or_else(|_| path.clone());
        whole.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// A CSV or TSV file and the meaning of its columns.
#[derive(Clone, Debug)]
pub struct CsvSource {
    /// The file, plain or gzip.
    pub path: PathBuf,
    /// How fields are separated; `None` decides by the file's name.
    pub dialect: Option<Dialect>,
    /// The column with the text of a query.
    pub text: String,
    /// A column with longer text that follows the title.
    pub content: Option<String>,
    /// The column with the labels.
    pub labels: String,
    /// A column with unique ids; without it rows are numbered.
    pub id: Option<String>,
    /// What stands between two labels of a row; without it the whole field is one label.
    pub label_separator: Option<String>,
    /// A second file, CSV or JSONL, with `id` and `text` of each label; without it a label is its own text.
    pub labels_file: Option<PathBuf>,
    /// How rows are divided.
    pub split: Ratio,
}

impl CsvSource {
    /// `path` with a text column and a labels column, one label a row, nine tenths for training.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>, labels: impl Into<String>) -> CsvSource {
        CsvSource {
            path: path.into(),
            dialect: None,
            text: text.into(),
            content: None,
            labels: labels.into(),
            id: None,
            label_separator: None,
            labels_file: None,
            split: Ratio { train: 0.9 },
        }
    }
}

/// A file of fastText's lines.
#[derive(Clone, Debug)]
pub struct FastTextSource {
    /// The file, plain or gzip.
    pub path: PathBuf,
    /// A second file, CSV or JSONL, with `id` and `text` of each label; without it a label is its own text.
    pub labels_file: Option<PathBuf>,
    /// How rows are divided.
    pub split: Ratio,
}

/// Where token ids come from.
#[derive(Clone, Debug)]
pub enum TokenizerChoice {
    /// A model directory with `tokenizer.json` or `vocab.txt`.
    Directory(PathBuf),
    /// A WordPiece vocabulary of this many pieces, learnt from training queries and labels.
    Train(usize),
}

/// What to do with a line that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadLine {
    /// Report it and make nothing.
    #[default]
    Stop,
    /// Leave it out, count it, and write it with the reason to `DATA.rejected.jsonl`. Lines of label files
    /// cannot be left out: the numbers of all labels behind them would change.
    Skip,
}

/// How a data set is made.
#[derive(Clone, Debug)]
pub struct PrepareOptions {
    /// The file to write.
    pub out: PathBuf,
    /// Where token ids come from.
    pub tokenizer: TokenizerChoice,
    /// Tokens of a text at most, `[CLS]` and `[SEP]` included.
    pub max_len: usize,
    /// What stands before each text in its tokens.
    pub prompts: Prompts,
    /// Whether `content` follows the title where there is one.
    pub content: bool,
    /// What to do with a line that cannot be read.
    pub on_bad_line: OnBadLine,
    /// Whose threads tokenize. The result does not depend on how many they are.
    pub engine: Engine,
}

impl PrepareOptions {
    /// 32 tokens, no prompts, content used, stop at a bad line, one thread.
    pub fn new(out: impl Into<PathBuf>, tokenizer: TokenizerChoice) -> PrepareOptions {
        PrepareOptions {
            out: out.into(),
            tokenizer,
            max_len: 32,
            prompts: Prompts::default(),
            content: true,
            on_bad_line: OnBadLine::Stop,
            engine: Engine::new(1),
        }
    }
}

/// How far preparing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Bytes read, or texts done.
    pub done: u64,
    /// Of how many.
    pub of: u64,
}

/// The stages of preparing, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Parsing; counts bytes of one file after another.
    Read,
    /// Learning a vocabulary; counts texts.
    Learn,
    /// Tokenizing; counts texts.
    Tokenize,
    /// Writing relevance and counting the summary; counts steps.
    Write,
}
