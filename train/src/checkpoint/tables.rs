//! A classifier in checkpoints: of tables that may be larger than memory only the rows that changed are written.
//!
//! ```text
//! base    step 100   all rows
//! file    step 200   rows written in 100..200            chain: 100
//! file    step 300   rows written in 200..300            chain: 100, 200
//! whole   step 400   all rows                            chain: –
//!
//! table at 300 = rows of 100 ← rows of 200 ← rows of 300
//! ```
//! Every file is a checkpoint of its own step, so nothing is moved or merged: a file is written, renamed, and never
//! touched again. A checkpoint is whole, and begins a chain, once the files after the base would come to more bytes
//! than the tables: reading costs at most twice the tables then, and so does the disk. The manifest names the files by
//! step and fingerprint: one that was written anew by other kernels is no link of the chain.

use super::KIND;
use super::folder::path_of;
use bincode::{Decode, Encode};
use engine::container::{Container, Scalar, Verify, View, Writer};
use engine::{Error, Factor, KernelClass, Numbers, Result, Run, Table, TablePrecision};
use models::heads::Factors;
use std::borrow::Cow;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Files in a chain at most: where tables are small beside the rest, or little changes for long.
const LINKS: usize = 64;

/// The sections of soft targets.
const SOFT: [&str; 3] = ["soft.starts", "soft.labels", "soft.targets"];
/// The section of factors.
const FACTORS: &str = "factors";

/// Rows that are widened at once.
const ROWS: usize = 4096;

/// A classifier in a checkpoint: its tables are borrowed from it, or lie in files.
pub struct HeadState<'a, T> {
    /// Steps of its optimizer.
    pub steps: u32,
    /// Weights and the optimizer's tables, by name.
    pub tables: Vec<(String, T)>,
    /// The epoch for which shortlists were made.
    pub lists_epoch: Option<u32>,
    /// The shortlists of all training queries.
    pub lists: Cow<'a, [u32]>,
    /// What a teacher said, where there is one.
    pub soft: Option<SoftState<'a>>,
    /// What the weights are of their table, where that is a factor of them ([`models::heads::Factors`]): the bits of
    /// f64.
    pub factors: Option<Cow<'a, [u64]>>,
    /// The files that hold the tables as they were when their changes were last forgotten, base first.
    pub chain: Vec<Link>,
}

/// Soft targets: row `l` holds the labels near the text of label `l`, and their targets.
pub struct SoftState<'a> {
    /// Where each row starts, and the end.
    pub starts: Cow<'a, [u64]>,
    /// The labels of all rows.
    pub labels: Cow<'a, [u32]>,
    /// Their targets.
    pub targets: Cow<'a, [f32]>,
}

/// A file of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The step of its checkpoint.
    pub step: u64,
    /// [`Container::fingerprint`].
    pub fingerprint: u64,
}

/// A table in the mapped files of a chain.
pub struct Chained {
    rows: usize,
    width: usize,
    /// What each file has of it, base first.
    parts: Vec<Part>,
    /// U and ω, where its rows are factors of those that are wanted.
    factor: Option<(Vec<f64>, Vec<f64>)>,
}

/// Some rows of a table: which ones, and their numbers one after another.
struct Part {
    runs: View<u32>,
    numbers: Mapped,
}

enum Mapped {
    F32(View<f32>),
    Bf16(View<u16>),
}

impl Part {
    fn runs(&self) -> &[Run] {
        self.runs.as_chunks().0
    }
    fn numbers(&self) -> Numbers<'_> {
        match &self.numbers {
            Mapped::F32(view) => Numbers::F32(Cow::Borrowed(view)),
            Mapped::Bf16(view) => Numbers::Bf16(Cow::Borrowed(view)),
        }
    }
    fn to_f32(&self, span: Range<usize>) -> Vec<f32> {
        match self.numbers() {
            Numbers::F32(values) => values[span].to_vec(),
            Numbers::Bf16(bits) => bits[span].iter().map(|&b| f32::from_bits(u32::from(b) << 16)).collect(),
        }
    }
}

