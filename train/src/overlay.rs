//! Labels that a run answers with although it was not trained on them, and trained labels that it answers with no more.
//!
//! ```text
//! answers      the k best of (trained labels − removed) ∪ added
//! text         s(x, l) = x·z_l                   z_l the embedding of the label's text, as of any other label
//! classifier   s(x, l) = p + q x·z_l             p and q in `likeness`
//! fusion       s(x, l) = a (p + q x·z_l) + b x·z_l, and what a tree makes of it; no near title votes for it
//!
//! RUN/overlay.lode
//!   made_for                 u64    fingerprints of the data set, and of the model that made the vectors
//!   uids, titles, texts      u8     of added labels, each with its starts (u64)
//!   vectors                  f32    [added, d]
//!   removed                  u32    rows of the data set, ascending
//! ```
//! NGAME finds new labels by their text (its module 1), and leaves a label without training queries at the weights that
//! it began with (its classifier): an added label is one of those, on the scale of the others by p and q. So the
//! classifier's term counts for it, too. The published fusion has β·cos alone for a label that only the search of texts
//! found; that would put every new label below the trained ones, whose scores have both terms.
//!
//! The file is replaced by a rename, whole or not at all. Vectors of another model (the run was trained further, or
//! predicts in fewer bits) are not read: the texts are embedded anew.

use crate::embed::embed;
use crate::network::Network;
use crate::observer::Observer;
use crate::run_dir::RunDir;
use data::{DataSet, LabelFile, Texts};
use engine::container::{Container, Verify, Writer};
use engine::{Engine, Error, Packed, Result};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

const KIND: &str = "overlay";
const AGAIN: &str = "remove it, then add and remove labels again with `lode index`";

/// A label that was added to a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Added {
    /// Its id.
    pub uid: String,
    /// By what it is shown.
    pub title: String,
    /// What finds it: the title, and what follows it.
    pub text: String,
    /// The embedding of its text; empty where it must be made.
    vector: Vec<f32>,
}

/// What was added to the labels of a run, and what was taken from them.
#[derive(Debug)]
pub struct Overlay {
    path: PathBuf,
    /// The data set that it lies over.
    data: u64,
    /// The model that made the vectors.
    model: u64,
    added: Vec<Added>,
    removed: Vec<u32>,
}

/// What a change did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Labels that were added.
    pub added: usize,
    /// Added labels whose text was replaced.
    pub replaced: usize,
    /// Labels of either kind that were removed.
    pub removed: usize,
    /// Removed labels that were brought back.
    pub restored: usize,
}

