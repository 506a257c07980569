//! From a path to a network: model directories, runs, fresh shapes; and back to a directory.

use crate::auxiliary::Auxiliary;
use crate::checkpoint::{self, Trained, restore_params};
use crate::classifier::Classifier;
use crate::config::{Config, Settings};
use crate::device::Inference;
use crate::guide::START;
use crate::network::Network;
use crate::pipeline::{Pipeline, STAGES};
use crate::pooling;
use crate::run_dir::RunDir;
use crate::scoring::Score;
use crate::trainer::Trainer;
use crate::vocabulary;
use data::metrics::Metric;
use data::{DataSet, Split, Verify};
use engine::container::checksum;
use engine::{Engine, Error, Result};
use models::hf::{self, Card, Export};
use models::{Architecture, Model, bag, bert, init_from_bag};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Fresh shapes by name.
const SHAPES: [&str; 3] = ["bag", "tiny", "small"];
/// Those that are transformers.
pub(crate) const TRANSFORMERS: [&str; 2] = ["tiny", "small"];
/// Width of a fresh bag.
const BAG_WIDTH: usize = 256;

/// The network that a run trains: a model directory, a run, or a fresh shape over the vocabulary of the data set.
///
/// # Errors
/// If the source is neither, or a bag whose embeddings are asked for does not fit.
pub fn source(config: &Config, data: &DataSet) -> Result<Network> {
    let source = &config.model.source;
    if !SHAPES.contains(&&**source) || Path::new(source).is_dir() {
        if source.is_empty() {
            return Err(Error::input("no model is named").help("--model DIR, or one of bag, tiny, small"));
        }
        let path = Path::new(source);
        if !path.exists() {
            let e = Error::input("there is no such model").at(path);
            return Err(e.help("--model takes a run, a model directory, or one of bag, tiny, small"));
        }
        if !config.model.embeddings.is_empty() {
            let what =
                "a trained model has token embeddings already: --embeddings is for a fresh transformer";
            return Err(Error::input(what).at(path));
        }
        let mut network = network(path)?;
        vocabulary::demand_same_tokens(&network, path, data)?;
        pooling::apply(config, &mut network.model)?;
        return pooling::with_prompts(config, network.of_any_prompts().remade(), data);
    }
    let start = match config.model.embeddings.is_empty() {
        true => None,
        false => Some(bag_table(Path::new(&config.model.embeddings))?),
    };
    let width = match (&start, config.model.width) {
        (Some(table), 0) => table.shape().last(),
        (_, width) => width,
    };
    let tokens_max = data.max_len().max(2);
    let architecture = fresh(source, data.vocab_size(), width, tokens_max)?;
    let mut model = Model::fresh(architecture, tokens_max, config.train.seed);
    if let Some(table) = start {
        let id = model.architecture.token_table(&model.params);
        let (want, got) = (model.params.value(id).shape(), table.shape());
        if want != got {
            return Err(Error::input(format!("the bag's embeddings are {got:?}, this model needs {want:?}"))
                .help("train the bag on the same data set, and leave model.width at 0"));
        }
        init_from_bag(&mut model.params, id, &table);
    }
    pooling::apply(config, &mut model)?;
    pooling::with_prompts(config, Network::new(model), data)
}

/// A fresh architecture by the name of its shape; width 0 for the shape's own.
///
/// # Errors
/// If its heads do not divide the width.
pub(crate) fn fresh(name: &str, vocab: usize, width: usize, tokens_max: usize) -> Result<Architecture> {
    let size = match name {
        "bag" => {
            let width = if width == 0 { BAG_WIDTH } else { width };
            return Ok(Architecture::Bag(bag::Config { vocab, width, normalise: true }));
        }
        "tiny" => bert::Size::TINY,
        _ => bert::Size::SMALL,
    };
    let size = match width {
        0 => size,
        width if width % size.heads == 0 => bert::Size { width, ffn: 4 * width, ..size },
        width => {
            return Err(Error::input(format!(
                "model.width is {width}, `{name}` needs a multiple of {}",
                size.heads
            )));
        }
    };
    Ok(Architecture::Bert(bert::Config::from_size(size, vocab, tokens_max)))
}

