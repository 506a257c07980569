//! `model.safetensors`: named tensors. The file is bytes from outside: nothing in it is believed before it is
//! checked, and nothing is allocated by its word.

use autograd::Params;
use engine::{Error, Result, Shape, Tensor};
use half::{bf16, f16};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, SafeTensorError, TensorInfo};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// A safetensors file in memory, its header checked.
pub(super) struct Weights {
    path: PathBuf,
    bytes: Vec<u8>,
    header: Metadata,
    /// Where the numbers begin.
    start: usize,
}

impl Weights {
    /// Reads a file and checks that header and length agree and that no name comes twice.
    ///
    /// # Errors
    /// `Input` if the file is missing, truncated or not safetensors.
    pub(super) fn read(path: &Path) -> Result<Weights> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        // The reader keeps the last of two tensors of one name, without a word where their places agree.
        if let Some(name) = named_twice(&bytes) {
            return Err(Error::input(format!("the tensor `{name}` comes twice")).at(path));
        }
        let (length, header) =
            SafeTensors::read_metadata(&bytes).map_err(|e| unreadable(path, bytes.len(), e))?;
        let start = length + 8;
        Ok(Weights { path: path.to_owned(), bytes, header, start })
    }
    /// All names, sorted.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.header.offset_keys().into_iter().collect()
    }
    /// The tensor of one of these names, in f32.
    ///
    /// # Errors
    /// `Input` if it is missing, ambiguous, misshapen, of another type than F32, F16 or BF16, or not finite.
    pub(super) fn tensor(&self, names: &[String], shape: Shape) -> Result<(String, Tensor)> {
        let (name, info) = self.find(names, shape)?;
        let bytes = &self.bytes[self.start + info.data_offsets.0..self.start + info.data_offsets.1];
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
                return Err(Error::input(message).at(&self.path));
            }
        };
        if let Some(i) = values.iter().position(|x| !x.is_finite()) {
            let message = format!("the tensor `{name}` holds {} at index {i}", values[i]);
            return Err(Error::input(message)
                .at(&self.path)
                .help("the file is damaged, or its training diverged"));
        }
        Ok((name.to_owned(), Tensor::from_vec(shape, values)))
    }
    /// Checks that a tensor is there in the shape that the configuration implies, before anything is
    /// allocated.
    pub(super) fn find<'n>(&self, names: &'n [String], shape: Shape) -> Result<(&'n str, &TensorInfo)> {
        let mut found = names.iter().filter_map(|name| Some((name.as_str(), self.header.info(name)?)));
        let Some((name, info)) = found.next() else {
            let message = format!("the tensor `{}` is missing; expected {shape:?}", names[0]);
            return Err(Error::input(message).at(&self.path).help("is config.json that of this model?"));
        };
        if let Some((other, _)) = found.next() {
            return Err(
                Error::input(format!("the tensors `{name}` and `{other}` are the same")).at(&self.path)
            );
        }
        if info.shape != shape.dims() {
            let message = format!("the tensor `{name}` has shape {:?}; expected {shape:?}", info.shape);
            return Err(Error::input(message).at(&self.path).help("is config.json that of this model?"));
        }
        Ok((name, info))
    }
    /// The shape of a tensor, where it is a matrix.
    pub(super) fn matrix(&self, name: &str) -> Option<[usize; 2]> {
        self.header.info(name)?.shape[..].try_into().ok()
    }
    pub(super) fn path(&self) -> &Path {
        &self.path
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

/// Writes all parameters in F32, sorted by name, and makes sure that they are on the disk. `metadata` says
/// `format: pt`, without which older loaders refuse the file.
pub(super) fn write(path: &Path, params: &Params, names: &[String]) -> Result<()> {
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    let tensors: Vec<(&String, &Tensor)> = sorted
        .into_iter()
        .map(|name| (name, params.value(params.find(name).expect("the layout's parameters exist"))))
        .collect();
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
