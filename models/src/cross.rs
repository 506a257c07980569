//! A cross-encoder: query and label as one text, one number out. It sees how the words of both meet, so it judges
//! better than two embeddings do, and has to be run for every pair.
//!
//! ```text
//! x = [CLS] q [SEP] d [SEP]        token types 0 … 0 1 … 1                                  BERT
//! x = <s> q </s> </s> d </s>                                                                RoBERTa
//! y = w · tanh(W h_1 + b) + c      h_1: the last hidden state of the first token
//! ```
//! Nogueira, Cho, "Passage re-ranking with BERT", 2019; as `CrossEncoder` of sentence-transformers with one label, and
//! `…ForSequenceClassification` of transformers. The tape records it like any encoder.

use crate::architecture::Architecture;
use crate::bert::{Bert, Config, Family};
use crate::encoder::{Encoder, Scope};
use crate::layout::{Entry, Role};
use crate::model::Model;
use autograd::{ParamId, Params, Pool, Var};
use engine::{Packed, Tensor};

/// Names of the head's dense layer and of its output, in the files of the family.
const BERT_HEAD: [&str; 2] = ["pooler.dense", "classifier"];
const ROBERTA_HEAD: [&str; 2] = ["classifier.dense", "classifier.out_proj"];

/// A cross-encoder over parameters that exist.
#[derive(Clone, Debug)]
pub struct CrossEncoder {
    bert: Bert,
    /// W, b, w, c.
    head: [ParamId; 4],
}

/// Pairs of texts, each one text with the type of every token.
#[derive(Clone, Debug, Default)]
pub struct PairTexts {
    /// The joined texts.
    pub texts: Packed,
    /// 0 in the first part, 1 in the second, for every token.
    pub types: Vec<u32>,
}

/// Whether a family has such a head here.
pub fn has_head(family: Family) -> bool {
    matches!(family, Family::Bert | Family::Roberta | Family::XlmRoberta)
}

/// The parameters of the head alone, as files name them.
pub(crate) fn head_layout(config: &Config) -> Vec<Entry> {
    let width = config.size.width;
    let [dense, out] = if config.family == Family::Bert { BERT_HEAD } else { ROBERTA_HEAD };
    vec![
        Entry::new(format!("{dense}.weight"), [width, width], Role::Weight),
        Entry::new(format!("{dense}.bias"), [width], Role::Bias),
        Entry::new(format!("{out}.weight"), [1, width], Role::Weight),
        Entry::new(format!("{out}.bias"), [1], Role::Bias),
    ]
}

/// All parameters, in order: the encoder's, then the head's.
pub fn layout(config: &Config) -> Vec<Entry> {
    [config.layout(), head_layout(config)].concat()
}

