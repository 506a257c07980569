//! The layers of a configuration, and the origin of each value.
//!
//! ```text
//! flag  >  --set a.b=c  >  file (--config run.toml)  >  preset  >  recipe  >  default
//! ```
//! A strategy that is asked for by its name stands above a preset: its recipe's settings are what was asked for.
//! [`Settings::config`] gives the typed [`Config`]. A run directory keeps the result with the origins as comments, and
//! `lode resume` reads it back.

use super::Config;
use crate::presets;
use engine::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The largest configuration file that is read.
const BYTES_MAX: u64 = 1 << 20;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// The published settings of a data set.
    Preset(&'static str),
    /// A configuration file.
    File(PathBuf),
    /// `--set`.
    Set,
    /// A flag of the command line.
    Flag(&'static str),
    /// The recipe chosen, where its own default differs.
    Recipe(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => write!(f, "default"),
            Origin::Preset(name) => write!(f, "preset {name}"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Set => write!(f, "--set"),
            Origin::Flag(flag) => write!(f, "{flag}"),
            Origin::Recipe(name) => write!(f, "recipe {name}"),
        }
    }
}

/// The layers of a configuration and the origin of each value.
#[derive(Clone, Debug)]
pub struct Settings {
    table: Table,
    origins: BTreeMap<String, Origin>,
}

impl Default for Settings {
    fn default() -> Settings {
        let table = Table::try_from(Config::default()).expect("the defaults are plain values");
        let origins = keys(&table).into_iter().map(|k| (k, Origin::Default)).collect();
        Settings { table, origins }
    }
}

/// Key and value of an `a.b=c`.
fn parsed(assignment: &str) -> Result<(&str, Value)> {
    let Some((key, value)) = assignment.split_once('=') else {
        let error = Error::input(format!("`{assignment}` is not of the form a.b=c"));
        return Err(error.help("for example train.lr=3e-5"));
    };
    let text = value.trim();
    let value = format!("v = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("v"));
    Ok((key.trim(), value.unwrap_or_else(|| text.into())))
}

/// The text of a configuration file, which is small.
fn read_text(path: &Path) -> Result<String> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let mut bytes = vec![];
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    if bytes.len() as u64 > BYTES_MAX {
        let e = Error::input(format!("larger than {} MiB, no configuration is", BYTES_MAX >> 20)).at(path);
        return Err(e.help("is this the file that you meant?"));
    }
    String::from_utf8(bytes).map_err(|e| {
        let (bytes, at) = (e.as_bytes(), e.utf8_error().valid_up_to());
        let line = 1 + bytes[..at].iter().filter(|&&b| b == b'\n').count() as u64;
        let e = Error::input(format!("invalid UTF-8: byte 0x{:02x}", bytes[at])).at_line(path, line, None);
        e.help("TOML is text in UTF-8")
    })
}

/// All keys, as `section.name`.
fn keys(table: &Table) -> Vec<String> {
    let names = |(section, values): (&String, &Value)| -> Vec<String> {
        values.as_table().into_iter().flat_map(|t| t.keys().map(|k| format!("{section}.{k}"))).collect()
    };
    table.iter().flat_map(names).collect()
}

impl Settings {
    /// Lays a configuration file over what is there.
    ///
    /// # Errors
    /// If the file cannot be read or parsed, or has an unknown key or a value of a wrong type: with the line.
    pub fn file(&mut self, path: &Path) -> Result<()> {
        self.lay(&read_text(path)?, path, &Origin::File(path.to_owned()))
    }
    /// Lays a preset over what is there: before anything that the user says.
    ///
    /// # Errors
    /// If there is no preset of that name.
    pub fn preset(&mut self, name: &str) -> Result<()> {
        let preset = presets::find(name)?;
        self.lay(preset.text, Path::new(preset.name), &Origin::Preset(preset.name))
    }
    fn lay(&mut self, text: &str, path: &Path, origin: &Origin) -> Result<()> {
        let table: Table = text.parse().map_err(|e: toml::de::Error| {
            let line = e.span().map_or(1, |s| 1 + text[..s.start].matches('\n').count()) as u64;
            let shown = text.lines().nth(line as usize - 1).unwrap_or("");
            Error::input(format!("this is not TOML: {}", e.message()))
                .at_line(path, line, None)
                .showing(shown)
        })?;
        for (section, values) in &table {
            let Some(values) = values.as_table() else {
                return Err(self.unknown(section).at(path));
            };
            for (name, value) in values {
                let key = format!("{section}.{name}");
                self.put(&key, value.clone(), origin.clone()).map_err(|e| {
                    let is_key = |l: &str| l.split_once('=').is_some_and(|(k, _)| k.trim() == name);
                    let head = text.lines().position(|l| l.trim() == format!("[{section}]")).unwrap_or(0);
                    let line = text.lines().skip(head).position(is_key).map(|i| head + i);
                    let shown = line.and_then(|i| text.lines().nth(i)).unwrap_or("");
                    e.at_line(path, line.map_or(1, |i| i as u64 + 1), None).showing(shown)
                })?;
            }
        }
        Ok(())
    }
    /// Lays one `a.b=c` over what is there. The value is read as TOML; what is no TOML is a string.
    ///
    /// # Errors
    /// If there is no `=`, or the key is unknown, or the value has a wrong type.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let (key, value) = parsed(assignment)?;
        self.put(key, value, Origin::Set)
    }
    /// Lays the value of a flag over what is there.
    ///
    /// # Errors
    /// If the value has a wrong type.
    pub fn flag(&mut self, key: &str, value: impl Into<Value>, flag: &'static str) -> Result<()> {
        self.put(key, value.into(), Origin::Flag(flag))
    }
    /// A recipe's own default: it replaces a built-in default and nothing that the user said.
    ///
    /// # Errors
    /// If the value has a wrong type.
    pub fn recipe(&mut self, key: &str, value: impl Into<Value>, recipe: &'static str) -> Result<()> {
        if self.origin(key) == Some(&Origin::Default) {
            self.put(key, value.into(), Origin::Recipe(recipe))?;
        }
        Ok(())
    }
    /// As [`Settings::recipe`], of an `a.b=c`; `over_preset` where the user has asked for the recipe by its name: then
    /// it also replaces what a preset set.
    ///
    /// # Errors
    /// As [`Settings::set`].
    pub fn recipe_set(&mut self, assignment: &str, recipe: &'static str, over_preset: bool) -> Result<()> {
        let (key, value) = parsed(assignment)?;
        if over_preset && matches!(self.origin(key), Some(Origin::Preset(_))) {
            return self.put(key, value, Origin::Recipe(recipe));
        }
        self.recipe(key, value, recipe)
    }
    /// Where a value came from.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.origins.get(key)
    }
    /// The text that a key holds at this moment; none if it holds no text or is unknown.
    pub fn text(&self, key: &str) -> Option<&str> {
        let (section, name) = key.split_once('.')?;
        self.table.get(section)?.get(name)?.as_str()
    }
    /// The keys whose values are others here, with both values as TOML writes them: ours, theirs.
    pub fn differences(&self, other: &Settings) -> Vec<(String, String, String)> {
        let value = |of: &Settings, key: &str| {
            let (section, name) = key.split_once('.')?;
            Some(of.table.get(section)?.get(name)?.to_string())
        };
        let both = |key: &String| Some((key.clone(), value(self, key)?, value(other, key)?));
        self.origins.keys().filter_map(both).filter(|(_, ours, theirs)| ours != theirs).collect()
    }
    /// Exchanges the text of a key for what `by` makes of it, and keeps its origin.
    pub fn rewrite(&mut self, key: &str, by: impl FnOnce(&str) -> String) {
        let Some((section, name)) = key.split_once('.') else { return };
        if let Some(Value::String(text)) = self.table.get_mut(section).and_then(|s| s.get_mut(name)) {
            *text = by(text);
        }
    }
    fn put(&mut self, key: &str, value: Value, origin: Origin) -> Result<()> {
        let (section, name) = key.split_once('.').unwrap_or((key, ""));
        let slot = self.table.get_mut(section).and_then(|s| s.get_mut(name));
        let Some(slot) = slot else { return Err(self.unknown(key)) };
        let value = match (&*slot, value) {
            (Value::Float(_), Value::Integer(i)) => Value::Float(i as f64),
            (_, value) => value,
        };
        if slot.type_str() != value.type_str() {
            let (want, got) = (slot.type_str(), value.type_str());
            return Err(Error::input(format!("`{key}` is a {want}, this is a {got}: {value}")));
        }
        *slot = value;
        self.origins.insert(key.to_owned(), origin);
        Ok(())
    }
    fn unknown(&self, key: &str) -> Error {
        let error = Error::input(format!("unknown key `{key}`"));
        let near = self.origins.keys().max_by(|a, b| {
            let likeness = |k: &str| {
                strsim::jaro_winkler(k, key).max(strsim::jaro_winkler(k.rsplit('.').next().unwrap_or(k), key))
            };
            likeness(a).total_cmp(&likeness(b))
        });
        match near {
            Some(near) => error.help(format!("did you mean `{near}`? `lode train --print-config` lists all")),
            None => error,
        }
    }
    /// The typed configuration.
    ///
    /// # Errors
    /// If a value lies outside its range.
    pub fn config(&self) -> Result<Config> {
        let config: Config = self
            .table
            .clone()
            .try_into()
            .map_err(|e: toml::de::Error| Error::input(format!("configuration: {}", e.message())))?;
        config.check()?;
        Ok(config)
    }
}

