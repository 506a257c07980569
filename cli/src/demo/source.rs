//! The data of the demo: library titles and their subject headings, carried in the binary.

use crate::context::Context;
use crate::early::Done;
use data::{PrepareOptions, Source, TokenizerChoice};
use engine::{Error, Kind, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The files of `demo/finna-small`, where their licences stand beside them.
const FILES: [(&str, &[u8]); 4] = [
    ("trn.jsonl.gz", include_bytes!("../../../demo/finna-small/trn.jsonl.gz")),
    ("tst.jsonl.gz", include_bytes!("../../../demo/finna-small/tst.jsonl.gz")),
    ("lbl.jsonl.gz", include_bytes!("../../../demo/finna-small/lbl.jsonl.gz")),
    ("README.md", include_bytes!("../../../demo/finna-small/README.md")),
];
/// The prepared data set; by it a later demo knows an earlier one.
const DATA: &str = "finna-small.lode";
/// All that a demo puts into its directory.
const OURS: [&str; 5] = ["finna-small", DATA, "bag-random", "bag-ngame", "tiny"];
/// Word pieces of its vocabulary.
const VOCABULARY: usize = 8000;

/// Writes the files, prepares them, and gives the path of the data set.
pub(super) fn prepare(out: &Path, context: &Context) -> Done<PathBuf> {
    clear(out)?;
    let folder = out.join("finna-small");
    fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    for (name, bytes) in FILES {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(|e| Error::io(&path, e))?;
    }
    let data = out.join(DATA);
    let mut options = PrepareOptions::new(&data, TokenizerChoice::Train(VOCABULARY));
    options.engine = context.engine()?;
    let summary = data::prepare(&Source::Jsonl(folder), &options, &mut |_| {})?;
    context.say(&format!(
        "finna-small: titles of a library catalogue and the subjects that librarians gave them (CC0, CC BY 4.0)\n\
         {} training titles, {} test titles, {} labels, {:.1} labels a title; everything goes to {}",
        summary.train,
        summary.test,
        summary.labels,
        summary.positives_train.mean,
        out.display()
    ));
    Ok(data)
}

/// Removes an earlier demo, and refuses to touch anything else.
fn clear(out: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(out) else { return Ok(()) };
    let names: Vec<String> =
        entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    if let Some(strange) = names.iter().find(|n| !OURS.contains(&&***n)) {
        return Err(Error::new(
            Kind::Refused,
            format!("this directory holds `{strange}`, which no demo made"),
        )
        .at(out)
        .help("choose another directory: lode demo --out DIR"));
    }
    for name in names {
        let path = out.join(name);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(|e| Error::io(&path, e))?;
    }
    Ok(())
}