impl Chained {
    /// Sets `table` to this one, as it lies in the files, and has it forget its changes; false if it is another.
    #[must_use]
    pub fn restore(&self, table: &mut Table) -> bool {
        let fits = (table.rows(), table.width()) == (self.rows, self.width)
            && self.parts.iter().all(|part| table.restore(part.runs(), part.numbers()));
        if fits {
            table.forget_changes();
        }
        fits
    }
    /// Rows and width.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.width]
    }
    /// All numbers as f32; of weights that are a product ([`HeadState::factors`]), those of the product.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut all = vec![0.0; self.rows * self.width];
        for (first, values) in self.pieces(ROWS) {
            all[first as usize * self.width..][..values.len()].copy_from_slice(&values);
        }
        all
    }
    /// The first of at most so many rows that follow one another, and their numbers as f32; all rows, and those that
    /// were written again come again: the last ones hold.
    pub fn pieces(&self, most: usize) -> impl Iterator<Item = (u32, Vec<f32>)> {
        let (most, width) = (most as u32, self.width);
        self.parts.iter().flat_map(move |part| {
            let mut rows_before = 0;
            let cut = part.runs().iter().flat_map(move |&[first, end]| {
                let at = rows_before;
                rows_before += end - first;
                (first..end)
                    .step_by(most as usize)
                    .map(move |row| (row, at + row - first, most.min(end - row)))
            });
            let bounds = move |at: u32, rows: u32| at as usize * width..(at + rows) as usize * width;
            cut.map(move |(row, at, rows)| {
                let mut values = part.to_f32(bounds(at, rows));
                if let Some((u, omega)) = &self.factor {
                    Factor { u, omega }.multiply_alone(KernelClass::detect(), &mut values);
                }
                (row, values)
            })
        })
    }
    /// The table of which this one is a factor, by what `file` says of it; this one, where it says nothing. The
    /// checksum is verified here.
    pub(super) fn multiplied(mut self, file: &Container) -> Result<Chained> {
        if let Some(bits) = factors(file)? {
            if bits.len() != Factors::numbers(self.width) {
                let what = format!("{} numbers do not fit rows of {}", bits.len(), self.width);
                return Err(Error::damaged(file.path(), FACTORS, what));
            }
            let numbers = |span: Range<usize>| bits[span].iter().copied().map(f64::from_bits).collect();
            let square = self.width * self.width;
            self.factor = Some((numbers(0..square), numbers(square..square + self.width)));
        }
        Ok(self)
    }
}

/// As in the file: a classifier's counters, its tables, and the files before this one that have rows of them.
#[derive(Encode, Decode)]
pub(super) struct HeadEntry {
    steps: u32,
    lists_epoch: Option<u32>,
    tables: Vec<TableEntry>,
    /// Step and fingerprint.
    chain: Vec<(u64, u64)>,
}

/// As in the file: a table's name and shape, and whether it holds bf16.
#[derive(Encode, Decode)]
struct TableEntry {
    name: String,
    rows: u64,
    width: u64,
    bf16: bool,
}

