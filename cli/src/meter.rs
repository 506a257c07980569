//! Progress on stderr: a bar where a person looks, a plain line every ten seconds where a file listens,
//! nothing with `-q`.

use crate::render::note;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// Between two lines of progress that go to a file.
const LINES_EVERY: Duration = Duration::from_secs(10);

/// Shows progress.
#[derive(Debug)]
pub(crate) struct Meter {
    quiet: bool,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Meter {
    /// A meter that is silent if `quiet`, and a bar on a terminal.
    pub(crate) fn new(quiet: bool, terminal: bool) -> Meter {
        let bar = (terminal && !quiet).then(|| {
            let style = ProgressStyle::with_template("{prefix} {bar:16} {percent:>3} %  {wide_msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(8)).with_style(style)
        });
        Meter { quiet, bar, last_line: Instant::now() }
    }
    /// Shows that `done` of `total` of `what` is done. `message` is made only if it is shown.
    pub(crate) fn show(&mut self, what: &str, done: u64, total: u64, message: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            if bar.prefix() != what {
                bar.set_prefix(what.to_owned());
            }
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(message());
        } else if !self.quiet && self.last_line.elapsed() >= LINES_EVERY {
            self.last_line = Instant::now();
            note(&format!("{what}: {}", message()));
        }
    }
    /// A line that stays, above the bar if there is one; silent with `-q`.
    pub(crate) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None if self.quiet => {}
            None => note(text),
        }
    }
    /// A line that stays even with `-q`.
    pub(crate) fn warning(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => note(text),
        }
    }
    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.clear();
    }
}
