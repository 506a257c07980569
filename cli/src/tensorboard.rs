//! `save.tensorboard`: the log of a run a second time, as event files that TensorBoard reads.
//!
//! ```text
//! file      RUN/tensorboard/events.out.tfevents.SECONDS.lode      one a process: that is TensorBoard's way
//! record    length u64 | crc(length) u32 | event | crc(event) u32         little-endian, TFRecord
//! crc       c = CRC-32C;  rotated right by 15 bits, plus 0xa282ead8       "masked": a crc of a crc is a weak one
//! event     wall time f64 = 1, step = 2, version = 3, summary = 5, start of a session = 7        protobuf
//! summary   values = 1, each of tag = 1 and number f32 = 2
//! ```
//! A run that was killed does the steps after its last checkpoint again. The log is cut back; here the file of the next
//! process begins with a START that bears the first step to come, whereupon TensorBoard drops what earlier files say of
//! that step and later ones. It reads files by name, so a name never sorts before one that is there.

use engine::{Error, Result};
use models::protobuf::Message;
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What every file begins with.
const VERSION: &str = "brain.Event:2";
const PREFIX: &str = "events.out.tfevents.";

/// The event file of this process.
pub(crate) struct Events {
    path: PathBuf,
    file: File,
    /// Bytes of whole records in the file: what is behind them broke off.
    whole: u64,
    /// Records that the system has not taken yet.
    unwritten: Vec<u8>,
}

impl Events {
    /// Begins a file in `folder` for a process that goes on after `done` steps.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn create(folder: &Path, done: u64) -> Result<Events> {
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let listed = fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
        let names = listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let before =
            names.filter_map(|name| name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok()).max();
        let now = unix_seconds();
        let seconds = before.map_or(0, |before: u64| before + 1).max(now as u64);
        let path = folder.join(format!("{PREFIX}{seconds:010}.lode"));
        let file = OpenOptions::new().create_new(true).append(true).open(&path);
        let file = file.map_err(|e| Error::io(&path, e))?;
        let mut events = Events { path, file, whole: 0, unwritten: vec![] };
        events.unwritten = record(&Event { seconds: now, step: 0, what: What::Version });
        if before.is_some() {
            events.unwritten.extend(record(&Event { seconds: now, step: done + 1, what: What::Start }));
        }
        events.flush()?;
        Ok(events)
    }
    /// Adds what a line of the log has in numbers.
    ///
    /// # Errors
    /// If the system refuses; what was to be written comes with the next line.
    pub(crate) fn add(&mut self, line: &Value) -> Result<()> {
        let (scalars, step) = (scalars(line), line["step"].as_u64().unwrap_or(0));
        if !scalars.is_empty() {
            let event = Event { seconds: unix_seconds(), step, what: What::Scalars(&scalars) };
            self.unwritten.extend(record(&event));
        }
        self.flush()
    }
    /// A record that breaks off would end the file for its readers, so it is taken away before more is written.
    fn flush(&mut self) -> Result<()> {
        let mut write = || -> std::io::Result<()> {
            if self.file.metadata()?.len() > self.whole {
                self.file.set_len(self.whole)?;
            }
            self.file.write_all(&self.unwritten)
        };
        write().map_err(|e| Error::io(&self.path, e))?;
        self.whole += self.unwritten.len() as u64;
        self.unwritten.clear();
        Ok(())
    }
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The numbers of a line of the log, by what they are of: `train/loss`, `validation/P@1`, `validation/tail/P@1`.
fn scalars(line: &Value) -> Vec<(String, f32)> {
    let mut all = vec![];
    let mut take = |group: &str, of: &Value| {
        let fields = of.as_object().into_iter().flatten();
        let numbers = fields.filter_map(|(name, value)| Some((name, value.as_f64()? as f32)));
        let numbers = numbers.filter(|(name, _)| !["step", "seconds"].contains(&name.as_str()));
        all.extend(numbers.map(|(name, value)| (format!("{group}/{name}"), value)));
    };
    if line.get("loss").is_some() {
        take("train", line);
    }
    take("validation", &line["metrics"]);
    for (bin, of) in line["by_frequency"].as_object().into_iter().flatten() {
        take(&format!("validation/{bin}"), &of["metrics"]);
    }
    for group in ["clusters", "lists"] {
        take(group, &line[group]);
    }
    let old = &line["old_labels"];
    let p_at_1 = old["P@1"].as_f64().or_else(|| old["after"].as_f64());
    all.extend(p_at_1.map(|p| ("old_labels/P@1".to_owned(), p as f32)));
    all
}

/// One entry of a file.
struct Event<'a> {
    seconds: f64,
    step: u64,
    what: What<'a>,
}

enum What<'a> {
    /// The first entry of a file.
    Version,
    /// Steps from that of the entry on are done again.
    Start,
    Scalars(&'a [(String, f32)]),
}

/// The entry as a record. Zeros are left out, as protobuf leaves them out.
fn record(event: &Event<'_>) -> Vec<u8> {
    let body = Message::new().double(1, event.seconds);
    let body = if event.step > 0 { body.int(2, event.step) } else { body };
    let body = match event.what {
        What::Version => body.bytes(3, VERSION),
        What::Start => body.message(7, &Message::new().int(1, 1)),
        What::Scalars(scalars) => {
            let value = |(tag, number): &(String, f32)| Message::new().bytes(1, tag).float(2, *number);
            let summary = scalars.iter().fold(Message::new(), |all, one| all.message(1, &value(one)));
            body.message(5, &summary)
        }
    };
    let (body, length) = (body.as_bytes(), (body.as_bytes().len() as u64).to_le_bytes());
    [&length[..], &masked(&length).to_le_bytes(), body, &masked(body).to_le_bytes()].concat()
}

