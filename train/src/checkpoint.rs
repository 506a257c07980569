//! Checkpoints: one mapped file each, with everything that decides the bits of the next step.
//!
//! ```text
//! RUN/checkpoints/step-000000004182.lode
//!   manifest      counters, fingerprints, and the name and shape of every tensor (bincode behind a limit)
//!   t0, t1, …     parameters, then the optimizer's state, in the order of the manifest
//!   bank, bank.made_at, clusters.order, clusters.ends
//!   h0, h1, …     of a classifier: its weights, then the tables of its optimizer; lists, its shortlists
//! ```
//! The container writes under a temporary name, syncs, renames and syncs the directory: a checkpoint is whole or it is
//! not there. There is no generator state to save, since every random number is a function of (seed, step, purpose).

use crate::head::WEIGHTS;
use bincode::{Decode, Encode};
use engine::container::{Container, Verify, View, Writer};
use engine::{DType, Error, Kind, Numbers, Result, Shape, Tensor};
use samplers::composer::State;
use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

const KIND: &str = "checkpoint";
const FORMAT: u32 = 2;
/// No manifest of ours comes near this; a hostile one must not make us allocate more.
const MANIFEST_LIMIT: usize = 16 << 20;

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Updates done.
    pub step: u64,
    /// The epoch at hand, from 0.
    pub epoch: u32,
    /// Batches of this epoch that are done.
    pub batch: u64,
}

/// What a checkpoint holds, in memory. Tables of a classifier are borrowed from it, or mapped from a file.
pub struct Checkpoint<'a> {
    /// Where the run stood.
    pub progress: Progress,
    /// [`data::DataSet::fingerprint`] of what it was trained on.
    pub data: u64,
    /// Which kernels made the bits.
    pub kernel_class: String,
    /// Parameters by name.
    pub params: Vec<(String, Tensor)>,
    /// The optimizer's state by name.
    pub optimizer: Vec<(String, Tensor)>,
    /// The memory bank: embeddings, and for each row the step that made it plus one.
    pub bank: (Vec<f32>, Vec<u64>),
    /// The clusters in force.
    pub composer: State,
    /// The classifier, where there is one.
    pub head: Option<HeadState<'a>>,
}

/// A classifier in a checkpoint.
pub struct HeadState<'a> {
    /// Steps of its optimizer.
    pub steps: u32,
    /// Weights and the optimizer's tables, by name.
    pub tables: Vec<(String, Kept<'a>)>,
    /// The epoch for which shortlists were made.
    pub lists_epoch: Option<u32>,
    /// The shortlists of all training queries.
    pub lists: Cow<'a, [u32]>,
}

/// The numbers of a table, where they are.
pub enum Kept<'a> {
    /// In memory.
    Held(Numbers<'a>),
    /// In a mapped checkpoint.
    F32(View<f32>),
    /// In a mapped checkpoint.
    Bf16(View<u16>),
}

impl Kept<'_> {
    /// All numbers.
    pub fn numbers(&self) -> Numbers<'_> {
        match self {
            Kept::Held(numbers) => *numbers,
            Kept::F32(view) => Numbers::F32(view),
            Kept::Bf16(view) => Numbers::Bf16(view),
        }
    }
    /// All numbers as f32.
    pub fn to_f32(&self) -> Vec<f32> {
        match self.numbers() {
            Numbers::F32(values) => values.to_vec(),
            Numbers::Bf16(bits) => bits.iter().map(|&b| f32::from_bits(u32::from(b) << 16)).collect(),
        }
    }
}

/// What a checkpoint holds for whoever only uses the model.
pub struct Trained {
    /// Where the run stood.
    pub progress: Progress,
    /// [`data::DataSet::fingerprint`] of what it was trained on.
    pub data: u64,
    /// Parameters by name.
    pub params: Vec<(String, Tensor)>,
    /// Which table of the classifier holds its weights, and whether in bf16; none without a classifier.
    weights: Option<(usize, bool)>,
    file: Container,
}

/// As in the file.
#[derive(Encode, Decode)]
struct Manifest {
    format: u32,
    step: u64,
    epoch: u32,
    batch: u64,
    data: u64,
    kernel_class: String,
    params: Vec<Entry>,
    optimizer: Vec<Entry>,
    clusters_epoch: u32,
    clusters_made_at: u64,
    head: Option<HeadEntry>,
}

/// As in the file: a classifier's counters, and the name of every table and whether it holds bf16.
#[derive(Encode, Decode)]
struct HeadEntry {
    steps: u32,
    lists_epoch: Option<u32>,
    tables: Vec<(String, bool)>,
}

/// As in the file: a tensor's name and dimensions, and whether it holds integers.
#[derive(Encode, Decode)]
struct Entry {
    name: String,
    dims: Vec<u64>,
    integers: bool,
}