fn bag_table(path: &Path) -> Result<engine::Tensor> {
    let model = network(path)?.model;
    match &model.architecture {
        Architecture::Bag(_) => Ok(model.params.value(model.architecture.token_table(&model.params)).clone()),
        Architecture::Bert(_) | Architecture::ModernBert(_) => {
            Err(Error::input("model.embeddings must name a trained bag").at(path))
        }
    }
}

/// The network of a model directory or of a run; a run gives its newest checkpoint whose parameters are whole.
///
/// # Errors
/// If there is none, or it is damaged.
pub fn network(path: &Path) -> Result<Network> {
    if Pipeline::open(path).is_some() {
        let last = path.join(STAGES[STAGES.len() - 1]);
        let e = Error::input("is the directory of a pipeline, a run or a model was expected").at(path);
        return Err(e.help(format!("name one of its runs, for example {}", last.display())));
    }
    if !RunDir::is_run(path) {
        return Network::of_import(hf::read(path)?);
    }
    let (run, settings) = run_settings(path)?;
    let (mut network, wanted) = (Network::of_import(hf::read(&run.model())?)?, settings.config()?.auxiliary);
    if !checkpoint::list(&run.checkpoints()).is_empty() {
        let mut trained = Trained::newest(&run.checkpoints())?;
        restore_params(&mut network.model.params, std::mem::take(&mut trained.params))?;
        network.auxiliary = Auxiliary::of_checkpoint(&trained, &wanted, &network)?;
    } else if let Some(last) = run.final_line()
        && (wanted.is_on() || last["auxiliary_vectors"] == true)
    {
        let e = Error::input("the auxiliary vectors of this run's labels went with its checkpoints").at(path);
        return Err(e.help(format!("the encoder without them is {}", run.model().display())));
    }
    Ok(network)
}

/// Whether a source of a model is neither there nor a fresh shape.
pub(crate) fn has_gone(source: &str) -> bool {
    !SHAPES.contains(&source) && !Path::new(source).exists()
}

/// The auxiliary vectors of the run that a run starts from; none if that is no run, or has none.
///
/// # Errors
/// As [`network`].
pub(crate) fn vectors_of_source(config: &Config) -> Result<Option<Auxiliary>> {
    let source = Path::new(&config.model.source);
    if RunDir::is_run(source) { Ok(network(source)?.auxiliary) } else { Ok(None) }
}

/// [`network`] for inference, where and in how many bits it was asked for.
///
/// # Errors
/// As [`network`], if the model has no matrix to round, or the device no memory for it.
pub fn network_at(path: &Path, engine: &Engine, inference: &Inference) -> Result<Network> {
    inference.place(network(path)?, engine).map_err(|e| e.at(path))
}

/// The label weights in the checkpoint that [`network`] takes, for the labels of `data`; none if `path` is no run, or
/// the run learned none.
///
/// # Errors
/// If the checkpoint is damaged, or its weights are of another number of labels.
pub fn classifier(path: &Path, data: &DataSet) -> Result<Option<Classifier>> {
    if !RunDir::is_run(path) {
        return Ok(None);
    }
    let (dir, settings) = run_settings(path)?;
    let head = settings.config()?.head;
    if !head.is_on() || checkpoint::list(&dir.checkpoints()).is_empty() {
        return Ok(None);
    }
    let trained = Trained::newest(&dir.checkpoints())?;
    let Some(weights) = trained.weights()? else { return Ok(None) };
    let (rows, labels) = (weights.to_f32(), data.labels().len());
    if labels == 0 || !rows.len().is_multiple_of(labels) {
        let what = format!("the classifier of this run is of other labels than {}", data.path().display());
        return Err(Error::input(what)
            .at(trained.path())
            .help("name the data set that the run was trained on"));
    }
    let width = rows.len() / labels;
    Ok(Some(Classifier::of_rows(rows, width, head.is_cosine())))
}