impl fmt::Display for Settings {
    /// TOML, with the origin of each value as a comment. It reads back as a configuration file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (section, values) in &self.table {
            writeln!(f, "[{section}]")?;
            for (name, value) in values.as_table().into_iter().flatten() {
                let origin = self.origins.get(&format!("{section}.{name}")).unwrap_or(&Origin::Default);
                writeln!(f, "{:<42} # {origin}", format!("{name} = {value}"))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(e: Error) -> String {
        e.to_string()
    }

    #[test]
    fn later_layers_win_and_origins_are_remembered() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("run.toml");
        std::fs::write(&path, "[train]\nlr = 1e-3\nbatch = 64\n").expect("written");
        let mut s = Settings::default();
        s.file(&path).expect("a file");
        s.set("train.lr=2e-3").expect("a value");
        s.flag("train.epochs", 7, "--epochs").expect("a value");
        s.recipe("train.batch", 9, "ngame").expect("no effect");
        s.recipe("loss.hardest", 9, "ngame").expect("an effect");
        let c = s.config().expect("valid");
        assert_eq!((c.train.lr, c.train.batch, c.train.epochs, c.loss.hardest), (2e-3, 64, 7, 9));
        let told = |key: &str, ours: &str, theirs: &str| (key.to_owned(), ours.to_owned(), theirs.to_owned());
        let all = s.differences(&Settings::default());
        assert!(all.len() == 4 && all.contains(&told("train.batch", "64", "256")), "{all:?}");
        let text = s.to_string();
        assert!(
            text.contains("lr = 0.002") && text.contains("# --set") && text.contains("# --epochs"),
            "{text}"
        );
        let again = dir.path().join("again.toml");
        std::fs::write(&again, text).expect("written");
        let mut back = Settings::default();
        back.file(&again).expect("reads back");
        assert_eq!(back.config().expect("valid"), c);
    }