fn limit() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MANIFEST_LIMIT>()
}

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

impl HeadState<'_> {
    fn entry(&self) -> HeadEntry {
        let table =
            |(name, kept): &(String, Kept<'_>)| (name.clone(), matches!(kept.numbers(), Numbers::Bf16(_)));
        let tables = self.tables.iter().map(table).collect();
        HeadEntry { steps: self.steps, lists_epoch: self.lists_epoch, tables }
    }
    fn write(&self, writer: &mut Writer) -> Result<()> {
        for (i, (_, kept)) in self.tables.iter().enumerate() {
            match kept.numbers() {
                Numbers::F32(values) => writer.section(&table_section(i), values)?,
                Numbers::Bf16(values) => writer.section(&table_section(i), values)?,
            }
        }
        writer.section("lists", &self.lists)
    }
    fn read(entry: HeadEntry, file: &Container) -> Result<HeadState<'static>> {
        let table = |(i, (name, bf16)): (usize, (String, bool))| Ok((name, table(file, i, bf16)?));
        let tables = entry.tables.into_iter().enumerate().map(table).collect::<Result<_>>()?;
        let lists = file.slice::<u32>("lists")?.to_vec().into();
        Ok(HeadState { steps: entry.steps, tables, lists_epoch: entry.lists_epoch, lists })
    }
}

impl Checkpoint<'_> {
    /// Writes the checkpoint of its step into `folder`, then removes all but the newest `keep`. Those of later steps go
    /// too: they are damaged, or the run would not have gone back before them.
    ///
    /// # Errors
    /// If the system cannot write; older checkpoints are untouched then.
    pub fn write(&self, folder: &Path, keep: usize) -> Result<PathBuf> {
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let entry = |(name, tensor): &(String, Tensor)| Entry {
            name: name.clone(),
            dims: tensor.shape().dims().iter().map(|&d| d as u64).collect(),
            integers: tensor.dtype() == DType::U32,
        };
        let manifest = Manifest {
            format: FORMAT,
            step: self.progress.step,
            epoch: self.progress.epoch,
            batch: self.progress.batch,
            data: self.data,
            kernel_class: self.kernel_class.clone(),
            params: self.params.iter().map(entry).collect(),
            optimizer: self.optimizer.iter().map(entry).collect(),
            clusters_epoch: self.composer.epoch,
            clusters_made_at: self.composer.made_at_step,
            head: self.head.as_ref().map(HeadState::entry),
        };
        let path = path_of(folder, self.progress.step);
        let manifest = bincode::encode_to_vec(manifest, limit())
            .map_err(|e| Error::new(Kind::Other, format!("the manifest of a checkpoint: {e}")).at(&path))?;
        let mut writer = Writer::create(&path, KIND)?;
        writer.section("manifest", &manifest)?;
        for (i, (_, tensor)) in self.params.iter().chain(&self.optimizer).enumerate() {
            let name = section(i);
            match tensor.dtype() {
                DType::U32 => writer.section(&name, tensor.data::<u32>())?,
                _ => writer.section(&name, tensor.data::<f32>())?,
            }
        }
        writer.section("bank", &self.bank.0)?;
        writer.section("bank.made_at", &self.bank.1)?;
        writer.section("clusters.order", &self.composer.order)?;
        writer.section("clusters.ends", &self.composer.ends)?;
        self.head.as_ref().map_or(Ok(()), |head| head.write(&mut writer))?;
        writer.commit()?;
        let (until_now, later): (Vec<PathBuf>, Vec<PathBuf>) =
            list(folder).into_iter().partition(|p| *p <= path);
        for old in until_now.into_iter().skip(keep.max(1)).chain(later) {
            fs::remove_file(&old).map_err(|e| Error::io(&old, e))?;
        }
        Ok(path)
    }

    /// Reads a checkpoint; every checksum is verified.
    ///
    /// # Errors
    /// If the file is damaged, or not one of ours.
    pub fn read(path: &Path) -> Result<Checkpoint<'static>> {
        let file = Container::open(path, KIND, Verify::Full)?;
        let m = manifest(&file)?;
        let params = tensors(&file, &m.params, 0)?;
        Ok(Checkpoint {
            progress: m.progress(),
            data: m.data,
            kernel_class: m.kernel_class,
            params,
            optimizer: tensors(&file, &m.optimizer, m.params.len())?,
            bank: (file.slice::<f32>("bank")?.to_vec(), file.slice::<u64>("bank.made_at")?.to_vec()),
            composer: State {
                order: file.slice::<u32>("clusters.order")?.to_vec(),
                ends: file.slice::<u32>("clusters.ends")?.to_vec(),
                epoch: m.clusters_epoch,
                made_at_step: m.clusters_made_at,
            },
            head: m.head.map(|entry| HeadState::read(entry, &file)).transpose()?,
        })
    }

    /// The newest whole checkpoint of a folder, and what was passed over because it is damaged.
    ///
    /// # Errors
    /// If there is none: names the damaged ones.
    pub fn newest(folder: &Path) -> Result<(Checkpoint<'static>, PathBuf, Vec<Error>)> {
        newest(folder, Checkpoint::read)
    }
}

