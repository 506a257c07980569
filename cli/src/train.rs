//! `lode train`: flags, files and assignments become the settings of a run; the run is planned, then done.

use crate::context::Context;
use crate::early::Done;
use crate::observer::Terminal;
use crate::pipeline;
use crate::profile;
use crate::quantity::{Bytes, Seconds, count};
use crate::session;
use clap::builder::PossibleValuesParser;
use data::{DataSet, Verify};
use engine::{Engine, Error, Result};
use serde_json::json;
use std::path::{Path, PathBuf};
use train::plan::MemoryPlan;
use train::presets::PRESETS;
use train::recipes::Recipe;
use train::{Event, Observer, Settings, Trainer, load, recipes, run, vocabulary};

/// Flags of `train`. What a flag does not say comes from `--set`, then `--config`, then `--preset`, then the defaults.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The data set that `lode prepare` wrote
    data: Option<PathBuf>,
    /// The directory of the run, new or empty
    #[arg(long, value_name = "RUN", required_unless_present_any = ["dry_run", "print_config"])]
    out: Option<PathBuf>,
    /// Where to start: a fresh `bag`, `tiny` or `small`, a model directory, or a run. From a run training goes on, on
    /// the same data or on others with new labels: its encoder and, with --head classifier, its weights of the labels
    /// that both have, by their ids
    #[arg(long, visible_alias = "init", value_name = "NAME|DIR|RUN")]
    model: Option<String>,
    /// How negatives are found: `lode strategies` lists them. A name for settings, each of which can be exchanged by
    /// --set [default: ngame]
    #[arg(long, value_name = "NAME")]
    strategy: Option<String>,
    /// Who shares a batch: ngame (clusters of near queries) or shuffled
    #[arg(long, value_name = "NAME")]
    composer: Option<String>,
    /// What is minimised: infonce, triplet, pairwise, cosent, debiased, margin-mse, distil or ar2; with --head bce,
    /// supcon, decoupled, softtopk, triplets, lambdamrr or zloss
    #[arg(long, value_name = "NAME")]
    loss: Option<String>,
    /// classifier: learn a weight vector for every label, on an encoder that rests
    /// (--set head.encoder_lr=1e-5 lets it learn, too)
    #[arg(long, value_name = "NAME")]
    head: Option<String>,
    /// Train an encoder, then a classifier, and measure both: ngame, renee, lever or dexa. dexml trains an encoder
    /// against all labels and no classifier. Other flags hold for all stages;
    /// --set encoder.A.B=C or classifier.A.B=C for one
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with_all = ["head", "loss", "strategy", "composer", "profile", "print_config"]
    )]
    pipeline: Option<String>,
    /// Keep label weights and their optimizer's state in mapped files of this directory [default: only where memory
    /// does not hold them, and beside the run]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Passes over the training queries
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    /// Optimizer steps, instead of epochs
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Queries in a batch
    #[arg(long, value_name = "N")]
    batch: Option<u32>,
    /// Encode N texts at a time: less memory, more time, the same gradient
    #[arg(long, value_name = "N")]
    chunk: Option<u32>,
    /// Where steps are computed: cpu, or a CUDA device, cuda:0
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// The numbers that linear layers multiply: f32, or on a CUDA device bf16, added up and kept in f32
    #[arg(long, value_name = "TYPE")]
    precision: Option<String>,
    /// Who multiplies matrices on a CUDA device: cublas, our own kernels (own), or cuBLAS where it is found (auto)
    #[arg(long, value_name = "NAME")]
    gemm: Option<String>,
    /// Learning rate at its peak
    #[arg(long, value_name = "X")]
    lr: Option<f64>,
    /// The seed of all randomness
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// The most memory, for example 16G: label weights beyond it are mapped, a plan that needs more is refused
    /// [default: what the machine has to give]
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<Bytes>,
    /// Time between checkpoints, for example 30s or 5m
    #[arg(long, value_name = "TIME")]
    save_every: Option<Seconds>,
    /// Checkpoints that are kept
    #[arg(long, value_name = "N")]
    keep: Option<u32>,
    /// Compute the inside of each layer twice instead of keeping it
    #[arg(long)]
    recompute: bool,
    /// Train on the first batch only: the loss must go to zero
    #[arg(long)]
    overfit_batch: bool,
    /// A trained bag whose token embeddings a fresh transformer starts from
    #[arg(long, value_name = "BAG")]
    embeddings: Option<String>,
    /// The published settings of a data set; `lode strategies` says whose they are
    #[arg(long, value_name = "NAME", conflicts_with = "pipeline", value_parser = presets())]
    preset: Option<String>,
    /// Pairs that must not be negatives: QUERY and LABEL ids with a tab between. `lode inspect negatives` writes them
    #[arg(long, value_name = "FILE")]
    exclude: Option<PathBuf>,
    /// A configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One value of the configuration, for example train.clip=0.5
    #[arg(long, value_name = "A.B=C")]
    set: Vec<String>,
    /// Say at the end where the time went: each operation with its share, rate and part of this machine's peak
    #[arg(long)]
    profile: bool,
    /// Print the memory plan and start nothing
    #[arg(long)]
    dry_run: bool,
    /// Print every value with its origin and start nothing
    #[arg(long)]
    print_config: bool,
}

