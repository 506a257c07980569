//! Checkpoints: one mapped file each, with everything that decides the bits of the next step.
//!
//! ```text
//! RUN/checkpoints/step-000000004182.lode
//!   manifest      counters, fingerprints, and the name and shape of every tensor (bincode behind a limit)
//!   t0, t1, …     parameters, the optimizer's state, what is remembered (`memory.rs`), a cross-encoder that learns,
//!                 auxiliary vectors (`auxiliary.rs`), in the order of the manifest
//!   bank, bank.made_at, clusters.order, clusters.ends, ranked.ids, ranked.scores, ranked.positive
//!   h0, h1, …     of a classifier: its weights, then the tables of its optimizer: all rows, or those that changed
//!                 since the checkpoint before (`tables.rs`); h0.rows, … which ones; lists, its shortlists;
//!                 soft.starts, soft.labels, soft.targets, what its teacher said; factors, what its weights are of h0
//! ```
//! The container writes under a temporary name, syncs, renames and syncs the directory: a checkpoint is whole or it is
//! not there. There is no generator state to save, since every random number is a function of (seed, step, purpose).

mod folder;
mod tables;

pub use folder::{list, path_of, remove_unfinished};
pub use tables::{Chained, HeadState, Link, SoftState};

use crate::head::WEIGHTS;
use autograd::Params;
use bincode::{Decode, Encode};
use engine::container::{Container, Disk, Spare, System, Unsynced, Verify, Writer};
use engine::{DType, Error, Kind, Result, Shape, Table, Tensor};
use samplers::Ranked;
use samplers::composer::State;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tables::HeadEntry;

const KIND: &str = "checkpoint";
const FORMAT: u32 = 5;
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

/// What a checkpoint holds. Tables of a classifier are borrowed from it, to be written, or lie in mapped files.
pub struct Checkpoint<'a, T> {
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
    /// What is remembered of batches and epochs before, by name.
    pub memory: Vec<(String, Tensor)>,
    /// The memory bank: embeddings, and for each row the step that made it plus one.
    pub bank: (Vec<f32>, Vec<u64>),
    /// The clusters in force.
    pub composer: State,
    /// The ranked lists in force, where negatives are drawn from such.
    pub lists: Option<Cow<'a, Ranked>>,
    /// The classifier, where there is one.
    pub head: Option<HeadState<'a, T>>,
}

/// A checkpoint that was written.
pub struct Saved {
    /// Its file.
    pub path: PathBuf,
    /// The files in which the tables of a classifier now are, this one among them.
    pub chain: Vec<Link>,
    /// One that went for it, for the next one to be written over; dropped, it is removed.
    pub spare: Option<Spare>,
}

/// A checkpoint whose bytes the system has: what remains is to wait for the disk, which another thread may do.
pub struct Staged {
    file: Unsynced,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    chain: Vec<Link>,
    keep: usize,
}

impl Staged {
    /// The files in which the tables of a classifier are once this is committed.
    pub fn chain(&self) -> &[Link] {
        &self.chain
    }
    /// Waits for the disk, gives the file its name, and then removes all but the newest `keep` and the files that these
    /// add to. Those of later steps go too: they are damaged, or the run would not have gone back before them.
    ///
    /// # Errors
    /// If the system cannot write; older checkpoints are untouched then.
    pub fn commit(self) -> Result<Saved> {
        self.file.commit()?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let spare = folder::prune(&self.disk, folder, &self.path, self.keep, |path| match added_to(path) {
            Ok(needed) => Some(needed),
            // What is damaged needs nothing: it is lost already. What cannot be read just now may need anything.
            Err(e) => (e.kind() == Kind::Damaged).then(Vec::new),
        })?;
        Ok(Saved { path: self.path, chain: self.chain, spare })
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
    /// None without a classifier.
    head: Option<HeadEntry>,
    /// What is remembered, and the section in which it begins.
    memory: (Vec<Entry>, usize),
    file: Container,
}

/// As in the file, behind the number of the format.
#[derive(Encode, Decode)]
struct Manifest {
    step: u64,
    epoch: u32,
    batch: u64,
    data: u64,
    kernel_class: String,
    params: Vec<Entry>,
    optimizer: Vec<Entry>,
    memory: Vec<Entry>,
    clusters_epoch: u32,
    clusters_made_at: u64,
    /// Labels in a list, and the step that made it.
    ranked: Option<(u64, u64)>,
    head: Option<HeadEntry>,
}

/// As in the file: a tensor's name and dimensions, and whether it holds integers.
#[derive(Encode, Decode)]
struct Entry {
    name: String,
    dims: Vec<u64>,
    integers: bool,
}

/// The lists of a file; whether they fit the data set is for whoever uses them to say.
fn ranked(file: &Container, width: u64, made_at_step: u64) -> Result<Cow<'static, Ranked>> {
    Ok(Cow::Owned(Ranked {
        width: width as usize,
        ids: file.slice::<u32>("ranked.ids")?.to_vec(),
        scores: file.slice::<f32>("ranked.scores")?.to_vec(),
        positive: file.slice::<f32>("ranked.positive")?.to_vec(),
        made_at_step,
    }))
}

