use super::*;
use engine::{Kind, Stream};

fn metrics(text: &str) -> Vec<Metric> {
    Metric::list(text).unwrap()
}

#[track_caller]
fn close(got: f64, want: f64, tolerance: f64, what: &str) {
    assert!((got - want).abs() <= tolerance, "{what}: {got}, expected {want}");
}

/// Published rounding: six digits.
#[test]
fn propensities_are_those_computed_by_hand() {
    let frequency = [50, 3, 10, 1, 200];
    for (a, b, want) in [
        (0.55, 1.5, [2.118911, 5.275852, 3.552147, 6.907755, 1.528370]),
        (0.5, 0.4, [1.984626, 4.790941, 3.167554, 6.907755, 1.493785]),
        (0.6, 2.6, [2.181987, 5.532013, 3.786004, 6.907755, 1.526284]),
    ] {
        let p = Propensities::with(&frequency, 1000, a, b);
        for (label, want) in want.into_iter().enumerate() {
            close(p.inverse(label as u32), want, 5e-7, &format!("A {a} B {b} label {label}"));
        }
    }
    assert_eq!(Propensities::new(&frequency, 1000), Propensities::with(&frequency, 1000, 0.55, 1.5));
    assert_eq!(Propensities::new(&[3], 0).inverse(0), 1.0);
}

#[test]
fn four_queries_give_the_values_computed_by_hand() {
    let asked = metrics("P@1,nDCG@1,PSP@1,PSnDCG@1,R@1,P@3,nDCG@3,PSP@3,PSnDCG@3,R@3,MRR@3,C@1,C@3");
    let want = [
        0.5, 0.5, 0.294282, 0.294282, 0.208333, 0.416667, 0.579003, 0.655155, 0.548311, 0.666667,
        // First hits at ranks 1, 2, 1 and none; in the first place labels 2 and 4 are hit, then also 0 and 1.
        0.625, 0.4, 0.8,
    ];
    let mut evaluator = Evaluator::new(&asked, Propensities::new(&[50, 3, 10, 1, 200], 1000));
    let truths: [&[u32]; 4] = [&[0, 2], &[1], &[2, 3, 4], &[4]];
    let lists = [[2, 1, 0], [3, 1, 4], [4, 2, 0], [0, 1, 2]];
    for (list, truth) in lists.iter().zip(truths) {
        evaluator.add(list, truth);
    }
    for ((metric, got), want) in evaluator.finish().into_iter().zip(want) {
        close(got, want, 5e-7, &metric.to_string());
    }
}

#[test]
fn metrics_equal_the_independent_computation() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/metrics.json");
    let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let list = |v: &serde_json::Value| -> Vec<u32> { serde_json::from_value(v.clone()).unwrap() };
    let frequency = list(&golden["frequency"]);
    let propensities = Propensities::new(&frequency, golden["queries"].as_u64().unwrap() as usize);
    for (label, want) in golden["inverse_propensity"].as_array().unwrap().iter().enumerate() {
        close(propensities.inverse(label as u32), want.as_f64().unwrap(), 1e-12, "propensity");
    }
    let asked: Vec<Metric> =
        golden["metrics"].as_object().unwrap().keys().map(|name| name.parse().unwrap()).collect();
    assert_eq!(asked.len(), 28);
    let mut full = Evaluator::new(&asked, propensities.clone()).recorded();
    let mut skipped = Evaluator::new(&asked, propensities).skip_empty();
    let depth = golden["depth"].as_u64().unwrap() as usize;
    for (i, scores) in golden["scores_in_eighths"].as_array().unwrap().iter().enumerate() {
        let scores: Vec<(u32, f32)> = (0..).zip(list(scores).iter().map(|&s| s as f32 / 8.0)).collect();
        let ranked = top_k(&scores, depth);
        assert_eq!(ranked, list(&golden["rankings"][i]), "query {i}");
        full.add(&ranked, &list(&golden["truths"][i]));
        skipped.add(&ranked, &list(&golden["truths"][i]));
    }
    for (evaluator, key) in [(&full, "metrics"), (&skipped, "metrics_skip_empty")] {
        for (metric, got) in evaluator.finish() {
            close(got, golden[key][metric.to_string()].as_f64().unwrap(), 1e-12, &format!("{key} {metric}"));
        }
    }
    let rows: Vec<f64> = serde_json::from_value(golden["precision_rows"].clone()).unwrap();
    assert_eq!(full.rows(metrics("P@1")[0]), Some(&rows[..]));
    assert_eq!((full.queries(), skipped.queries(), skipped.rows(asked[0])), (50, 45, None));
}

