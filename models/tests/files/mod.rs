//! Files that tests compare with: golden files, NumPy arrays, the folder of large data.

#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod cross;
pub(crate) mod encoders;
pub(crate) mod exports;

use engine::{Packed, Tensor};
use safetensors::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};

/// The folder of data that the repository does not hold, named by the environment variable `LODE_SHARED`.
/// Without it the tests that need it say so and pass.
pub(crate) fn shared(test: &str) -> Option<PathBuf> {
    let root = std::env::var_os("LODE_SHARED").map(PathBuf::from);
    if root.is_none() {
        println!("skipped: {test} needs LODE_SHARED");
    }
    root
}

/// A golden file.
pub(crate) struct Golden(Vec<u8>);

impl Golden {
    pub(crate) fn open(name: &str) -> Golden {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name);
        Golden(std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    }
    /// A tensor of floats, if the file has it.
    pub(crate) fn find(&self, name: &str) -> Option<Tensor> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(name).ok()?;
        assert_eq!(view.dtype(), Dtype::F32, "{name}");
        let words = view.data().chunks_exact(4);
        let values: Vec<f32> = words.map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        Some(Tensor::from_vec(view.shape(), values))
    }
    #[track_caller]
    pub(crate) fn tensor(&self, name: &str) -> Tensor {
        self.find(name).unwrap_or_else(|| panic!("the golden file has no `{name}`"))
    }
    fn integers(&self, name: &str) -> Vec<u32> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(name).unwrap();
        assert_eq!(view.dtype(), Dtype::I32, "{name}");
        view.data().chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
    }
    /// `tokens` and `starts`.
    pub(crate) fn packed(&self) -> Packed {
        Packed { tokens: self.integers("tokens"), starts: self.integers("starts") }
    }
}

/// The largest absolute difference.
#[track_caller]
pub(crate) fn worst(got: &Tensor, want: &Tensor) -> f64 {
    assert_eq!(got.shape(), want.shape());
    let off = |(a, b): (f64, f64)| if (a - b).is_nan() { f64::INFINITY } else { (a - b).abs() };
    got.to_f64().into_iter().zip(want.to_f64()).map(off).fold(0.0, f64::max)
}

/// Compares with a tolerance relative to the largest number of the tensor that is wanted; gives the
/// difference.
#[track_caller]
pub(crate) fn near(what: &str, got: &Tensor, want: &Tensor, allowed: f64) -> f64 {
    let scale = want.to_f64().iter().fold(0.0f64, |s, w| s.max(w.abs()));
    let off = worst(got, want) / scale.max(f64::MIN_POSITIVE);
    assert!(off <= allowed, "{what}: relative difference {off:.1e}, allowed {allowed:.1e}");
    off
}

/// A NumPy array of f32 or i64, row-major.
pub(crate) fn npy(path: &Path) -> Tensor {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00", "{}", path.display());
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..start]).unwrap();
    assert!(header.contains("'fortran_order': False"), "{header}");
    let dims = header.split_once('(').unwrap().1.split_once(')').unwrap().0;
    let dims: Vec<usize> = dims.split(',').filter_map(|d| d.trim().parse().ok()).collect();
    let values: Vec<f64> = if header.contains("<f4") {
        bytes[start..].chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
    } else {
        assert!(header.contains("<i8"), "{header}");
        bytes[start..].chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect()
    };
    Tensor::from_vec(&dims[..], values)
}
