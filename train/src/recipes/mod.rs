//! Recipes: strategies by name. A strategy is a choice of parts and of what they are told; a recipe writes it down,
//! with its citation and its cost.
//!
//! A *part* is one file in the layer where it belongs: composers, miners and shapers in `samplers`, objectives in
//! `models`, and its name in [`crate::parts`]. A *recipe* is one file here and one line in [`RECIPES`]; from there it
//! appears in the command line, in the configuration, in the documentation and in the tests. It sets what the user left
//! open, so every part of a strategy can be exchanged: `--strategy ance --set negatives.pick=window`.

use crate::config::{Origin, Settings};
use engine::{Error, Result};

mod adore;
mod ance;
mod ar2;
mod bm25;
mod cet;
mod cosent;
mod cross_encoder;
mod dbpm;
mod debiased;
mod dexml;
mod dexml_hard;
mod distil;
mod gist;
mod gte;
mod hard_weighted;
mod hardness;
mod in_batch;
mod label_tree;
mod log_uniform;
mod margin_mse;
mod memory_queue;
mod mochi;
mod moco;
mod ngame;
mod ngame_labels;
mod nv_embed;
mod nv_retriever;
mod popularity;
mod ps_kd;
mod rocketqa;
mod simans;
mod star;
mod tas_balanced;
mod top_loss;
mod unidec;
mod uniform;
mod zloss;

/// A strategy.
#[derive(Debug)]
pub struct Recipe {
    /// The name, as `--strategy` takes it.
    pub name: &'static str,
    /// One line for a list.
    pub summary: &'static str,
    /// Where it comes from.
    pub citation: &'static str,
    /// What it costs beside the training of the batch itself, for B rows, F being the encoding of a text and L, N the
    /// labels and training queries.
    pub cost: &'static str,
    /// Settings, as `a.b=c`, where the user said nothing.
    pub defaults: &'static [&'static str],
}

impl Recipe {
    /// Whether it learns with a classifier's weights.
    pub fn has_head(&self) -> bool {
        self.defaults.contains(&"head.name=classifier")
    }
}

/// All recipes, the plain ones first.
pub const RECIPES: &[Recipe] = &[
    in_batch::RECIPE,
    ngame::RECIPE,
    ngame_labels::RECIPE,
    uniform::RECIPE,
    log_uniform::RECIPE,
    popularity::RECIPE,
    bm25::RECIPE,
    star::RECIPE,
    adore::RECIPE,
    ance::RECIPE,
    simans::RECIPE,
    label_tree::RECIPE,
    nv_retriever::RECIPE,
    nv_embed::RECIPE,
    rocketqa::RECIPE,
    cross_encoder::RECIPE,
    ar2::RECIPE,
    gist::RECIPE,
    gte::RECIPE,
    debiased::RECIPE,
    hard_weighted::RECIPE,
    hardness::RECIPE,
    margin_mse::RECIPE,
    distil::RECIPE,
    tas_balanced::RECIPE,
    dexml::RECIPE,
    dexml_hard::RECIPE,
    memory_queue::RECIPE,
    moco::RECIPE,
    mochi::RECIPE,
    dbpm::RECIPE,
    ps_kd::RECIPE,
    top_loss::RECIPE,
    cet::RECIPE,
    cosent::RECIPE,
    zloss::RECIPE,
    unidec::RECIPE,
];

/// The recipe of this name.
///
/// # Errors
/// If there is none: with the names that there are.
pub fn find(name: &str) -> Result<&'static Recipe> {
    RECIPES.iter().find(|r| r.name == name).ok_or_else(|| {
        let near = RECIPES
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(a.name, name).total_cmp(&strsim::jaro_winkler(b.name, name)));
        let near = near.map_or("ngame", |recipe| recipe.name);
        Error::input(format!("there is no strategy `{name}`"))
            .help(format!("did you mean `{near}`? `lode strategies` lists all"))
    })
}

