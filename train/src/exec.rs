//! How the texts of a batch are encoded: all at once, or in chunks that are encoded twice (GradCache; Gao, Zhang, Han,
//! Callan, "Scaling deep contrastive learning batch size under memory limited setup", RepL4NLP 2021).
//!
//! ```text
//! whole    E = f(x) on a tape                     θ̄ = (∂f/∂θ)ᵀ Ē
//! chunked  E_c = f(x_c) without a tape            θ̄ = Σ_c (∂f(x_c)/∂θ)ᵀ Ē_c,  x_c encoded again, now with a tape
//! ```
//! The second needs the activations of one chunk only and one more forward. Both give the same gradient, with dropout
//! too: a mask depends on the slot of a text in the whole batch, not on where the batch is cut.

use crate::network::Network;
use autograd::{Anomaly, Grad, ParamGrads, Tape, Var};
use engine::{Engine, Packed, Stream, Tensor};
use std::ops::Range;

/// Makes the tapes of a step: [`Tape::new`], or [`Tape::checked`] to find out which operation failed.
pub(crate) type Record = fn(&Engine) -> Tape;

/// How a batch is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exec {
    /// All texts on one tape.
    Whole,
    /// So many texts at a time.
    Chunked(usize),
}

/// The embeddings of a batch, and the way back.
pub(crate) struct Encoded<'a> {
    network: &'a Network,
    texts: &'a Packed,
    stream: Stream,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Whole(Var<'a>),
    Chunked { embeddings: Tensor, chunk: usize },
}

impl<'a> Encoded<'a> {
    /// Encodes `texts` with dropout keyed by `stream`: `[texts, width]`.
    pub(crate) fn new(
        tape: &'a Tape,
        network: &'a Network,
        texts: &'a Packed,
        stream: Stream,
        exec: Exec,
    ) -> Encoded<'a> {
        let kind = match exec {
            Exec::Chunked(chunk) if chunk < texts.len() => {
                let engine = tape.engine();
                let mut all = engine.buffer::<f32>(texts.len() * network.width());
                for range in chunks(texts.len(), chunk) {
                    let tape = Tape::inference(engine);
                    let part = encode(&tape, network, texts, range.clone(), stream).value();
                    all[range.start * network.width()..][..part.len()].copy_from_slice(part.to_cpu().data());
                }
                Kind::Chunked { embeddings: Tensor::from_buf([texts.len(), network.width()], all), chunk }
            }
            _ => Kind::Whole(encode(tape, network, texts, 0..texts.len(), stream)),
        };
        Encoded { network, texts, stream, kind }
    }
    /// How often each text is encoded in a step: in chunks for the scores, and again for the gradient.
    pub(crate) fn passes(&self) -> u64 {
        match self.kind {
            Kind::Whole(_) => 1,
            Kind::Chunked { .. } => 2,
        }
    }
    /// One row a text: `[texts, width]`.
    pub(crate) fn embeddings(&self) -> Tensor {
        match &self.kind {
            Kind::Whole(var) => var.value(),
            Kind::Chunked { embeddings, .. } => embeddings.clone(),
        }
    }
    /// The gradient of the parameters from the gradient of the embeddings; and the first NaN or infinity, if `record`
    /// makes tapes that look for it.
    pub(crate) fn backward(
        self,
        record: Record,
        engine: &Engine,
        grad: Grad,
    ) -> (ParamGrads, Option<Anomaly>) {
        let grad = grad.into_dense(engine);
        match self.kind {
            Kind::Whole(var) => {
                let grads = var.tape().backward(vec![(var, grad)]).into_params();
                (grads, var.tape().anomaly())
            }
            Kind::Chunked { chunk, .. } => {
                let (mut total, mut anomaly) = (ParamGrads::default(), None);
                for range in chunks(self.texts.len(), chunk) {
                    let tape = record(engine);
                    let part = encode(&tape, self.network, self.texts, range.clone(), self.stream);
                    total.add(engine, tape.backward(vec![(part, grad.rows(range))]).into_params());
                    anomaly = anomaly.or(tape.anomaly());
                }
                (total, anomaly)
            }
        }
    }
}

fn chunks(n: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n.div_ceil(size)).map(move |i| i * size..((i + 1) * size).min(n))
}

fn encode<'t>(
    tape: &'t Tape,
    network: &'t Network,
    texts: &Packed,
    range: Range<usize>,
    stream: Stream,
) -> Var<'t> {
    let first_slot = range.start as u32;
    network.encode(tape, &texts.slice(range), first_slot, Some(stream))
}
