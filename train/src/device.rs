//! Where a run is computed. The numbers of a network move to a device and everything that is computed with them
//! follows: an operation runs where its tensors lie. What is looked at beside the tapes is sent back to the CPU.

use crate::config::Config;
use crate::network::Network;
use engine::{Cuda, Error, Result};

/// The device that the configuration names, to which the network moves; none for the CPU.
pub(crate) fn named(config: &Config, network: &mut Network) -> Result<Option<Cuda>> {
    if config.train.device == "cpu" {
        return Ok(None);
    }
    if config.head.is_on() {
        return Err(Error::input(
            "a classifier is trained on the CPU: its tables of label weights lie there",
        )
        .help("leave --device away"));
    }
    let cuda = Cuda::named(&config.train.device)?;
    network.model.params.to_device(&cuda);
    Ok(Some(cuda))
}