/// Lays the defaults of the chosen recipe, loss and head under what the user said.
///
/// # Errors
/// If the recipe is unknown.
pub fn apply_defaults(settings: &mut Settings) -> Result<()> {
    let has_head = settings.text("head.name") == Some("classifier");
    // A classifier has its own way to its negatives; random batches serve it unless a strategy is asked for.
    let asked_for = settings.origin("strategy.name") != Some(&Origin::Default);
    if has_head && !asked_for {
        settings.recipe("composer.name", "shuffled", "classifier")?;
    }
    let recipe = find(settings.text("strategy.name").unwrap_or_default())?;
    for assignment in recipe.defaults {
        settings.recipe_set(assignment, recipe.name, asked_for)?;
    }
    if settings.text("loss.name") == Some("triplet") {
        settings.recipe("loss.temperature", 0.1, "triplet")?;
        settings.recipe("loss.hardest", 10, "triplet")?;
    }
    // Whoever names the loss alone gets what it needs.
    if has_head && settings.text("head.loss") == Some("zloss") {
        for needs in zloss::NEEDS {
            settings.recipe_set(needs, "zloss", false)?;
        }
    }
    // Where label weights rest, it is the encoder that learns, and what holds for encoders holds.
    if has_head && settings.text("head.optimizer") != Some("none") {
        settings.recipe("train.epochs", 10, "classifier")?;
        settings.recipe("train.lr", 1e-3, "classifier")?;
    }
    settings.config().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_every_default_is_a_setting() {
        for (i, recipe) in RECIPES.iter().enumerate() {
            assert!(RECIPES[..i].iter().all(|other| other.name != recipe.name), "{}", recipe.name);
            let mut settings = Settings::default();
            settings.set(&format!("strategy.name={}", recipe.name)).expect("a name");
            if ["margin-mse", "distil", "tas-balanced"].contains(&recipe.name) {
                settings.set("guide.model=start").expect("a guide");
            }
            if recipe.name == "rocketqa" {
                settings.set("negatives.rescore=somewhere").expect("a judge");
            }
            apply_defaults(&mut settings).unwrap_or_else(|e| panic!("{}: {e}", recipe.name));
        }
    }

    #[test]
    fn the_documentation_has_a_section_for_each() {
        let text = include_str!("../../../docs/strategies.md");
        let sections: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .flat_map(|names| names.split(", "))
            .collect();
        let names: Vec<&str> = RECIPES.iter().map(|recipe| recipe.name).collect();
        assert_eq!(sections, names);
    }

    #[test]
    fn a_recipe_sets_what_the_user_left_open() {
        let mut settings = Settings::default();
        settings.set("strategy.name=ance").expect("a name");
        settings.set("negatives.count=7").expect("a value");
        apply_defaults(&mut settings).expect("a recipe");
        let config = settings.config().expect("in range");
        assert_eq!(
            (&*config.negatives.from, config.negatives.count, config.negatives.own),
            ("model", 7, true)
        );
        assert_eq!(settings.origin("negatives.from"), Some(&Origin::Recipe("ance")));
    }

    #[test]
    fn what_a_recipe_sets_is_there_before_anything_is_checked() {
        for changes in
            [["strategy.name=star", "negatives.own=true"], ["strategy.name=gist", "loss.name=distil"]]
        {
            let mut settings = Settings::default();
            changes.iter().for_each(|change| settings.set(change).expect("a value"));
            apply_defaults(&mut settings).unwrap_or_else(|e| panic!("{changes:?}: {e}"));
        }
    }

    #[test]
    fn a_loss_of_classifiers_sets_nothing_for_an_encoder() {
        let rate = |head: &str| {
            let mut settings = Settings::default();
            ["head.loss=zloss", head].iter().for_each(|change| settings.set(change).expect("a value"));
            apply_defaults(&mut settings).unwrap_or_else(|e| panic!("{head}: {e}"));
            settings.config().expect("in range").train.lr
        };
        assert!(rate("head.name=classifier") > 1.0 && rate("head.name=none") < 0.1);
    }

    #[test]
    fn a_strategy_that_is_asked_for_stands_above_a_preset() {
        let mut settings = Settings::default();
        settings.preset("lf-amazontitles-131k").expect("a preset");
        let loss = |settings: &Settings| settings.config().expect("in range").loss.name;
        let mut alone = settings.clone();
        apply_defaults(&mut alone).expect("a recipe");
        settings.set("strategy.name=star").expect("a name");
        apply_defaults(&mut settings).expect("a recipe");
        assert_eq!((&*loss(&alone), &*loss(&settings)), ("triplet", "pairwise"));
    }

    #[test]
    fn a_classifier_has_random_batches_unless_a_strategy_is_asked_for() {
        let composer = |strategy: Option<&str>| {
            let mut settings = Settings::default();
            settings.set("head.name=classifier").expect("a head");
            if let Some(name) = strategy {
                settings.set(&format!("strategy.name={name}")).expect("a name");
            }
            apply_defaults(&mut settings).expect("a recipe");
            settings.config().expect("in range").composer.name
        };
        assert_eq!((&*composer(None), &*composer(Some("ngame"))), ("shuffled", "ngame"));
    }

    #[test]
    fn angles_are_for_queries_against_labels_alone() {
        let refused = |change: &str| {
            let mut settings = Settings::default();
            settings.set("strategy.name=cosent").expect("a name");
            settings.set("loss.similarity=angle").expect("a value");
            settings.set(change).expect("a value");
            apply_defaults(&mut settings).expect_err("refused").to_string()
        };
        for (change, why) in [
            ("guide.model=start", "guide.model"),
            ("memory.queue=64", "memory.queue"),
            ("loss.blocks=['query-label', 'query-query']", "loss.blocks"),
            ("loss.name=debiased", "the least that cosines can be"),
            ("head.name=classifier", "learns a classifier"),
        ] {
            let error = refused(change);
            assert!(error.contains("`loss.similarity=angle`") && error.contains(why), "{change}: {error}");
        }
        assert!(refused("loss.similarity=dot").contains("must be one of cosine, angle, it is dot"));
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let e = find("ngam").expect_err("unknown").to_string();
        assert!(e.contains("no strategy `ngam`") && e.contains("did you mean `ngame`"), "{e}");
    }
}
