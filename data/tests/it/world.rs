//! Small worlds: a folder of files, a vocabulary that can be counted by hand.

use data::{DataSet, PrepareOptions, Source, Summary, TokenizerChoice, Verify};
use engine::Result;
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Ids 0 to 4 are special, `red` is 5 and so on.
pub(crate) const WORDS: [&str; 12] =
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "shoe", "boot", "##s", "old", "a"];

/// A folder `src` with `files`, and a folder `model` with the vocabulary.
pub(crate) struct World {
    dir: TempDir,
}

impl World {
    pub(crate) fn new(files: &[(&str, &[u8])]) -> World {
        let world = World { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(world.path("src")).unwrap();
        std::fs::create_dir(world.path("model")).unwrap();
        std::fs::write(world.path("model/vocab.txt"), WORDS.join("\n")).unwrap();
        for (name, bytes) in files {
            let path = world.src().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        world
    }
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    pub(crate) fn src(&self) -> PathBuf {
        self.path("src")
    }
    pub(crate) fn out(&self) -> PathBuf {
        self.path("out.data")
    }
    pub(crate) fn options(&self) -> PrepareOptions {
        PrepareOptions::new(self.out(), TokenizerChoice::Directory(self.path("model")))
    }
    pub(crate) fn prepare(&self, source: &Source) -> Result<Summary> {
        data::prepare(source, &self.options(), &mut |_| {})
    }
    pub(crate) fn open(&self) -> DataSet {
        DataSet::open(&self.out(), Verify::Full).unwrap()
    }
    /// Prepares the folder and opens the result.
    pub(crate) fn data_set(&self, source: fn(PathBuf) -> Source) -> DataSet {
        self.prepare(&source(self.src())).unwrap();
        self.open()
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The folder of real data that some tests need; they say so and pass where it is absent.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("LODE_SHARED").map(|root| PathBuf::from(root).join(name));
    if path.is_none() {
        println!("skipped: LODE_SHARED is not set");
    }
    path
}
