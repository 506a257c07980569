//! Every state in which a crash of the machine may leave a folder of checkpoints, and what is found there afterwards.
//!
//! `kill -9` leaves what the system was given, so it says nothing of a power cut: the disk then has what was synced,
//! and of the rest any part. Here a disk notes every request of a run of checkpoints. For each moment between two
//! requests, each subset of the unsynced names and many subsets of the unsynced blocks is laid out as a folder, and
//! read. What a file system must keep: a rename is whole or not there, and what was synced stays.

use super::tests::{Tables, all};
use super::*;
use engine::Numbers;
use engine::container::DiskFile;
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::sync::Mutex;

/// Bytes that a disk writes whole or not at all.
const BLOCK: usize = 512;

/// A request, as far as it changes what a crash can leave. Files have numbers, since their names change.
#[derive(Clone)]
enum Request {
    Create { name: OsString, file: usize },
    Write { file: usize, at: usize, bytes: Vec<u8> },
    Cut { file: usize, length: usize },
    Sync { file: usize },
    Rename { from: OsString, to: OsString },
    Remove { name: OsString },
    SyncFolder,
}

/// A disk that does as it is told, and notes it.
#[derive(Default)]
struct Notebook {
    requests: Mutex<Vec<Request>>,
    /// The file that each name stands for.
    files: Mutex<Names>,
}

impl Notebook {
    fn note(&self, request: Request) {
        self.requests.lock().expect("whole").push(request);
    }
}

fn name(path: &Path) -> OsString {
    path.file_name().expect("a name").to_owned()
}

/// The disk as a writer sees it.
struct Noted(Arc<Notebook>);

struct NotedFile {
    book: Arc<Notebook>,
    file: usize,
    at: usize,
    real: File,
}

impl Disk for Noted {
    fn create(&self, path: &Path) -> std::io::Result<Box<dyn DiskFile>> {
        let real = File::create_new(path)?;
        let file = self.0.requests.lock().expect("whole").len();
        self.0.files.lock().expect("whole").insert(name(path), file);
        self.0.note(Request::Create { name: name(path), file });
        Ok(Box::new(NotedFile { book: self.0.clone(), file, at: 0, real }))
    }
    fn reopen(&self, path: &Path) -> std::io::Result<Option<Box<dyn DiskFile>>> {
        let real = File::options().write(true).open(path)?;
        let file = self.0.files.lock().expect("whole")[&name(path)];
        Ok(Some(Box::new(NotedFile { book: self.0.clone(), file, at: 0, real })))
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        let mut files = self.0.files.lock().expect("whole");
        let file = files.remove(&name(from)).expect("a file of this name");
        files.insert(name(to), file);
        self.0.note(Request::Rename { from: name(from), to: name(to) });
        fs::rename(from, to)
    }
    fn remove(&self, path: &Path) -> std::io::Result<()> {
        self.0.note(Request::Remove { name: name(path) });
        fs::remove_file(path)
    }
    fn sync_folder(&self, _: &Path) -> std::io::Result<()> {
        self.0.note(Request::SyncFolder);
        Ok(())
    }
}

impl Write for NotedFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let length = self.real.write(bytes)?;
        self.book.note(Request::Write { file: self.file, at: self.at, bytes: bytes[..length].to_vec() });
        self.at += length;
        Ok(length)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.real.flush()
    }
}

impl Seek for NotedFile {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let at = self.real.seek(to)?;
        self.at = at as usize;
        Ok(at)
    }
}

impl DiskFile for NotedFile {
    fn sync(&self) -> std::io::Result<()> {
        self.book.note(Request::Sync { file: self.file });
        Ok(())
    }
    fn cut(&self, length: u64) -> std::io::Result<()> {
        self.book.note(Request::Cut { file: self.file, length: length as usize });
        self.real.set_len(length)
    }
}

/// A change of the names in a folder: the one that goes, and the one that is there then, with its file. The creation
/// of a file may be lost while its new name is not, so the file is known by its number.
#[derive(Clone)]
struct Change {
    gone: Option<OsString>,
    there: Option<(OsString, usize)>,
}

type Names = BTreeMap<OsString, usize>;

impl Change {
    fn apply(&self, names: &mut Names) {
        self.gone.iter().for_each(|name| _ = names.remove(name));
        names.extend(self.there.clone());
    }
}

