//! Bytes.
use super::Config;
use engine::Packed;
pub(super) fn activation_bytes(_: &Config, text: &Packed, _: bool) -> usize {
    text.len()
}