fn presets() -> PossibleValuesParser {
    PossibleValuesParser::new(PRESETS.iter().map(|preset| preset.name))
}

/// Trains.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    if let Some(name) = &args.pipeline {
        return train_in_stages(name, args, context);
    }
    let settings = settings(args, &args.set)?;
    if args.print_config {
        return match context.json {
            true => context.print_json(&settings.config()?),
            false => context.print(&settings.to_string()),
        };
    }
    demand_data(&settings)?;
    let engine = match args.profile {
        true => Engine::try_new(context.threads, Some(profile::clock))?,
        false => context.engine()?,
    };
    let mut trainer = run::assemble(&engine, &settings)?;
    let (limit, place) = (args.max_memory.map(|b| b.0), session::place(args.out.as_deref()));
    let plan = MemoryPlan::within(&mut trainer, session::limit(limit), &place);
    if args.dry_run {
        print_plan(&plan, context)?;
    }
    session::check_memory(&plan, limit, context)?;
    let Some(out) = args.out.as_deref().filter(|_| !args.dry_run) else { return Ok(()) };
    let dir = run::found(&trainer, &settings, out)?;
    let mut observer = Terminal::new(context);
    say_warm_start(&trainer, context);
    say_other_prompts(&settings, trainer.data(), &mut observer)?;
    context.tell(&plan.to_string());
    let ended = session::train(&mut trainer, &plan, &dir, &mut observer, context);
    profile::print(&engine, observer.tokens, context)?;
    ended
}

/// What the run takes from the one that it goes on from.
fn say_warm_start(trainer: &Trainer, context: &Context) {
    let Some(warm) = trainer.warm_start() else { return };
    let (known, new) = (warm.shared(), trainer.data().labels().len() - warm.shared());
    let (run, what) = (warm.run().display(), if warm.has_weights() { ", with their weights" } else { "" });
    let gone =
        if warm.gone() > 0 { format!(", {} are gone", count(warm.gone() as u64)) } else { String::new() };
    let (known, new) = (count(known as u64), count(new as u64));
    context.say(&format!("goes on from {run}: it knows {known} of the labels{what}; {new} are new{gone}"));
}

/// Where the data set was prepared with other prompts than the model that training starts from was made for.
fn say_other_prompts(settings: &Settings, data: &DataSet, observer: &mut Terminal) -> Result<()> {
    let source = settings.config()?.model.source;
    if Path::new(&source).is_dir()
        && let Some(text) =
            vocabulary::other_prompts(&load::prompts(Path::new(&source))?, data.prompts().both())
    {
        observer.event(&Event::Warning(&text));
    }
    Ok(())
}

/// The data set must be there and whole.
fn demand_data(settings: &Settings) -> Result<()> {
    // Training reads every byte many times; reading it once more finds the damage before it does harm.
    let data = &settings.config()?.data.path;
    if data.as_os_str().is_empty() {
        return Err(Error::input("no data set is named").help("lode train DATA …; `lode prepare` makes one"));
    }
    DataSet::open(data, Verify::Full).map(|_| ())
}

/// Trains the stages of a pipeline.
fn train_in_stages(name: &str, args: &Args, context: &Context) -> Done {
    let (for_all, for_one) = pipeline::split(&args.set);
    let stages = train::pipeline::plan(name, &said(args, &for_all)?, &for_one)?;
    demand_data(&stages[0])?;
    let out = args.out.as_deref().filter(|_| !args.dry_run);
    pipeline::begin(&stages, (out, args.max_memory.map(|b| b.0)), context)
}

fn print_plan(plan: &MemoryPlan, context: &Context) -> Done {
    if !context.json {
        return context.print(&plan.to_string());
    }
    let device = plan.device.as_ref().map(|device| {
        json!({
            "name": device.name,
            "parts_bytes": by_name(&device.parts),
            "total_bytes": device.total(),
            "free_bytes": device.free,
        })
    });
    context.print_json(&json!({
        "steps": plan.steps,
        "tokens_per_step": plan.tokens,
        "texts_per_step": plan.texts,
        "parts_bytes": by_name(&plan.parts),
        "total_bytes": plan.total(),
        "mapped_bytes": plan.mapped.as_ref().map_or(0, |(bytes, _)| *bytes),
        "device": device,
    }))
}

