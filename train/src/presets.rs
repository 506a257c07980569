//! Presets: the published settings of a data set under its name, as configurations that the binary carries.
//!
//! Each is a file of `presets/`, laid under everything that the user says and over the defaults. Its first lines say
//! whose settings they are, what of them has no place here, and how to prepare and to measure. None was run here: what
//! they give is for whoever has the data to find out.

use engine::{Error, Result};

/// A configuration with a name.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The name, as `--preset` takes it.
    pub name: &'static str,
    /// The file.
    pub text: &'static str,
}

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(Preset { name: $name, text: include_str!(concat!("../../presets/", $name, ".toml")) }),*]
    };
}

/// All presets.
pub const PRESETS: &[Preset] = embedded![
    "eurlex-4k-dexml",
    "lf-amazontitles-131k",
    "lf-amazontitles-131k-renee",
    "lf-amazontitles-131k-dexml",
    "lf-amazon-131k",
    "lf-amazon-131k-renee",
    "lf-aol-270k",
    "lf-wikiseealso-320k",
    "lf-wikiseealso-320k-renee",
    "lf-wikipedia-500k",
    "lf-wikipedia-500k-renee",
    "lf-wikihierarchy-1m",
    "lf-amazontitles-1.3m",
    "lf-amazontitles-1.3m-renee",
];

impl Preset {
    /// What the file says of itself before its first setting, a line each.
    pub fn notes(&self) -> impl Iterator<Item = &'static str> {
        self.text.lines().map_while(|line| line.strip_prefix("# "))
    }
}

