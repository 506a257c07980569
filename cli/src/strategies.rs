//! `lode strategies`: the ways to choose negatives, from the list of recipes, and the published settings of data sets.

use crate::context::Context;
use crate::early::Done;
use serde_json::json;
use train::presets::{PRESETS, Preset};
use train::recipes::{RECIPES, Recipe};

/// Lists them.
pub(crate) fn run(context: &Context) -> Done {
    if context.json {
        let object = |r: &Recipe| {
            let Recipe { name, summary, citation, cost, defaults } = r;
            json!({"name": name, "summary": summary, "citation": citation, "cost": cost, "settings": defaults})
        };
        let all: Vec<serde_json::Value> = RECIPES.iter().map(object).collect();
        let preset = |p: &Preset| json!({"name": p.name, "notes": p.notes().collect::<Vec<_>>()});
        let presets: Vec<serde_json::Value> = PRESETS.iter().map(preset).collect();
        return context.print_json(&json!({ "strategies": all, "presets": presets }));
    }
    let one = |r: &Recipe| {
        let settings = r.defaults.join("  ");
        format!("{}\n  {}\n  {}\n  cost: {}\n  {settings}\n", r.name, r.summary, r.citation, r.cost)
    };
    let all: Vec<String> = RECIPES.iter().map(one).collect();
    let preset = |p: &Preset| format!("{}\n  {}\n", p.name, p.notes().collect::<Vec<_>>().join("\n  "));
    let presets: Vec<String> = PRESETS.iter().map(preset).collect();
    context.print(&format!(
        "Strategies (lode train --strategy NAME)\n\n{}\nPresets (lode train --preset NAME)\n\n{}",
        all.join("\n"),
        presets.join("\n")
    ))
}
