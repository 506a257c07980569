//! `model.safetensors`: named tensors, in one file or in the shards that `model.safetensors.index.json` names. The
//! files are bytes from outside: nothing in them is believed before it is checked, and nothing is allocated by their
//! word.

use super::json;
use autograd::Params;
use engine::{Error, Result, Shape, Tensor};
use half::{bf16, f16};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, SafeTensorError, TensorInfo};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// The tensors of a model in memory, their headers checked.
pub(super) struct Weights {
    files: Vec<Shard>,
}

/// A safetensors file.
pub(super) struct Shard {
    path: PathBuf,
    bytes: Vec<u8>,
    header: Metadata,
    /// Where the numbers begin.
    start: usize,
}

/// What says which shard holds which tensor.
#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

impl Weights {
    /// Reads the tensors of a folder, and checks that header and length of each file agree and that no name comes
    /// twice.
    ///
    /// # Errors
    /// `Input` if a file is missing, truncated or not safetensors, or the shards are not those that the index names.
    pub(super) fn read(folder: &Path) -> Result<Weights> {
        let (path, index) = (folder.join("model.safetensors"), folder.join("model.safetensors.index.json"));
        if !path.exists() && index.exists() {
            return Weights::of_shards(folder, &index);
        }
        if !path.exists() && folder.join("pytorch_model.bin").exists() {
            let help = "convert it to safetensors; a pickle can run code and is never read";
            return Err(Error::input("there is only pytorch_model.bin, no model.safetensors")
                .at(folder)
                .help(help));
        }
        Ok(Weights { files: vec![Shard::read(&path)?] })
    }
    fn of_shards(folder: &Path, index: &Path) -> Result<Weights> {
        let map = json::read::<ShardIndex>(index)?.weight_map;
        let names: BTreeSet<&String> = map.values().collect();
        if names.is_empty() {
            return Err(Error::input("it names no shard").at(index));
        }
        // Only plain names of files beside it: nothing from outside leads elsewhere.
        let is_plain = |name: &&&String| Path::new(name).file_name().is_some_and(|own| own == name.as_str());
        if let Some(name) = names.iter().find(|name| !is_plain(name)) {
            return Err(Error::input(format!("`{name}` is not the name of a file in this folder")).at(index));
        }
        let mut files: Vec<Shard> = vec![];
        for name in names {
            let shard = Shard::read(&folder.join(name))?;
            for tensor in shard.header.offset_keys() {
                if map.get(&tensor) != Some(name) {
                    let message = format!("the tensor `{tensor}` is in it, and the index does not say so");
                    return Err(Error::input(message).at(&shard.path).help("are all shards of one model?"));
                }
            }
            files.push(shard);
        }
        let weights = Weights { files };
        match map.keys().find(|name| weights.info(name).is_none()) {
            None => Ok(weights),
            Some(name) => {
                let message = format!("the tensor `{name}` is not in `{}`, where it should be", map[name]);
                Err(Error::input(message).at(index).help("fetch the shards again"))
            }
        }
    }
    fn info(&self, name: &str) -> Option<(&Shard, &TensorInfo)> {
        self.files.iter().find_map(|shard| Some((shard, shard.header.info(name)?)))
    }
    /// All names, sorted.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.files.iter().flat_map(|shard| shard.header.offset_keys()).collect()
    }
    /// The tensor of one of these names, in f32.
    ///
    /// # Errors
    /// `Input` if it is missing, ambiguous, misshapen, of another type than F32, F16 or BF16, or not finite.
    pub(super) fn tensor(&self, names: &[String], shape: Shape) -> Result<(String, Tensor)> {
        let (name, shard, info) = self.find(names, shape)?;
        let bytes = &shard.bytes[shard.start + info.data_offsets.0..shard.start + info.data_offsets.1];
        let values: Vec<f32> = match info.dtype {
            Dtype::F32 => {
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            Dtype::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Dtype::BF16 => {
                bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
            }
            other => {
                let message =
                    format!("the tensor `{name}` has type {other:?}; F32, F16 or BF16 was expected");
                return Err(Error::input(message).at(&shard.path));
            }
        };
        if let Some(i) = values.iter().position(|x| !x.is_finite()) {
            let message = format!("the tensor `{name}` holds {} at index {i}", values[i]);
            return Err(Error::input(message)
                .at(&shard.path)
                .help("the file is damaged, or its training diverged"));
        }
        Ok((name.to_owned(), Tensor::from_vec(shape, values)))
    }
    /// Checks that a tensor is there in the shape that the configuration implies, before anything is
    /// allocated.
    pub(super) fn find<'n>(
        &self,
        names: &'n [String],
        shape: Shape,
    ) -> Result<(&'n str, &Shard, &TensorInfo)> {
        let mut found =
            names.iter().filter_map(|name| self.info(name).map(|(shard, info)| (name.as_str(), shard, info)));
        let Some((name, shard, info)) = found.next() else {
            let message = format!("the tensor `{}` is missing; expected {shape:?}", names[0]);
            return Err(Error::input(message).at(self.path()).help("is config.json that of this model?"));
        };
        if let Some((other, ..)) = found.next() {
            return Err(
                Error::input(format!("the tensors `{name}` and `{other}` are the same")).at(self.path())
            );
        }
        if info.shape != shape.dims() {
            let message = format!("the tensor `{name}` has shape {:?}; expected {shape:?}", info.shape);
            return Err(Error::input(message).at(&shard.path).help("is config.json that of this model?"));
        }
        Ok((name, shard, info))
    }
    /// The shape of a tensor, where it is a matrix.
    pub(super) fn matrix(&self, name: &str) -> Option<[usize; 2]> {
        self.info(name)?.1.shape[..].try_into().ok()
    }
    /// The file, or the first shard: what an error names that is about all of them.
    pub(super) fn path(&self) -> &Path {
        &self.files[0].path
    }
}

