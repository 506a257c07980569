//! Answers texts with labels: the resident part of `lode predict`.

use crate::device::Inference;
use crate::index::{Index, Ranking, Search};
use crate::likeness::Likeness;
use crate::load;
use crate::network::Network;
use crate::observer::{Event, Observer};
use crate::overlay::Overlay;
use crate::scoring::{Score, Scoring};
use autograd::Tape;
use data::metrics::rank;
use data::{DataSet, Tokenizer, Verify};
use engine::cuda::attempt;
use engine::{Engine, Error, Kind, Packed, Result};
use samplers::fusion::FORWARD;
use samplers::search::{Limits, search};
use samplers::{Csr, Matrix};
use std::path::Path;

/// A label for a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The label's number: its row in the data set; that of an added label follows those.
    pub label: u32,
    /// What ranked it: the cosine to the label's text, the score of a classifier, or the weighted sum of all that know
    /// something of it.
    pub score: f32,
}

/// A model, its labels, and their index.
pub struct Predictor {
    engine: Engine,
    network: Network,
    tokenizer: Tokenizer,
    data: DataSet,
    index: Index<'static>,
    scoring: Scoring,
    /// Labels that were added to the run, and those that were removed.
    overlay: Option<Overlay>,
    /// The embeddings of the added labels' texts.
    added: Vec<f32>,
    /// What a classifier would say of them.
    likeness: Likeness,
}

/// How to predict.
#[derive(Clone, Debug, Default)]
pub struct How {
    /// Training titles that vote; 0 for none.
    pub knn: usize,
    /// What ranks; none for all that there is.
    pub score: Option<Score>,
    /// Where the model computes, and in how many bits.
    pub inference: Inference,
    /// The bits of the index, which is kept in f32 for each precision of the model.
    pub search: Search,
}