/// The parts of a plan as an object.
pub(crate) fn by_name(parts: &[(&'static str, usize)]) -> serde_json::Map<String, serde_json::Value> {
    parts.iter().map(|&(name, bytes)| (name.to_owned(), bytes.into())).collect()
}

/// What the user said, and the defaults of the recipe beneath it.
fn settings(args: &Args, assignments: &[String]) -> Result<Settings> {
    let mut settings = said(args, assignments)?;
    recipes::apply_defaults(&mut settings)?;
    Ok(settings)
}

/// Stacks preset, file, assignments and flags.
fn said(args: &Args, assignments: &[String]) -> Result<Settings> {
    let mut settings = Settings::default();
    if let Some(name) = &args.preset {
        settings.preset(name)?;
    }
    if let Some(file) = &args.config {
        settings.file(file)?;
    }
    for assignment in assignments {
        settings.set(assignment)?;
    }
    flags(args, &mut settings)?;
    // They are read again when the run is resumed, from whatever folder. A word that names a model of the run itself
    // does so whatever folders there are.
    let paths = [
        ("guide.model", "start"),
        ("negatives.model", ""),
        ("negatives.file", ""),
        ("negatives.rescore", "cross"),
        ("cross.model", "start"),
        ("head.scratch", ""),
        ("head.teacher", "start"),
    ];
    for (key, word) in paths {
        settings.rewrite(key, |path| if path == word { path.to_owned() } else { source(path) });
    }
    Ok(settings)
}

fn flags(args: &Args, settings: &mut Settings) -> Result<()> {
    args.head.iter().try_for_each(|name| settings.flag("head.name", name.clone(), "--head"))?;
    // A file or an assignment may have said so, too.
    let strategy = args.strategy.as_deref().or(settings.text("strategy.name"));
    let of_strategy = strategy.and_then(|name| recipes::find(name).ok()).is_some_and(Recipe::has_head);
    let has_head = settings.text("head.name") != Some("none") || of_strategy;
    if args.scratch.is_some() && !has_head && args.pipeline.is_none() {
        let what = "--scratch is where label weights are kept, and this run learns none";
        return Err(Error::input(what).help("--head classifier learns them"));
    }
    let loss = if has_head { "head.loss" } else { "loss.name" };
    let texts = [
        ("data.path", args.data.as_deref().map(lasting), "DATA"),
        ("data.exclude", args.exclude.as_deref().map(lasting), "--exclude"),
        ("model.source", args.model.as_deref().map(source), "--model"),
        ("model.embeddings", args.embeddings.clone(), "--embeddings"),
        ("strategy.name", args.strategy.clone(), "--strategy"),
        ("composer.name", args.composer.clone(), "--composer"),
        ("train.device", args.device.clone(), "--device"),
        ("train.precision", args.precision.clone(), "--precision"),
        ("train.gemm", args.gemm.clone(), "--gemm"),
        (loss, args.loss.clone(), "--loss"),
        ("head.scratch", args.scratch.as_deref().map(lasting), "--scratch"),
    ];
    for (key, value, flag) in texts {
        value.map_or(Ok(()), |v| settings.flag(key, v, flag))?;
    }
    let numbers = [
        ("train.epochs", args.epochs, "--epochs"),
        ("train.steps", args.steps, "--steps"),
        ("train.batch", args.batch, "--batch"),
        ("train.chunk", args.chunk, "--chunk"),
        ("train.seed", args.seed, "--seed"),
        ("save.keep", args.keep, "--keep"),
    ];
    for (key, value, flag) in numbers {
        value.map_or(Ok(()), |v| settings.flag(key, v, flag))?;
    }
    let reals =
        [("train.lr", args.lr, "--lr"), ("save.every_seconds", args.save_every.map(|s| s.0), "--save-every")];
    for (key, value, flag) in reals {
        value.map_or(Ok(()), |v| settings.flag(key, v, flag))?;
    }
    let switches = [
        ("model.recompute", args.recompute, "--recompute"),
        ("train.overfit_batch", args.overfit_batch, "--overfit-batch"),
    ];
    for (key, on, flag) in switches {
        if on {
            settings.flag(key, true, flag)?;
        }
    }
    Ok(())
}

/// A model directory or a run by a path that holds, or the name of a fresh shape.
fn source(model: &str) -> String {
    let path = Path::new(model);
    if path.exists() { lasting(path) } else { model.to_owned() }
}

/// A path that still holds when `lode resume` is called from another folder.
fn lasting(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}