/// What shall rank: what was wished, else all members where there is a classifier. `knn` near titles vote, too.
///
/// # Errors
/// If a classifier is wished for and there is none, or near titles are to vote beside it alone.
pub fn score(wished: Option<Score>, knn: usize, has_classifier: bool, path: &Path) -> Result<Score> {
    match wished {
        None => Ok(if has_classifier { Score::Fusion } else { Score::Text }),
        Some(Score::Classifier | Score::Fusion) if !has_classifier => {
            Err(Error::input("there is no classifier here")
                .at(path)
                .help("`lode train … --head classifier` learns one; labels' texts rank with --score text"))
        }
        Some(Score::Classifier) if knn > 0 => {
            Err(Error::input("near titles do not vote beside the classifier alone")
                .help("--score fusion lets them, or leave --knn away"))
        }
        Some(score) => Ok(score),
    }
}

/// Where the tokenizer of a model directory or a run lies.
pub fn tokenizer_folder(path: &Path) -> PathBuf {
    hf::tokenizer_folder(&if RunDir::is_run(path) { RunDir::at(path).model() } else { path.to_owned() })
}

/// What stands before the texts that a model directory, or the model of a run, was made for.
///
/// # Errors
/// If its files cannot be read.
pub fn prompts(path: &Path) -> Result<hf::Prompts> {
    hf::prompts(&if RunDir::is_run(path) { RunDir::at(path).model() } else { path.to_owned() })
}

/// A run's directory and its settings.
///
/// # Errors
/// If it is no run, or its configuration cannot be read.
pub fn run_settings(path: &Path) -> Result<(RunDir, Settings)> {
    RunDir::at(path).restore_model()?;
    if !RunDir::is_run(path) {
        return Err(Error::input("this is not the directory of a run")
            .at(path)
            .help("`lode train … --out RUN` makes one"));
    }
    let dir = RunDir::at(path);
    let mut settings = Settings::default();
    settings.file(&dir.config())?;
    Ok((dir, settings))
}

/// The queries of `data` that a run held out of training, and from which no run that it began from has learned,
/// ascending: none if `path` is no run, or none of them was trained on this data set.
///
/// # Errors
/// If the configuration of a run cannot be read.
pub fn held_out(path: &Path, data: &DataSet) -> Result<Vec<u32>> {
    let (mut held_out, mut seen, mut next) = (None::<Vec<u32>>, HashSet::new(), path.to_owned());
    // A directory may have been made anew by a run that began from it: no directory is asked twice.
    let mut learned = HashSet::new();
    let key = |title: &str| checksum(data::main_title(title).as_bytes());
    while RunDir::is_run(&next) && seen.insert(next.clone()) {
        let config = run_settings(&next)?.1.config()?;
        match DataSet::open(&config.data.path, Verify::Header) {
            Ok(its) if its.fingerprint() == data.fingerprint() => {
                // With another seed, one run has learned from what another held out.
                let mut rows = crate::trainer::held_out(data, &config).1;
                rows.retain(|row| held_out.as_ref().is_none_or(|others| others.binary_search(row).is_ok()));
                held_out = Some(rows);
            }
            // Data sets that follow one another share queries, which have other rows in each.
            Ok(its) => {
                let queries = its.queries(Split::Train);
                let rows = crate::trainer::held_out(&its, &config).0;
                learned.extend(rows.iter().map(|&row| key(queries.title(row as usize))));
            }
            Err(_) => {}
        }
        next = config.model.source.into();
    }
    let mut rows = held_out.unwrap_or_default();
    let titles = data.queries(Split::Train);
    rows.retain(|&row| !learned.contains(&key(titles.title(row as usize))));
    Ok(rows)
}

