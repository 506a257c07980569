//! The model card: `README.md` of an exported directory, made of facts that the caller knows.

use crate::latent;
use std::fmt::Write;

/// What the card says. Empty parts are left out.
#[derive(Clone, Debug, Default)]
pub struct Card {
    /// The heading.
    pub title: String,
    /// The model that training started from.
    pub base_model: Option<String>,
    /// The licence, as the hub spells it: `apache-2.0`.
    pub license: Option<String>,
    /// Rows of a table: what and which (data set, composer, loss, steps, seed …).
    pub facts: Vec<(String, String)>,
    /// Rows of a table of results: metric and value.
    pub metrics: Vec<(String, f64)>,
}

impl Card {
    /// The text of the card. Width and longest text, latents and prompts are the model's.
    pub(super) fn text(
        &self,
        (width, tokens_max): (usize, usize),
        latents: Option<latent::Config>,
        prompts: [&str; 2],
    ) -> String {
        let what = format!(
            "A text encoder trained with Lode: {width} dimensions, texts of up to {tokens_max} tokens.\n\n"
        );
        if let Some(latent::Config { latents, heads, .. }) = latents {
            let how = format!(
                "Its tokens pass a latent attention ({latents} latents, {heads} heads; Lee et al. 2024, \"NV-Embed\") \
                 before their mean is taken. sentence-transformers has no such module: `lode encode` reads this \
                 directory, and `lode export --to onnx` makes one file of it for other programs.\n"
            );
            return self.with(("sentence-similarity", "feature-extraction"), &(what + &how));
        }
        let usage = match prompts {
            ["", ""] => "embeddings = model.encode([\"a query\", \"a label\"])",
            _ => {
                "queries = model.encode([\"a query\"], prompt_name=\"query\")\n\
                 labels = model.encode([\"a label\"], prompt_name=\"document\")"
            }
        };
        let how = format!(
            "```python\nfrom sentence_transformers import SentenceTransformer\n\n\
             model = SentenceTransformer(\"path/to/this/directory\")\n\
             {usage}\n```\n"
        );
        self.with(("sentence-similarity", "feature-extraction"), &(what + &how))
    }
    /// The text of the card of a cross-encoder for pairs of up to so many tokens.
    pub(super) fn text_of_cross(&self, tokens_max: usize) -> String {
        let what = format!(
            "A cross-encoder trained with Lode: a query and a label in, up to {tokens_max} tokens together, one score \
             out.\n\n```python\nfrom sentence_transformers import CrossEncoder\n\n\
             model = CrossEncoder(\"path/to/this/directory\")\n\
             scores = model.predict([(\"a query\", \"a label\")])\n```\n"
        );
        self.with(("text-ranking", "cross-encoder"), &what)
    }
    fn with(&self, (pipeline, tag): (&str, &str), what: &str) -> String {
        let mut out = format!("---\nlibrary_name: sentence-transformers\npipeline_tag: {pipeline}\n");
        let _ = write!(out, "tags:\n- sentence-transformers\n- {tag}\n- lode\n");
        for (key, value) in [("base_model", &self.base_model), ("license", &self.license)] {
            if let Some(value) = value {
                // A JSON string is a YAML string.
                let _ = writeln!(out, "{key}: {}", serde_json::Value::from(value.as_str()));
            }
        }
        let _ = write!(out, "---\n\n# {}\n\n{what}", one_line(&self.title));
        if !self.facts.is_empty() {
            out += "\n## Training\n\n| | |\n|---|---|\n";
            for (key, value) in &self.facts {
                let _ = writeln!(out, "| {} | {} |", cell(key), cell(value));
            }
        }
        if !self.metrics.is_empty() {
            out += "\n## Results\n\n| metric | value |\n|---|---:|\n";
            for (name, value) in &self.metrics {
                let _ = writeln!(out, "| {} | {value:.4} |", cell(name));
            }
        }
        out
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text that does not end the cell of a table.
fn cell(text: &str) -> String {
    one_line(text).replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_shows_facts_and_escapes_what_would_break_it() {
        let card = Card {
            title: "Books\nand labels".into(),
            license: Some("mit\"\n- x".into()),
            facts: vec![("loss".into(), "a|b".into())],
            metrics: vec![("P@1".into(), 0.295)],
            ..Card::default()
        };
        let text = card.text((384, 32), None, [""; 2]);
        for part in
            ["# Books and labels", "license: \"mit\\\"\\n- x\"", "| loss | a\\|b |", "| P@1 | 0.2950 |"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("base_model"));
    }
}
