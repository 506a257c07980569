//! `lode export`: a model for other programs, or the embeddings of the labels.

use crate::context::{Context, refused};
use crate::early::Done;
use crate::npy;
use crate::observer::Terminal;
use crate::whole::Whole;
use clap::ValueEnum;
use data::{DataSet, Verify};
use engine::{Error, Result};
use serde_json::json;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use train::embed::{all_labels, embed_labels};
use train::judge::Judge;
use train::{Event, Network, Observer, RunDir, load, vocabulary};

/// Flags of `export`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lode export run --to hf --out model               for sentence-transformers, and for lode again
  lode export run --to onnx --out model.onnx        for ONNX Runtime; --to hf has its tokenizer
  lode export run --to npy --out labels             for an index of another program")]
pub(crate) struct Args {
    /// A model directory or a run
    model: PathBuf,
    /// What to write
    #[arg(long, value_enum)]
    to: Target,
    /// The directory to write, new or empty; of onnx the file
    #[arg(long, value_name = "DIR|FILE")]
    out: PathBuf,
    /// npy: the data set whose labels are embedded [default: the one of the run]
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
}

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// A directory that sentence-transformers loads: of a run that trains a cross-encoder alone that one, else the
    /// encoder
    Hf,
    /// One ONNX file: input_ids and attention_mask in, sentence_embedding out
    Onnx,
    /// The cross-encoder of a run, as a directory that sentence-transformers loads
    Cross,
    /// labels.npy and labels.jsonl: the embedding, id and title of each label, with its auxiliary vector where the run
    /// learned such
    Npy,
}

/// Exports.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    if args.to == Target::Cross || args.to == Target::Hf && trains_cross_alone(&args.model)? {
        return cross(args, context);
    }
    let network = load::network(&args.model)?;
    if args.to != Target::Npy && network.auxiliary.is_some() {
        let what = "the auxiliary vectors of the run's labels do not go with its encoder, which alone ranks otherwise \
                    than the run: --to npy writes the labels with them";
        Terminal::new(context).event(&Event::Warning(what));
    }
    if load::labels_rest(&args.model)? {
        let what = "this encoder learned queries alone: the run ranks by label vectors at rest, which are not written";
        Terminal::new(context).event(&Event::Warning(what));
    }
    match args.to {
        Target::Onnx => onnx(&network, args)?,
        Target::Npy => npy(&network, args, context)?,
        _ => hf(&network, args)?,
    }
    match context.json {
        true => context.print_json(&json!({"out": args.out, "width": network.width()})),
        false => {
            context.say(&format!("{} is written", args.out.display()));
            Ok(())
        }
    }
}

fn trains_cross_alone(path: &Path) -> Result<bool> {
    Ok(RunDir::is_run(path) && load::run_settings(path)?.1.config()?.cross.alone())
}

fn cross(args: &Args, context: &Context) -> Done {
    Judge::read(&args.model)?.write(&load::cross_card(&args.model)?, &args.out)?;
    match context.json {
        true => context.print_json(&json!({ "out": args.out })),
        false => {
            context.say(&format!("{} is written: a cross-encoder", args.out.display()));
            Ok(())
        }
    }
}

fn hf(network: &Network, args: &Args) -> Result<()> {
    if network.model.architecture.latents().is_some() {
        let what = "sentence-transformers has no module for the latent attention of this model";
        let help = "--to onnx writes all of it for other programs; RUN/model is what Lode reads";
        return Err(refused(what).at(&args.model).help(help));
    }
    let card = load::card(&args.model)?;
    let tokenizer = network.tokenizer()?.to_json()?;
    let texts = (&*tokenizer, network.encoder.tokens_max(), network.prompts());
    load::export(network, texts, card, &args.out)
}

fn onnx(network: &Network, args: &Args) -> Result<()> {
    if !network.pools_prompts() {
        let what =
            "this model reads its prompts and does not pool them, which the graph cannot tell from a text";
        let help = "`--to hf` writes it whole; for a graph, train with --set model.prompts=pooled";
        return Err(refused(what).at(&args.model).help(help));
    }
    let mut file = Whole::create(&args.out)?;
    models::onnx::write(&network.model, &mut |bytes| file.put(bytes)).map_err(|e| e.at(&args.out))?;
    file.commit()
}

fn npy(network: &Network, args: &Args, context: &Context) -> Result<()> {
    let path = match &args.data {
        Some(path) => path.clone(),
        None if RunDir::is_run(&args.model) => load::data_of(&args.model)?,
        None => {
            let error = Error::input("a model directory has no labels of its own").at(&args.model);
            return Err(error.help("name the data set whose labels are embedded: --data DATA"));
        }
    };
    let data = DataSet::open(&path, Verify::Full)?;
    vocabulary::demand_same(network, &args.model, &data)?;
    demand_empty(&args.out)?;
    std::fs::create_dir_all(&args.out).map_err(|e| Error::io(&args.out, e))?;
    let labels = data.labels();
    let mut observer = Terminal::new(context);
    network.warn_of_other_labels(&data, &mut observer);
    network.warn_of_other_prompts(data.prompts().both(), &mut observer);
    let rows =
        embed_labels((&context.engine()?, network), &data, &all_labels(&data), "labels", &mut observer)?;
    observer.finish();
    let mut names = String::new();
    for i in 0..labels.len() {
        let _ = writeln!(names, "{}", json!({"uid": labels.uid(i), "title": labels.title(i)}));
    }
    RunDir::write_text(&args.out.join("labels.jsonl"), &names)?;
    let mut writer = npy::Writer::create(&args.out.join("labels.npy"), network.width())?;
    writer.append(&rows)?;
    writer.commit()?;
    Ok(())
}

fn demand_empty(dir: &Path) -> Result<()> {
    match std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        true => Err(refused("this directory is not empty").at(dir).help("choose another --out")),
        false => Ok(()),
    }
}
