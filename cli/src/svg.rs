//! Small charts as SVG, made by hand: nothing is loaded, nothing runs, and points and means say their numbers when
//! pointed at.

use std::fmt::Write;

/// Room around the plot: left, right where names stand at the ends of lines, top, bottom.
const MARGINS: (f64, f64, f64, f64) = (58.0, 150.0, 14.0, 44.0);
/// Room to the right of a plot whose lines have no names.
const RIGHT: f64 = 16.0;
/// Points of a line that are marked one by one; one with more is drawn without marks.
const MARKED: usize = 30;
/// Colours that people who see few colours can tell apart (Okabe and Ito, 2008), used in turn with other dashes.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555555"];
const DASHES: [&str; 3] = ["", "6 3", "2 3"];

/// A line of a chart.
pub(crate) struct Series {
    /// Its name.
    pub(crate) name: String,
    /// Its points, by rising x.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A mean and its interval.
pub(crate) struct Interval {
    /// Its name.
    pub(crate) name: String,
    /// Each value that the mean is of.
    pub(crate) values: Vec<f64>,
    /// The middle.
    pub(crate) middle: f64,
    /// Half of its width; infinite where it is not known.
    pub(crate) half: f64,
}

/// Text inside of an element or attribute. XML has no place for control characters.
pub(crate) fn escaped(text: &str) -> String {
    let text = text.replace(|c: char| c.is_control() && !matches!(c, '\n' | '\t'), "\u{fffd}");
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A name that fits where there is room for so many letters: its middle is left out, and said when pointed at.
pub(crate) fn fitted(name: &str, most: usize) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= most {
        return escaped(name);
    }
    let (head, tail) = (most * 2 / 3, most - most * 2 / 3 - 1);
    let short: String =
        letters[..head].iter().chain(&['…']).chain(&letters[letters.len() - tail..]).collect();
    format!("{}<title>{}</title>", escaped(&short), escaped(name))
}

/// Round numbers that cover a range, about so many.
fn ticks((low, high): (f64, f64), about: usize) -> Vec<f64> {
    let raw = (high - low).max(1e-12) / about.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    let step = power * [1.0, 2.0, 5.0, 10.0].into_iter().find(|m| m * power >= raw).unwrap_or(10.0);
    let from = (low / step).ceil() as i64;
    (from..).map(|i| i as f64 * step).take_while(|&t| t <= high + 1e-9 * step).collect()
}

/// A number as short as it can be.
fn short(x: f64) -> String {
    match x.abs() {
        a if a >= 1e6 => format!("{}M", trimmed(x / 1e6)),
        a if a >= 1e4 => format!("{}k", trimmed(x / 1e3)),
        _ => trimmed(x),
    }
}

fn trimmed(x: f64) -> String {
    let text = format!("{x:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// The range of numbers, a little wider.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|v| v.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    match low.is_finite() {
        false => (0.0, 1.0),
        true => {
            let more = ((high - low) * 0.06).max(1e-9 + high.abs() * 1e-3);
            (low - more, high + more)
        }
    }
}

/// Where labels may stand that want to be at these heights: none nearer to another than `gap`, none above `top`.
fn apart(wanted: &[f64], gap: f64, top: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    let mut at = wanted.to_vec();
    let mut least = top;
    for &i in &order {
        at[i] = at[i].max(least);
        least = at[i] + gap;
    }
    // What was pushed down in the mean goes up again.
    let pushed = at.iter().zip(wanted).map(|(a, w)| a - w).sum::<f64>() / wanted.len().max(1) as f64;
    let highest = at.iter().copied().fold(f64::INFINITY, f64::min);
    at.iter().map(|a| a - pushed.min(highest - top).max(0.0)).collect()
}

/// A frame for lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// What the axes have: x, y.
    pub(crate) axes: (&'a str, &'a str),
    /// Width and height.
    pub(crate) size: (f64, f64),
    /// Whether lines have their names at their ends.
    pub(crate) names: bool,
}

/// The colour and the dashes of the `i`-th line.
fn look(i: usize) -> (&'static str, &'static str) {
    (COLOURS[i % COLOURS.len()], DASHES[i / COLOURS.len() % DASHES.len()])
}

