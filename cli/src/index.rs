//! `lode index`: which labels a run answers with. Adds labels by their text alone, takes labels away, and lists what
//! there is. `lode predict` heeds it; nothing is trained.

use crate::context::Context;
use crate::early::Done;
use crate::observer::Terminal;
use crate::quantity::count;
use crate::render::table;
use data::{DataSet, LabelFile, Verify};
use engine::cuda::Gemm;
use engine::{Error, Precision, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use train::index::Index;
use train::overlay::{Changes, Overlay};
use train::plan::bytes;
use train::{Inference, Network, RunDir, load};

const EXAMPLES: &str = "\
Examples:
  lode index run                           what it answers with
  lode index run --add new.jsonl           {\"id\": \"B7\", \"text\": \"folding camp chairs\"}, one a line
  lode index run --remove B7 gone.txt      one id, and those of a file, one a line
  lode index run --restore gone.txt";

/// Flags of `index`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The directory of the run
    run: PathBuf,
    /// Add labels, found by their text: JSON lines with `id` and `text`, or a table with these columns. A label that
    /// was added before gets its new text
    #[arg(long, value_name = "FILE")]
    add: Option<PathBuf>,
    /// Take labels out of all answers: ids, or files with an id a line. Added labels are forgotten
    #[arg(long, value_name = "ID|FILE", num_args = 1..)]
    remove: Vec<String>,
    /// Bring back labels of the data set that were removed
    #[arg(long, value_name = "ID|FILE", num_args = 1..)]
    restore: Vec<String>,
}

/// Changes what is to be changed, then lists.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    let (dir, settings) = load::run_settings(&args.run)?;
    let data = DataSet::open(&settings.config()?.data.path, Verify::Header)?;
    let is_change = args.add.is_some() || !args.remove.is_empty() || !args.restore.is_empty();
    let _lock = if is_change { Some(dir.lock_overlay()?) } else { None };
    let mut overlay = Overlay::open(&dir, &data)?;
    let network = load::network(dir.root())?;
    if is_change {
        let changes = change(&mut overlay, args, &dir, &data)?;
        let mut observer = Terminal::new(context);
        overlay.embed(&context.engine()?, &network, &data, &mut observer)?;
        observer.finish();
        overlay.write()?;
        context.say(&told(changes));
    }
    let list = List { overlay, files: files(&dir, &network, &data, context)?, network, data };
    if context.json { context.print_json(&list.object(&args.run)) } else { context.print(&list.text()) }
}

/// Removes, restores and adds, in this order; what is wrong with one of them leaves all as it was.
fn change(overlay: &mut Overlay, args: &Args, dir: &RunDir, data: &DataSet) -> Result<Changes> {
    let mut all = Changes::default();
    if !args.remove.is_empty() {
        all.removed = overlay.remove(&ids(&args.remove, overlay, data)?, data)?.removed;
    }
    if !args.restore.is_empty() {
        all.restored = overlay.restore(&ids(&args.restore, overlay, data)?, data)?.restored;
    }
    if let Some(path) = &args.add {
        let Changes { added, replaced, .. } =
            overlay.add(&LabelFile::read(path, &dir.overlay())?, data).map_err(|e| match e.place() {
                Some(_) => e,
                None => e.at(path),
            })?;
        (all.added, all.replaced) = (added, replaced);
    }
    Ok(all)
}

/// The ids that words name: a word is an id if there is a label of that id, else a file of ids.
fn ids(words: &[String], overlay: &Overlay, data: &DataSet) -> Result<Vec<String>> {
    let mut all = vec![];
    for word in words {
        if overlay.unknown(std::slice::from_ref(word), data).is_none() {
            all.push(word.clone());
            continue;
        }
        let path = Path::new(word);
        if !path.is_file() {
            return Err(Error::input(format!("there is no label `{word}`, and no file of that name"))
                .at(data.path())
                .help("labels are named by their ids, which `lode predict` shows"));
        }
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        let lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        let named: Vec<String> = lines.iter().filter(|line| !line.is_empty()).cloned().collect();
        if let Some(unknown) = overlay.unknown(&named, data) {
            let line = lines.iter().position(|line| line == unknown).map_or(1, |i| i as u64 + 1);
            let what = format!("there is no label `{unknown}`");
            return Err(Error::input(what).at_line(path, line, None).showing(unknown));
        }
        all.extend(named);
    }
    Ok(all)
}

