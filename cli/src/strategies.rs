//! `lode strategies`: the ways to choose negatives, from the list of recipes.

use crate::context::Context;
use crate::early::Done;
use serde_json::json;
use train::recipes::{RECIPES, Recipe};

/// Lists them.
pub(crate) fn run(context: &Context) -> Done {
    if context.json {
        let object = |r: &Recipe| json!({"name": r.name, "summary": r.summary, "citation": r.citation, "cost": r.cost});
        let all: Vec<serde_json::Value> = RECIPES.iter().map(object).collect();
        return context.print_json(&json!({ "strategies": all }));
    }
    let one = |r: &Recipe| format!("{}\n  {}\n  {}\n  cost: {}\n", r.name, r.summary, r.citation, r.cost);
    let all: Vec<String> = RECIPES.iter().map(one).collect();
    context.print(&all.join("\n"))
}
