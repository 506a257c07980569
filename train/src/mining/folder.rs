//! The work folder of a mining: what is done so far, so that the same command goes on from there.
//!
//! ```text
//! FOLDER/lock                   held while a process works here
//! FOLDER/corpus-00007.lode      the embeddings of PART texts of the corpus
//! FOLDER/queries-00002.lode     what was kept for a block of queries
//! ```
//! Each file is a container, whole or absent, and holds the key of the work that it is part of: of another model, data
//! set or option it is not there. Corpus files are of any options that do not change them. They may lie in a cache,
//! which stays; there their names have the key, so that the corpora of several models lie side by side:
//!
//! ```text
//! CACHE/corpus-0123456789abcdef-00007.lode
//! ```

use crate::run_dir::RunDir;
use engine::container::{Container, Verify, Writer};
use engine::{Error, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The kind of its containers.
const KIND: &str = "mining";

/// What a file is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// The embeddings of the corpus.
    Corpus,
    /// The blocks of queries.
    Queries,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Work::Corpus => "corpus",
            Work::Queries => "queries",
        }
    }
}

/// A work folder, locked.
pub(super) struct Folder {
    path: PathBuf,
    cache: Option<PathBuf>,
    keys: [u64; 2],
    _locks: Vec<File>,
}

impl Folder {
    /// Opens or makes it, and the cache if there shall be one; `keys` are those of the corpus and of the queries.
    ///
    /// # Errors
    /// If another process works in one of them, or the system refuses.
    pub(super) fn open(path: &Path, cache: Option<&Path>, keys: [u64; 2]) -> Result<Folder> {
        if cache.is_some_and(|cache| cache == path) {
            let e = Error::input("is the work folder of this mining, which goes when all is done").at(path);
            return Err(e.help("--cache takes another folder"));
        }
        let lock = |path: &Path| {
            fs::create_dir_all(path).map_err(|e| Error::io(path, e))?;
            RunDir::at(path).lock_of("lock", "another process is mining in this folder")
        };
        let locks = [Some(path), cache].into_iter().flatten().map(lock).collect::<Result<_>>()?;
        let folder = Folder { path: path.to_owned(), cache: cache.map(Path::to_owned), keys, _locks: locks };
        // What a killed process had begun.
        [Some(path), cache]
            .into_iter()
            .flatten()
            .try_for_each(|at| delete(at, |name| name.starts_with('.')))?;
        Ok(folder)
    }
    fn file(&self, work: Work, number: usize) -> PathBuf {
        let (name, key) = (work.name(), self.keys[work as usize]);
        match (&self.cache, work) {
            (Some(cache), Work::Corpus) => cache.join(format!("{name}-{key:016x}-{number:05}.lode")),
            _ => self.path.join(format!("{name}-{number:05}.lode")),
        }
    }
    /// A file of this work, if it is there and whole.
    pub(super) fn read(&self, work: Work, number: usize) -> Option<Container> {
        let file = Container::open(&self.file(work, number), KIND, Verify::Full).ok()?;
        (file.slice::<u64>("key").ok()? == [self.keys[work as usize]]).then_some(file)
    }
    /// Begins a file of this work.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn write(&self, work: Work, number: usize) -> Result<Writer> {
        let mut writer = Writer::create(&self.file(work, number), KIND)?;
        writer.section("key", &[self.keys[work as usize]])?;
        Ok(writer)
    }
    /// Removes all that was written here; the folder stays if it holds anything else, and the cache stays.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn remove(self) -> Result<()> {
        delete(&self.path, |_| true)?;
        let lock = self.path.join("lock");
        fs::remove_file(&lock).map_err(|e| Error::io(&lock, e))?;
        // It is not empty: what lies there is not ours.
        let _ = fs::remove_dir(&self.path);
        Ok(())
    }
}

/// Deletes those of our own files in a folder whose names are `wanted`.
fn delete(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    let failed = |e| Error::io(path, e);
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(name) = name.to_str() else { continue };
        let is_own = [Work::Corpus, Work::Queries]
            .iter()
            .any(|work| name.trim_start_matches('.').starts_with(&format!("{}-", work.name())));
        if is_own && wanted(name) {
            fs::remove_file(path.join(name)).map_err(failed)?;
        }
    }
    Ok(())
}
