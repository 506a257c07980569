//! Answers texts with labels: the resident part of `lode predict`.

use crate::index::{Index, Ranking, Search};
use crate::load;
use crate::network::Network;
use crate::observer::Observer;
use crate::scoring::{Score, Scoring};
use autograd::Tape;
use data::{DataSet, Tokenizer, Verify};
use engine::{Engine, Error, Packed, Precision, Result};
use samplers::Matrix;
use std::path::Path;

/// A label for a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The label's row in the data set.
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
}

/// How to predict.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Training titles that vote; 0 for none.
    pub knn: usize,
    /// What ranks; none for all that there is.
    pub score: Option<Score>,
    /// The bits of the model's matrices; none for f32.
    pub precision: Option<Precision>,
    /// The bits of the index, which is kept in f32 for each precision of the model.
    pub search: Search,
}

impl Predictor {
    /// Opens a run, or a model with a data set whose labels it shall give. The index of a run is kept beside it.
    ///
    /// # Errors
    /// If something is missing or damaged, the tokenizers of model and data differ in size, or the model has no matrix
    /// to round.
    pub fn open(
        engine: &Engine,
        model: &Path,
        data: Option<&Path>,
        how: How,
        observer: &mut dyn Observer,
    ) -> Result<Predictor> {
        let How { knn, precision, .. } = how;
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
        let network = load::network_at(model, engine, precision)?;
        crate::trainer::check_vocabulary(&data, &network.model)?;
        let tokenizer = data.tokenizer()?;
        let index = match of_run {
            true => {
                let name = precision.map_or("index.lode".to_owned(), |p| format!("index-{}.lode", p.name()));
                let path = model.join(name);
                Index::load_or_build(&path, engine, &network, &data, knn > 0, observer)?
            }
            false => Index::build(engine, &network, &data, knn > 0, observer)?,
        };
        let index = index.with_classifier(load::classifier(model, &data)?)?.rounded(engine, how.search);
        let score = load::score(how.score, knn, index.has_classifier(), model)?;
        let held_out = load::held_out(model, &data)?;
        let models = (engine, &network, &index);
        let scoring = Scoring::fit((score, knn), models, &data, &held_out, observer)?;
        Ok(Predictor { engine: engine.clone(), network, tokenizer, data, index, scoring })
    }
    /// The model that answers.
    pub fn network(&self) -> &Network {
        &self.network
    }
    /// The data set whose labels it gives.
    pub fn data(&self) -> &DataSet {
        &self.data
    }
    /// The best `k` labels of each text, best first.
    ///
    /// # Errors
    /// If a text cannot be tokenized.
    pub fn predict(&self, texts: &[&str], k: usize) -> Result<Vec<Vec<Prediction>>> {
        if texts.is_empty() {
            return Ok(vec![]);
        }
        let embeddings = self.embed(texts)?;
        let ranking = Ranking { k, scoring: self.scoring, ..Ranking::default() };
        let queries = Matrix::new(&embeddings, self.network.width());
        let found = self.index.rank(&self.engine, &self.data, queries, &ranking);
        let prediction = |(label, score)| Prediction { label, score };
        Ok(found.into_iter().map(|row| row.into_iter().map(prediction).collect()).collect())
    }
    fn embed(&self, texts: &[&str]) -> Result<Vec<f32>> {
        let mut packed = Packed::default();
        for text in texts {
            packed.push(self.tokenizer.encode(text, self.data.max_len())?);
        }
        let tape = Tape::inference(&self.engine);
        Ok(self.network.encode(&tape, &packed, 0, None).value().data::<f32>().to_vec())
    }
}