impl Shard {
    fn read(path: &Path) -> Result<Shard> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        // The reader keeps the last of two tensors of one name, without a word where their places agree.
        if let Some(name) = named_twice(&bytes) {
            return Err(Error::input(format!("the tensor `{name}` comes twice")).at(path));
        }
        let (length, header) =
            SafeTensors::read_metadata(&bytes).map_err(|e| unreadable(path, bytes.len(), e))?;
        let start = length + 8;
        Ok(Shard { path: path.to_owned(), bytes, header, start })
    }
}

/// The first name that the header has twice. A header that cannot be read has none: the reader will say why.
fn named_twice(bytes: &[u8]) -> Option<String> {
    let length = usize::try_from(u64::from_le_bytes(*bytes.first_chunk()?)).ok()?;
    let header = bytes.get(8..length.checked_add(8)?)?;
    serde_json::from_slice::<Names>(header).ok()?.twice
}

/// What is wrong with a file that is not one.
fn unreadable(path: &Path, length: usize, error: SafeTensorError) -> Error {
    use SafeTensorError as E;
    let message = match &error {
        E::HeaderTooSmall if length == 0 => "the file is empty".into(),
        E::HeaderTooSmall | E::InvalidHeaderLength => {
            format!("the file is cut off inside its header: it has {length} bytes")
        }
        E::MetadataIncompleteBuffer => {
            format!(
                "the header promises another length than the file's {length} bytes: it is truncated or extended"
            )
        }
        E::HeaderTooLarge => "the header claims more than 100 MB: this is not a safetensors file".into(),
        other => format!("not a safetensors file: {other}"),
    };
    Error::input(message).at(path).caused_by(error).help("fetch or export the file again")
}

/// The keys of the header; remembers the first that comes twice.
struct Names {
    twice: Option<String>,
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Names, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Names;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Names, A::Error> {
                let (mut seen, mut twice) = (BTreeSet::new(), None);
                while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
                    if twice.is_none() && seen.contains(&name) {
                        twice = Some(name.clone());
                    }
                    seen.insert(name);
                }
                Ok(Names { twice })
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// Writes all parameters in F32, sorted by name, and makes sure that they are on the disk: `names` are each one's here
/// and in the file. `metadata` says `format: pt`, without which older loaders refuse the file.
pub(super) fn write(path: &Path, params: &Params, names: &[(String, String)]) -> Result<()> {
    let value = |name: &str| params.value(params.find(name).expect("the layout's parameters exist"));
    let mut tensors: Vec<(&String, &Tensor)> =
        names.iter().map(|(here, there)| (there, value(here))).collect();
    tensors.sort_by_key(|(name, _)| *name);
    let mut end = 0;
    let mut infos = Vec::new();
    for (name, tensor) in &tensors {
        let begin = end;
        end += tensor.len() * size_of::<f32>();
        let shape = tensor.shape().dims().to_vec();
        infos.push(((*name).clone(), TensorInfo { dtype: Dtype::F32, shape, data_offsets: (begin, end) }));
    }
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let header = Metadata::new(Some(metadata), infos).expect("offsets follow from shapes");
    let mut header = serde_json::to_vec(&header).expect("a header is plain JSON");
    header.resize(header.len().next_multiple_of(8), b' ');
    let fail = |e| Error::io(path, e);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(fail)?);
    file.write_all(&(header.len() as u64).to_le_bytes()).map_err(fail)?;
    file.write_all(&header).map_err(fail)?;
    for (_, tensor) in &tensors {
        for value in tensor.to_cpu().data::<f32>() {
            file.write_all(&value.to_le_bytes()).map_err(fail)?;
        }
    }
    let file = file.into_inner().map_err(|e| fail(e.into_error()))?;
    file.sync_all().map_err(fail)
}
