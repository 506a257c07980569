//! Sizes and times as people write and read them: `16G`, `30s`, `1 h 05 min`.

use std::str::FromStr;

/// A number of bytes: `16G` (powers of 1000), `16Gi` (powers of 1024), `512M`, `1.5g`, `4096`; a `B` may
/// follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) usize);

impl FromStr for Bytes {
    type Err = String;
    fn from_str(text: &str) -> Result<Bytes, String> {
        let lower = text.trim().to_lowercase();
        let bare = lower.trim_end_matches('b');
        let (bare, base) = bare.strip_suffix('i').map_or((bare, 1000f64), |bare| (bare, 1024.0));
        let (number, power) = match bare.char_indices().last().map(|(at, unit)| (at, "kmgt".find(unit))) {
            Some((at, Some(power))) => (&bare[..at], power as i32 + 1),
            _ => (bare, 0),
        };
        let number = number.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0);
        let number =
            number.ok_or_else(|| "a size is a number and a unit, for example 16G or 512M".to_owned())?;
        Ok(Bytes((number * base.powi(power)) as usize))
    }
}

/// A span of time in seconds: `30s`, `5m`, `1.5h`, `45`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seconds(pub(crate) f64);

impl FromStr for Seconds {
    type Err = String;
    fn from_str(text: &str) -> Result<Seconds, String> {
        let text = text.trim();
        let (number, unit) = match text.char_indices().last() {
            Some((at, 's')) => (&text[..at], 1.0),
            Some((at, 'm')) => (&text[..at], 60.0),
            Some((at, 'h')) => (&text[..at], 3600.0),
            _ => (text, 1.0),
        };
        let number = number.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
        let number =
            number.ok_or_else(|| "a time is a number and a unit, for example 30s, 5m or 1.5h".to_owned())?;
        Ok(Seconds(number * unit))
    }
}

/// A span of time for people.
pub(crate) fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

/// A whole number with spaces between thousands.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read() {
        let size = |t: &str| t.parse::<Bytes>().ok().map(|b| b.0);
        assert_eq!(
            (size("16G"), size("512 MiB"), size("4096")),
            (Some(16_000_000_000), Some(512 << 20), Some(4096))
        );
        assert_eq!((size("1.5kb"), size("G"), size("-1G"), size("nan")), (Some(1500), None, None, None));
        let time = |t: &str| t.parse::<Seconds>().ok().map(|s| s.0);
        assert_eq!(
            (time("30s"), time("5m"), time("1.5h"), time("45")),
            (Some(30.0), Some(300.0), Some(5400.0), Some(45.0))
        );
        assert_eq!((time("s"), time("-3s"), time("3 days")), (None, None, None));
    }

    #[test]
    fn times_and_counts_are_written() {
        let spans = [0.21, 42.4, 80.0, 3900.0].map(span);
        assert_eq!(spans, ["0.2 s", "42 s", "1 min 20 s", "1 h 05 min"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1 000", "1 234 567"]);
    }
}
