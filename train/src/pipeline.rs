//! Pipelines: runs one after another, of which each starts from the encoder that the one before it made.
//!
//! ```text
//! ngame    encoder on clustered batches → classifier on the resting encoder, sampled, NGAME's triplets
//! renee    encoder on clustered batches → classifier over all labels, the encoder learns along at a rate of its own
//! lever    encoder on clustered batches of labels → renee's classifier, with that encoder as its teacher
//! dexa     encoder on clustered batches, with auxiliary vectors → ngame's classifier, from labels with their vectors
//! dexml    encoder against all labels, and no classifier
//!
//! DIR/<stage>.toml     what the stage is told; all of them are written before the first one starts
//! DIR/<stage>/         its run
//! ```
//! A pipeline has no state but this: a stage is over when its run is finished, and the first one that is not is begun
//! or taken up. So whatever stops it, it goes on where it stood.
//!
//! DEXML (Gupta et al., "Dual-encoders for extreme multi-label classification", ICLR 2024) minimises the decoupled
//! softmax: a positive p of query i competes with its negatives and not with its other positives,
//!
//! ```text
//! L = (1/B) Σ_i (1/|P_i|) Σ_{p∈P_i} −log( e^{s_ip/τ} / (e^{s_ip/τ} + Σ_{l∉Y_i} e^{s_il/τ}) )
//! ```
//! over the embeddings of all labels, encoded in chunks with a cached gradient (`crate::exec`). That is InfoNCE here,
//! since known positives are masked in every block: over all labels (`negatives.from=all`), with one positive drawn
//! for a query as DEXML does by default, or with all of them (`train.positives = 0`). Its variant with negatives from
//! a shortlist is the strategy `dexml-hard`. Of DEXML are not here: SoftTop-k for an encoder, inner products that are
//! no cosines, and the division of the labels among several accelerators.

use crate::config::Settings;
use crate::observer::Observer;
use crate::plan::MemoryPlan;
use crate::recipes;
use crate::run;
use crate::run_dir::RunDir;
use crate::trainer::Trainer;
use engine::{Engine, Error, Result};
use std::path::{Path, PathBuf};

/// The stages of a pipeline, in order; one that trains no classifier has the first alone.
pub const STAGES: [&str; 2] = ["encoder", "classifier"];

/// Names of pipelines, and what each of their stages is told, as `--set` takes it.
const PIPELINES: [(&str, &[&[&str]]); 5] = [
    // Dahiya et al., WSDM 2023: module 1, then modules 3 and 4.
    ("ngame", &[&ENCODER, &["head.labels=sampled", "head.loss=triplets", "composer.name=ngame"]]),
    // Jain et al., MLSys 2023, from NGAME's encoder, which they found the best start on short texts.
    ("renee", &[&ENCODER, &["head.labels=all", "head.loss=bce", "head.encoder_lr=1e-5"]]),
    // Buvanesh et al., ICLR 2024: batches of labels and a logistic loss of pairs make the teacher.
    (
        "lever",
        &[
            &["composer.name=ngame", "composer.of=labels", "loss.name=pairwise"],
            &[
                "head.labels=all",
                "head.loss=bce",
                "head.encoder_lr=1e-5",
                "head.teacher=start",
                "train.label_texts=true",
            ],
        ],
    ),
    // Dahiya et al., KDD 2023: 1,000 labels and 2^16 clusters of the others have a vector.
    (
        "dexa",
        &[
            &[
                "composer.name=ngame",
                "loss.name=triplet",
                "auxiliary.clusters=65536",
                "auxiliary.private=1000",
            ],
            &["head.labels=sampled", "head.loss=triplets", "composer.name=ngame"],
        ],
    ),
    ("dexml", &[&["strategy.name=dexml"]]),
];

const ENCODER: [&str; 2] = ["composer.name=ngame", "loss.name=triplet"];

/// A pipeline in its directory.
#[derive(Clone, Debug)]
pub struct Pipeline {
    root: PathBuf,
}