impl HeadState<'_, &Table> {
    /// The files that a checkpoint of `step` adds to: none where it must be whole.
    pub(super) fn adds_to(&self, folder: &Path, step: u64) -> &[Link] {
        let size = |link: &Link| {
            let path = path_of(folder, link.step);
            let file = Container::open(&path, KIND, Verify::Header).ok()?;
            if file.fingerprint() == link.fingerprint { Some(fs::metadata(path).ok()?.len()) } else { None }
        };
        // A file that has gone, by whatever hand, is no base; nor is one that never came to the disk.
        let Some(sizes) = self.chain.iter().map(size).collect::<Option<Vec<u64>>>() else { return &[] };
        let Some((base, after)) = sizes.split_first() else { return &[] };
        let sum = |bytes: fn(&Table) -> usize| {
            self.tables.iter().map(|(_, table)| bytes(table) as u64).sum::<u64>()
        };
        let (all, changed) = (sum(Table::bytes), sum(Table::bytes_changed));
        // What a file holds besides is written each time: where it is most of it, nothing is gained by a chain.
        let besides = base.saturating_sub(all);
        // A step that is saved twice must not need the file that it takes the place of.
        let is_newer = self.chain.last().is_some_and(|last| last.step < step);
        let is_short = sizes.len() < LINKS && after.iter().sum::<u64>() + changed + besides < all;
        if is_newer && is_short { &self.chain } else { &[] }
    }
    pub(super) fn entry(&self, chain: &[Link]) -> HeadEntry {
        let table = |(name, table): &(String, &Table)| TableEntry {
            name: name.clone(),
            rows: table.rows() as u64,
            width: table.width() as u64,
            bf16: table.precision() != TablePrecision::F32,
        };
        HeadEntry {
            steps: self.steps,
            lists_epoch: self.lists_epoch,
            tables: self.tables.iter().map(table).collect(),
            chain: chain.iter().map(|link| (link.step, link.fingerprint)).collect(),
        }
    }
    /// Writes all rows, or those that changed.
    pub(super) fn write(&self, writer: &mut Writer, whole: bool) -> Result<()> {
        for (i, (_, table)) in self.tables.iter().enumerate() {
            let runs = || -> Box<dyn Iterator<Item = Run>> {
                let all = [0, table.rows() as u32];
                if whole { Box::new([all].into_iter()) } else { Box::new(table.changed()) }
            };
            writer.begin(&runs_section(i), Scalar::U32)?;
            runs().try_for_each(|run| writer.append(&run))?;
            writer.end()?;
            let bf16 = table.precision() != TablePrecision::F32;
            writer.begin(&section(i), if bf16 { Scalar::U16 } else { Scalar::F32 })?;
            table.numbers(runs()).try_for_each(|piece| match piece {
                Numbers::F32(values) => writer.append(&values),
                Numbers::Bf16(values) => writer.append(&values),
            })?;
            writer.end()?;
        }
        if let Some(soft) = &self.soft {
            writer.section(SOFT[0], &soft.starts)?;
            writer.section(SOFT[1], &soft.labels)?;
            writer.section(SOFT[2], &soft.targets)?;
        }
        if let Some(factors) = &self.factors {
            writer.section(FACTORS, factors)?;
        }
        writer.section("lists", &self.lists)
    }
}

/// What a file says of the factors of its weights; none where these are no product. The checksum is verified.
fn factors(file: &Container) -> Result<Option<Vec<u64>>> {
    if file.sections().iter().all(|section| section.name != FACTORS) {
        return Ok(None);
    }
    file.check(FACTORS)?;
    Ok(Some(file.slice::<u64>(FACTORS)?.to_vec()))
}

