//! What every encoder does: packed texts in, one vector a text out.

use autograd::{ParamId, Params, Pool, Segment, Tape, Var};
use engine::{Packed, Stream};
use std::fmt;

use crate::layout::Entry;

/// Where an encoder runs: the tape of this step, the numbers, and how.
#[derive(Clone, Copy)]
pub struct Scope<'t> {
    /// Records the operations.
    pub tape: &'t Tape,
    /// The learned numbers.
    pub params: &'t Params,
    /// Seed and step of the dropout masks (the tag is the encoder's); none in evaluation.
    pub dropout: Option<Stream>,
    /// Forget the inside of each layer and run it again in backward: less memory, a third more time.
    pub recompute: bool,
    /// Tokens with which texts may begin, and which a transformer then reads and does not pool: those of prompts, the
    /// frame's before them. Of several that fit a text the longest counts.
    pub unpooled: &'t [Vec<u32>],
}

impl<'t> Scope<'t> {
    /// Without dropout, everything kept and pooled.
    pub fn new(tape: &'t Tape, params: &'t Params) -> Scope<'t> {
        Scope { tape, params, dropout: None, recompute: false, unpooled: &[] }
    }
    /// How many of the first tokens of a text are not pooled.
    pub(crate) fn unpooled_of(&self, tokens: &[u32]) -> usize {
        let fits = self.unpooled.iter().filter(|prompt| tokens.starts_with(prompt));
        fits.map(Vec::len).max().unwrap_or(0)
    }
    /// Runs a layer, a function of its inputs alone, and keeps its inside or not.
    #[track_caller]
    pub(crate) fn layer(&self, layer: Segment, inputs: &[Var<'t>]) -> Var<'t> {
        self.segment("layer", layer, inputs)
    }
    /// As [`Scope::layer`], of a part with this name.
    #[track_caller]
    pub(crate) fn segment(&self, name: &'static str, segment: Segment, inputs: &[Var<'t>]) -> Var<'t> {
        self.tape.part(name, || match self.recompute {
            true => self.tape.recompute(segment, inputs),
            false => segment(inputs),
        })
    }
    /// The leaf of a parameter.
    #[track_caller]
    pub fn param(&self, id: ParamId) -> Var<'t> {
        self.tape.param(self.params, id)
    }
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope(dropout {:?}, recompute {})", self.dropout, self.recompute)
    }
}

/// A text encoder. It holds ids of parameters; [`Params`] holds the numbers.
pub trait Encoder: fmt::Debug + Send + Sync {
    /// The length of a vector.
    fn width(&self) -> usize;
    /// The longest text, in tokens.
    fn tokens_max(&self) -> usize;
    /// Its parameters, in the order of its layout.
    fn params(&self) -> &[ParamId];
    /// Encodes texts: `[B, width]`, rows of length 1 unless the model says otherwise. Text `i` of the pack
    /// has dropout slot `first_slot + i`: a batch encoded in parts gets the masks of the whole.
    ///
    /// # Panics
    /// If a text is longer than [`Encoder::tokens_max`]; the reader of the texts cuts them.
    #[track_caller]
    fn encode<'t>(&self, cx: &Scope<'t>, text: &Packed, first_slot: u32) -> Var<'t>;
    /// Floating-point operations of the forward for one token of a text of `length` tokens. Backward costs
    /// twice that, and once more with recompute.
    fn flops_per_token(&self, length: f64) -> f64;
    /// Bytes that a training tape holds between the forward of these texts and its backward; with recompute,
    /// also the inside of the one layer that lives again.
    fn activation_bytes(&self, text: &Packed, recompute: bool) -> usize;
    /// Bytes that backward needs at its peak besides, gradients of parameters not counted.
    fn working_bytes(&self, text: &Packed) -> usize;
    /// Bytes that encoding so many tokens without a tape holds at its peak.
    fn inference_bytes(&self, tokens: usize) -> usize;
    /// Of [`Encoder::activation_bytes`], what lies between the two products of a layer: half as many bytes on a device
    /// that multiplies in bf16.
    fn halved_bytes(&self, _tokens: usize, _recompute: bool) -> usize {
        0
    }
}

/// One vector a text from the last hidden states `[T, d]`. A pooling that takes the first token takes it though it
/// stands before a prompt, as sentence-transformers does.
#[track_caller]
pub(crate) fn pooled<'t>(
    cx: &Scope<'t>,
    last: Var<'t>,
    text: &Packed,
    pooling: Pool,
    normalise: bool,
) -> Var<'t> {
    let pooled = match behind_prompts(cx, text).filter(|_| pooling != Pool::First) {
        Some((rows, starts)) => last.gather(rows.into()).pool(pooling, starts.into()),
        None => last.pool(pooling, text.starts.as_slice().into()),
    };
    if normalise { pooled.normalise() } else { pooled }
}

/// The rows of the tokens that are pooled, and where those of each text start; none where that is all of them.
fn behind_prompts(cx: &Scope<'_>, text: &Packed) -> Option<(Vec<u32>, Vec<u32>)> {
    let left_out: Vec<usize> = (0..text.len()).map(|i| cx.unpooled_of(text.text(i))).collect();
    if left_out.iter().all(|&tokens| tokens == 0) {
        return None;
    }
    let (mut rows, mut starts) = (Vec::with_capacity(text.tokens.len()), vec![0]);
    for (w, left_out) in text.starts.windows(2).zip(left_out) {
        rows.extend(w[0] + left_out as u32..w[1]);
        starts.push(rows.len() as u32);
    }
    Some((rows, starts))
}

/// Texts that a transformer takes: none empty, none longer than its positions.
#[track_caller]
pub(crate) fn check_lengths(text: &Packed, most: usize) {
    let longest = text.longest();
    assert!(longest <= most, "a text of {longest} tokens is longer than the encoder's {most} positions");
    let shortest = text.starts.windows(2).map(|w| w[1] - w[0]).min();
    assert!(shortest != Some(0), "a text without tokens: the empty text is [CLS] [SEP]");
}

/// The ids of the parameters of a layout.
#[track_caller]
pub(crate) fn ids(layout: &[Entry], params: &Params) -> Vec<ParamId> {
    let find = |entry: &Entry| {
        let id = params.find(&entry.name);
        let id = id.unwrap_or_else(|| panic!("the encoder has no parameter `{}`", entry.name));
        assert_eq!(params.value(id).shape(), entry.shape, "the parameter `{}` has another shape", entry.name);
        id
    };
    layout.iter().map(find).collect()
}
