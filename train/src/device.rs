//! Where a network is computed. Its numbers move to a device and everything that is computed with them follows: an
//! operation runs where its tensors lie. What is looked at beside the tapes is sent back to the CPU, but for what is
//! searched: an engine with a device searches there.

use crate::config::Config;
use crate::network::Network;
use engine::cuda::{Gemm, HEAD_WIDTH_MAX, attempt};
use engine::{Cuda, Engine, Error, Precision, Result};

/// The device on which a run trains, to which the network moves; none for the CPU. A network without matrices may
/// have a head that `multiplies`.
pub(crate) fn named(config: &Config, network: &mut Network, multiplies: bool) -> Result<Option<Cuda>> {
    if config.train.device == "cpu" {
        return Ok(None);
    }
    let mut cuda = Cuda::named(&config.train.device)?.with_gemm(config.train.gemm())?;
    if config.train.precision == "bf16" {
        if !multiplies {
            network.demand_matrix(Precision::Bf16)?;
        }
        cuda = cuda.in_bf16();
    }
    move_to(network, &cuda)?;
    Ok(Some(cuda))
}

/// Moves a network to a device.
///
/// # Errors
/// If the device does not compute such a network, or has no memory for it.
pub(crate) fn move_to(network: &mut Network, cuda: &Cuda) -> Result<()> {
    if let Some(width) = network.model.architecture.head_width().filter(|&width| width > HEAD_WIDTH_MAX) {
        let what =
            format!("this encoder has heads of {width} channels, a device computes {HEAD_WIDTH_MAX} at most");
        return Err(Error::input(what).help("--device cpu, which is the default"));
    }
    attempt(|| {
        network.model.params.to_device(cuda);
        network.auxiliary.iter_mut().for_each(|own| own.params.to_device(cuda));
        Ok(())
    })
}

/// Whose instructions compute the bits: those of a device, or a class of the processor. Our own kernels add up in one
/// order, by the instructions of one generation of devices, whose tensor cores round otherwise than those of another;
/// cuBLAS promises its bits for one version, one architecture and one number of multiprocessors.
pub(crate) fn kernel_class(cuda: Option<&Cuda>, engine: &Engine) -> String {
    let Some(cuda) = cuda else { return engine.kernel_class().name().to_owned() };
    // The number counts what is rounded: .2 keeps what lies between two products in bf16.
    let own = if cuda.is_bf16() { "cuda-bf16.2" } else { "cuda" };
    let ((major, minor), of) = (cuda.found().capability, cuda.found().multiprocessors);
    match cuda.cublas() {
        None => format!("{own}-sm{major}{minor}"),
        Some(version) => format!("{own}-cublas-{version}-sm{major}{minor}x{of}"),
    }
}

/// A device and who multiplies there, for a person.
pub(crate) fn described(cuda: &Cuda) -> String {
    let products =
        cuda.cublas().map_or_else(|| "own kernels".to_owned(), |version| format!("cuBLAS {version}"));
    format!("{cuda:?}, {}: matrix products by {products}", cuda.found().name)
}

/// Where a network infers, and in how many bits: on the CPU in f32 unless something else is said.
#[derive(Clone, Debug, Default)]
pub struct Inference {
    precision: Option<Precision>,
    cuda: Option<Cuda>,
}

impl Inference {
    /// On `cpu`, or a device like `cuda:0`, where products are made by `gemm`; with matrices of so many bits, none for
    /// f32.
    ///
    /// # Errors
    /// If there is no such device, or it does not multiply such numbers, or not so.
    pub fn on(device: &str, gemm: Gemm, precision: Option<Precision>) -> Result<Inference> {
        let open = || Cuda::named(device)?.with_gemm(gemm);
        let cuda = match (device, precision) {
            ("cpu", _) if gemm == Gemm::Auto => None,
            ("cpu", _) => {
                return Err(Error::input("--gemm says who multiplies on a CUDA device, and this is the CPU")
                    .help("--device cuda:0, or leave --gemm away"));
            }
            (_, None) => Some(open()?),
            (_, Some(Precision::Bf16)) => Some(open()?.in_bf16()),
            (_, Some(Precision::Int8)) => {
                return Err(Error::input("a CUDA device multiplies f32 or bf16, not int8")
                    .help("--precision bf16, or leave --device away"));
            }
        };
        Ok(Inference { precision, cuda })
    }
    /// The device and who multiplies there, for a person; none on the CPU.
    pub fn device(&self) -> Option<String> {
        self.cuda.as_ref().map(described)
    }
    /// The engine, with the device, on which it then searches, too.
    #[must_use]
    pub fn engine(&self, engine: &Engine) -> Engine {
        self.cuda.iter().fold(engine.clone(), |engine, cuda| engine.with_cuda(cuda.clone()))
    }
    /// Moves or rounds a network.
    pub(crate) fn place(&self, mut network: Network, engine: &Engine) -> Result<Network> {
        let Some(cuda) = &self.cuda else {
            return match self.precision {
                Some(precision) => network.rounded(engine, precision),
                None => Ok(network),
            };
        };
        if let Some(precision) = self.precision {
            network.demand_matrix(precision)?;
        }
        move_to(&mut network, cuda)?;
        Ok(network)
    }
    /// Whose index is kept beside a run: that of f32, or of what was rounded. None is kept of a device, whose bits are
    /// not those of the CPU: an answer must not depend on who asked first.
    pub(crate) fn kept_index(&self) -> Option<Option<Precision>> {
        self.cuda.is_none().then_some(self.precision)
    }
}