fn limit() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MANIFEST_LIMIT>()
}

impl Checkpoint<'_, &Table> {
    /// Writes the checkpoint of its step into `folder`, and removes what [`Staged::commit`] removes.
    ///
    /// # Errors
    /// If the system cannot write; older checkpoints are untouched then.
    pub fn write(&self, folder: &Path, keep: usize) -> Result<Saved> {
        self.stage(Arc::new(System), folder, keep, None)?.commit()
    }
    /// The first half of [`Checkpoint::write`]: all is copied to the system, and the checkpoint may change again.
    /// No other may be staged in this folder before it is committed, since that would build on it. A `spare` file of
    /// this folder is written over.
    ///
    /// # Errors
    /// If the system cannot write; nothing is left behind then.
    pub fn stage(
        &self,
        disk: Arc<dyn Disk>,
        folder: &Path,
        keep: usize,
        spare: Option<Spare>,
    ) -> Result<Staged> {
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let entry = |(name, tensor): &(String, Tensor)| Entry {
            name: name.clone(),
            dims: tensor.shape().dims().iter().map(|&d| d as u64).collect(),
            integers: tensor.dtype() == DType::U32,
        };
        let step = self.progress.step;
        let before = self.head.as_ref().map_or(&[][..], |head| head.adds_to(folder, step));
        let manifest = Manifest {
            step: self.progress.step,
            epoch: self.progress.epoch,
            batch: self.progress.batch,
            data: self.data,
            kernel_class: self.kernel_class.clone(),
            params: self.params.iter().map(entry).collect(),
            optimizer: self.optimizer.iter().map(entry).collect(),
            memory: self.memory.iter().map(entry).collect(),
            clusters_epoch: self.composer.epoch,
            clusters_made_at: self.composer.made_at_step,
            ranked: self.lists.as_ref().map(|lists| (lists.width as u64, lists.made_at_step)),
            head: self.head.as_ref().map(|head| head.entry(before)),
        };
        let path = path_of(folder, step);
        let manifest = bincode::encode_to_vec((FORMAT, manifest), limit())
            .map_err(|e| Error::new(Kind::Other, format!("the manifest of a checkpoint: {e}")).at(&path))?;
        let mut writer = Writer::create_on(disk.clone(), &path, KIND, spare)?;
        writer.section("manifest", &manifest)?;
        for (i, (_, tensor)) in self.params.iter().chain(&self.optimizer).chain(&self.memory).enumerate() {
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
        if let Some(lists) = &self.lists {
            writer.section("ranked.ids", &lists.ids)?;
            writer.section("ranked.scores", &lists.scores)?;
            writer.section("ranked.positive", &lists.positive)?;
        }
        self.head.as_ref().map_or(Ok(()), |head| head.write(&mut writer, before.is_empty()))?;
        let file = writer.finish()?;
        let chain = [before, &[Link { step, fingerprint: file.fingerprint() }]].concat();
        Ok(Staged { file, disk, path, chain, keep })
    }
}

