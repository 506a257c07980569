//! `lode encode`: one text a line in, one row of an `.npy` file out.

use crate::context::Context;
use crate::early::Done;
use crate::npy;
use crate::observer::Terminal;
use crate::precision::Encoding;
use crate::quantity::count;
use data::{Prompts, Tokenizer};
use engine::{Engine, Error, Packed, Result};
use serde_json::json;
use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use train::embed::embed;
use train::{Network, load};

/// Lines that are held at once.
const LOT: usize = 4096;

/// Flags of `encode`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model directory or a run
    model: PathBuf,
    /// The texts, one a line; `-` for stdin
    texts: PathBuf,
    /// The matrix to write: f32, one row a line
    #[arg(long, value_name = "X.npy")]
    out: PathBuf,
    /// Tokens of a text at most, special tokens included [default: the model's own limit]
    #[arg(long, value_name = "N")]
    max_len: Option<usize>,
    /// Put this before each text. Of a model that was trained behind prompts config_sentence_transformers.json has them
    #[arg(long, value_name = "TEXT", default_value = "")]
    prompt: String,
    #[command(flatten)]
    encoding: Encoding,
}

/// Encodes.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    let mut lines = Lines::open(&args.texts)?;
    let engine = context.engine()?;
    let network = load::network_at(&args.model, &engine, &args.encoding.open(context, &engine)?)?;
    let tokenizer = network.tokenizer()?;
    let max_len = max_len(args, &network)?;
    network.demand_known(&args.prompt).map_err(|e| e.at(&args.model))?;
    let prompts = Prompts { query: args.prompt.clone(), ..Prompts::default() };
    let mut writer = npy::Writer::create(&args.out, network.width())?;
    let mut observer = Terminal::new(context);
    context.stop.is_heard();
    loop {
        let lot = lines.lot()?;
        if lot.is_empty() {
            break;
        }
        let lot: Vec<_> = lot.iter().map(|text| prompts.before_query(text)).collect();
        writer.append(&encode(&engine, &network, &tokenizer, &lot, max_len, &mut observer)?)?;
        observer.finish();
        context.check_stop()?;
    }
    let rows = writer.commit()?;
    if context.json {
        return context.print_json(&json!({"out": args.out, "rows": rows, "width": network.width()}));
    }
    let (rows, width) = (count(rows as u64), network.width());
    context.say(&format!("{}: {rows} rows of {width} numbers", args.out.display()));
    Ok(())
}

/// The length at which texts are cut, which the model must be able to take.
fn max_len(args: &Args, network: &Network) -> Result<usize> {
    let limit = network.encoder.tokens_max();
    match args.max_len {
        Some(n) if n > limit => {
            Err(Error::input(format!("--max-len {n} is more than the {limit} tokens that this model takes")))
        }
        given => Ok(given.unwrap_or(limit)),
    }
}

fn encode(
    engine: &Engine,
    network: &Network,
    tokenizer: &Tokenizer,
    lot: &[Cow<'_, str>],
    max_len: usize,
    observer: &mut Terminal,
) -> Result<Vec<f32>> {
    let (tokens, _) = tokenizer.encode_batch(engine, lot, max_len)?;
    let push = |i: usize, packed: &mut Packed| packed.push(tokens.text(i).iter().copied());
    embed(engine, network, tokens.len(), push, "texts", observer)
}

/// Reads lines, and knows their numbers.
struct Lines {
    path: PathBuf,
    input: Box<dyn BufRead>,
    number: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Lines> {
        let input: Box<dyn BufRead> = match path.to_str() {
            Some("-") => Box::new(std::io::stdin().lock()),
            _ => {
                let file = File::open(path).map_err(|e| Error::io(path, e))?;
                Box::new(BufReader::new(file))
            }
        };
        Ok(Lines { path: path.to_owned(), input, number: 0 })
    }
    /// The next lines, at most [`LOT`]; none at the end. An empty line is a text of no words.
    fn lot(&mut self) -> Result<Vec<String>> {
        let mut lot = vec![];
        while lot.len() < LOT {
            let mut line = vec![];
            if self.input.read_until(b'\n', &mut line).map_err(|e| Error::io(&self.path, e))? == 0 {
                break;
            }
            self.number += 1;
            let text = String::from_utf8(line).map_err(|e| {
                let column = e.utf8_error().valid_up_to() as u64 + 1;
                let place = Error::input("invalid UTF-8").at_line(&self.path, self.number, Some(column));
                place.showing(&String::from_utf8_lossy(e.as_bytes())).help("save the file as UTF-8")
            })?;
            lot.push(text.trim_end_matches(['\n', '\r']).to_owned());
        }
        Ok(lot)
    }
}
