//! A tape as a drawing: a box for each operation in the order of the tape, and lines from who made a value to who reads
//! it. Neighbours are joined straight; all other lines run in lanes to the left, one lane for each value that is read
//! further on.

use super::folds::{Tape, flops, milliseconds, norm, shape};
use crate::svg::{escaped, fitted};
use std::fmt::Write;
use train::Graph;
use train::plan::bytes;

/// Width of a drawing, so that its letters can be read on a phone.
pub(super) const WIDTH: f64 = 400.0;
/// Between two lanes, and between two boxes.
const LANE: f64 = 11.0;
const GAP: f64 = 16.0;
/// Height of a box without parameters, of the line of a parameter, of a value from elsewhere.
const BOX: f64 = 62.0;
const PARAM: f64 = 15.0;
const SOURCE: f64 = 26.0;
/// Width of the column of the norms of parameters.
const NORM: f64 = 80.0;

/// Colours of boxes, lines and bars, by day and by night.
pub(super) const STYLE: &str = "\
.box{fill:#f5f7f9;stroke:#b9c1c9}.source{fill:none;stroke:#b9c1c9;stroke-dasharray:4 3}
.edge{fill:none;stroke:#6b7680;stroke-width:1.3}.tip{fill:#6b7680}.there{fill:#0072b2}.back{fill:#d55e00}
.op{font-weight:600;font-size:14px}.end,.shape{text-anchor:end}.param{font-size:11.5px;opacity:.85}
@media(prefers-color-scheme:dark){.box{fill:#1f2429;stroke:#4a545e}.source{stroke:#4a545e}
.edge{stroke:#93a0ab}.tip{fill:#93a0ab}.there{fill:#56b4e9}.back{fill:#e69f00}}";

/// A drawing that is not yet an element.
pub(super) struct Drawing {
    /// Its height.
    pub(super) height: f64,
    inner: String,
}

impl Drawing {
    /// The element, to stand in a page.
    pub(super) fn element(&self, label: &str) -> String {
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{}\">{}</svg>",
            self.height,
            escaped(label),
            self.inner
        )
    }
}

/// A value on the drawing.
struct Row {
    id: usize,
    /// Whether it was made elsewhere on the tape.
    is_source: bool,
    top: f64,
    height: f64,
}

/// Values `ids` of a tape; `slowest` seconds have a bar as wide as a box.
pub(super) fn drawing(tape: &Tape<'_>, ids: &[usize], slowest: f64) -> Drawing {
    let (rows, height) = rows(tape, ids);
    let lanes = lanes(tape, &rows);
    let left = 10.0 + LANE * lanes.iter().flatten().map(|&(lane, _)| lane + 1).max().unwrap_or(0) as f64;
    let (prefix, mut inner) = (prefix(tape, ids), String::new());
    for (at, (row, lane)) in rows.iter().zip(&lanes).enumerate() {
        let bottom = row.top + row.height;
        if let Some(next) = rows.get(at + 1).filter(|next| reads(tape, next, row)) {
            inner += &arrow_down(left + 24.0, bottom, next.top);
        }
        let Some((lane, readers)) = lane else { continue };
        let x = left - LANE * (*lane as f64 + 0.8);
        for &reader in readers {
            inner += &arrow_around((left, x), bottom - 9.0, rows[reader].top + 13.0);
        }
    }
    rows.iter().for_each(|row| inner += &boxed(tape, row, (left, prefix), slowest));
    Drawing { height, inner }
}

/// From a box to the next one.
fn arrow_down(x: f64, from: f64, to: f64) -> String {
    let (left, right, neck) = (x - 4.0, x + 4.0, to - 7.0);
    format!(
        "<path class=\"edge\" d=\"M{x} {from}V{neck}\"/><path class=\"tip\" d=\"M{left} {neck}H{right}L{x} {to}z\"/>"
    )
}

/// From the left side of a box through the lane at `x` to that of a box further down.
fn arrow_around((left, x): (f64, f64), from: f64, to: f64) -> String {
    let (bend, down, up, neck) = (x + 4.0, from + 4.0, to - 4.0, left - 6.0);
    format!(
        "<path class=\"edge\" d=\"M{left} {from}H{bend}Q{x} {from} {x} {down}V{up}Q{x} {to} {bend} {to}H{neck}\"/>\
         <path class=\"tip\" d=\"M{neck} {up}V{}L{left} {to}z\"/>",
        to + 4.0
    )
}

/// What comes from elsewhere, then the values themselves; and how high that is.
fn rows(tape: &Tape<'_>, ids: &[usize]) -> (Vec<Row>, f64) {
    let mut sources: Vec<usize> =
        ids.iter().flat_map(|&id| &tape.values[id].inputs).map(|&i| i as usize).collect();
    sources.retain(|input| tape.values[*input].param.is_none() && !ids.contains(input));
    sources.sort_unstable();
    sources.dedup();
    let (mut rows, mut top) = (vec![], 2.0);
    for (id, is_source) in sources.into_iter().map(|id| (id, true)).chain(ids.iter().map(|&id| (id, false))) {
        let is_leaf = tape.values[id].op.is_none();
        let height = if is_source || is_leaf { SOURCE } else { BOX + PARAM * tape.params(id).count() as f64 };
        rows.push(Row { id, is_source, top, height });
        top += height + GAP;
    }
    (rows, top - GAP + 2.0)
}

fn reads(tape: &Tape<'_>, reader: &Row, of: &Row) -> bool {
    !reader.is_source && tape.values[reader.id].inputs.contains(&(of.id as u32))
}

/// For each row the lane of its value and the rows further on that read it, if there are any. A lane is free again
/// where its last reader stands.
fn lanes(tape: &Tape<'_>, rows: &[Row]) -> Vec<Option<(usize, Vec<usize>)>> {
    let mut busy_until: Vec<usize> = vec![];
    let one = |(at, row): (usize, &Row)| {
        let further = at + 2..rows.len();
        let readers: Vec<usize> = further.filter(|&reader| reads(tape, &rows[reader], row)).collect();
        let &last = readers.last()?;
        let lane = busy_until.iter().position(|&until| until <= at).unwrap_or(busy_until.len());
        if lane == busy_until.len() {
            busy_until.push(0);
        }
        busy_until[lane] = last;
        Some((lane, readers))
    };
    rows.iter().enumerate().map(one).collect()
}

/// The length of what the names of all parameters begin with, up to a dot: the drawing stands where that is said.
fn prefix(tape: &Tape<'_>, ids: &[usize]) -> usize {
    let params = ids.iter().flat_map(|&id| tape.params(id));
    let mut names = params.filter_map(|param| tape.values[param].param.as_deref());
    let Some(first) = names.next() else { return 0 };
    let same = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let most =
        names.fold(first.rfind('.').map_or(0, |dot| dot + 1), |most, name| most.min(same(first, name)));
    first.as_bytes()[..most].iter().rposition(|&b| b == b'.').map_or(0, |dot| dot + 1)
}

fn gradient(of: f64) -> String {
    format!("‖∇‖ {}", norm(of))
}

/// What is kept for backward.
pub(super) fn kept(n: u64) -> String {
    if n == 0 { "keeps nothing".to_owned() } else { format!("keeps {}", bytes(n as usize)) }
}

fn boxed(tape: &Tape<'_>, row: &Row, (left, prefix): (f64, usize), slowest: f64) -> String {
    let (value, top, right) = (&tape.values[row.id], row.top, WIDTH - 10.0);
    let wide = WIDTH - 2.0 - left;
    let mut out = String::from("<g>");
    let line = |out: &mut String, y: f64, class: &str, text: &str| {
        let x = match class.rsplit(' ').next() {
            Some("end") => right,
            Some("shape") => right - NORM,
            _ => left + 9.0,
        };
        let _ = write!(out, "<text class=\"{class}\" x=\"{x}\" y=\"{}\">{text}</text>", top + y);
    };
    let of = shape(value.shape);
    if row.is_source || value.op.is_none() {
        let from = match (row.is_source, value.op) {
            (true, Some(op)) => {
                tape.part_of(row.id).map_or_else(|| format!("from {op}"), |part| format!("from {part}, {op}"))
            }
            _ => value.norm.map_or_else(|| "input".to_owned(), |n| format!("input, {}", gradient(n))),
        };
        let height = row.height;
        let _ = write!(
            out,
            "<rect class=\"source\" x=\"{left}\" y=\"{top}\" width=\"{wide}\" height=\"{height}\" rx=\"13\"/>"
        );
        line(&mut out, 17.0, "", &escaped(&from));
        line(&mut out, 17.0, "end", &of);
        return out + "</g>";
    }
    let height = row.height;
    let _ = write!(
        out,
        "<rect class=\"box\" x=\"{left}\" y=\"{top}\" width=\"{wide}\" height=\"{height}\" rx=\"5\"/>"
    );
    line(&mut out, 18.0, "op", value.op.unwrap_or_default());
    line(&mut out, 18.0, "end", &of);
    line(&mut out, 35.0, "", &format!("{} · {}", flops(value.flops.total()), kept(value.kept)));
    let [there, back] = value.seconds.map(milliseconds);
    line(&mut out, 35.0, "end", &format!("{there} + {back} ms"));
    line(&mut out, 51.0, "param", "gradient of the output");
    line(&mut out, 51.0, "param end", &value.norm.map_or_else(|| "nothing".to_owned(), gradient));
    for (i, param) in tape.params(row.id).enumerate() {
        let (param, y) = (&tape.values[param], 51.0 + PARAM * (i + 1) as f64);
        let name = param.param.as_deref().unwrap_or_default();
        line(&mut out, y, "param", &fitted(&name[prefix..], 29));
        line(&mut out, y, "param shape", &shape(param.shape));
        line(&mut out, y, "param end", &param.norm.map_or_else(|| "fixed".to_owned(), gradient));
    }
    out + &bar(value.seconds.map(|s| s / slowest * wide), (left, top + height - 4.0)) + "</g>"
}

/// Times forward and backward as lengths, one after the other.
pub(super) fn bar([there, back]: [f64; 2], (x, y): (f64, f64)) -> String {
    format!(
        "<rect class=\"there\" x=\"{x:.1}\" y=\"{y}\" width=\"{there:.1}\" height=\"3\"/>\
         <rect class=\"back\" x=\"{:.1}\" y=\"{y}\" width=\"{back:.1}\" height=\"3\"/>",
        x + there
    )
}

/// The longest time that an operation took.
pub(super) fn slowest(tapes: &[Tape<'_>]) -> f64 {
    let seconds = tapes.iter().flat_map(|tape| tape.values).map(|value| value.seconds[0] + value.seconds[1]);
    seconds.fold(f64::MIN_POSITIVE, f64::max)
}

/// All of it unfolded, one drawing below the other, as a file of its own.
pub(super) fn whole(title: &str, _: &Graph, tapes: &[Tape<'_>]) -> String {
    let (mut inner, mut top, slowest) = (String::new(), 0.0, slowest(tapes));
    let heading = |inner: &mut String, top: &mut f64, size: u32, text: &str| {
        *top += 2.0 * f64::from(size);
        let _ = write!(
            inner,
            "<text x=\"10\" y=\"{top}\" style=\"font-size:{size}px;font-weight:600\">{}</text>",
            escaped(text)
        );
        *top += 10.0;
    };
    heading(&mut inner, &mut top, 17, title);
    for tape in tapes {
        heading(&mut inner, &mut top, 15, &tape.name);
        for fold in &tape.folds {
            if fold.is_part {
                let sum = tape.sum_of(&fold.ids);
                let [there, back] = sum.seconds.map(milliseconds);
                let text = format!("{}: {}, {there} + {back} ms", fold.name, flops(sum.flops.total()));
                heading(&mut inner, &mut top, 13, &text);
            }
            let Drawing { height, inner: drawn } = drawing(tape, &fold.ids, slowest);
            let _ = write!(inner, "<svg y=\"{top}\" width=\"{WIDTH}\" height=\"{height}\">{drawn}</svg>");
            top += height + GAP;
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top:.0}\" \
         width=\"{WIDTH}\" height=\"{top:.0}\">\
         <title>{}</title><style>:root{{color:#222;background:#fff;font:12px system-ui,sans-serif}}\
         text{{fill:currentColor}}{STYLE}\
         @media(prefers-color-scheme:dark){{:root{{color:#ddd;background:#151515}}}}</style>{inner}</svg>\n",
        escaped(title)
    )
}