/// The names of lines beside pieces of them, as HTML, for frames without names.
pub(crate) fn legend(names: &[String]) -> String {
    let one = |(i, name): (usize, &String)| {
        let (colour, dash) = look(i);
        format!(
            "<span class=\"key\"><svg viewBox=\"0 0 24 10\" aria-hidden=\"true\"><path d=\"M1 5H23\" \
             stroke=\"{colour}\" stroke-width=\"2.5\" stroke-dasharray=\"{dash}\"/></svg>{}</span> ",
            escaped(name)
        )
    };
    names.iter().enumerate().map(one).collect()
}

/// Lines.
pub(crate) fn lines(series: &[Series], frame: Frame<'_>) -> String {
    let ((x_name, y_name), (width, height)) = (frame.axes, frame.size);
    let points = || series.iter().flat_map(|s| s.points.iter());
    let (x, y) = (range(points().map(|p| p.0).chain([0.0])), range(points().map(|p| p.1)));
    let x = (x.0.max(0.0), x.1);
    let (left, _, top, bottom) = MARGINS;
    let right = if frame.names { MARGINS.1 } else { RIGHT };
    let (to_x, to_y) = (
        |v: f64| left + (v - x.0) / (x.1 - x.0) * (width - left - right),
        |v: f64| height - bottom - (v - y.0) / (y.1 - y.0) * (height - top - bottom),
    );
    let mut svg = opened(width, height);
    for t in ticks(y, 5) {
        let at = to_y(t);
        let _ = write!(svg, "<path class=\"grid\" d=\"M{left:.1} {at:.1}H{:.1}\"/>", width - right);
        let _ = write!(
            svg,
            "<text class=\"y\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            left - 6.0,
            at + 4.0,
            short(t)
        );
    }
    for t in ticks(x, 6) {
        let (at, under) = (to_x(t), height - bottom + 16.0);
        let _ = write!(svg, "<text class=\"x\" x=\"{at:.1}\" y=\"{under:.1}\">{}</text>", short(t));
    }
    named(&mut svg, (x_name, y_name), (width, height), right);
    let ends: Vec<f64> = series.iter().map(|s| s.points.last().map_or(0.0, |p| to_y(p.1))).collect();
    for (i, (one, label)) in series.iter().zip(apart(&ends, 13.0, top)).enumerate() {
        let (colour, dash) = look(i);
        let name = escaped(&one.name);
        let path: Vec<String> =
            one.points.iter().map(|&(a, b)| format!("{:.1} {:.1}", to_x(a), to_y(b))).collect();
        let _ = write!(
            svg,
            "<g class=\"line\"><path d=\"M{}\" stroke=\"{colour}\" stroke-dasharray=\"{dash}\"/>",
            path.join("L")
        );
        for &(a, b) in one.points.iter().filter(|_| one.points.len() <= MARKED) {
            let (cx, cy) = (to_x(a), to_y(b));
            let _ = write!(svg, "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3\" fill=\"{colour}\"><title>");
            let _ = write!(svg, "{name}: {} at {}</title></circle>", short(b), short(a));
        }
        if let Some(&(a, b)) = one.points.last().filter(|_| frame.names) {
            let (from, to) = (to_x(a) + 5.0, width - right + 12.0);
            let _ = write!(svg, "<path class=\"lead\" d=\"M{from:.1} {:.1}L{to:.1} {label:.1}\"/>", to_y(b));
            let _ = write!(
                svg,
                "<text fill=\"{colour}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                to + 3.0,
                label + 4.0,
                fitted(&one.name, 17)
            );
        }
        svg.push_str("</g>");
    }
    svg + "</svg>"
}

