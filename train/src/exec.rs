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
use autograd::{Anomaly, Grad, ParamGrads, Tape, Var, Watch};
use engine::profile::Clock;
use engine::{Engine, Packed, Stream, Tensor};
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

/// How the tapes of a step are made.
#[derive(Clone, Copy)]
pub(crate) enum Record<'a> {
    /// To learn.
    Plain,
    /// To find out which operation failed.
    Checked,
    /// To see what each operation costs.
    Watched(&'a Watches),
}

/// The names of the tapes of a step, and who watches them.
pub(crate) struct Watches {
    clock: Clock,
    tapes: RefCell<Vec<(&'static str, Rc<Watch>)>>,
}

impl Watches {
    pub(crate) fn new(clock: Clock) -> Watches {
        Watches { clock, tapes: RefCell::default() }
    }
    /// In the order in which the tapes were begun.
    pub(crate) fn tapes(self) -> Vec<(&'static str, Rc<Watch>)> {
        self.tapes.into_inner()
    }
}

impl Record<'_> {
    /// A tape for the part of a step with this name.
    pub(crate) fn tape(self, engine: &Engine, name: &'static str) -> Tape {
        match self {
            Record::Plain => Tape::new(engine),
            Record::Checked => Tape::checked(engine),
            Record::Watched(_) => self.watched(Tape::new(engine), name),
        }
    }
    /// A tape from which nobody will go back.
    fn forward_only(self, engine: &Engine, name: &'static str) -> Tape {
        self.watched(Tape::inference(engine), name)
    }
    fn watched(self, tape: Tape, name: &'static str) -> Tape {
        let Record::Watched(watches) = self else { return tape };
        let watch = Watch::new(watches.clock);
        watches.tapes.borrow_mut().push((name, watch.clone()));
        tape.watched(&watch)
    }
}

/// How a batch is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exec {
    /// All texts on one tape.
    Whole,
    /// So many texts at a time.
    Chunked(usize),
}

impl Exec {
    /// Texts of a chunk, where so many texts are more than one.
    fn chunk(self, texts: usize) -> Option<usize> {
        match self {
            Exec::Chunked(chunk) if chunk < texts => Some(chunk),
            _ => None,
        }
    }
    /// How often each of so many texts is encoded in a step: in chunks for the scores, and again for the gradient.
    pub(crate) fn passes(self, texts: usize) -> u64 {
        if self.chunk(texts).is_some() { 2 } else { 1 }
    }
}

/// The embeddings of a batch, and the way back.
pub(crate) struct Encoded<'a> {
    network: &'a Network,
    texts: &'a Packed,
    stream: Stream,
    record: Record<'a>,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Whole(Var<'a>),
    Chunked { embeddings: Tensor, chunk: usize },
}

impl<'a> Encoded<'a> {
    /// Encodes `texts` with dropout keyed by `stream`: `[texts, width]`; on `tape`, or on tapes of `record` in chunks.
    pub(crate) fn new(
        tape: &'a Tape,
        network: &'a Network,
        texts: &'a Packed,
        (stream, exec): (Stream, Exec),
        record: Record<'a>,
    ) -> Encoded<'a> {
        let kind = match exec.chunk(texts.len()) {
            Some(chunk) => {
                let engine = tape.engine();
                let mut all = engine.buffer::<f32>(texts.len() * network.width());
                for range in chunks(texts.len(), chunk) {
                    let tape = record.forward_only(engine, "encoder, without a tape");
                    let part = encode(&tape, network, texts, range.clone(), stream).value();
                    all[range.start * network.width()..][..part.len()].copy_from_slice(part.to_cpu().data());
                }
                Kind::Chunked { embeddings: Tensor::from_buf([texts.len(), network.width()], all), chunk }
            }
            None => Kind::Whole(encode(tape, network, texts, 0..texts.len(), stream)),
        };
        Encoded { network, texts, stream, record, kind }
    }
    /// One row a text: `[texts, width]`.
    pub(crate) fn embeddings(&self) -> Tensor {
        match &self.kind {
            Kind::Whole(var) => var.value(),
            Kind::Chunked { embeddings, .. } => embeddings.clone(),
        }
    }
    /// The gradient of the parameters from the gradient of the embeddings; and the first NaN or infinity, if the tapes
    /// look for it.
    pub(crate) fn backward(self, engine: &Engine, grad: Grad) -> (ParamGrads, Option<Anomaly>) {
        let grad = grad.into_dense(engine);
        match self.kind {
            Kind::Whole(var) => {
                let grads = var.tape().backward(vec![(var, grad)]).into_params();
                (grads, var.tape().anomaly())
            }
            Kind::Chunked { chunk, .. } => {
                let (mut total, mut anomaly) = (ParamGrads::default(), None);
                for range in chunks(self.texts.len(), chunk) {
                    let tape = self.record.tape(engine, "encoder");
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