/// The stages of a pipeline, each with its settings: what the user said for all of them and for this one, then the
/// defaults of the pipeline, then those of recipes.
///
/// # Errors
/// If there is no such pipeline, an assignment names no stage of it, or a setting is wrong.
pub fn plan(name: &str, for_all: &Settings, for_one: &[(String, String)]) -> Result<Vec<Settings>> {
    let Some((name, defaults)) = PIPELINES.iter().find(|(known, _)| *known == name) else {
        let known = PIPELINES.map(|(name, _)| name).join(", ");
        return Err(Error::input(format!("there is no pipeline `{name}`")).help(format!("known: {known}")));
    };
    if let Some((stage, _)) = for_one.iter().find(|(stage, _)| !STAGES[..defaults.len()].contains(&&**stage))
    {
        let what = format!("the pipeline `{name}` has no stage `{stage}`");
        return Err(Error::input(what).help(format!("it has {}", STAGES[..defaults.len()].join(", "))));
    }
    let mut all = vec![for_all.clone(); defaults.len()];
    for ((stage, settings), defaults) in STAGES.iter().zip(&mut all).zip(*defaults) {
        if *stage == "classifier" {
            settings.recipe_set("head.name=classifier", name, false)?;
        }
        for (_, assignment) in for_one.iter().filter(|(of, _)| of == stage) {
            settings.set(assignment)?;
        }
        defaults.iter().try_for_each(|assignment| settings.recipe_set(assignment, name, false))?;
        recipes::apply_defaults(settings)?;
    }
    Ok(all)
}

/// Splits `stage.a.b=c` into the stage and what it is told.
pub fn of_stage(assignment: &str) -> Option<(String, String)> {
    let (stage, rest) = assignment.split_once('.')?;
    STAGES.contains(&stage).then(|| (stage.to_owned(), rest.to_owned()))
}

impl Pipeline {
    /// A new pipeline: nothing is trained yet.
    ///
    /// # Errors
    /// If the directory is not empty, or the system refuses.
    pub fn create(root: &Path, stages: &[Settings]) -> Result<Pipeline> {
        let pipeline = Pipeline { root: RunDir::create(root)?.root().to_owned() };
        // The first stage last: where it stands, all of them do.
        for (stage, settings) in stages.iter().enumerate().rev() {
            RunDir::write_text(&pipeline.told(stage), &settings.to_string())?;
        }
        Ok(pipeline)
    }
    /// The pipeline of a directory, if it holds one.
    pub fn open(root: &Path) -> Option<Pipeline> {
        let pipeline = Pipeline { root: root.to_owned() };
        pipeline.told(0).is_file().then_some(pipeline)
    }
    /// The names of its stages.
    pub fn stages(&self) -> &'static [&'static str] {
        let told = (0..STAGES.len()).take_while(|&stage| self.told(stage).is_file()).count();
        &STAGES[..told]
    }
    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// The run of a stage, whether or not it exists.
    pub fn run(&self, stage: usize) -> RunDir {
        RunDir::at(&self.root.join(STAGES[stage]))
    }
    fn told(&self, stage: usize) -> PathBuf {
        self.root.join(format!("{}.toml", STAGES[stage]))
    }
    /// The settings of a stage; it starts from the encoder of the stage before it.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn settings(&self, stage: usize) -> Result<Settings> {
        let mut settings = Settings::default();
        settings.file(&self.told(stage))?;
        if let Some(before) = stage.checked_sub(1) {
            let model = self.run(before).root().to_string_lossy().into_owned();
            settings.flag("model.source", model, "the stage before")?;
            settings.flag("model.embeddings", "", "the stage before")?;
        }
        Ok(settings)
    }
    /// Begins a stage, or takes it up, under a limit of memory ([`MemoryPlan::within`]); none if it is over.
    ///
    /// # Errors
    /// As [`run::begin`] and [`run::resume`].
    pub fn stage(
        &self,
        engine: &Engine,
        stage: usize,
        limit: Option<usize>,
        observer: &mut dyn Observer,
    ) -> Result<Option<(Trainer, RunDir)>> {
        let dir = self.run(stage);
        dir.restore_model()?;
        if !RunDir::is_run(dir.root()) {
            // What a process left that was killed while it made the directory.
            dir.discard();
            let (mut trainer, dir) = run::begin(engine, &self.settings(stage)?, dir.root())?;
            MemoryPlan::within(&mut trainer, limit, dir.root());
            return Ok(Some((trainer, dir)));
        }
        if dir.final_line().is_some() {
            return Ok(None);
        }
        let (mut trainer, dir) = run::open(engine, dir.root())?;
        MemoryPlan::within(&mut trainer, limit, dir.root());
        run::take_up(&mut trainer, &dir, observer)?;
        Ok(Some((trainer, dir)))
    }
}
