//! Why a label was given to a text.
//!
//! ```text
//! s(x) = e(x) · w_l                   the score; w_l: the embedding of the label's text, or what a classifier learned
//! without(i)  = s(x) − s(x without token i)                          what the score owes to a token: exact
//! gradient(i) = ∂s/∂E_i · E_i,  E_i the row of the token table      its first-order part (Shrikumar et al. 2017)
//! pulled by   the training titles with the label that lie nearest to the text
//! pushed by   the training titles without it that lie nearest: wherever the label stood against one of these, it was
//!             moved away from here
//! ```
//! A token that comes twice in a text has one row of the table, and each of them gets its part of the gradient. An
//! encoder that scales its vectors to length 1 is blind to the length of a bag's rows: there the gradients add up to 0.

use crate::embed::{CHUNK_TOKENS, embed};
use crate::held::Held;
use crate::index::Index;
use crate::load;
use crate::network::Network;
use crate::observer::{Event, Observer, Silent};
use crate::overlay::Overlay;
use crate::run_dir::RunDir;
use autograd::{Grad, Tape};
use data::{DataSet, Split, Tokenizer, Verify};
use engine::{Engine, Error, Kind, Packed, Result, Tensor};
use samplers::search::Limits;
use samplers::{Csr, Items, Matrix};
use std::path::Path;

/// Near titles of each kind that are told.
const NEAR: usize = 5;
/// Near titles among which they are looked for.
const LOOKED_AT: usize = 1000;

/// What a token is worth to a score.
#[derive(Clone, Debug, PartialEq)]
pub struct Worth {
    /// The token, as text.
    pub token: String,
    /// Score less the score without it.
    pub without: f32,
    /// Gradient × input.
    pub gradient: f32,
}

/// A training title near the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NearTitle {
    /// Its row among the training queries.
    pub row: u32,
    /// Its cosine to the text.
    pub cosine: f32,
}

/// Why a label was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The label.
    pub label: u32,
    /// Its score.
    pub score: f32,
    /// Labels with a higher score.
    pub above: usize,
    /// The tokens between the special ones, in order.
    pub tokens: Vec<Worth>,
    /// Near titles that have the label, nearest first.
    pub pulled: Vec<NearTitle>,
    /// Near titles that do not have it.
    pub pushed: Vec<NearTitle>,
}

/// A run that explains itself.
pub struct Explainer {
    engine: Engine,
    network: Network,
    tokenizer: Tokenizer,
    data: DataSet,
    index: Index<'static>,
    classifier: Option<crate::Classifier>,
    /// Labels that were removed from the run since, ascending: they are no answers.
    removed: Vec<u32>,
}

/// What explaining a text of these tokens holds; an index in a mapped file is the system's to keep.
fn held(
    engine: &Engine,
    network: &Network,
    (data, ids): (&DataSet, &[u32]),
    run: &Path,
    is_mapped: bool,
) -> Result<Held> {
    let (titles, labels) = (data.queries(Split::Train).len(), data.labels().len());
    let (row, learned) = (4 * network.width(), load::run_settings(run)?.1.config()?.head.is_on());
    let tokens = if is_mapped { CHUNK_TOKENS.min(ids.len() * ids.len()) } else { CHUNK_TOKENS };
    let mut parts = Held::embedding(engine, network, tokens);
    let mut text = Packed::default();
    text.push(ids.iter().copied());
    let params = &network.model.params;
    let table = params.value(network.model.architecture.token_table(params));
    let rows = ids.len() * table.shape().last();
    let tape = network.encoder.activation_bytes(&text, false) + network.encoder.working_bytes(&text);
    parts.extend([
        ("gradients", 4 * (params.count() - table.len() + rows) + tape),
        ("labels", if is_mapped { 0 } else { row * labels }),
        ("training titles", if is_mapped { 0 } else { row * titles }),
        ("classifier", if learned { row * labels } else { 0 }),
    ]);
    let help =
        "where `lode predict RUN --knn 1` has made the index of the run, it is mapped and takes no memory";
    Ok(Held { what: "explain", parts, help })
}