/// The data set that a run was trained on.
///
/// # Errors
/// If `path` is no run.
pub fn data_of(path: &Path) -> Result<PathBuf> {
    Ok(run_settings(path)?.1.config()?.data.path)
}

/// Writes a network as a sentence-transformers directory, with the tokenizer of its data set.
///
/// # Errors
/// If the directory holds something else, or the system refuses.
pub fn write_model(network: &Network, data: &DataSet, dir: &Path, card: Card) -> Result<()> {
    let texts = (data.tokenizer_json()?, data.max_len(), data.prompts().both());
    export(network, texts, card, dir)
}

/// What is known of a model directory or a run: its name; of a run also how it was trained and what came of it.
///
/// # Errors
/// If it is a run whose configuration or checkpoint cannot be read.
pub fn card(path: &Path) -> Result<Card> {
    card_of(path, Of::Encoder)
}

/// [`card`] of the cross-encoder of a run, or of a directory of one.
///
/// # Errors
/// As [`card`].
pub fn cross_card(path: &Path) -> Result<Card> {
    card_of(path, Of::Cross)
}

/// Whether a path is that of a run whose encoder learned queries alone, against label vectors at rest: what embeds its
/// labels by that encoder ranks otherwise than the run.
///
/// # Errors
/// If it is a run whose configuration cannot be read.
pub fn labels_rest(path: &Path) -> Result<bool> {
    if !RunDir::is_run(path) {
        return Ok(false);
    }
    let head = run_settings(path)?.1.config()?.head;
    Ok(head.is_on() && head.labels_rest())
}

/// The models of a run as they are, with what was measured of the one that learns.
pub(crate) fn write_models(trainer: &Trainer, dir: &RunDir, validation: &[(Metric, f64)]) -> Result<()> {
    let (data, config, step) = (trainer.data(), &trainer.config, trainer.progress().step);
    let has_vectors = trainer.network.auxiliary.is_some();
    let card = |of| Card {
        title: data.source().to_owned(),
        ..run_card((config, of, has_vectors), Some(data), step, validation)
    };
    if let Some(cross) = &trainer.cross {
        cross.judge.write(&card(Of::Cross), &dir.cross())?;
    }
    write_model(&trainer.network, data, &dir.model(), card(Of::Encoder))
}

/// Which model of a run a card is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// The encoder.
    Encoder,
    /// The cross-encoder.
    Cross,
}

fn card_of(path: &Path, of: Of) -> Result<Card> {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let title = last_name(&whole);
    if !RunDir::is_run(path) {
        return Ok(Card { title, ..Card::default() });
    }
    let (dir, settings) = run_settings(path)?;
    let config = settings.config()?;
    // The card does without the data set where that has gone.
    let data = DataSet::open(&config.data.path, Verify::Header).ok();
    let (step, has_vectors) = match checkpoint::list(&dir.checkpoints()).is_empty() {
        true => (0, false),
        false => {
            let trained = Trained::newest(&dir.checkpoints())?;
            (trained.progress.step, Auxiliary::is_in(&trained))
        }
    };
    Ok(Card { title, ..run_card((&config, of, has_vectors), data.as_ref(), step, &dir.final_metrics()) })
}

