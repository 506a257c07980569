//! Readers: one file a layout. Each parses, says where it hurts, and fills a `Build`.

pub(crate) mod beir;
pub(crate) mod csv;
pub(crate) mod fasttext;
mod filters;
pub(crate) mod json;
mod judged;
mod matrix;
pub(crate) mod msmarco;
mod npz;
pub(crate) mod repository;
mod sparse;

use engine::{Error, Result};
use std::path::{Path, PathBuf};

/// The one file of `folder` that is called `stem` and one of `endings`, if there is one.
///
/// # Errors
/// When there are two.
fn find_file(folder: &Path, stems: &[&str], endings: &[&str]) -> Result<Option<PathBuf>> {
    let mut found: Vec<PathBuf> = vec![];
    for stem in stems {
        for ending in endings {
            let path = folder.join(format!("{stem}{ending}"));
            if path.is_file() {
                found.push(path);
            }
        }
    }
    if let [a, b, ..] = &found[..] {
        let e = Error::input(format!("this file and `{}` could both be meant", b.display())).at(a);
        return Err(e.help("move one of them away"));
    }
    Ok(found.pop())
}

/// As [`find_file`], but the file has to be there.
fn need_file(folder: &Path, stems: &[&str], endings: &[&str]) -> Result<PathBuf> {
    match find_file(folder, stems, endings)? {
        Some(path) => Ok(path),
        None => {
            let names: Vec<String> = endings.iter().map(|e| format!("`{}{e}`", stems[0])).collect();
            Err(Error::input(format!("no file {} in this folder", names.join(" or "))).at(folder))
        }
    }
}

/// `path` has to be a folder.
fn need_folder(path: &Path) -> Result<()> {
    let meta = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    if meta.is_dir() {
        return Ok(());
    }
    Err(Error::input("is a file, a folder was expected")
        .at(path)
        .help("name the folder that holds the files"))
}