impl Overlay {
    /// The overlay of a run; an empty one where nothing was added or removed.
    ///
    /// # Errors
    /// If the file is damaged, or belongs to another data set.
    pub fn open(run: &RunDir, data: &DataSet) -> Result<Overlay> {
        let (path, fingerprint) = (run.overlay(), data.fingerprint());
        if !path.exists() {
            return Ok(Overlay { path, data: fingerprint, model: 0, added: vec![], removed: vec![] });
        }
        let overlay = read(&path).map_err(|e| match e.kind() {
            engine::Kind::Damaged => e.help(AGAIN),
            _ => e,
        })?;
        if overlay.data != fingerprint {
            let what = format!(
                "these labels were added to (or removed from) another data set than {}",
                data.path().display()
            );
            let help = "remove the file, then add and remove labels again with `lode index`";
            return Err(Error::input(what).at(&path).help(help));
        }
        let ascend = overlay.removed.is_sorted_by(|a, b| a < b);
        if !ascend || overlay.removed.last().is_some_and(|&row| row as usize >= data.labels().len()) {
            let e = Error::damaged(&path, "removed", "its rows are not those of labels, ascending");
            return Err(e.help(AGAIN));
        }
        Ok(overlay)
    }
    /// Labels that were added, in the order in which they came: their numbers follow those of the data set.
    pub fn added(&self) -> &[Added] {
        &self.added
    }
    /// Rows of the data set that are no answers, ascending.
    pub fn removed(&self) -> &[u32] {
        &self.removed
    }
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
    /// Whether this model made the vectors.
    pub fn is_of(&self, network: &Network) -> bool {
        self.added.is_empty() || self.model == network.fingerprint()
    }
    /// The first of some ids that no label has, trained or added.
    pub fn unknown<'a>(&self, uids: &'a [String], data: &DataSet) -> Option<&'a String> {
        let trained = rows_of(data.labels(), uids.iter().map(String::as_str));
        let added: HashSet<&str> = self.added.iter().map(|a| &*a.uid).collect();
        uids.iter().find(|uid| !trained.contains_key(uid.as_str()) && !added.contains(uid.as_str()))
    }
    /// Adds labels. One that was added before gets the new text.
    ///
    /// # Errors
    /// If a label has no text, or its id is that of a label of the data set; nothing has changed then.
    pub fn add(&mut self, labels: &LabelFile, data: &DataSet) -> Result<Changes> {
        let all = 0..labels.len();
        if let Some(i) = all.clone().find(|&i| labels.text(i).trim().is_empty()) {
            let what = format!("label `{}` has no text, and nothing else could find it", labels.uid(i));
            return Err(Error::input(what));
        }
        let known = rows_of(data.labels(), all.clone().map(|i| labels.uid(i)));
        if let Some(i) = all.clone().find(|&i| known.contains_key(labels.uid(i))) {
            return Err(Error::input(format!("label `{}` is one of the data set already", labels.uid(i)))
                .at(data.path())
                .help("give the new label an id of its own; --restore brings back one that was removed"));
        }
        let places: HashMap<String, usize> = self.added.iter().map(|a| a.uid.clone()).zip(0..).collect();
        let before = self.added.len();
        for i in all {
            let (uid, title) = (labels.uid(i).to_owned(), labels.title(i).to_owned());
            let label = Added { uid, title, text: labels.text(i).into_owned(), vector: vec![] };
            match places.get(&label.uid) {
                Some(&place) => self.added[place] = label,
                None => self.added.push(label),
            }
        }
        let added = self.added.len() - before;
        Ok(Changes { added, replaced: labels.len() - added, ..Changes::default() })
    }
    /// Removes labels: an added one is forgotten, one of the data set is no answer any more.
    ///
    /// # Errors
    /// If there is no label of an id; nothing has changed then.
    pub fn remove(&mut self, uids: &[String], data: &DataSet) -> Result<Changes> {
        if let Some(unknown) = self.unknown(uids, data) {
            return Err(Error::input(format!("there is no label `{unknown}`")).at(data.path()));
        }
        let rows = rows_of(data.labels(), uids.iter().map(String::as_str));
        let leaving: HashSet<&str> = uids.iter().map(String::as_str).collect();
        let (added, removed) = (self.added.len(), self.removed.len());
        self.added.retain(|a| !leaving.contains(&*a.uid));
        self.removed.extend(rows.into_values());
        self.removed.sort_unstable();
        self.removed.dedup();
        let removed = added - self.added.len() + self.removed.len() - removed;
        Ok(Changes { removed, ..Changes::default() })
    }
    /// Brings labels of the data set back.
    ///
    /// # Errors
    /// If one was not removed; nothing has changed then.
    pub fn restore(&mut self, uids: &[String], data: &DataSet) -> Result<Changes> {
        let rows = rows_of(data.labels(), uids.iter().map(String::as_str));
        let is_removed =
            |uid: &String| rows.get(uid.as_str()).is_some_and(|row| self.removed.binary_search(row).is_ok());
        if let Some(there) = uids.iter().find(|uid| !is_removed(uid)) {
            return Err(
                Error::input(format!("no label `{there}` of the data set was removed")).at(data.path())
            );
        }
        let before = self.removed.len();
        let back: HashSet<u32> = rows.into_values().collect();
        self.removed.retain(|row| !back.contains(row));
        Ok(Changes { restored: before - self.removed.len(), ..Changes::default() })
    }
    /// Embeds the texts whose vectors are missing, or were made by another model.
    ///
    /// # Errors
    /// If a text cannot be tokenized, or the observer wants to stop.
    pub fn embed(
        &mut self,
        engine: &Engine,
        network: &Network,
        data: &DataSet,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let model = network.fingerprint();
        let missing = |a: &Added| model != self.model || a.vector.len() != network.width();
        let wanted: Vec<usize> = (0..self.added.len()).filter(|&i| missing(&self.added[i])).collect();
        self.model = model;
        if wanted.is_empty() {
            return Ok(());
        }
        let text = |&i: &usize| data.prompts().before_label(&self.added[i].text);
        let texts: Vec<_> = wanted.iter().map(text).collect();
        let (tokens, _) = data.tokenizer()?.encode_batch(engine, &texts, data.max_len())?;
        let push = |i: usize, packed: &mut Packed| packed.push(tokens.text(i).iter().copied());
        let rows = embed(engine, network, wanted.len(), push, "added labels", observer)?;
        for (&i, row) in wanted.iter().zip(rows.chunks(network.width())) {
            self.added[i].vector = row.to_vec();
        }
        Ok(())
    }
    /// The embeddings of the added labels' texts, `[added, d]`.
    pub(crate) fn vectors(&self) -> Vec<f32> {
        self.added.iter().flat_map(|added| added.vector.iter().copied()).collect()
    }
    /// Writes it, in place of what was there. One that changes nothing leaves no file.
    ///
    /// # Errors
    /// If the system refuses; what was there stays.
    ///
    /// # Panics
    /// If a text was not embedded.
    pub fn write(&self) -> Result<()> {
        if self.is_empty() {
            return match std::fs::remove_file(&self.path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&self.path, e)),
                _ => Ok(()),
            };
        }
        assert!(
            self.added.iter().all(|a| !a.vector.is_empty()),
            "labels are embedded before they are written"
        );
        let mut writer = Writer::create(&self.path, KIND)?;
        writer.section("made_for", &[self.data, self.model])?;
        write_strings(&mut writer, "uids", self.added.iter().map(|a| &*a.uid))?;
        write_strings(&mut writer, "titles", self.added.iter().map(|a| &*a.title))?;
        write_strings(&mut writer, "texts", self.added.iter().map(|a| &*a.text))?;
        writer.section(
            "vectors",
            &self.added.iter().flat_map(|a| a.vector.iter().copied()).collect::<Vec<f32>>(),
        )?;
        writer.section("removed", &self.removed)?;
        writer.commit()
    }
}