/// The preset of this name.
///
/// # Errors
/// If there is none: with the names that there are.
pub fn find(name: &str) -> Result<&'static Preset> {
    PRESETS.iter().find(|p| p.name == name).ok_or_else(|| {
        let names: Vec<&str> = PRESETS.iter().map(|p| p.name).collect();
        Error::input(format!("there is no preset `{name}`")).help(format!("known: {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Settings};
    use crate::recipes;

    fn config(name: &str) -> Config {
        let mut settings = Settings::default();
        settings.preset(name).expect("known keys and types");
        recipes::apply_defaults(&mut settings).expect("a known recipe");
        settings.config().expect("in range")
    }

    #[test]
    fn every_file_of_the_folder_is_a_preset_that_says_whose_it_is() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../presets");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .expect("the folder is there")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().replace(".toml", ""))
            .collect();
        let mut names: Vec<&str> = PRESETS.iter().map(|p| p.name).collect();
        files.sort_unstable();
        names.sort_unstable();
        assert_eq!(files, names);
        for preset in PRESETS {
            let notes: Vec<&str> = preset.notes().collect();
            let says = |what: &str| notes.iter().any(|line| line.contains(what));
            assert_eq!(notes[1], "Settings as published, not run here.", "{}", preset.name);
            for what in ["Source: ", "--max-len ", "--propensity "] {
                assert!(says(what), "{} does not say {what}", preset.name);
            }
            config(preset.name);
        }
        assert!(find("lf-amazon").is_err_and(|e| e.to_string().contains("lf-amazontitles-1.3m")));
    }

    /// Typed from the table of LEVER's appendix, not from the files: batch, epochs, margin, size of clusters.
    #[test]
    fn encoders_are_trained_as_the_table_says() {
        for (name, size, margin, batch, epochs) in [
            ("lf-amazon-131k", 512, 0.3, 700, 400),
            ("lf-wikiseealso-320k", 512, 0.3, 1024, 300),
            ("lf-wikipedia-500k", 16, 0.3, 512, 40),
            ("lf-amazontitles-1.3m", 8, 0.3, 1600, 400),
            ("lf-wikihierarchy-1m", 1024, 0.3, 6400, 300),
        ] {
            let c = config(name);
            assert_eq!((c.train.batch, c.train.epochs, c.loss.margin), (batch, epochs, margin), "{name}");
            assert_eq!((c.train.lr, c.composer.refresh_epochs), (2e-4, 5), "{name}");
            assert_eq!(c.composer.sizes, [format!("0:{size}")], "{name}");
            assert_eq!((&*c.loss.name, c.loss.hardest, c.loss.temperature), ("triplet", 10, 0.1), "{name}");
        }
        let aol = config("lf-aol-270k");
        assert_eq!((&*aol.composer.name, aol.loss.margin, aol.train.batch), ("shuffled", 0.05, 3200));
    }

    #[test]
    fn the_curriculum_is_that_of_the_published_configuration() {
        let c = config("lf-amazontitles-131k");
        assert_eq!((c.train.epochs, c.train.batch, c.train.warmup_steps), (300, 1600, 100));
        let epochs = [10, 20, 25, 50, 75, 100, 125, 150, 200];
        let sizes: Vec<String> = (1..).zip(epochs).map(|(log, e)| format!("{e}:{}", 1 << log)).collect();
        assert_eq!((c.composer.sizes, c.composer.refresh_epochs), (sizes, 5));
        assert_eq!((c.train.weight_decay, c.train.clip, &*c.train.schedule), (0.0, 0.0, "linear"));
    }

    /// Renée's tables 14 and 15: batch, encoder's rate, classifier's rate, dropout, warm-up.
    #[test]
    fn classifiers_are_trained_as_their_table_says() {
        for (name, batch, encoder, classifier, dropout, warmup) in [
            ("lf-amazontitles-131k-renee", 512, 1e-5, 0.05, 0.85, 5000),
            ("lf-amazon-131k-renee", 512, 1e-5, 0.05, 0.85, 5000),
            ("lf-wikiseealso-320k-renee", 2048, 2e-4, 0.2, 0.75, 5000),
            ("lf-wikipedia-500k-renee", 2048, 1e-4, 0.002, 0.7, 5000),
            ("lf-amazontitles-1.3m-renee", 1024, 1e-6, 0.01, 0.7, 15_000),
        ] {
            let c = config(name);
            let head = &c.head;
            assert!(head.is_on() && head.labels == "all" && head.loss == "bce", "{name}");
            assert_eq!((c.train.batch, head.encoder_lr, head.dropout), (batch, encoder, dropout), "{name}");
            assert_eq!((c.train.warmup_steps, c.train.epochs), (warmup, 100), "{name}");
            // Where Renée's own propensities differ from a later evaluation, it trained on texts of labels, too.
            assert_eq!(c.train.label_texts, name != "lf-amazontitles-1.3m-renee", "{name}");
            // The published loss is a sum over the batch.
            assert!((c.train.lr - classifier * batch as f64).abs() < 1e-9, "{name}: {}", c.train.lr);
        }
    }

    /// Of the published configurations those that compare cosines; two others take inner products of any length.
    #[test]
    fn encoders_against_all_labels_are_trained_as_their_configurations_say() {
        for (name, batch, lr, warmup) in
            [("lf-amazontitles-131k-dexml", 3000, 3e-4, 980), ("eurlex-4k-dexml", 512, 5e-5, 300)]
        {
            let c = config(name);
            assert_eq!(
                (&*c.loss.name, &*c.negatives.from, c.loss.temperature),
                ("infonce", "all", 0.05),
                "{name}"
            );
            assert_eq!((c.train.batch, c.train.lr, c.train.warmup_steps), (batch, lr, warmup), "{name}");
            assert_eq!((c.train.epochs, c.train.weight_decay, c.train.positives), (100, 0.01, 1), "{name}");
        }
    }

    #[test]
    fn what_the_user_says_stands_over_a_preset_and_a_recipe_under_it() {
        let mut settings = Settings::default();
        settings.preset("lf-wikipedia-500k").expect("a preset");
        settings.set("train.epochs=2").expect("a value");
        settings.recipe("loss.hardest", 3, "triplet").expect("no effect");
        let c = settings.config().expect("in range");
        assert_eq!((c.train.epochs, c.train.batch, c.loss.hardest), (2, 512, 10));
        assert!(settings.to_string().contains("# preset lf-wikipedia-500k"), "{settings}");
    }
}