impl Explainer {
    /// Opens a run; its index is kept beside it, as for predictions. `text` is the longest that will be explained: it
    /// says what that takes.
    ///
    /// # Errors
    /// If it is no run, something of it is missing or damaged, or the observer does not afford it.
    pub fn open(engine: &Engine, run: &Path, text: &str, observer: &mut dyn Observer) -> Result<Explainer> {
        let data = DataSet::open(&load::data_of(run)?, Verify::Header)?;
        let network = load::network(run)?;
        crate::vocabulary::check_ids(&data, &network.model)?;
        let path = Index::path_beside(run, None);
        let kept = Index::load(&path, &network, &data, true);
        let tokenizer = data.tokenizer()?;
        let ids = tokenizer.encode(&data.prompts().before_query(text), data.max_len())?;
        observer.afford(&held(engine, &network, (&data, &ids), run, kept.is_some())?)?;
        let index = match kept {
            Some(index) => index,
            None => Index::load_or_build(&path, engine, &network, &data, true, observer)?,
        };
        let classifier = load::classifier(run, &data)?;
        let removed = match Overlay::open(&RunDir::at(run), &data) {
            Ok(overlay) => overlay.removed().to_vec(),
            // It lies over another data set, and is not heeded: `predict` does the same.
            Err(e) if e.kind() == Kind::Input => {
                observer.event(&Event::Warning(&format!("removed labels are not heeded: {e}")));
                vec![]
            }
            Err(e) => return Err(e),
        };
        let engine = engine.clone();
        Ok(Explainer { engine, tokenizer, network, data, index, classifier, removed })
    }
    /// The data set whose labels are explained.
    pub fn data(&self) -> &DataSet {
        &self.data
    }
    /// Whether a classifier scores, and not the labels' texts.
    pub fn is_classifier(&self) -> bool {
        self.classifier.is_some()
    }
    fn items(&self) -> Items<'_> {
        match &self.classifier {
            Some(classifier) => Items::F32(Matrix::new(&classifier.rows, classifier.width)),
            None => self.index.labels(),
        }
    }
    /// Explains the best `k` labels of a text.
    ///
    /// # Errors
    /// If the text cannot be tokenized.
    pub fn best(&self, text: &str, k: usize) -> Result<Vec<Explanation>> {
        let (_, ids) = self.encoded(text)?;
        let query = self.embed(&[ids])?;
        let starts = [0, self.removed.len() as u64];
        let limits = Limits { exclude: Some(Csr { starts: &starts, items: &self.removed }), only: None };
        let hits = self.items().search(&self.engine, self.matrix(&query), k, limits);
        hits.row(0).0.iter().map(|&label| self.label(text, label)).collect()
    }
    /// Explains one label, whether or not it is among the best.
    ///
    /// # Errors
    /// If there is no such label, or the text cannot be tokenized.
    pub fn label(&self, text: &str, label: u32) -> Result<Explanation> {
        let labels = self.data.labels().len();
        if label as usize >= labels {
            return Err(Error::input(format!("there is no label {label}: there are {labels}")));
        }
        let (inner, ids) = self.encoded(text)?;
        let weights = self.items().row(label as usize).into_owned();
        let dot = |row: &[f32]| row.iter().zip(&weights).map(|(a, b)| a * b).sum::<f32>();
        let fewer = |i: usize| [&ids[..i], &ids[i + 1..]].concat();
        let texts: Vec<Vec<u32>> =
            std::iter::once(ids.clone()).chain(inner.iter().map(|&i| fewer(i))).collect();
        let embeddings = self.embed(&texts)?;
        let scores: Vec<f32> = embeddings.chunks_exact(self.network.width()).map(dot).collect();
        let gradients = self.gradients(&ids, &weights);
        let tokens = inner.iter().zip(&scores[1..]).map(|(&i, without)| Worth {
            token: self.tokenizer.decode_tokens(&ids[i..=i]).concat(),
            without: scores[0] - without,
            gradient: gradients[i],
        });
        let query = &embeddings[..self.network.width()];
        let (pulled, pushed) = self.near(query, label);
        Ok(Explanation {
            label,
            score: scores[0],
            above: self.above(query, label),
            tokens: tokens.collect(),
            pulled,
            pushed,
        })
    }
    /// Token ids, and the places of those that are not special.
    fn encoded(&self, text: &str) -> Result<(Vec<usize>, Vec<u32>)> {
        let behind_prompt = self.data.prompts().before_query(text);
        let ids = self.tokenizer.encode(&behind_prompt, self.data.max_len())?;
        let special = self.tokenizer.special();
        let is_frame = |id: u32| Some(id) == special.cls || Some(id) == special.sep;
        let inner: Vec<usize> = (0..ids.len()).filter(|&i| !is_frame(ids[i])).collect();
        if inner.is_empty() {
            return Err(
                Error::input("this text has no token").help("there is nothing in it that could be explained")
            );
        }
        Ok((inner, ids))
    }
    fn matrix<'a>(&self, values: &'a [f32]) -> Matrix<'a> {
        Matrix::new(values, self.network.width())
    }
    /// The embeddings of token ids, `[n, width]`, some at a time.
    fn embed(&self, texts: &[Vec<u32>]) -> Result<Vec<f32>> {
        let push = |i: usize, packed: &mut Packed| packed.push(texts[i].iter().copied());
        embed(&self.engine, &self.network, texts.len(), push, "texts", &mut Silent)
    }
    /// Gradient × input of each token.
    fn gradients(&self, ids: &[u32], weights: &[f32]) -> Vec<f32> {
        let mut packed = Packed::default();
        packed.push(ids.iter().copied());
        let (tape, params) = (Tape::new(&self.engine), &self.network.model.params);
        let embedding = self.network.encode(&tape, &packed, 0, None);
        let seed = Tensor::from_vec([1, weights.len()], weights.to_vec());
        let grads = tape.backward(vec![(embedding, seed)]).into_params();
        let id = self.network.model.architecture.token_table(params);
        let Some(Grad::Rows(rows)) = grads.get(id) else { return vec![0.0; ids.len()] };
        let (table, width) = (params.value(id).data::<f32>(), params.value(id).shape().last());
        let worth = |token: &u32| {
            let Ok(at) = rows.rows.binary_search(token) else { return 0.0 };
            let grad = &rows.values.data::<f32>()[at * width..][..width];
            let row = &table[*token as usize * width..][..width];
            let times = ids.iter().filter(|other| *other == token).count() as f32;
            grad.iter().zip(row).map(|(a, b)| a * b).sum::<f32>() / times
        };
        ids.iter().map(worth).collect()
    }
    /// How many labels stand before it: higher scores, and of equal ones the smaller number.
    fn above(&self, query: &[f32], label: u32) -> usize {
        let labels: Vec<u32> = (0..self.data.labels().len() as u32).collect();
        let scores = self.items().scores(&self.engine, query, &labels);
        let own = scores[label as usize];
        let before = |&(l, &score): &(&u32, &f32)| {
            (score > own || score == own && *l < label) && self.removed.binary_search(l).is_err()
        };
        labels.iter().zip(&scores).filter(before).count()
    }
    /// Near titles with the label, and without it.
    fn near(&self, query: &[f32], label: u32) -> (Vec<NearTitle>, Vec<NearTitle>) {
        let data = &self.data;
        let has = |&row: &u32| data.positives(Split::Train, row as usize).contains(&label);
        let titles = self.index.titles();
        let own = data.titles_of(label as usize);
        let cosines = titles.scores(&self.engine, query, own);
        let mut pulled: Vec<NearTitle> =
            own.iter().zip(cosines).map(|(&row, cosine)| NearTitle { row, cosine }).collect();
        pulled.sort_by(|a, b| b.cosine.total_cmp(&a.cosine).then(a.row.cmp(&b.row)));
        pulled.truncate(NEAR);
        let hits = titles.search(&self.engine, self.matrix(query), LOOKED_AT, Limits::default());
        let (rows, cosines) = hits.row(0);
        let others = rows.iter().zip(cosines).filter(|(row, _)| !has(row));
        let pushed = others.take(NEAR).map(|(&row, &cosine)| NearTitle { row, cosine }).collect();
        (pulled, pushed)
    }
}
