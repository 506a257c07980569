//! Losses over a batch beside sentence-transformers': value and gradient (`tests/golden/make_losses.py`).
//!
//! Five anchors with their positives and, where a loss wants them, five hard negatives. Scores, masks, shapers and
//! objectives are put together here as recipes do it. `standin.rs` has the same on a device.

use autograd::Tape;
use engine::{Engine, Packed, Tensor};
use models::{CoSent, Distil, InfoNce, MarginMse, Objective, Terms, Triplet, Weighting};
use safetensors::SafeTensors;
use samplers::block::{Members, keep};
use samplers::mask::Known;
use samplers::shaper::guided::{Guided, Margin};
use samplers::shaper::{Edits, Scores, Shaper};
use samplers::{Block, Csr, Hardness, Lists, Matrix, OwnOnly};
use train::batch::{Batch, Similarity};

const ROWS: usize = 5;
const WIDTH: usize = 8;

/// What a loss is made of.
struct Case<'a> {
    name: &'a str,
    /// Whether the hard negatives are columns, too.
    hard: bool,
    blocks: &'a [Block],
    shapers: Vec<Box<dyn Shaper>>,
    objective: Box<dyn Objective>,
    cosine: bool,
    similarity: Similarity,
}

fn numbers(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let bytes = file.tensor(name).expect("a tensor").data();
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// Query i has label i; label 5 + i was drawn for it where there are hard negatives.
fn batch(hard: bool, blocks: &[Block]) -> Batch {
    let m = if hard { 2 * ROWS as u32 } else { ROWS as u32 };
    let (rows, labels): (Vec<u32>, Vec<u32>) = ((0..ROWS as u32).collect(), (0..m).collect());
    let starts: Vec<u64> = (0..=ROWS as u64).collect();
    let known = Known { positives: Csr { starts: &starts, items: &rows }, barred: None, text_group: None };
    let members =
        Members { queries: &rows, query_texts: &rows, labels: &labels, target: &rows, queued: &[], mixed: 0 };
    Batch {
        keep: keep(blocks, &known, members),
        blocks: blocks.to_vec(),
        targets: rows.clone().into(),
        own: hard.then(|| rows.iter().map(|&i| [ROWS as u32 + i]).collect::<Lists>()),
        chance: None,
        of_labels: false,
        row_weight: None,
        texts: Packed::default(),
        query_texts: rows.clone().into(),
        label_texts: labels.iter().map(|l| ROWS as u32 + l).collect(),
        key_texts: None,
        queued: None,
        rows,
        labels,
    }
}

fn check(engine: &Engine, file: &SafeTensors<'_>, case: &Case<'_>) {
    let mut batch = batch(case.hard, case.blocks);
    let tape = Tape::new(engine);
    let texts = |name| engine.place(&Tensor::from_vec([3 * ROWS, WIDTH], numbers(file, name)));
    let guide = match case.name {
        "margin_mse" | "distil" => {
            // Two scores of each row: its positive's, and that of its own negative.
            let given = numbers(file, "teacher");
            let mut all = vec![0.0; 2 * ROWS * ROWS];
            for i in 0..ROWS {
                (all[2 * ROWS * i + i], all[2 * ROWS * i + ROWS + i]) = (given[2 * i], given[2 * i + 1]);
            }
            Tensor::from_vec([ROWS, 2 * ROWS], all)
        }
        _ => {
            let tape = Tape::inference(engine);
            let guide = tape.leaf(texts("guide")).normalise();
            batch.scores(guide, batch.columns(guide, None, None), Similarity::Cosine).value().to_cpu()
        }
    };
    if case.blocks.contains(&Block::LabelQuery) {
        // The library leaves the positive pair in the partition twice, as GTE's equation does; a known positive is
        // never a negative here.
        let width = batch.keep.len() / ROWS;
        (0..ROWS).for_each(|i| batch.keep[i * width + 2 * ROWS + i] = 1.0);
    }
    let leaf = tape.leaf(texts("embeddings"));
    let texts = if case.cosine { leaf.normalise() } else { leaf };
    let scores = batch.scores(texts, batch.columns(texts, None, None), case.similarity);
    assert_eq!(scores.value().cuda().is_some(), engine.cuda().is_some(), "where they are computed");
    let (values, width) = (scores.value().to_cpu(), scores.shape().last());
    let mut edits = Edits::masked(batch.keep.clone());
    let seen = Scores {
        guide: Some(Matrix::new(guide.data(), width)),
        own: batch.own.as_ref(),
        ..Scores::new(Matrix::new(values.data(), width), &batch.targets)
    };
    case.shapers.iter().for_each(|shaper| shaper.shape(&seen, &mut edits));
    let keep = edits.keep.iter().map(|&k| k > 0.0).collect();
    let shift = edits.shift.map(|shift| Tensor::from_vec(scores.shape(), shift));
    let terms = Terms { shift, teacher: Some(guide.clone()), ..Terms::masked(batch.targets.clone(), keep) };
    let loss = case.objective.loss(scores, &terms);
    let (value, want) = (loss.value().item(), f64::from(numbers(file, &format!("{}.loss", case.name))[0]));
    assert!((value - want).abs() <= 1e-5 * want.abs().max(1.0), "{}: {value}, {want}", case.name);
    let grads = tape.backward_from(loss);
    let (got, want) = (grads.of(leaf).to_f64(), numbers(file, &format!("{}.grad", case.name)));
    let largest = want.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    let off = got.iter().zip(&want).map(|(g, w)| (*g as f32 - w).abs()).fold(0.0, f32::max);
    assert!(largest > 0.0 && off <= 1e-5 * largest.max(1.0), "{}: {off} of {largest}", case.name);
}

#[test]
fn losses_and_gradients_are_those_of_sentence_transformers() {
    all(&Engine::new(1));
}

/// Every loss of the file, on any engine.
pub(crate) fn all(engine: &Engine) {
    const QL: &[Block] = &[Block::QueryLabel];
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/losses.safetensors");
    let bytes = std::fs::read(path).expect("a golden file");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let infonce = |symmetric| InfoNce { temperature: 0.05, symmetric, top_rows: 1.0 };
    let case = |name, hard, blocks, shapers, objective: Box<dyn Objective>, cosine| {
        check(
            engine,
            &file,
            &Case { name, hard, blocks, shapers, objective, cosine, similarity: Similarity::Cosine },
        );
    };
    let own = || -> Vec<Box<dyn Shaper>> { vec![Box::new(OwnOnly)] };
    let guided = |margin| -> Vec<Box<dyn Shaper>> { vec![Box::new(Guided { margin })] };
    case("in_batch", false, QL, vec![], Box::new(infonce(false)), true);
    case("hard", true, QL, vec![], Box::new(infonce(false)), true);
    case("symmetric", false, QL, vec![], Box::new(infonce(true)), true);
    let all = [Block::QueryLabel, Block::QueryQuery, Block::LabelQuery, Block::LabelLabel];
    case("directions", false, &all, vec![], Box::new(infonce(false)), true);
    case("hardness", true, QL, vec![Box::new(Hardness { strength: 9.0 })], Box::new(infonce(false)), true);
    let three = [Block::QueryLabel, Block::QueryQuery, Block::LabelLabel];
    case("gist_absolute", true, &three, guided(Margin::Absolute(0.1)), Box::new(infonce(false)), true);
    case("gist_relative", false, &three, guided(Margin::Relative(0.4)), Box::new(infonce(false)), true);
    let triplet = Triplet { margin: 0.3, hardest: 1, temperature: 1.0, weighting: Weighting::None };
    case("triplet", true, QL, own(), Box::new(triplet), true);
    case("margin_mse", true, QL, own(), Box::new(MarginMse), false);
    case("distil", true, QL, own(), Box::new(Distil { temperature: 2.0, teacher: 0.5 }), false);
    for (name, hard, similarity) in [
        ("cosent", false, Similarity::Cosine),
        ("cosent_hard", true, Similarity::Cosine),
        ("angle", false, Similarity::Angle),
        ("angle_hard", true, Similarity::Angle),
    ] {
        let objective = Box::new(CoSent { temperature: 0.05 });
        let (blocks, shapers) = (QL, vec![]);
        check(engine, &file, &Case { name, hard, blocks, shapers, objective, cosine: true, similarity });
    }
}