impl Predictor {
    /// Opens a run, or a model with a data set whose labels it shall give. The index of a run is kept beside it.
    ///
    /// # Errors
    /// If something is missing or damaged, the tokenizers of model and data differ in size, or the model has no matrix
    /// to round; and [`Kind::Refused`] when a device has no memory left.
    pub fn open(
        engine: &Engine,
        model: &Path,
        data: Option<&Path>,
        how: How,
        observer: &mut dyn Observer,
    ) -> Result<Predictor> {
        attempt(|| Predictor::opened(engine, model, data, &how, observer))
    }
    fn opened(
        engine: &Engine,
        model: &Path,
        data: Option<&Path>,
        how: &How,
        observer: &mut dyn Observer,
    ) -> Result<Predictor> {
        let How { knn, inference, .. } = how;
        let (knn, engine) = (*knn, &inference.engine(engine));
        let of_run = crate::RunDir::is_run(model);
        let data = match (data, of_run) {
            (Some(path), _) => path.to_owned(),
            (None, true) => load::data_of(model)?,
            (None, false) => {
                return Err(Error::input("a model directory has no labels of its own")
                    .at(model)
                    .help("name the data set whose labels are wanted: --data DATA"));
            }
        };
        let data = DataSet::open(&data, Verify::Header)?;
        let network = load::network_at(model, engine, inference)?;
        crate::vocabulary::check_ids(&data, &network.model)?;
        let tokenizer = data.tokenizer()?;
        let index = match inference.kept_index().filter(|_| of_run) {
            Some(precision) => {
                let path = Index::path_beside(model, precision);
                Index::load_or_build(&path, engine, &network, &data, knn > 0, observer)?
            }
            None => Index::build(engine, &network, &data, knn > 0, observer)?,
        };
        let index = index.with_classifier(load::classifier(model, &data)?)?.ready(engine, how.search);
        let score = load::score(how.score, knn, index.has_classifier(), model)?;
        let held_out = load::held_out(model, &data)?;
        let models = (engine, &network, &index);
        let scoring = Scoring::fit((score, knn), models, &data, &held_out, observer)?;
        let overlay = match of_run {
            true => overlay(model, engine, &network, &data, observer)?,
            false => None,
        };
        let added = overlay.as_ref().map_or(vec![], Overlay::vectors);
        let likeness = match scoring {
            Scoring::Members(_) if !added.is_empty() => Likeness::fit(models, &data, &held_out, observer)?,
            _ => Likeness::START,
        };
        Ok(Predictor {
            engine: engine.clone(),
            network,
            tokenizer,
            data,
            index,
            scoring,
            overlay,
            added,
            likeness,
        })
    }
    /// The model that answers.
    pub fn network(&self) -> &Network {
        &self.network
    }
    /// The data set whose labels it gives.
    pub fn data(&self) -> &DataSet {
        &self.data
    }
    /// How many numbers labels have: those of the data set, then those that were added.
    pub fn labels(&self) -> usize {
        self.data.labels().len() + self.overlay.as_ref().map_or(0, |overlay| overlay.added().len())
    }
    /// Id and title of a label.
    ///
    /// # Panics
    /// If there is no label of this number.
    pub fn label(&self, label: u32) -> (&str, &str) {
        let (labels, label) = (self.data.labels(), label as usize);
        match (&self.overlay, label.checked_sub(labels.len())) {
            (Some(overlay), Some(added)) => (&overlay.added()[added].uid, &overlay.added()[added].title),
            _ => (labels.uid(label), labels.title(label)),
        }
    }
    /// The best `k` labels of each text, best first.
    ///
    /// # Errors
    /// If a text cannot be tokenized, and [`Kind::Refused`] when a device has no memory left.
    pub fn predict(&self, texts: &[&str], k: usize) -> Result<Vec<Vec<Prediction>>> {
        if texts.is_empty() {
            return Ok(vec![]);
        }
        let embeddings = self.embed(texts)?;
        let queries = Matrix::new(&embeddings, self.network.width());
        let removed = self.overlay.as_ref().map_or(&[][..], Overlay::removed);
        let starts: Vec<u64> = (0..=texts.len()).map(|i| (i * removed.len()) as u64).collect();
        let exclude = Csr { starts: &starts, items: &removed.repeat(texts.len()) };
        let exclude = (!removed.is_empty()).then_some(exclude);
        let ranking = Ranking { k, exclude, ..Ranking::default() };
        let found = attempt(|| {
            let mut found = self.index.rank(&self.engine, &self.data, queries, &self.scoring, &ranking);
            self.put_added(queries, k, &mut found);
            Ok::<_, Error>(found)
        })?;
        let prediction = |(label, score)| Prediction { label, score };
        Ok(found.into_iter().map(|row| row.into_iter().map(prediction).collect()).collect())
    }
    /// Puts added labels in their places. Of them, those count whose texts are nearest.
    fn put_added(&self, queries: Matrix<'_>, k: usize, found: &mut [Vec<(u32, f32)>]) {
        if self.added.is_empty() {
            return;
        }
        let first = self.data.labels().len() as u32;
        let added = Matrix::new(&self.added, self.network.width());
        let hits = search(&self.engine, queries, added, k.max(FORWARD), Limits::default());
        for (i, row) in found.iter_mut().enumerate() {
            let (ids, cosines) = hits.row(i);
            let score = |&cosine: &f32| self.scoring.of_text_alone(self.likeness.of(cosine), cosine);
            row.extend(ids.iter().map(|id| first + id).zip(cosines.iter().map(score)));
            rank(row);
            row.truncate(k);
        }
    }
    fn embed(&self, texts: &[&str]) -> Result<Vec<f32>> {
        let mut packed = Packed::default();
        for text in texts {
            let text = self.data.prompts().before_query(text);
            packed.push(self.tokenizer.encode(&text, self.data.max_len())?);
        }
        let tape = Tape::inference(&self.engine);
        let encode = || self.network.encode(&tape, &packed, 0, None).value().to_cpu();
        attempt(|| Ok(encode().data::<f32>().to_vec()))
    }
}

/// The overlay of a run, its texts embedded by this model; none where it lies over another data set than this one.
fn overlay(
    run: &Path,
    engine: &Engine,
    network: &Network,
    data: &DataSet,
    observer: &mut dyn Observer,
) -> Result<Option<Overlay>> {
    let mut overlay = match Overlay::open(&crate::RunDir::at(run), data) {
        Err(e) if e.kind() == Kind::Input => {
            observer.event(&Event::Warning(&format!("added and removed labels are not heeded: {e}")));
            return Ok(None);
        }
        opened => opened?,
    };
    overlay.embed(engine, network, data, observer)?;
    Ok(Some(overlay))
}
