//! The mean of the tokens between the first and the last of a text.

use super::graph::{Graph, Name};
use super::text::{Text, looked_up, mean, normalised};
use crate::bag::Config;
use autograd::ParamId;

/// `[B, d]`.
pub(super) fn encoder(g: &mut Graph<'_>, config: &Config, ids: &[ParamId], text: &Text) -> Name {
    g.part = "bag".to_owned();
    let table = g.param(ids[0]);
    let rows = looked_up(g, &table, &text.ids);
    let inner = text.inner(g);
    let mean = mean(g, &rows, &inner);
    normalised(g, mean, config.normalise)
}
