//! NGAME: batches of whole clusters of near queries, so that the positives of the neighbours are hard negatives.
//!
//! Dahiya et al., "NGAME: Negative Mining-aware Mini-batching for Extreme Classification", WSDM 2023. Departures: new
//! clusters take effect at once (the published code installs them an epoch late), and a label drawn by several rows is
//! one column.

use super::Recipe;
use crate::config::ComposerConfig;
use engine::{Error, Result};
use samplers::composer::cluster::Cluster;
use samplers::composer::schedule::Schedule;
use samplers::composer::{Cut, Last};

/// Wished cluster sizes of the first epochs after the warm-up; the last one stays. For runs of a few epochs, in which
/// the published curriculum of 300 would never leave its first sizes.
const SIZES: [u32; 4] = [4, 8, 16, 32];

pub(super) const RECIPE: Recipe = Recipe {
    name: "ngame",
    summary: "batches of whole clusters of near queries: in-batch negatives that are hard",
    citation: "Dahiya et al., NGAME: Negative mining-aware mini-batching for extreme classification, WSDM 2023",
    cost: "4·N·d bytes for the memory bank; a clustering of N stored vectors at each refresh",
    defaults: |_| Ok(()),
    composer: |config, rows| {
        let cut = Cut { batch: config.train.batch, last: Last::Drop };
        let schedule = schedule(&config.composer)?;
        let epochs = config.train.epochs;
        if config.train.steps == 0 && schedule.made_at(epochs.saturating_sub(1)).is_none() {
            let first = (0..).find(|&epoch| schedule.size(epoch).is_some()).unwrap_or_default();
            let what =
                format!("the first clusters come in epoch {first}, the run has {epochs} (counted from 0)");
            return Err(Error::input(what).help(
                "let composer.sizes (or composer.warmup_epochs) begin earlier; --composer shuffled has random batches",
            ));
        }
        Ok(Box::new(Cluster::new(rows, cut, schedule)))
    },
};

/// The curriculum of cluster sizes.
fn schedule(config: &ComposerConfig) -> Result<Schedule> {
    let mut sizes = vec![];
    for entry in &config.sizes {
        let parsed =
            entry.split_once(':').and_then(|(e, s)| Some((e.trim().parse().ok()?, s.trim().parse().ok()?)));
        sizes.push(parsed.ok_or_else(|| {
            Error::input(format!("`composer.sizes`: `{entry}` is not of the form epoch:size"))
                .help("for example composer.sizes = [\"0:8\", \"2:32\"]")
        })?);
    }
    if sizes.is_empty() {
        sizes = (0..SIZES.len() as u32).map(|i| (config.warmup_epochs + i, SIZES[i as usize])).collect();
    }
    Schedule::new(sizes, config.refresh_epochs)
}