/// CRC-32C: the polynomial of Castagnoli, bits reflected. A line of the log has some hundred bytes, so no table.
fn crc(bytes: &[u8]) -> u32 {
    let fold = |crc: u32, &byte: &u8| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| c >> 1 ^ (0x82f6_3b78 & (c & 1).wrapping_neg()))
    };
    !bytes.iter().fold(u32::MAX, fold)
}

fn masked(bytes: &[u8]) -> u32 {
    crc(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_checksum_of_a_known_text_is_known() {
        // RFC 3720, appendix B.4, and the check value of the algorithm.
        assert_eq!(crc(b"123456789"), 0xe306_9283);
        assert_eq!(crc(&[0; 32]), 0x8a91_36aa);
    }

    /// The file was made by TensorBoard's own writer: `tests/golden/make_events.py`.
    #[test]
    fn records_are_those_of_tensorboard() {
        let golden = include_bytes!("../../tests/golden/events.tfevents");
        let tags = |numbers: &[(&str, f32)]| -> Vec<(String, f32)> {
            numbers.iter().map(|&(tag, number)| (tag.to_owned(), number)).collect()
        };
        let (first, second) = (
            tags(&[("train/loss", 2.5), ("train/rate", 1e-3)]),
            tags(&[("validation/P@1", 0.0), ("é", -1e30)]),
        );
        let long = vec![("x".repeat(200), 1.0)];
        let events = [
            (1.7e9, 0, What::Version),
            (1.7e9 + 0.25, 301, What::Start),
            (1.7e9 + 1.5, 0, What::Scalars(&first)),
            (1.7e9 + 2.0, 127, What::Scalars(&second)),
            (1.7e9 + 3.0, 1_000_000_000_000, What::Scalars(&long)),
        ];
        let ours: Vec<u8> = events
            .into_iter()
            .flat_map(|(seconds, step, what)| record(&Event { seconds, step, what }))
            .collect();
        assert!(ours == golden, "{ours:02x?}");
    }

    #[test]
    fn lines_of_the_log_become_numbers_by_name() {
        let names = |line: Value| -> Vec<String> {
            scalars(&line).into_iter().map(|(tag, number)| format!("{tag}={number}")).collect()
        };
        let step = json!({"step": 10, "epoch": 1, "loss": 0.5, "negatives": null, "seconds": 3.0});
        assert_eq!(names(step), ["train/epoch=1", "train/loss=0.5"]);
        let measured = json!({"step": 10, "epoch": 1, "queries": 9, "metrics": {"P@1": 0.25}, "seconds": 1,
            "by_frequency": {"tail": {"queries": 3, "metrics": {"P@1": 0.5}}}});
        assert_eq!(names(measured), ["validation/P@1=0.25", "validation/tail/P@1=0.5"]);
        assert_eq!(names(json!({"step": 3, "clusters": {"count": 8}, "took_s": 1.0})), ["clusters/count=8"]);
        assert_eq!(
            names(json!({"step": 0, "old_labels": {"P@1": 0.5, "queries": 7}})),
            ["old_labels/P@1=0.5"]
        );
        assert_eq!(
            names(json!({"final": true, "old_labels": {"before": 0.5, "after": 0.25}})),
            ["old_labels/P@1=0.25"]
        );
    }

    #[test]
    fn each_process_has_a_file_that_sorts_behind_those_before() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = dir.path().join("tensorboard");
        for done in [0, 40, 80] {
            let mut events = Events::create(&folder, done).expect("begun");
            events.add(&json!({"step": done + 10, "loss": 0.5})).expect("added");
        }
        let future = format!("{PREFIX}{}.lode", 9_000_000_000u64);
        fs::write(folder.join(&future), b"").expect("written");
        let last = Events::create(&folder, 90).expect("begun").path;
        let listed = fs::read_dir(&folder).expect("listed").map(|e| e.expect("readable").file_name());
        let mut names: Vec<_> = listed.collect();
        names.sort();
        assert_eq!(names.len(), 5);
        assert_eq!(Some(names[4].as_os_str()), last.file_name());
        let starts = |name: &std::ffi::OsString| {
            let bytes = fs::read(folder.join(name)).expect("read");
            bytes.windows(4).any(|w| w == [7 << 3 | 2, 2, 0x08, 1])
        };
        assert_eq!(names.iter().map(starts).collect::<Vec<_>>(), [false, true, true, false, true]);
    }

    #[test]
    fn a_record_that_broke_off_is_taken_away_before_the_next() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut events = Events::create(dir.path(), 0).expect("begun");
        let path = events.path.clone();
        let before = fs::read(&path).expect("read");
        let torn = OpenOptions::new().append(true).open(&path).and_then(|mut f| f.write_all(b"half"));
        torn.expect("as a full disk leaves it");
        events.add(&json!({"step": 1, "loss": 0.5})).expect("added");
        let after = fs::read(&path).expect("read");
        assert_eq!(after[..before.len()], before);
        let length = u64::from_le_bytes(after[before.len()..][..8].try_into().expect("eight bytes"));
        assert_eq!(after.len() as u64, before.len() as u64 + length + 16);
    }
}
