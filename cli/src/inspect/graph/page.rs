//! The page of `lode inspect graph`: tapes one below the other; what is a part of the model unfolds.

use super::drawing::{self, bar, drawing, kept, slowest};
use super::folds::{Fold, Sum, Tape, flops, milliseconds, norm};
use crate::html;
use crate::quantity::count;
use crate::svg::escaped;
use std::collections::BTreeMap;
use train::Graph;
use train::plan::bytes;

const STYLE: &str = "\
.sides{display:grid;gap:0 3em;grid-template-columns:minmax(0,1fr)}.kinds{margin-top:1.5em}
.tapes{max-width:540px}.tapes h2{margin-bottom:.3em}
details,.plain{border:1px solid #b9c1c9;border-radius:7px;margin:0 0 .55em;padding:.45em .6em}
.plain{border-style:dashed}summary{cursor:pointer}summary:focus-visible{outline:2px solid #0072b2;outline-offset:3px}
summary b{margin-right:.6em}summary span,.cost span{font-size:13px;margin-right:.55em;white-space:nowrap}
summary svg{display:block;height:5px;margin-top:.4em}details[open]>summary{margin-bottom:.7em}
.swatch{display:inline-block;width:1em;height:.6em;margin:0 .3em 0 .8em}
i.there{background:#0072b2}i.back{background:#d55e00}
@media(min-width:900px){.sides{grid-template-columns:540px minmax(0,1fr);grid-template-rows:auto 1fr}
.tapes{grid-column:1;grid-row:1/span 2;margin-top:-1.4em}}
@media(prefers-color-scheme:dark){details,.plain{border-color:#4a545e}
i.there{background:#56b4e9}i.back{background:#e69f00}}
";

/// The page.
pub(super) fn html(title: &str, graph: &Graph, tapes: &[Tape<'_>]) -> String {
    let slowest = slowest(tapes);
    let part = |(tape, fold): (&Tape<'_>, &Fold)| tape.sum_of(&fold.ids).seconds.iter().sum::<f64>();
    let folds = tapes.iter().flat_map(|tape| tape.folds.iter().map(move |fold| (tape, fold)));
    let longest = folds.map(part).fold(f64::MIN_POSITIVE, f64::max);
    let tapes_drawn: String = tapes.iter().map(|tape| section(tape, slowest, longest)).collect();
    let body = format!(
        "<style>{STYLE}{}</style><p class=\"note\">{}</p><div class=\"sides\"><div>{}</div>\
         <div class=\"tapes\">{tapes_drawn}</div><div class=\"kinds wide\">{}</div></div>",
        drawing::STYLE,
        about(graph),
        facts(graph),
        kinds(tapes),
    );
    html::page(title, &body)
}

fn about(graph: &Graph) -> String {
    format!(
        "{}{} tokens in {} texts. A box is an operation: the shape that it makes, its floating-point operations and \
         the bytes that it keeps for backward, milliseconds forward + backward, the norm of the gradient of that, and \
         its parameters with theirs. Lines lead from who made a value to who reads it. Parts unfold.\
         <i class=\"swatch there\"></i>forward<i class=\"swatch back\"></i>backward",
        graph.unseen.iter().map(|what| format!("Not shown: {}. ", escaped(what))).collect::<String>(),
        count(graph.report.tokens),
        count(graph.report.texts),
    )
}

fn facts(graph: &Graph) -> String {
    let (report, total, [there, back]) = (&graph.report, graph.flops(), graph.op_seconds());
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rows = [
        row("The step", String::new()),
        row("loss", format!("{:.4}", report.loss)),
        row("norm of the gradient", norm(report.grad_norm)),
        row("forward", format!("{}, {} ms", flops(total.forward), milliseconds(there))),
        row("backward", format!("{}, {} ms", flops(total.backward), milliseconds(back))),
        row("beside operations", format!("{} ms", milliseconds(graph.seconds - there - back))),
        row("kept for backward", bytes(graph.kept() as usize)),
    ];
    html::table(&rows)
}

/// Operations by name, the slowest first.
fn kinds(tapes: &[Tape<'_>]) -> String {
    let mut kinds: BTreeMap<&str, (u64, u64, u64, f64)> = BTreeMap::new();
    for value in tapes.iter().flat_map(|tape| tape.values) {
        let Some(op) = value.op else { continue };
        let (calls, cost, kept, seconds) = kinds.entry(op).or_default();
        (*calls, *cost, *kept) = (*calls + 1, *cost + value.flops.total(), *kept + value.kept);
        *seconds += value.seconds.iter().sum::<f64>();
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by(|a, b| b.1.3.total_cmp(&a.1.3));
    let mut rows = vec![["operation", "", "FLOP", "kept", "ms"].map(str::to_owned).to_vec()];
    rows.extend(kinds.into_iter().map(|(op, (calls, cost, kept, seconds))| {
        let cost = flops(cost).replace("FLOP", "");
        vec![op.to_owned(), count(calls), cost, bytes(kept as usize), milliseconds(seconds)]
    }));
    html::table(&rows)
}

fn section(tape: &Tape<'_>, slowest: f64, longest: f64) -> String {
    let mut out = format!("<section><h2>{}</h2>", escaped(&tape.name));
    out += &format!("<p class=\"cost\">{}</p>", cost(&tape.sum()));
    for fold in &tape.folds {
        let sum = tape.sum_of(&fold.ids);
        let drawn = drawing(tape, &fold.ids, slowest).element(&format!("{}, {}", tape.name, fold.name));
        if !fold.is_part {
            out += &format!("<div class=\"plain\">{drawn}</div>");
            continue;
        }
        let bar = bar(sum.seconds.map(|s| 400.0 * s / longest), (0.0, 0.0));
        out += &format!(
            "<details><summary><b>{}</b>{}<svg viewBox=\"0 0 400 3\" preserveAspectRatio=\"none\" \
             aria-hidden=\"true\">{bar}</svg></summary>{drawn}</details>",
            escaped(&fold.name),
            cost(&sum)
        );
    }
    out + "</section>"
}

/// What values come to, piece by piece, so that a narrow screen can break the line.
fn cost(sum: &Sum) -> String {
    let [there, back] = sum.seconds.map(milliseconds);
    let ops = if sum.ops == 1 { "1 op".to_owned() } else { format!("{} ops", count(sum.ops)) };
    let mut pieces = vec![ops, flops(sum.flops.total()), kept(sum.kept), format!("{there} + {back} ms")];
    pieces.extend(sum.norm.map(|n| format!("‖∇θ‖ {}", norm(n))));
    pieces.iter().map(|piece| format!("<span>{piece}</span> ")).collect()
}