/// Many equal scores, measured by pytrec_eval under its own order.
#[test]
fn metrics_with_ties_equal_those_of_trec_eval() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/ties.json");
    let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let list = |v: &serde_json::Value| -> Vec<u32> { serde_json::from_value(v.clone()).unwrap() };
    let ids: Vec<String> = serde_json::from_value(golden["ids"].clone()).unwrap();
    let (asked, p) = (metrics("P@5,nDCG@5,R@5,MRR@60"), Propensities::new(&vec![1; ids.len()], 9));
    let mut differ = 0;
    for (i, scores) in golden["scores"].as_array().unwrap().iter().enumerate() {
        let mut ranking: Vec<(u32, f32)> = (0..).zip(list(scores).iter().map(|&s| s as f32)).collect();
        rank(&mut ranking);
        let ours: Vec<u32> = ranking.iter().map(|r| r.0).collect();
        Ties::Trec.settle(&mut ranking, |label| &ids[label as usize]);
        let theirs: Vec<u32> = ranking.iter().map(|r| r.0).collect();
        differ += u32::from(ours[..5] != theirs[..5]);
        for &metric in &asked {
            let want = golden["metrics"][metric.to_string()][i].as_f64().unwrap();
            let term = Evaluator::new(&[], p.clone()).row(metric, &theirs, &list(&golden["truths"][i]));
            close(term.gain / term.ideal, want, 1e-7, &format!("query {i}, {metric}"));
        }
    }
    assert!(differ > 20, "the two orders must differ for this to be a test");
}

#[test]
fn a_cut_inside_equal_scores_is_seen() {
    let ranking = [(4, 2.0), (1, 1.0), (2, 1.0), (3, 1.0)];
    assert!(Ties::Trec.are_cut(&ranking, 2) && Ties::Trec.are_cut(&ranking, 4));
    assert!(!Ties::Trec.are_cut(&ranking, 1), "the first stands before all that may follow");
    assert!(!Ties::Trec.are_cut(&ranking[..1], 2), "nothing was cut");
    assert!(!Ties::Number.are_cut(&ranking, 2), "the search has this order itself");
}

#[test]
fn the_row_of_a_query_is_what_it_adds() {
    let p = Propensities::new(&[5, 1, 2], 10);
    let one = Evaluator::new(&[], p.clone());
    for metric in metrics("P@2,nDCG@2,R@2,MRR@2,PSP@2,PSnDCG@2") {
        let mut all = Evaluator::new(&[metric], p.clone());
        all.add(&[0, 2, 1], &[1, 2]);
        let term = one.row(metric, &[0, 2, 1], &[2, 1]);
        assert_eq!(all.finish()[0].1, term.gain / term.ideal, "{metric}");
    }
}

#[test]
fn nothing_to_find_is_zero() {
    let asked = metrics("P@1,nDCG@1,R@1,MRR@1,PSP@1,PSnDCG@1,C@1");
    let mut e = Evaluator::new(&asked, Propensities::new(&[1, 1], 5));
    assert!(e.finish().iter().all(|(_, value)| *value == 0.0));
    e.add(&[0], &[]);
    assert!(e.finish().iter().all(|(_, value)| *value == 0.0));
    e.add(&[0], &[0]);
    let values: Vec<f64> = e.finish().into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, [0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0]);
}

#[test]
fn ties_go_to_the_smaller_label_and_nan_to_the_end() {
    let scores =
        [(9, 0.0), (4, f32::NAN), (3, -0.0), (7, 2.0), (1, f32::NEG_INFINITY), (5, 2.0), (2, f32::NAN)];
    let whole = [5, 7, 3, 9, 1, 2, 4];
    for k in 0..9 {
        assert_eq!(top_k(&scores, k), whole[..k.min(7)], "k {k}");
    }
}