/// The card of a run after `step` updates.
fn run_card(
    (config, of, has_vectors): (&Config, Of, bool),
    data: Option<&DataSet>,
    step: u64,
    validation: &[(Metric, f64)],
) -> Card {
    let (t, l, cross) = (&config.train, &config.loss, &config.cross);
    let is_cross = of == Of::Cross;
    let start = if is_cross && cross.model != START { &cross.model } else { &config.model.source };
    let source = last_name(Path::new(start));
    let data = data.map_or_else(
        || last_name(&config.data.path),
        |data| format!("{} ({:016x})", data.source(), data.fingerprint()),
    );
    let hardest = if l.hardest > 0 { format!(", {} hardest negatives", l.hardest) } else { String::new() };
    let margin = if l.name == "triplet" { format!("margin {}, ", l.margin) } else { String::new() };
    let head = &config.head;
    let loss = match head.is_on() {
        _ if is_cross => format!("cross-encoder: {}", cross.loss),
        true => format!("classifier, {}: dropout {}, {}", head.loss, head.dropout, head.optimizer),
        false => format!("{}: {margin}temperature {}{hardest}", l.name, l.temperature),
    };
    let rate = if is_cross { cross.lr } else { t.lr };
    let mut facts = vec![
        // The name alone: where it lay on this machine helps nobody.
        ("model at the start", source.clone()),
        ("data", data),
        ("strategy", config.strategy.name.clone()),
        ("composer", config.composer.name.clone()),
        ("loss", loss),
        ("steps", step.to_string()),
        ("queries in a step", (t.batch * t.accumulate as usize).to_string()),
        ("learning rate", format!("{rate} ({}, {} steps of warm-up)", t.schedule, t.warmup_steps)),
        ("seed", t.seed.to_string()),
    ];
    let lacks_vectors = has_vectors && !is_cross;
    if lacks_vectors {
        let what = "not in this directory: the run embeds each of its labels by its text and a learned vector, this \
                    encoder by its text alone";
        facts.push(("auxiliary vectors", what.to_owned()));
    }
    let lacks_labels = head.is_on() && head.labels_rest() && !is_cross;
    if lacks_labels {
        let what = "not in this directory: the run ranks by vectors that its labels had from another encoder, and this \
                    one learned queries alone";
        facts.push(("labels", what.to_owned()));
    }
    let fresh = SHAPES.contains(&&**start);
    // A run measures the model that it is for, and an encoder with what it has beside it.
    let is_measured = is_cross == cross.alone() && !lacks_vectors && !lacks_labels;
    let measured = if is_measured { validation } else { &[] };
    Card {
        base_model: (!fresh).then_some(source),
        facts: facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        metrics: measured.iter().map(|(m, v)| (format!("validation {m}"), *v)).collect(),
        ..Card::default()
    }
}

/// The last part of a path.
fn last_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Writes a network as a sentence-transformers directory: it reads texts by this `tokenizer.json`, up to so many
/// tokens, behind these prompts of queries and labels.
///
/// # Errors
/// If the directory holds something else, or the system refuses.
pub fn export(
    network: &Network,
    (tokenizer_json, tokens_max, prompts): (&[u8], usize, [&str; 2]),
    card: Card,
    dir: &Path,
) -> Result<()> {
    let model = &network.model;
    let tokens_max = tokens_max.min(network.encoder.tokens_max());
    let export = Export {
        architecture: &model.architecture,
        params: &model.params,
        tokens_max,
        tokenizer_json,
        prompts,
        pools_prompts: network.pools_prompts(),
        card: &card,
    };
    hf::write(&export, dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_has_what_was_measured_of_its_own_model() {
        let validation =
            Metric::list("P@1").expect("a metric").into_iter().map(|m| (m, 0.5)).collect::<Vec<_>>();
        let measured = |share: f64, has_vectors: bool| {
            let mut config = Config::default();
            (config.cross.model, config.cross.share) = ("tiny".into(), share);
            [Of::Encoder, Of::Cross]
                .map(|of| run_card((&config, of, has_vectors), None, 3, &validation).metrics.len())
        };
        assert_eq!(measured(0.25, false), [1, 0], "in turns the encoder is measured");
        assert_eq!(measured(1.0, false), [0, 1], "one that learns alone is measured itself");
        assert_eq!(measured(0.25, true), [0, 0], "what was measured is not the encoder alone");
        let mut config = Config::default();
        (config.head.name, config.head.optimizer) = ("classifier".into(), "none".into());
        let card = run_card((&config, Of::Encoder, false), None, 3, &validation);
        assert!(card.metrics.is_empty(), "what was measured is the labels that rest");
        assert!(card.facts.iter().any(|(key, what)| key == "labels" && what.contains("queries alone")));
    }
}
