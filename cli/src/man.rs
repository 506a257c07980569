//! `lode man`: manual pages, one a verb, of the same words as `--help`.

use crate::args::Cli;
use crate::context::Context;
use crate::early::Done;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use engine::{Error, Result};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Flags of `man`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The page of this verb, such as `train` or `inspect data` [default: that of the program]
    #[arg(conflicts_with = "out")]
    verb: Vec<String>,
    /// Write all pages into this directory instead: lode.1, lode-train.1, …
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints one page or writes all.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    let pages = pages();
    let Some(out) = &args.out else {
        let name = [&["lode".to_owned()], &args.verb[..]].concat().join("-");
        let page = pages.iter().find(|page| page.name == name);
        let page = page.ok_or_else(|| {
            Error::input(format!("`{}` is no verb", args.verb.join(" "))).help("`lode --help` lists them")
        })?;
        return context.print(&page.text);
    };
    for page in &pages {
        write(out, page)?;
    }
    match context.json {
        true => context.print_json(&json!({"out": out, "pages": pages.len()})),
        false => {
            context.say(&format!("{} pages are written to {}", pages.len(), out.display()));
            Ok(())
        }
    }
}

/// A page of section 1.
struct Page {
    name: String,
    text: String,
}

/// The program's page, then one for each verb, those too that the list of commands leaves out.
fn pages() -> Vec<Page> {
    let mut program = Cli::command();
    // Gives each verb the flags that stand everywhere, and its name as one word: lode-train.
    program.build();
    all(&program).into_iter().map(page).collect()
}

/// A command and all below it, but `help`, which `--help` is as well.
fn all(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().filter(|below| below.get_name() != "help");
    std::iter::once(command).chain(below.flat_map(all)).collect()
}

fn page(command: &Command) -> Page {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let manual = format!("lode {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).title(&name).source(manual).manual("Lode");
    let mut text = vec![];
    man.render(&mut text).expect("memory takes a page");
    Page { name, text: String::from_utf8(text).expect("roff is text") }
}

fn write(out: &Path, page: &Page) -> Result<()> {
    std::fs::create_dir_all(out).map_err(|e| Error::io(out, e))?;
    let path = out.join(format!("{}.1", page.name));
    std::fs::write(&path, &page.text).map_err(|e| Error::io(&path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader of roff shows: hyphens that do not break a word, apostrophes and typefaces have marks there.
    fn shown(page: &Page) -> String {
        let marks = [("\\-", "-"), ("\\*(Aq", "'"), ("\\fB", ""), ("\\fR", ""), ("\\fI", "")];
        marks.iter().fold(page.text.clone(), |text, (mark, shown)| text.replace(mark, shown))
    }

    #[test]
    fn every_verb_has_a_page_with_all_its_flags() {
        let (mut program, pages) = (Cli::command(), pages());
        program.build();
        let of = |name: &str| pages.iter().find(|page| page.name == name);
        let deep: Vec<(String, &Command)> = program
            .get_subcommands()
            .flat_map(|verb| {
                let name = format!("lode-{}", verb.get_name());
                let below = verb.get_subcommands().filter(|below| below.get_name() != "help");
                let below = below.map(|below| (format!("{name}-{}", below.get_name()), below));
                std::iter::once((name.clone(), verb)).chain(below.collect::<Vec<_>>())
            })
            .collect();
        assert!(deep.len() >= 17 && pages.len() == deep.len() + 1, "{} pages", pages.len());
        for (name, verb) in deep {
            let page = of(&name).unwrap_or_else(|| panic!("{name} has no page"));
            let text = shown(page);
            assert!(text.contains(&format!(".TH {} 1", page.name)), "{text}");
            let about = verb.get_about().expect("a verb says what it does").to_string();
            assert!(text.contains(&about), "{about} is not in {text}");
            let flags = verb.get_arguments().filter(|a| !a.is_hide_set());
            let flags: Vec<&str> = flags.filter_map(clap::Arg::get_long).collect();
            for flag in ["json", "threads"].iter().chain(&flags) {
                assert!(text.contains(&format!("--{flag}")), "{}: --{flag}", page.name);
            }
        }
    }

    #[test]
    fn the_page_of_the_program_names_hidden_verbs_and_exit_codes() {
        let text = shown(&pages()[0]);
        for word in [".TH lode 1", "doctor", "strategies", "Exit codes", "threshold missed"] {
            assert!(text.contains(word), "{word} is not in {text}");
        }
    }
}
