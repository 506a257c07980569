//! How the files of each family name the parts of a layer.

use super::config::Family;

/// The parts of a layer, in the order in which it takes their weights and biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Query,
    Key,
    Value,
    AttentionOut,
    AttentionNorm,
    Up,
    Down,
    OutNorm,
}

pub(crate) const PARTS: [Part; 8] = [
    Part::Query,
    Part::Key,
    Part::Value,
    Part::AttentionOut,
    Part::AttentionNorm,
    Part::Up,
    Part::Down,
    Part::OutNorm,
];

impl Part {
    /// `[out, in]` of the weight; none for a layer norm.
    pub(crate) fn dims(self, width: usize, ffn: usize) -> Option<[usize; 2]> {
        match self {
            Part::Query | Part::Key | Part::Value | Part::AttentionOut => Some([width, width]),
            Part::Up => Some([ffn, width]),
            Part::Down => Some([width, ffn]),
            Part::AttentionNorm | Part::OutNorm => None,
        }
    }
}

/// The name table of a family.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) word: &'static str,
    pub(crate) position: &'static str,
    pub(crate) token_type: Option<&'static str>,
    pub(crate) norm: &'static str,
    /// The bias by distance, which all layers share.
    pub(crate) relative: Option<&'static str>,
    layer: &'static str,
    parts: [&'static str; 8],
    /// What files of a model with a head put before every name.
    pub(crate) prefix: &'static str,
}

const BERT: Names = Names {
    word: "embeddings.word_embeddings.weight",
    position: "embeddings.position_embeddings.weight",
    token_type: Some("embeddings.token_type_embeddings.weight"),
    norm: "embeddings.LayerNorm",
    relative: None,
    layer: "encoder.layer",
    parts: [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    ],
    prefix: "bert.",
};

const ROBERTA: Names = Names { prefix: "roberta.", ..BERT };

const DISTILBERT: Names = Names {
    token_type: None,
    layer: "transformer.layer",
    parts: [
        "attention.q_lin",
        "attention.k_lin",
        "attention.v_lin",
        "attention.out_lin",
        "sa_layer_norm",
        "ffn.lin1",
        "ffn.lin2",
        "output_layer_norm",
    ],
    prefix: "distilbert.",
    ..BERT
};

const MPNET: Names = Names {
    token_type: None,
    relative: Some("encoder.relative_attention_bias.weight"),
    parts: [
        "attention.attn.q",
        "attention.attn.k",
        "attention.attn.v",
        "attention.attn.o",
        "attention.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    ],
    prefix: "mpnet.",
    ..BERT
};

impl Names {
    pub(crate) fn of(family: Family) -> &'static Names {
        match family {
            Family::Bert => &BERT,
            Family::DistilBert => &DISTILBERT,
            Family::Roberta | Family::XlmRoberta => &ROBERTA,
            Family::Mpnet => &MPNET,
        }
    }
    /// The module of a part, to which `.weight` and `.bias` are added.
    pub(crate) fn module(&self, layer: usize, part: Part) -> String {
        format!("{}.{layer}.{}", self.layer, self.parts[part as usize])
    }
}