#[test]
fn metrics_are_read_and_written_alike() {
    for text in ["P@1", "nDCG@5", "R@10", "PSP@1", "PSnDCG@3", "MRR@10", "C@5"] {
        assert_eq!(text.parse::<Metric>().unwrap().to_string(), text);
    }
    assert_eq!(metrics(" p@3, NDCG@7").iter().map(Metric::to_string).collect::<Vec<_>>(), ["P@3", "nDCG@7"]);
}

#[track_caller]
fn refused(text: &str, help: &str) {
    let e = text.parse::<Metric>().unwrap_err();
    assert!(e.kind() == Kind::Input && e.to_string().contains(help), "{e}");
}

#[test]
fn a_mistyped_metric_gets_a_guess() {
    refused("nDGC@5", "did you mean nDCG@5?");
    refused("PNP@3", "did you mean PSP@3?");
    refused("MMR", "did you mean MRR@1?");
    refused("accuracy@1", "known are P@k (precision), nDCG@k");
    refused("P", "for example P@1");
    refused("P@0", "needs a depth");
    refused("P@one", "needs a depth");
    assert_eq!((edits("kitten", "sitting"), edits("", "abc"), edits("ab", "ba")), (3, 3, 2));
}

#[test]
fn the_bootstrap_interval_is_that_of_the_normal_law() {
    let n = 2000;
    let s = Stream::new(3, 1);
    let a: Vec<f64> = (0..n).map(|i| f64::from(s.uniform(i) < 0.6)).collect();
    let b: Vec<f64> = (0..n).map(|i| f64::from(s.uniform(n + i) < 0.5)).collect();
    let d: Vec<f64> = a.iter().zip(&b).map(|(x, y)| x - y).collect();
    let mean = d.iter().sum::<f64>() / n as f64;
    let error = (d.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64 / n as f64).sqrt();
    let got = paired_bootstrap(&a, &b, 4000, Stream::new(1, 2));
    close(got.difference, mean, 1e-15, "difference");
    // A percentile of 4000 resamples is off by about 0.04 standard errors; four times that.
    close(got.low, mean - 1.96 * error, 0.16 * error, "low");
    close(got.high, mean + 1.96 * error, 0.16 * error, "high");
    assert_eq!(got, paired_bootstrap(&a, &b, 4000, Stream::new(1, 2)));
}

#[test]
fn the_bootstrap_draws_every_query_of_an_odd_number() {
    let three = paired_bootstrap(&[0.0, 0.0, 3.0], &[0.0; 3], 2000, Stream::new(1, 1));
    // Means are 0, 1, 2, 3 with chances 8, 12, 6, 1 of 27: 0.025 lies at 0, 0.975 at 3 or 2.
    assert_eq!((three.difference, three.low, three.high), (1.0, 0.0, three.high));
    assert!(three.high >= 2.0);
    let one = Interval { difference: 3.0, low: 3.0, high: 3.0 };
    assert_eq!(paired_bootstrap(&[5.0], &[2.0], 10, Stream::new(1, 1)), one);
    assert_eq!(bootstrap::quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
    assert_eq!(bootstrap::quantile(&[7.0], 0.975), 7.0);
}

#[test]
fn each_bin_holds_a_third_of_the_positives() {
    let bins = FrequencyBins::new(&[1, 8, 0, 3, 4, 3, 1, 1, 3]);
    // Sorted: 8 | 4 3 3 | 3 1 1 1 0 of 24: the second bin ends with the label that reaches two thirds.
    use Bin::{Head, Tail, Torso};
    let got: Vec<Bin> = (0..9).map(|label| bins.bin(label)).collect();
    assert_eq!(got, [Tail, Head, Tail, Torso, Torso, Torso, Tail, Tail, Tail]);
    assert_eq!(Bin::ALL.map(|bin| bins.labels(bin)), [1, 3, 5]);
    assert_eq!(bins.only(Torso, &[0, 3, 5]), [3, 5]);
    assert_eq!((bins.frequencies(Tail), bins.frequencies(Torso)), (Some(0..=3), Some(3..=4)));
    assert_eq!(FrequencyBins::new(&[0, 0]).frequencies(Head), None);
    let equal = FrequencyBins::new(&[3, 3, 3]);
    assert_eq!([0, 1, 2].map(|label| equal.bin(label)), Bin::ALL);
}