/// Rows of intervals around 0: each value as a small dot, the mean as a large one.
pub(crate) fn intervals(rows: &[Interval], x_name: &str, width: f64) -> String {
    let (row, left, top) = (24.0, 190.0, 12.0);
    let height = top + row * rows.len() as f64 + MARGINS.3;
    let reach = |r: &Interval| {
        let half = if r.half.is_finite() { r.half } else { 0.0 };
        [r.middle - half, r.middle + half].into_iter().chain(r.values.iter().copied()).collect::<Vec<_>>()
    };
    let x = range(rows.iter().flat_map(reach).chain([0.0]));
    let to_x = |v: f64| left + (v - x.0) / (x.1 - x.0) * (width - left - 20.0);
    let mut svg = opened(width, height);
    let end = height - MARGINS.3;
    for t in ticks(x, 7) {
        let (at, class) = (to_x(t), if t == 0.0 { "zero" } else { "grid" });
        let _ = write!(svg, "<path class=\"{class}\" d=\"M{at:.1} {top:.1}V{end:.1}\"/>");
        let _ = write!(svg, "<text class=\"x\" x=\"{at:.1}\" y=\"{:.1}\">{}</text>", end + 16.0, short(t));
    }
    let middle = (left + width) / 2.0;
    let _ = write!(
        svg,
        "<text class=\"x\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text>",
        height - 8.0,
        escaped(x_name)
    );
    for (i, one) in rows.iter().enumerate() {
        let (y, name) = (top + row * (i as f64 + 0.5), escaped(&one.name));
        let clear = one.middle.abs() > one.half;
        let colour = if !clear {
            "#777777"
        } else if one.middle > 0.0 {
            COLOURS[0]
        } else {
            COLOURS[1]
        };
        let (end, text) = (left - 10.0, fitted(&one.name, 23));
        let _ = write!(svg, "<text class=\"y\" x=\"{end:.1}\" y=\"{:.1}\">{text}</text>", y + 4.0);
        if one.half.is_finite() {
            let (a, b) = (to_x(one.middle - one.half), to_x(one.middle + one.half));
            let _ = write!(svg, "<path d=\"M{a:.1} {y:.1}H{b:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/>");
        }
        for &value in &one.values {
            let at = to_x(value);
            let _ = write!(svg, "<circle class=\"seed\" cx=\"{at:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>");
        }
        let (at, mean) = (to_x(one.middle), short(one.middle));
        let half = if one.half.is_finite() { format!(" ± {}", short(one.half)) } else { String::new() };
        let _ = write!(svg, "<circle cx=\"{at:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{colour}\">");
        let _ = write!(svg, "<title>{name}: {mean}{half}</title></circle>");
    }
    svg + "</svg>"
}

fn opened(width: f64, height: f64) -> String {
    format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\">")
}

fn named(svg: &mut String, (x, y): (&str, &str), (width, height): (f64, f64), right: f64) {
    let (left, _, top, bottom) = MARGINS;
    let (middle, half) = ((left + width - right) / 2.0, (top + height - bottom) / 2.0);
    let _ =
        write!(svg, "<text class=\"x\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text>", height - 8.0, escaped(x));
    let _ = write!(
        svg,
        "<text class=\"x\" transform=\"translate(14 {half:.1}) rotate(-90)\">{}</text>",
        escaped(y)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks((0.0, 10.0), 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks((-0.4, 0.7), 4), [0.0, 0.5]);
        assert_eq!(
            (short(44_500.0), short(1.5e6), short(-0.001), short(27.25)),
            ("44.5k".into(), "1.5M".into(), "0".into(), "27.25".into())
        );
    }

    #[test]
    fn long_names_keep_their_heads_and_are_whole_when_pointed_at() {
        let name = "ngame:composer.sizes=[8]:loss.name=triplet";
        assert_eq!(fitted(name, 20), format!("ngame:compose…riplet<title>{name}</title>"));
        assert_eq!(fitted("a<b", 20), "a&lt;b");
    }

    #[test]
    fn labels_keep_apart_and_stay_in_order() {
        let at = apart(&[10.0, 11.0, 50.0, 12.0], 13.0, 5.0);
        assert!(at[1] - at[0] >= 13.0 - 1e-9 && at[3] - at[1] >= 13.0 - 1e-9 && at[2] > at[3], "{at:?}");
        assert!(at.iter().all(|a| *a >= 5.0), "{at:?}");
    }

    #[test]
    fn names_cannot_break_the_page() {
        let series = [Series { name: "<script>\"x\"".into(), points: vec![(1.0, 2.0), (2.0, f64::NAN)] }];
        let svg = lines(&series, Frame { axes: ("x", "y"), size: (600.0, 300.0), names: true });
        assert!(!legend(&[series[0].name.clone()]).contains("<script"));
        assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;"), "{svg}");
        let rows = [Interval { name: "a".into(), values: vec![0.1], middle: 0.1, half: f64::INFINITY }];
        assert!(!intervals(&rows, "x", 600.0).contains("inf"));
    }
}
