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
    /// The page of this verb [default: that of the program]
    #[arg(conflicts_with = "out")]
    verb: Option<String>,
    /// Write all pages into this directory instead: lode.1, lode-train.1, …
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints one page or writes all.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    let pages = pages();
    let Some(out) = &args.out else {
        let name = args.verb.as_ref().map_or_else(|| "lode".to_owned(), |verb| format!("lode-{verb}"));
        let page = pages.iter().find(|page| page.name == name);
        let page = page.ok_or_else(|| {
            let verb = args.verb.as_deref().unwrap_or_default();
            Error::input(format!("`{verb}` is no verb")).help("`lode --help` lists them")
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
    std::iter::once(&program).chain(program.get_subcommands()).map(page).collect()
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

    /// What a reader of roff shows: a hyphen that shall not break a word is written `\-`.
    fn shown(page: &Page) -> String {
        page.text.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "").replace("\\fI", "")
    }

    #[test]
    fn every_verb_has_a_page_with_all_its_flags() {
        let (mut program, pages) = (Cli::command(), pages());
        program.build();
        let verbs: Vec<&Command> = program.get_subcommands().collect();
        assert!(verbs.len() >= 17 && pages.len() == verbs.len() + 1, "{} pages", pages.len());
        for (verb, page) in verbs.into_iter().zip(&pages[1..]) {
            assert_eq!(page.name, format!("lode-{}", verb.get_name()));
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