impl Trained {
    /// Reads the parameters of a checkpoint. Verified are the checksums of the manifest and of the parameters, and no
    /// byte of another section is read: the optimizer's state is twice as long as the model.
    ///
    /// # Errors
    /// If what is read is damaged, or the file is not one of ours.
    pub fn read(path: &Path) -> Result<Trained> {
        let file = Container::open(path, KIND, Verify::Header)?;
        file.check("manifest")?;
        let m = manifest(&file)?;
        (0..m.params.len()).try_for_each(|i| file.check(&section(i)))?;
        let tables = m.head.iter().flat_map(|head| &head.tables).enumerate();
        let weights = tables.filter(|(_, (name, _))| name == WEIGHTS).map(|(i, (_, bf16))| (i, *bf16)).next();
        let params = tensors(&file, &m.params, 0)?;
        Ok(Trained { progress: m.progress(), data: m.data, params, weights, file })
    }

    /// The label weights, row after row; none if no classifier was learned. Their checksum is verified here.
    ///
    /// # Errors
    /// If they are damaged: an older checkpoint would have those of another encoder.
    pub fn weights(&self) -> Result<Option<Kept<'static>>> {
        let Some((i, bf16)) = self.weights else { return Ok(None) };
        self.file.check(&table_section(i))?;
        table(&self.file, i, bf16).map(Some)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// As [`Checkpoint::newest`], for the newest checkpoint whose parameters are whole.
    ///
    /// # Errors
    /// As [`Checkpoint::newest`].
    pub fn newest(folder: &Path) -> Result<Trained> {
        newest(folder, Trained::read).map(|(found, _, _)| found)
    }
}

/// The newest checkpoint of a folder that `read` takes, its path, and why newer ones were passed over.
fn newest<T>(folder: &Path, read: impl Fn(&Path) -> Result<T>) -> Result<(T, PathBuf, Vec<Error>)> {
    let mut passed = vec![];
    for path in list(folder) {
        match read(&path) {
            Ok(found) => return Ok((found, path, passed)),
            Err(error) => passed.push(error),
        }
    }
    let error = Error::new(Kind::Damaged, "there is no whole checkpoint here").at(folder);
    Err(passed.iter().fold(error, |e, p| e.note(p.to_string())).help("start again with `lode train`"))
}

impl Manifest {
    fn progress(&self) -> Progress {
        Progress { step: self.step, epoch: self.epoch, batch: self.batch }
    }
}

fn manifest(file: &Container) -> Result<Manifest> {
    let bad = |why: String| Error::damaged(file.path(), "manifest", why);
    let (m, _): (Manifest, usize) =
        bincode::decode_from_slice(file.bytes("manifest")?, limit()).map_err(|e| bad(e.to_string()))?;
    match m.format {
        FORMAT => Ok(m),
        other => Err(bad(format!("format {other}, this program reads {FORMAT}"))),
    }
}

/// The section of tensor `i`.
fn section(i: usize) -> String {
    format!("t{i}")
}

/// The section of a classifier's table `i`.
fn table_section(i: usize) -> String {
    format!("h{i}")
}

/// A classifier's table `i`, where it lies.
fn table(file: &Container, i: usize, bf16: bool) -> Result<Kept<'static>> {
    let section = table_section(i);
    Ok(match bf16 {
        true => Kept::Bf16(file.view(&section)?),
        false => Kept::F32(file.view(&section)?),
    })
}