/// What a disk surely has, and what it may have besides.
#[derive(Default)]
struct Crashed {
    names: Names,
    /// Changes since the folder was synced.
    unsynced_names: Vec<Change>,
    contents: BTreeMap<usize, Vec<u8>>,
    /// What was done to a file since it was synced.
    unsynced_blocks: BTreeMap<usize, Vec<Part>>,
    /// The file that a name stands for while nothing crashes.
    live: Names,
}

/// The files of a folder.
type Folder = BTreeMap<OsString, Vec<u8>>;

/// What a disk does to a file whole or not at all.
#[derive(Clone)]
enum Part {
    Block(usize, Vec<u8>),
    Cut(usize),
}

impl Part {
    fn put(&self, content: &mut Vec<u8>) {
        self.leave_out(content);
        match self {
            Part::Block(at, bytes) => content[*at..][..bytes.len()].copy_from_slice(bytes),
            Part::Cut(length) => content.truncate(*length),
        }
    }
    /// The length alone: what was there stays, or zeros are.
    fn leave_out(&self, content: &mut Vec<u8>) {
        if let Part::Block(at, bytes) = self {
            content.resize(content.len().max(at + bytes.len()), 0);
        }
    }
}

impl Crashed {
    fn take(&mut self, request: &Request) {
        match request {
            Request::Write { file, at, bytes } => {
                let blocks = bytes.chunks(BLOCK).enumerate();
                let blocks = blocks.map(|(i, b)| Part::Block(at + i * BLOCK, b.to_vec()));
                self.unsynced_blocks.entry(*file).or_default().extend(blocks);
            }
            Request::Cut { file, length } => {
                self.unsynced_blocks.entry(*file).or_default().push(Part::Cut(*length));
            }
            Request::Sync { file } => {
                let content = self.contents.entry(*file).or_default();
                let blocks = self.unsynced_blocks.remove(file).unwrap_or_default();
                blocks.iter().for_each(|block| block.put(content));
            }
            Request::SyncFolder => {
                self.unsynced_names.drain(..).for_each(|change| change.apply(&mut self.names));
            }
            Request::Create { name, file } => self.change(None, Some((name.clone(), *file))),
            Request::Rename { from, to } => self.change(Some(from), Some((to.clone(), self.live[from]))),
            Request::Remove { name } => self.change(Some(name), None),
        }
    }
    fn change(&mut self, gone: Option<&OsString>, there: Option<(OsString, usize)>) {
        let change = Change { gone: gone.cloned(), there };
        change.apply(&mut self.live);
        self.unsynced_names.push(change);
    }
    /// All folders that a crash may leave now.
    fn folders(&self) -> Vec<Folder> {
        let mut folders = vec![];
        for subset in 0..1u32 << self.unsynced_names.len() {
            let mut names = self.names.clone();
            let kept = self.unsynced_names.iter().enumerate().filter(|(i, _)| subset >> i & 1 == 1);
            kept.for_each(|(_, change)| change.apply(&mut names));
            let variants = names.values().map(|&file| self.variants(file)).collect::<Vec<_>>();
            for v in 0..variants.iter().map(Vec::len).max().unwrap_or(1) {
                let pick =
                    |(name, all): (&OsString, &Vec<Vec<u8>>)| (name.clone(), all[v % all.len()].clone());
                folders.push(names.keys().zip(&variants).map(pick).collect());
            }
        }
        folders
    }
    /// What may be in a file: the first so many blocks that were not synced, all but one, or its length alone.
    fn variants(&self, file: usize) -> Vec<Vec<u8>> {
        let base = self.contents.get(&file).cloned().unwrap_or_default();
        let blocks = self.unsynced_blocks.get(&file).map_or(&[][..], Vec::as_slice);
        let with = |has: &dyn Fn(usize) -> bool| {
            let mut content = base.clone();
            for (i, block) in blocks.iter().enumerate() {
                if has(i) { block.put(&mut content) } else { block.leave_out(&mut content) }
            }
            content
        };
        let first = |n: usize| {
            let mut content = base.clone();
            blocks[..n].iter().for_each(|block| block.put(&mut content));
            content
        };
        let prefixes = (0..=blocks.len()).map(first);
        let holes = (0..blocks.len()).map(|hole| with(&|i| i != hole));
        prefixes.chain(holes).chain([with(&|_| false)]).collect()
    }
}

/// What a run of checkpoints asked for, and what it was promised.
struct History {
    requests: Vec<Request>,
    /// Requests that had been made when a step's checkpoint was there for good, and the tables of that step.
    promised: Vec<(usize, u64, Vec<Vec<u32>>)>,
}