impl Checkpoint<'static, Chained> {
    /// Reads a checkpoint; every checksum is verified, and that of every table in the files that it adds to.
    ///
    /// # Errors
    /// If a file is damaged, or not one of ours.
    pub fn read(path: &Path) -> Result<Self> {
        let file = Container::open(path, KIND, Verify::Full)?;
        let m = manifest(&file)?;
        let params = tensors(&file, &m.params, 0)?;
        Ok(Checkpoint {
            progress: m.progress(),
            data: m.data,
            kernel_class: m.kernel_class,
            params,
            optimizer: tensors(&file, &m.optimizer, m.params.len())?,
            memory: tensors(&file, &m.memory, m.params.len() + m.optimizer.len())?,
            bank: (file.slice::<f32>("bank")?.to_vec(), file.slice::<u64>("bank.made_at")?.to_vec()),
            composer: State {
                order: file.slice::<u32>("clusters.order")?.to_vec(),
                ends: file.slice::<u32>("clusters.ends")?.to_vec(),
                epoch: m.clusters_epoch,
                made_at_step: m.clusters_made_at,
            },
            lists: m.ranked.map(|(width, made_at_step)| ranked(&file, width, made_at_step)).transpose()?,
            head: m.head.map(|entry| entry.read(&file, m.step)).transpose()?,
        })
    }

    /// The newest whole checkpoint of a folder, and what was passed over because it is damaged.
    ///
    /// # Errors
    /// If there is none: names the damaged ones.
    pub fn newest(folder: &Path) -> Result<(Self, PathBuf, Vec<Error>)> {
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
        let params = tensors(&file, &m.params, 0)?;
        let first = m.params.len() + m.optimizer.len();
        let progress = m.progress();
        Ok(Trained { progress, data: m.data, params, head: m.head, memory: (m.memory, first), file })
    }

    /// Whether it has label weights.
    pub(crate) fn has_classifier(&self) -> bool {
        self.head.is_some()
    }

    /// Whether something is remembered whose name begins with `prefix`.
    pub(crate) fn remembers(&self, prefix: &str) -> bool {
        self.memory.0.iter().any(|entry| entry.name.starts_with(prefix))
    }

    /// Of what is remembered the tensors whose names begin with `prefix`, without it. Their checksums are verified
    /// here.
    ///
    /// # Errors
    /// If they are damaged.
    pub(crate) fn remembered(&self, prefix: &str) -> Result<Vec<(String, Tensor)>> {
        let (entries, first) = &self.memory;
        let mut all = vec![];
        for (i, entry) in entries.iter().enumerate() {
            let Some(name) = entry.name.strip_prefix(prefix) else { continue };
            self.file.check(&section(first + i))?;
            let tensors = tensors(&self.file, std::slice::from_ref(entry), first + i)?;
            all.extend(tensors.into_iter().map(|(_, tensor)| (name.to_owned(), tensor)));
        }
        Ok(all)
    }

    /// The label weights; none if no classifier was learned. Their checksums are verified here.
    ///
    /// # Errors
    /// If they are damaged: an older checkpoint would have those of another encoder.
    pub fn weights(&self) -> Result<Option<Chained>> {
        let Some(head) = &self.head else { return Ok(None) };
        let Some(i) = head.find(WEIGHTS) else { return Ok(None) };
        self.file.check(&tables::runs_section(i))?;
        self.file.check(&tables::section(i))?;
        head.table(i, &head.open(&self.file)?, &self.file)?.multiplied(&self.file).map(Some)
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
    let bytes = file.bytes("manifest")?;
    // The number stands before everything that it decides.
    let (format, at): (u32, usize) =
        bincode::decode_from_slice(bytes, limit()).map_err(|e| bad(e.to_string()))?;
    if format != FORMAT {
        return Err(bad(format!("format {format}, this program reads {FORMAT}")));
    }
    bincode::decode_from_slice(&bytes[at..], limit()).map(|(m, _)| m).map_err(|e| bad(e.to_string()))
}

/// Sets parameters to those of a checkpoint.
///
/// # Errors
/// If names, shapes or types differ, or a name comes twice.
pub(crate) fn restore_params(params: &mut Params, from: Vec<(String, Tensor)>) -> Result<()> {
    if from.len() != params.len() {
        let (here, there) = (params.len(), from.len());
        let what = format!("the checkpoint has {there} tensors, the model has {here}");
        return Err(Error::new(Kind::Damaged, what));
    }
    let fits = |a: &Tensor, b: &Tensor| a.shape() == b.shape() && a.dtype() == b.dtype();
    let mut met = HashSet::new();
    for (name, value) in from {
        match params.find(&name) {
            Some(id) if fits(params.value(id), &value) && met.insert(id) => params.set(id, value),
            _ => {
                let what = format!("`{name}` of the checkpoint does not fit the model");
                return Err(Error::new(Kind::Damaged, what));
            }
        }
    }
    Ok(())
}

/// The files that a checkpoint adds to.
fn added_to(path: &Path) -> Result<Vec<PathBuf>> {
    let file = Container::open(path, KIND, Verify::Header)?;
    file.check("manifest")?;
    let folder = path.parent().unwrap_or(Path::new("."));
    Ok(manifest(&file)?.head.map_or(vec![], |head| head.paths(folder)))
}

/// The section of tensor `i`.
fn section(i: usize) -> String {
    format!("t{i}")
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
mod crashes;
#[cfg(test)]
mod tests;
