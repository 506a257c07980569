//! Tapes in the language of Graphviz: parts as clusters, parameters among the lines of who reads them.

use super::folds::{Tape, flops, milliseconds, norm, shape};
use std::fmt::Write;
use train::plan::bytes;

/// The text.
pub(super) fn text(title: &str, tapes: &[Tape<'_>]) -> String {
    let mut out = format!("digraph step {{\n  label={};\n", quoted(title));
    out += "  labelloc=t; node [shape=box, fontname=\"Helvetica\", fontsize=11]; fontname=\"Helvetica\";\n";
    for (t, tape) in tapes.iter().enumerate() {
        let _ = writeln!(out, "  subgraph cluster_{t} {{\n    label={};", quoted(&tape.name));
        for (f, fold) in tape.folds.iter().enumerate() {
            if fold.is_part {
                let _ = writeln!(out, "    subgraph cluster_{t}_{f} {{\n      label={};", quoted(&fold.name));
            }
            for &id in &fold.ids {
                let _ = writeln!(out, "      v{t}_{id} [label={}];", quoted(&lines(tape, id)));
            }
            out += if fold.is_part { "    }\n" } else { "" };
        }
        out += "  }\n";
        for (id, value) in tape.values.iter().enumerate() {
            for &from in value.inputs.iter().filter(|&&from| tape.values[from as usize].param.is_none()) {
                let _ = writeln!(out, "  v{t}_{from} -> v{t}_{id};");
            }
        }
    }
    out + "}\n"
}

/// What stands in a node.
fn lines(tape: &Tape<'_>, id: usize) -> String {
    let value = &tape.values[id];
    let mut lines = vec![format!("{}   {}", value.op.unwrap_or("input"), shape(value.shape))];
    if value.op.is_some() {
        let [there, back] = value.seconds.map(milliseconds);
        lines.push(format!("{}, keeps {}", flops(value.flops.total()), bytes(value.kept as usize)));
        lines.push(format!("{there} + {back} ms"));
    }
    lines.extend(value.norm.map(|n| format!("‖∇‖ {}", norm(n))));
    for param in tape.params(id) {
        let param = &tape.values[param];
        let (name, of) = (param.param.as_deref().unwrap_or_default(), shape(param.shape));
        lines.push(format!(
            "{name} {of}{}",
            param.norm.map_or_else(String::new, |n| format!(", ‖∇‖ {}", norm(n)))
        ));
    }
    lines.join("\n")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