    #[test]
    fn what_is_no_text_or_no_configuration_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("run.toml");
        let told = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("written");
            let e = Settings::default().file(&path).expect_err("refused");
            (e.kind(), e.to_string())
        };
        let (kind, text) = told(b"[train]\nlr = 1e-3\n# \xff\n");
        assert!(
            kind == engine::Kind::Input && text.contains("run.toml:3: invalid UTF-8: byte 0xff"),
            "{text}"
        );
        let (kind, text) = told(&b"#\n".repeat(1 << 20));
        assert!(kind == engine::Kind::Input && text.contains("larger than 1 MiB"), "{text}");
        let (_, text) = told(format!("a = {}", "[".repeat(200_000)).as_bytes());
        assert!(text.contains("not TOML"), "{text}");
    }

    #[test]
    fn wrong_keys_and_values_are_named_with_their_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let check = |text: &str, want: &str| {
            let path = dir.path().join("run.toml");
            std::fs::write(&path, text).expect("written");
            let mut s = Settings::default();
            let e = message(s.file(&path).and_then(|()| s.config().map(|_| ())).expect_err("wrong"));
            assert!(e.contains(want), "{e}");
        };
        check(
            "[train]\nbatch = 4\nlrr = 1.0\n",
            "run.toml:3: unknown key `train.lrr`\n  | lrr = 1.0\n  = help: did you mean `train.lr`?",
        );
        check("[train]\nbatch = \"x\"\n", "run.toml:2: `train.batch` is a integer, this is a string");
        check("[composer]\nname = \"ngame\"\n[loss]\nname = 3\n", "run.toml:4: `loss.name` is a string");
        check("[train\n", "run.toml:1: this is not TOML");
        check("[train]\nbatch = 1\n", "`train.batch` must be at least 2");
        check("[loss]\nname = \"infonec\"\n", "`loss.name` must be one of infonce, triplet");
        assert!(message(Settings::default().set("lr").expect_err("no =")).contains("a.b=c"));
        assert!(
            message(Settings::default().set("lr=1").expect_err("no section"))
                .contains("did you mean `train.lr`")
        );
    }
}