impl HeadEntry {
    /// Which table has this name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.tables.iter().position(|table| table.name == name)
    }
    /// The files that a checkpoint in `folder` adds to.
    pub(super) fn paths(&self, folder: &Path) -> Vec<PathBuf> {
        self.chain.iter().map(|&(step, _)| path_of(folder, step)).collect()
    }
    /// The files that `file` adds to, opened.
    pub(super) fn open(&self, file: &Container) -> Result<Vec<Container>> {
        if self.chain.len() > LINKS {
            let what = format!("it adds to {} files, {LINKS} are allowed", self.chain.len());
            return Err(Error::damaged(file.path(), "manifest", what));
        }
        let paths = self.paths(file.path().parent().unwrap_or(Path::new(".")));
        let open = |(path, &(_, fingerprint)): (&PathBuf, &(u64, u64))| {
            let found = Container::open(path, KIND, Verify::Header)?;
            match found.fingerprint() == fingerprint {
                true => Ok(found),
                false => {
                    Err(Error::damaged(path, "table", "it is another file than the one of this name before"))
                }
            }
        };
        paths.iter().zip(&self.chain).map(|link| open(link).map_err(|e| needed(e, file))).collect()
    }
    /// Table `i` of `file`, which was verified, and of the files of its chain, which are verified here.
    pub(super) fn table(&self, i: usize, chain: &[Container], file: &Container) -> Result<Chained> {
        let entry = &self.tables[i];
        let Ok(rows) = u32::try_from(entry.rows) else {
            let what = format!("{} rows, a table has at most {}", entry.rows, u32::MAX);
            return Err(Error::damaged(file.path(), "manifest", what));
        };
        let width = entry.width as usize;
        let before = chain.iter().map(|link| {
            let whole = link.check(&runs_section(i)).and_then(|()| link.check(&section(i)));
            whole.and_then(|()| entry.part(i, link)).map_err(|e| needed(e, file))
        });
        let parts = before.chain([entry.part(i, file)]).collect::<Result<Vec<Part>>>()?;
        if parts[0].runs() != [[0, rows]] {
            let base = chain.first().unwrap_or(file).path();
            return Err(Error::damaged(base, &runs_section(i), "the first file of a chain has not all rows"));
        }
        Ok(Chained { rows: rows as usize, width, parts, factor: None })
    }
    /// What a checkpoint of `step` holds of a classifier.
    pub(super) fn read(self, file: &Container, step: u64) -> Result<HeadState<'static, Chained>> {
        let files = self.open(file)?;
        let table = |i: usize| Ok((self.tables[i].name.clone(), self.table(i, &files, file)?));
        let tables = (0..self.tables.len()).map(table).collect::<Result<_>>()?;
        let lists = file.slice::<u32>("lists")?.to_vec().into();
        let before = self.chain.iter().map(|&(step, fingerprint)| Link { step, fingerprint });
        let chain = before.chain([Link { step, fingerprint: file.fingerprint() }]).collect();
        let soft = match file.sections().iter().any(|section| section.name == SOFT[0]) {
            true => Some(SoftState {
                starts: file.slice::<u64>(SOFT[0])?.to_vec().into(),
                labels: file.slice::<u32>(SOFT[1])?.to_vec().into(),
                targets: file.slice::<f32>(SOFT[2])?.to_vec().into(),
            }),
            false => None,
        };
        let (steps, lists_epoch) = (self.steps, self.lists_epoch);
        let factors = factors(file)?.map(Cow::Owned);
        Ok(HeadState { steps, tables, lists_epoch, lists, soft, factors, chain })
    }
}

impl TableEntry {
    /// What a file has of table `i`.
    fn part(&self, i: usize, file: &Container) -> Result<Part> {
        let runs: View<u32> = file.view(&runs_section(i))?;
        let numbers = match self.bf16 {
            true => Mapped::Bf16(file.view(&section(i))?),
            false => Mapped::F32(file.view(&section(i))?),
        };
        let part = Part { runs, numbers };
        let ascend = part.runs.len().is_multiple_of(2) && part.runs.is_sorted();
        let inside = part.runs.last().is_none_or(|&end| u64::from(end) <= self.rows);
        let rows: u64 = part.runs().iter().map(|[from, to]| u64::from(to.saturating_sub(*from))).sum();
        let count = match part.numbers() {
            Numbers::F32(values) => values.len(),
            Numbers::Bf16(values) => values.len(),
        };
        match ascend && inside && rows.checked_mul(self.width) == Some(count as u64) {
            true => Ok(part),
            false => {
                let why = format!(
                    "`{}` has {} rows of {}, these are not among them",
                    self.name, self.rows, self.width
                );
                Err(Error::damaged(file.path(), &runs_section(i), why))
            }
        }
    }
}

/// Says which checkpoint a damaged file was read for.
fn needed(error: Error, file: &Container) -> Error {
    error.note(format!("{} needs it", file.path().display()))
}

/// The section of table `i`.
pub(super) fn section(i: usize) -> String {
    format!("h{i}")
}

/// The section of the rows that [`section`] has.
pub(super) fn runs_section(i: usize) -> String {
    format!("h{i}.rows")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_no_longer_than_any_that_is_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.lode");
        let mut writer = Writer::create(&path, KIND).expect("created");
        writer.section("manifest", b"x").expect("written");
        writer.commit().expect("written");
        let file = Container::open(&path, KIND, Verify::Full).expect("whole");
        let entry = HeadEntry { steps: 1, lists_epoch: None, tables: vec![], chain: vec![(1, 2); LINKS + 1] };
        let told = entry.open(&file).expect_err("refused").to_string();
        assert!(told.contains("it adds to 65 files, 64 are allowed"), "{told}");
    }
}
