//! The kernels as PTX, and what their text says about them.

/// A file of kernels and what NVRTC made of it.
pub(super) struct Module {
    pub(super) name: &'static str,
    pub(super) ptx: &'static str,
}

macro_rules! modules {
    ($($name:literal),* $(,)?) => {
        &[$(Module { name: $name, ptx: include_str!(concat!("kernels/", $name, ".ptx")) }),*]
    };
}

/// All files of kernels.
pub(super) const MODULES: &[Module] = modules![
    "attention",
    "gemm",
    "losses",
    "map",
    "nearest",
    "norm",
    "optim",
    "rows",
    "softmax",
    "staged",
    "table",
    "triplets"
];

/// The kernels of a module, and the type of each of their parameters, as `.u64`.
pub(super) fn entries(ptx: &'static str) -> Vec<(&'static str, Vec<&'static str>)> {
    let entry = |text: &'static str| {
        let (name, rest) = text.split_once('(')?;
        let (parameters, _) = rest.split_once(')')?;
        // `.param .u64 name_param_0`
        Some((name, parameters.split(',').filter_map(|p| p.split_whitespace().nth(1)).collect()))
    };
    ptx.split(".entry ").skip(1).filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// FNV-1a, 64 bits, as `scripts/ptx.py` computes it.
    fn fnv(texts: &[Vec<u8>]) -> u64 {
        let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        texts.iter().flatten().fold(0xcbf2_9ce4_8422_2325, step)
    }

    #[test]
    fn every_ptx_was_made_from_the_source_beside_it() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cuda/kernels");
        let read = |name: &str| std::fs::read(folder.join(name)).expect("the folder of the kernels");
        let mut headers: Vec<String> = std::fs::read_dir(&folder)
            .expect("the folder of the kernels")
            .map(|file| file.expect("readable").file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".cuh"))
            .collect();
        headers.sort();
        for module in MODULES {
            let sources = [format!("{}.cu", module.name)].into_iter().chain(headers.iter().cloned());
            let hash = fnv(&sources.map(|name| read(&name)).collect::<Vec<_>>());
            let said = module.ptx.lines().next().unwrap_or_default();
            let want =
                format!("// made by scripts/ptx.py from {}.cu and headers, FNV-1a {hash:016x}", module.name);
            assert_eq!(said, want, "run scripts/ptx.py: the PTX of {} is stale", module.name);
        }
    }

    #[test]
    fn every_source_is_a_module_and_its_kernels_are_found() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cuda/kernels");
        for file in std::fs::read_dir(&folder).expect("the folder of the kernels") {
            let path = file.expect("readable").path();
            if path.extension().is_some_and(|e| e == "cu") {
                let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
                let module = MODULES.iter().find(|m| m.name == name).expect("the file is in MODULES");
                let text = std::fs::read_to_string(&path).expect("readable");
                let kernels = text.lines().filter(|line| line.starts_with("KERNEL")).count();
                assert_eq!(entries(module.ptx).len(), kernels, "{name}");
            }
        }
    }

    #[test]
    fn parameters_are_read_from_the_text() {
        let text = ".visible .entry f(\n\t.param .u64 f_param_0,\n\t.param .f32 f_param_1\n)\n{ ret; }";
        assert_eq!(entries(text), [("f", vec![".u64", ".f32"])]);
    }

    #[test]
    fn all_ptx_together_stays_small() {
        let bytes: usize = MODULES.iter().map(|m| m.ptx.len()).sum();
        assert!(bytes < 1_500_000, "{bytes} bytes of PTX");
    }
}
