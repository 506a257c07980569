//! The rules of mining against the negatives that sentence-transformers found on cranfield, from its own scores.

use engine::Stream;
use samplers::mining::{Rules, Sampling};
use serde_json::Value;

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/mine.json");
    let text = std::fs::read_to_string(path).expect("the golden file");
    serde_json::from_str(&text).expect("JSON")
}

/// The rules that a set of the golden file was made with.
fn rules(options: &Value) -> Rules {
    let number = |name: &str| options[name].as_f64().map(|x| x as f32);
    let count = |name: &str| options[name].as_u64().map(|n| n as usize);
    let random = options["sampling_strategy"] == "random";
    Rules {
        range_min: count("range_min").unwrap_or(0),
        range_max: count("range_max"),
        max_score: number("max_score"),
        min_score: number("min_score"),
        absolute_margin: number("absolute_margin"),
        relative_margin: number("relative_margin"),
        num_negatives: count("num_negatives").unwrap_or(3),
        sampling: if random { Sampling::Random } else { Sampling::Top },
        include_positives: options["include_positives"] == true,
    }
}

/// Ids and scores.
fn ranking(pair: &Value) -> (Vec<u32>, Vec<f32>) {
    let ids = pair[0].as_array().expect("ids").iter().map(|id| id.as_u64().expect("an id") as u32);
    let scores = pair[1].as_array().expect("scores").iter().map(|s| s.as_f64().expect("a score") as f32);
    (ids.collect(), scores.collect())
}

#[test]
fn rules_keep_what_sentence_transformers_keeps() {
    let golden = golden();
    let positives_max = golden["positives_max"].as_u64().expect("a number") as usize;
    let shown = golden["candidates"].as_object().expect("queries");
    let mut compared = 0;
    for (name, set) in golden["sets"].as_object().expect("sets") {
        let options = &set["options"];
        // The scores are of texts without prompts.
        if !(options["query_prompt"].is_null() && options["corpus_prompt"].is_null()) {
            continue;
        }
        let rules = rules(options);
        let range_max = rules.range(positives_max).expect("a window");
        for (query, candidates) in shown {
            let (ids, scores) = ranking(candidates);
            let looked_at = range_max + positives_max;
            assert!(looked_at <= ids.len(), "{name}: the file shows {} candidates", ids.len());
            let (positives, of_positives) = ranking(&golden["positives"][query]);
            let lowest = of_positives.into_iter().fold(f32::INFINITY, f32::min);
            let ranking = (&ids[..looked_at], &scores[..looked_at]);
            let kept = rules.keep(ranking, (&positives, lowest), range_max, Stream::new(1, 0)).labels;
            let want = &set["negatives"][query];
            let got: Vec<u64> = kept.iter().map(|label| u64::from(label.0)).collect();
            // A query without negatives has no row there.
            let wanted = want[0].as_array().map_or(&[][..], Vec::as_slice);
            assert_eq!(
                got,
                wanted.iter().filter_map(Value::as_u64).collect::<Vec<_>>(),
                "{name}, query {query}"
            );
            for (label, millionths) in kept.iter().zip(want[1].as_array().into_iter().flatten()) {
                let off = f64::from(label.1) * 1e6 - millionths.as_f64().expect("a number");
                assert!(off.abs() < 1.0, "{name}, query {query}: {label:?} {millionths}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, COMPARED);
}

/// Negatives of the twelve queries shown, in the four sets without prompts.
const COMPARED: usize = 130;
