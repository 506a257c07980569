//! The files of a folder of checkpoints: their names, their order, and which of them go.

use engine::container::{Disk, Spare};
use engine::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file of a step.
pub fn path_of(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!("step-{step:012}.lode"))
}

/// The checkpoints of a folder, newest first.
pub fn list(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|p| {
            let name = p.file_name().and_then(|n| n.to_str()).unwrap_or("");
            name.starts_with("step-") && name.ends_with(".lode")
        })
        .collect();
    found.sort_unstable();
    found.reverse();
    found
}

/// Removes what processes that were killed while they wrote left behind: files under temporary names, which
/// [`list`] never shows.
///
/// # Errors
/// If the system refuses.
pub fn remove_unfinished(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|n| n.starts_with(".step-") && n.contains(".lode.tmp-")) {
            fs::remove_file(entry.path()).map_err(|e| Error::io(&entry.path(), e))?;
        }
    }
    Ok(())
}

/// Removes all checkpoints but `newest`, those before it up to `keep` in all, and those that any of these `needs`.
/// Who needs goes before what it needs, so that a process killed in between leaves only whole ones. Where it cannot be
/// told what one of them needs, nothing is removed this time. The last one to go is kept as a spare file.
pub(super) fn prune(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    newest: &Path,
    keep: usize,
    needs: impl Fn(&Path) -> Option<Vec<PathBuf>>,
) -> Result<Option<Spare>> {
    let (until_now, later): (Vec<PathBuf>, Vec<PathBuf>) =
        list(folder).into_iter().partition(|p| **p <= *newest);
    let (kept, older) = until_now.split_at(keep.max(1).min(until_now.len()));
    let needed: Option<Vec<Vec<PathBuf>>> = kept.iter().map(|path| needs(path)).collect();
    let Some(needed) = needed.map(|all| all.concat()) else { return Ok(None) };
    let mut spare = None;
    for old in later.iter().chain(older).filter(|path| !needed.contains(path)) {
        // The one before it goes here.
        spare = Some(Spare::of(disk.clone(), old).map_err(|e| Error::io(old, e))?);
    }
    Ok(spare)
}