/// The tensors of `entries`, which begin at section `first`.
fn tensors(file: &Container, entries: &[Entry], first: usize) -> Result<Vec<(String, Tensor)>> {
    let tensor = |(i, entry): (usize, &Entry)| -> Result<(String, Tensor)> {
        let section = section(first + i);
        let dims: Vec<usize> = entry.dims.iter().map(|&d| d as usize).collect();
        let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let here = file.bytes(&section)?.len() / 4;
        if dims.len() > 4 || count != Some(here) {
            let why = format!("`{}` has shape {dims:?}, the section holds {here} numbers", entry.name);
            return Err(Error::damaged(file.path(), &section, why));
        }
        let shape = Shape::new(&dims);
        let tensor = match entry.integers {
            true => Tensor::from_vec(shape, file.slice::<u32>(&section)?.to_vec()),
            false => Tensor::from_vec(shape, file.slice::<f32>(&section)?.to_vec()),
        };
        Ok((entry.name.clone(), tensor))
    };
    entries.iter().enumerate().map(tensor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(step: u64) -> Checkpoint<'static> {
        Checkpoint {
            progress: Progress { step, epoch: 2, batch: 5 },
            data: 77,
            kernel_class: "avx2".into(),
            params: vec![("w".into(), Tensor::from_vec([2, 2], vec![1.0f32, 2.0, 3.0, step as f32]))],
            optimizer: vec![("n".into(), Tensor::from_vec([1], vec![9u32]))],
            bank: (vec![0.5; 6], vec![1, 0, 3]),
            composer: State { order: vec![2, 0, 1], ends: vec![1, 3], epoch: 1, made_at_step: 4 },
            head: Some(HeadState {
                steps: 7,
                tables: vec![
                    ("w".into(), Kept::Held(Numbers::Bf16(&[0x3f80, 0xbf80]))),
                    ("v".into(), Kept::Held(Numbers::F32(&[0.25]))),
                ],
                lists_epoch: Some(1),
                lists: vec![5, 6].into(),
            }),
        }
    }

    #[test]
    fn a_checkpoint_comes_back_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = sample(8).write(dir.path(), 2).expect("written");
        let back = Checkpoint::read(&path).expect("read");
        let want = sample(8);
        assert_eq!((back.progress, back.data, back.kernel_class), (want.progress, 77, "avx2".into()));
        assert_eq!((back.bank, back.composer), (want.bank, want.composer));
        assert_eq!((back.params[0].1.to_f64(), back.params[0].0.as_str()), (vec![1.0, 2.0, 3.0, 8.0], "w"));
        assert_eq!(back.optimizer[0].1.data::<u32>(), [9]);
        let (head, want) = (back.head.expect("a head"), want.head.expect("a head"));
        assert_eq!((head.steps, head.lists_epoch, &*head.lists), (7, Some(1), &[5, 6][..]));
        for (got, want) in head.tables.iter().zip(&want.tables) {
            assert_eq!((&got.0, got.1.numbers()), (&want.0, want.1.numbers()));
        }
    }

    #[test]
    fn the_newest_whole_one_is_found_and_old_ones_go() {
        let dir = tempfile::tempdir().expect("a directory");
        for step in [1, 2, 3] {
            sample(step).write(dir.path(), 2).expect("written");
        }
        assert_eq!(list(dir.path()).len(), 2);
        let newest = path_of(dir.path(), 3);
        let mut bytes = fs::read(&newest).expect("read");
        let weight = 2.0f32.to_le_bytes();
        let at = bytes.windows(4).position(|w| w == weight).expect("the parameter lies in the file");
        bytes[at + 1] ^= 1;
        fs::write(&newest, bytes).expect("written");
        let (found, path, passed) = Checkpoint::newest(dir.path()).expect("an older one is whole");
        assert_eq!((found.progress.step, path, passed.len()), (2, path_of(dir.path(), 2), 1));
        fs::remove_file(path_of(dir.path(), 2)).expect("removed");
        let error = Checkpoint::newest(dir.path()).err().expect("none is whole");
        assert_eq!(error.kind(), Kind::Damaged);
    }

    #[test]
    fn using_a_model_reads_its_parameters_and_nothing_of_the_optimizer() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = sample(8).write(dir.path(), 1).expect("written");
        let whole = fs::read(&path).expect("read");
        // The sections, in their order: manifest, t0 (the parameter), t1 (the optimizer's), bank, …
        let starts: Vec<usize> = (1..whole.len() / 64).map(|i| 64 * i).collect();
        let holding = |bytes: &[u8]| {
            let find = |at: &&usize| whole[**at..].starts_with(bytes);
            *starts.iter().find(find).expect("it lies in the file")
        };
        let (parameter, optimizer) = (holding(&1.0f32.to_le_bytes()), holding(&9u32.to_le_bytes()));
        let damage = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).expect("written");
        };
        damage(optimizer);
        assert_eq!(Checkpoint::read(&path).err().expect("damaged").kind(), Kind::Damaged);
        let trained = Trained::newest(dir.path()).expect("its parameters are whole");
        assert_eq!(trained.progress, sample(8).progress);
        assert_eq!(trained.params[0].1.to_f64(), [1.0, 2.0, 3.0, 8.0]);
        for at in [parameter, 64] {
            damage(at);
            assert_eq!(Trained::newest(dir.path()).err().expect("damaged").kind(), Kind::Damaged);
        }
    }

    #[test]
    fn a_damaged_newer_one_takes_no_place_from_those_that_are_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(path_of(dir.path(), 100), b"torn").expect("written");
        sample(90).write(dir.path(), 1).expect("written");
        assert_eq!(list(dir.path()), [path_of(dir.path(), 90)]);
    }
}