/// Checkpoints of which some add to others: `keep` of them stay, and what these need.
fn history(keep: usize) -> History {
    let (dir, book) = (tempfile::tempdir().expect("a directory"), Arc::new(Notebook::default()));
    let (mut tables, mut promised, mut spare) = (Tables::new(1000, 8), vec![], None);
    let all: Vec<u32> = (0..1000).collect();
    for (step, rows) in [(1, &all[..]), (2, &[1]), (3, &[1, 700]), (4, &all), (5, &[2, 999]), (5, &[3])] {
        tables.learn(step, rows);
        let disk = Arc::new(Noted(book.clone()));
        let staged = tables.at(step).stage(disk, dir.path(), keep, spare.take()).expect("staged");
        let saved = tables.committed(staged);
        assert_eq!(saved.chain.len(), [1, 2, 3, 1, 2, 1][promised.len()], "the chains that this is about");
        spare = saved.spare;
        let requests = book.requests.lock().expect("whole").len();
        promised.push((requests, step, numbers(&tables.at(step))));
    }
    let requests = book.requests.lock().expect("whole").clone();
    History { requests, promised }
}

/// The bits of all tables.
fn numbers(checkpoint: &Checkpoint<'_, &Table>) -> Vec<Vec<u32>> {
    let head = checkpoint.head.as_ref().expect("a head");
    let bits = |(_, table): &(String, &Table)| match all(table) {
        Numbers::F32(values) => values.iter().map(|x| x.to_bits()).collect(),
        Numbers::Bf16(values) => values.iter().map(|&b| u32::from(b) << 16).collect(),
    };
    head.tables.iter().map(bits).collect()
}

/// Lays out every folder that a crash may leave and reads it: how many there are, and what was lost in the first that
/// lost something.
fn crash(history: &History) -> (usize, Option<String>) {
    let (mut crashed, mut seen) = (Crashed::default(), HashSet::new());
    for made in 0..=history.requests.len() {
        let kept = history.promised.iter().rposition(|(requests, ..)| *requests <= made);
        // The last one that was promised, or that which is being written.
        let allowed =
            &history.promised[kept.unwrap_or(0)..history.promised.len().min(kept.map_or(1, |k| k + 2))];
        for folder in crashed.folders() {
            if !seen.insert((kept, folder.clone())) {
                continue;
            }
            let dir = tempfile::tempdir().expect("a directory");
            folder
                .iter()
                .for_each(|(name, content)| fs::write(dir.path().join(name), content).expect("written"));
            if kept.is_none() && list(dir.path()).is_empty() {
                continue;
            }
            let found = match Checkpoint::newest(dir.path()) {
                Err(e) => Err(e.to_string()),
                Ok((found, ..)) => {
                    let tables = found.head.iter().flat_map(|head| &head.tables);
                    let bits =
                        |(_, table): &(String, Chained)| table.to_f32().iter().map(|x| x.to_bits()).collect();
                    let bits: Vec<Vec<u32>> = tables.map(bits).collect();
                    let step = found.progress.step;
                    let is = allowed.iter().any(|(_, s, want)| (*s, want) == (step, &bits));
                    if is { Ok(()) } else { Err(format!("step {step} has other numbers, or is too old")) }
                }
            };
            if let Err(why) = found {
                return (seen.len(), Some(format!("after {made} requests: {why}")));
            }
        }
        history.requests.get(made).into_iter().for_each(|request| crashed.take(request));
    }
    (seen.len(), None)
}

#[test]
fn no_crash_of_the_machine_loses_a_checkpoint() {
    for keep in [1, 2] {
        let (states, lost) = crash(&history(keep));
        eprintln!("keep {keep}: {states} states");
        assert!(states > 500 && lost.is_none(), "{states}: {lost:?}");
    }
}

/// A protocol that leaves out one kind of sync does lose something: so the test above can see it.
#[test]
fn without_a_sync_something_is_lost() {
    let whole = history(1);
    let without = |left_out: fn(&Request) -> bool| {
        let kept = |r: &&Request| !left_out(r);
        let before = |n: usize| whole.requests[..n].iter().filter(kept).count();
        let promised = whole.promised.iter().map(|(n, step, bits)| (before(*n), *step, bits.clone()));
        History {
            requests: whole.requests.iter().filter(kept).cloned().collect(),
            promised: promised.collect(),
        }
    };
    assert!(crash(&without(|r| matches!(r, Request::Sync { .. }))).1.is_some(), "the file's");
    assert!(crash(&without(|r| matches!(r, Request::SyncFolder))).1.is_some(), "the folder's");
}