/// The rows of those labels that have one of these ids.
fn rows_of<'a>(labels: Texts<'a>, wanted: impl Iterator<Item = &'a str>) -> HashMap<&'a str, u32> {
    let wanted: HashSet<&str> = wanted.collect();
    let rows = (0..labels.len()).filter(|&l| wanted.contains(labels.uid(l)));
    rows.map(|l| (labels.uid(l), l as u32)).collect()
}

fn read(path: &Path) -> Result<Overlay> {
    let file = Container::open(path, KIND, Verify::Full)?;
    let &[data, model] = file.slice::<u64>("made_for")? else {
        return Err(Error::damaged(path, "made_for", "two fingerprints were expected"));
    };
    let [uids, titles, texts] = ["uids", "titles", "texts"].map(|name| read_strings(&file, name));
    let (uids, titles, texts) = (uids?, titles?, texts?);
    let vectors = file.slice::<f32>("vectors")?;
    let width = vectors.len().checked_div(uids.len()).unwrap_or(0);
    if titles.len() != uids.len() || texts.len() != uids.len() || vectors.len() != width * uids.len() {
        return Err(Error::damaged(path, "vectors", "is not as long as the ids"));
    }
    let label = |(i, ((uid, title), text))| {
        let vector = vectors[i * width..(i + 1) * width].to_vec();
        Added { uid, title, text, vector }
    };
    let added = uids.into_iter().zip(titles).zip(texts).enumerate().map(label).collect();
    Ok(Overlay { path: path.to_owned(), data, model, added, removed: file.slice::<u32>("removed")?.to_vec() })
}

fn starts_of(name: &str) -> String {
    format!("{name}.starts")
}

fn write_strings<'a>(writer: &mut Writer, name: &str, all: impl Iterator<Item = &'a str>) -> Result<()> {
    let (mut bytes, mut starts) = (vec![], vec![0u64]);
    for text in all {
        bytes.extend_from_slice(text.as_bytes());
        starts.push(bytes.len() as u64);
    }
    writer.section(name, &bytes)?;
    writer.section(&starts_of(name), &starts)
}

fn read_strings(file: &Container, name: &str) -> Result<Vec<String>> {
    let damaged = |why: &str| Error::damaged(file.path(), name, why);
    let (bytes, starts) = (file.bytes(name)?, file.slice::<u64>(&starts_of(name))?);
    let text = |w: &[u64]| {
        let part = bytes.get(w[0] as usize..w[1] as usize).ok_or_else(|| damaged("starts beyond its end"))?;
        String::from_utf8(part.to_vec()).map_err(|_| damaged("a text is not UTF-8"))
    };
    starts.windows(2).map(text).collect()
}