/// What a change did, in words.
fn told(changes: Changes) -> String {
    let Changes { added, replaced, removed, restored } = changes;
    let parts = [(added, "added"), (replaced, "replaced"), (removed, "removed"), (restored, "restored")];
    let said: Vec<String> = parts
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{} {what}", count(*n as u64)))
        .collect();
    if said.is_empty() { "nothing has changed".to_owned() } else { said.join(", ") }
}

/// A file of embeddings beside the run.
struct Kept {
    path: PathBuf,
    /// The numbers of the encoder that made it.
    precision: &'static str,
    bytes: u64,
    /// Whether it is of the newest checkpoint and of this data set; else the next `predict` makes it anew.
    is_current: bool,
}

fn files(dir: &RunDir, network: &Network, data: &DataSet, context: &Context) -> Result<Vec<Kept>> {
    let mut all = vec![];
    for precision in [None, Some(Precision::Int8), Some(Precision::Bf16)] {
        let path = Index::path_beside(dir.root(), precision);
        let Ok(found) = std::fs::metadata(&path) else { continue };
        let is_current = match precision {
            None => Index::is_current(&path, network, data),
            some => {
                let at = Inference::on("cpu", Gemm::Auto, some)?;
                Index::is_current(&path, &load::network_at(dir.root(), &context.engine()?, &at)?, data)
            }
        };
        all.push(Kept {
            path,
            precision: precision.map_or("f32", Precision::name),
            bytes: found.len(),
            is_current,
        });
    }
    Ok(all)
}

/// All that is told of a run's labels.
struct List {
    overlay: Overlay,
    files: Vec<Kept>,
    network: Network,
    data: DataSet,
}

impl List {
    fn answered_from(&self) -> usize {
        self.data.labels().len() - self.overlay.removed().len() + self.overlay.added().len()
    }
    /// Id and title of each removed label.
    fn removed(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.data.labels();
        self.overlay.removed().iter().map(move |&l| (labels.uid(l as usize), labels.title(l as usize)))
    }
    fn added(&self) -> impl Iterator<Item = (&str, &str)> {
        self.overlay.added().iter().map(|a| (&*a.uid, &*a.title))
    }
    fn text(&self) -> String {
        let row = |what: &str, n: usize| vec![what.to_owned(), count(n as u64)];
        let rows = [
            row("labels trained", self.data.labels().len()),
            row("removed", self.overlay.removed().len()),
            row("added", self.overlay.added().len()),
            row("answered from", self.answered_from()),
        ];
        let mut shown = table(&rows);
        if !self.overlay.is_of(&self.network) {
            shown.push_str(
                "added labels were embedded before the newest checkpoint: `predict` embeds them anew\n",
            );
        }
        for file in &self.files {
            let name = file.path.file_name().unwrap_or_default().to_string_lossy();
            let state = if file.is_current {
                "of the newest checkpoint"
            } else {
                "outdated: `predict` makes it anew"
            };
            let size = bytes(file.bytes as usize);
            shown.push_str(&format!("{name}  {} encoder, {size}, {state}\n", file.precision));
        }
        let lines = |sign: char, (uid, title): (&str, &str)| match uid == title {
            true => format!("{sign} {uid}\n"),
            false => format!("{sign} {uid}  {title}\n"),
        };
        shown.extend(self.added().map(|label| lines('+', label)));
        shown.extend(self.removed().map(|label| lines('-', label)));
        shown
    }
    fn object(&self, run: &Path) -> Value {
        let label = |(uid, title): (&str, &str)| json!({"uid": uid, "title": title});
        let file = |f: &Kept| {
            let current = f.is_current;
            json!({"file": f.path, "encoder": f.precision, "bytes": f.bytes, "current": current})
        };
        json!({
            "run": run,
            "trained": self.data.labels().len(),
            "removed": self.removed().map(label).collect::<Vec<_>>(),
            "added": self.added().map(label).collect::<Vec<_>>(),
            "added_current": self.overlay.is_of(&self.network),
            "answered_from": self.answered_from(),
            "files": self.files.iter().map(file).collect::<Vec<_>>(),
        })
    }
}