impl CrossEncoder {
    /// The cross-encoder over parameters that exist. Pooling and normalisation of the configuration have no meaning
    /// here.
    ///
    /// # Panics
    /// If a parameter of the layout is not there, or the family has no such head.
    #[track_caller]
    pub fn new(config: Config, params: &Params) -> CrossEncoder {
        assert!(has_head(config.family), "CrossEncoder: {:?} has no head of one number here", config.family);
        let head = crate::encoder::ids(&head_layout(&config), params);
        let head = head.try_into().expect("the head has four parameters");
        CrossEncoder { bert: Bert::new(config, params), head }
    }
    /// What its encoder is.
    pub fn config(&self) -> &Config {
        self.bert.config()
    }
    /// The encoder of a model with a fresh head: as of a BERT that has learned no pairs yet.
    ///
    /// # Errors
    /// Says what the model is, where it has no such head.
    pub fn on(model: &Model, seed: u64) -> Result<(CrossEncoder, Params), String> {
        let config = match &model.architecture {
            // What stands between hidden states and pooling has no place in a cross-encoder.
            Architecture::Bert(config) if has_head(config.family) => {
                Config { latents: None, ..config.clone() }
            }
            Architecture::Bert(config) => return Err(format!("{:?}", config.family).to_lowercase()),
            Architecture::ModernBert(_) => return Err("modernbert".into()),
            Architecture::Bag(_) => return Err("bag".into()),
        };
        let mut params = Params::default();
        for entry in config.layout() {
            let id = model.params.find(&entry.name).expect("a model has all parameters of its layout");
            // A copy: both may learn.
            let value = model.params.value(id);
            entry.add(&mut params, Tensor::from_vec(value.shape(), value.data::<f32>().to_vec()));
        }
        head_layout(&config).iter().for_each(|entry| entry.add(&mut params, entry.initial(seed)));
        Ok((CrossEncoder::new(config, &params), params))
    }
    /// The same with every rate of dropout set to this.
    #[must_use]
    pub fn with_dropout(self, rate: f32, params: &Params) -> CrossEncoder {
        let config = Config { hidden_dropout: rate, attention_dropout: rate, ..self.config().clone() };
        CrossEncoder::new(config, params)
    }
    /// Bytes that scoring so many tokens without a tape holds at its peak.
    pub fn inference_bytes(&self, tokens: usize) -> usize {
        self.bert.inference_bytes(tokens)
    }
    /// Bytes that a step on these texts holds: what its tape keeps, and what backward needs besides.
    pub fn training_bytes(&self, texts: &Packed, recompute: bool) -> usize {
        self.bert.activation_bytes(texts, recompute) + self.bert.working_bytes(texts)
    }
    /// The numbers of pairs, `[B]`, before any activation. Pair `i` has dropout slot `first_slot + i`.
    ///
    /// # Panics
    /// If a pair is longer than the encoder's positions, or types do not fit the tokens.
    #[track_caller]
    pub fn score<'t>(&self, cx: &Scope<'t>, pairs: &PairTexts, first_slot: u32) -> Var<'t> {
        let count = pairs.texts.len();
        cx.tape.scope(|| {
            let last = self.bert.last(cx, (&pairs.texts, Some(&pairs.types)), first_slot);
            let [w, b, out, c] = self.head.map(|id| cx.param(id));
            let first = last.pool(Pool::First, pairs.texts.starts.as_slice().into());
            first.linear(w, Some(b)).tanh().linear(out, Some(c)).reshape([count])
        })
    }
    /// Joins two texts as the encoder wants them. Each is `[CLS] … [SEP]`, as any text; of both together so many tokens
    /// stay as it has positions: the longer one loses its end until it is as long as the other, then both do
    /// (`longest_first` of the tokenizers library).
    ///
    /// # Panics
    /// If a text has fewer than two tokens, or the encoder too few positions for the frame.
    pub fn join(&self, pairs: &mut PairTexts, first: &[u32], second: &[u32]) {
        let (cls, sep) = (first[0], first[first.len() - 1]);
        let inner = |text: &[u32]| text[1..text.len() - 1].to_vec();
        let (mut a, mut b) = (inner(first), inner(second));
        let between: &[u32] = if self.config().family == Family::Bert { &[sep] } else { &[sep, sep] };
        let room = self.config().tokens_max() - 2 - between.len();
        let (of_a, of_b) = if a.len() > b.len() {
            let (of_b, of_a) = cut(b.len(), a.len(), room);
            (of_a, of_b)
        } else {
            cut(a.len(), b.len(), room)
        };
        a.truncate(of_a);
        b.truncate(of_b);
        let typed = u32::from(self.config().types > 1);
        let begin = 1 + a.len() + between.len();
        let tokens = [&[cls][..], &a, between, &b, &[sep]].concat();
        // RoBERTa's one type is that of all tokens.
        pairs.types.extend((0..tokens.len()).map(|i| if i < begin { 0 } else { typed }));
        pairs.texts.push(tokens);
    }
}

/// The lengths to which a shorter and a longer text are cut.
fn cut(shorter: usize, longer: usize, room: usize) -> (usize, usize) {
    match room {
        room if shorter + longer <= room => (shorter, longer),
        room if shorter <= room / 2 => (shorter, room - shorter),
        room => (room / 2, room - room / 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bert::Size;

    fn cross(family: Family, positions: usize) -> CrossEncoder {
        let size = Size { layers: 1, width: 8, heads: 2, ffn: 8 };
        let types = if family == Family::Bert { 2 } else { 1 };
        let pad = u32::from(family != Family::Bert);
        let config = Config { family, types, pad, ..Config::from_size(size, 30, positions) };
        let mut params = Params::default();
        layout(&config).iter().for_each(|entry| {
            entry.add(&mut params, entry.initial(1));
        });
        CrossEncoder::new(config, &params)
    }

    fn joined(cross: &CrossEncoder, first: &[u32], second: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let mut pairs = PairTexts::default();
        cross.join(&mut pairs, first, second);
        (pairs.texts.text(0).to_vec(), pairs.types)
    }

    #[test]
    fn pairs_are_joined_as_the_family_has_them() {
        let bert = cross(Family::Bert, 12);
        let (tokens, types) = joined(&bert, &[1, 10, 11, 2], &[1, 20, 2]);
        assert_eq!(tokens, [1, 10, 11, 2, 20, 2]);
        assert_eq!(types, [0, 0, 0, 0, 1, 1]);
        let roberta = cross(Family::Roberta, 14);
        let (tokens, types) = joined(&roberta, &[1, 10, 11, 2], &[1, 20, 2]);
        assert_eq!(tokens, [1, 10, 11, 2, 2, 20, 2]);
        assert_eq!(types, [0; 7]);
        assert_eq!(joined(&bert, &[1, 2], &[1, 2]).0, [1, 2, 2], "two empty texts");
    }

    #[test]
    fn the_longer_text_is_cut() {
        let bert = cross(Family::Bert, 8);
        let (long, short) = ([1, 10, 11, 12, 13, 14, 15, 2], [1, 20, 21, 2]);
        assert_eq!(joined(&bert, &long, &short).0, [1, 10, 11, 12, 2, 20, 21, 2]);
        assert_eq!(joined(&bert, &short, &long).0, [1, 20, 21, 2, 10, 11, 12, 2]);
        assert_eq!(joined(&bert, &long, &long).0, [1, 10, 11, 2, 10, 11, 12, 2]);
    }
}
