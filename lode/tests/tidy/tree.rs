//! The files of the project.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file, its path as it stands in the project: `engine/src/lib.rs`.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.into() }
    }
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
    /// The crate's folder.
    pub(crate) fn room(&self) -> &str {
        self.path.split('/').next().unwrap_or("")
    }
}

/// Folders that may lie at the top and belong to the project. Others, such as somebody's data, are not looked at.
const FOLDERS: [&str; 13] = [
    ".ci", "autograd", "benches", "cli", "data", "demo", "engine", "fuzz", "lode", "models", "samplers",
    "tests", "train",
];

/// All text files of the project.
pub(crate) fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths: Vec<PathBuf> = entries(&root).into_iter().filter(|p| p.is_file()).collect();
    FOLDERS.iter().for_each(|folder| walk(&root.join(folder), &mut paths));
    let mut files: Vec<File> = paths.iter().filter_map(|path| read(&root, path)).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("a folder that can be read").path())
        .collect()
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    for path in entries(folder) {
        let name = path.file_name().unwrap_or_default();
        match path.is_dir() {
            true if name == "target" || name == "artifacts" || name == "__pycache__" => {}
            true => walk(&path, paths),
            false => paths.push(path),
        }
    }
}

/// None for what is no text.
fn read(root: &Path, path: &Path) -> Option<File> {
    let text = String::from_utf8(fs::read(path).expect("a file that can be read")).ok()?;
    let path = path.strip_prefix(root).expect("a path below the root").to_string_lossy().replace('\\', "/");
    (!text.contains('\0') && path != ".git").then_some(File { path, text })
}
