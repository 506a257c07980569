//! Tokenizers: `tokenizer.json` of the three families of models, and `vocab.txt`.

use super::text::{PIECES, put};
use super::{Kind, Read};
use data::Tokenizer;
use engine::{Engine, Result};
use std::path::Path;

pub(super) const TOKENIZER: Kind = Kind {
    name: "tokenizer",
    parts: &["wordpiece/tokenizer.json", "bpe/tokenizer.json", "unigram/tokenizer.json", "plain/vocab.txt"],
    container: None,
    bytes_max: 16 << 20,
    make: tokenizers,
};

/// The vocabulary of [`PIECES`].
pub(super) const WORDPIECE: &str = r###"{"version":"1.0","truncation":{"direction":"Right","max_length":9,
"strategy":"LongestFirst","stride":0},"padding":null,"added_tokens":[
{"id":0,"content":"[PAD]","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},
{"id":4,"content":"[MASK]","single_word":false,"lstrip":true,"rstrip":false,"normalized":false,"special":true}],
"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,
"lowercase":true},"pre_tokenizer":{"type":"BertPreTokenizer"},
"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"[CLS]","type_id":0}},
{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"[SEP]","type_id":0}}],
"pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],
"special_tokens":{"[CLS]":{"id":"[CLS]","ids":[2],"tokens":["[CLS]"]},
"[SEP]":{"id":"[SEP]","ids":[3],"tokens":["[SEP]"]}}},"decoder":{"type":"WordPiece","prefix":"##","cleanup":true},
"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,
"vocab":{"[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"[MASK]":4,"a":5,"b":6,"s":7,"##a":8,"##b":9,"##s":10,"red":11,
"boat":12,"shoe":13}}}"###;

/// RoBERTa's manner.
const BPE: &str = r#"{"version":"1.0","truncation":null,"padding":{"strategy":"BatchLongest","direction":"Right",
"pad_to_multiple_of":null,"pad_id":1,"pad_type_id":0,"pad_token":"<pad>"},"added_tokens":[
{"id":3,"content":"<unk>","single_word":false,"lstrip":false,"rstrip":false,"normalized":true,"special":true}],
"normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},
"post_processor":{"type":"RobertaProcessing","sep":["</s>",2],"cls":["<s>",0],"trim_offsets":true,
"add_prefix_space":true},"decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,
"use_regex":true},"model":{"type":"BPE","dropout":null,"unk_token":"<unk>","continuing_subword_prefix":"",
"end_of_word_suffix":"","fuse_unk":false,"byte_fallback":false,"ignore_merges":false,"vocab":{"<s>":0,"<pad>":1,
"</s>":2,"<unk>":3,"a":4,"b":5,"Ġ":6,"ab":7,"Ġa":8},"merges":[["a","b"],["Ġ","a"]]}}"#;

/// XLM-RoBERTa's manner, with every step that such files have.
const UNIGRAM: &str = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[
{"id":0,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
"normalizer":{"type":"Sequence","normalizers":[{"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "},
{"type":"NFKC"},{"type":"Lowercase"},
{"type":"Strip","strip_left":true,"strip_right":false},{"type":"Prepend","prepend":"x"}]},
"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},{"type":"Digits",
"individual_digits":true},{"type":"Split","pattern":{"String":"-"},"behavior":"Removed","invert":false},
{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true},{"type":"FixedLength","length":5}]},
"post_processor":{"type":"Sequence","processors":[{"type":"BertProcessing","sep":["</s>",2],"cls":["<s>",0]}]},
"decoder":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true},
"model":{"type":"Unigram","unk_id":3,"vocab":[["<s>",0.0],["<pad>",0.0],["</s>",0.0],["<unk>",0.0],["▁",-2.0],
["a",-3.5],["▁a",-3.0],["b",-4.0],["ab",-1e1]],"byte_fallback":false}}"#;

/// Texts for every way through a tokenizer.
const TEXTS: [&str; 4] =
    ["", "A red  boats ab-12", "\u{e9} \u{65e5}\u{0}a\u{301}\n[MASK]<s>", "aaaaaaaaaaaaaaaaaaaaaaaaaaab"];

fn tokenizers(dir: &Path, _: &Engine) -> Read {
    for (name, file) in [
        ("wordpiece/tokenizer.json", WORDPIECE),
        ("bpe/tokenizer.json", BPE),
        ("unigram/tokenizer.json", UNIGRAM),
        ("plain/vocab.txt", PIECES),
    ] {
        put(&dir.join(name), file);
    }
    put(&dir.join("plain/tokenizer_config.json"), r#"{"do_lower_case":false}"#);
    let dirs = ["wordpiece", "bpe", "unigram", "plain"].map(|name| dir.join(name));
    Box::new(move |part| use_it(&dirs[part]))
}

fn use_it(dir: &Path) -> Result<()> {
    let tokenizer = Tokenizer::from_dir(dir)?;
    for text in TEXTS {
        for room in [0, 1, 6] {
            let ids = tokenizer.encode(text, tokenizer.frame_len().saturating_add(room).max(1))?;
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()), "{ids:?}");
        }
    }
    let written = tokenizer.to_json()?;
    let again = Tokenizer::from_bytes(&written)?;
    assert_eq!(again.vocab_size(), tokenizer.vocab_size());
    let _ = format!("{tokenizer:?} {:?}", tokenizer.decode_tokens(&[0, 1, u32::MAX]));
    Ok(())
}
