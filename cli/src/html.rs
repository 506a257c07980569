//! The pages that Lode writes: one file each, which needs no network and runs no script.

use crate::svg::escaped;

const STYLE: &str = "\
body{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff}
body{max-width:1000px;margin:2em auto;padding:0 1em}
h1{font-size:1.5em;margin-bottom:.2em}h2{font-size:1.15em;margin-top:2em}h3{font-size:1em;margin:.4em 0 0}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
div.wide{overflow-x:auto}th,td{padding:3px 8px;text-align:right;border-bottom:1px solid #e4e4e4;white-space:nowrap}
th:first-child,td:first-child{text-align:left}p.note{color:#555;font-size:13px}
svg{width:100%;height:auto;font:12px system-ui,sans-serif}svg text:not([fill]){fill:currentColor}
.grid{stroke:#e4e4e4}.zero{stroke:#555}.lead{stroke:#bbb;stroke-width:.7}.x{text-anchor:middle}.y{text-anchor:end}
.line path{fill:none;stroke-width:1.8}svg .line .lead{stroke:#bbb;stroke-width:.7}.seed{fill:none;stroke:#777}
svg:has(.line:hover) .line:not(:hover){opacity:.15}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:1.4em}
.key{white-space:nowrap;font-size:13px;margin-right:1em}.key svg{width:24px;height:10px;margin-right:.4em}
td.bar{min-width:9em;width:40%;text-align:left}td.bar span{display:inline-block;height:.75em;background:#0072b2}
td.text{text-align:left;white-space:normal;overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{background:#151515;color:#ddd}th,td{border-color:#333}.grid{stroke:#333}
p.note{color:#aaa}.zero{stroke:#aaa}svg text[fill]{fill:currentColor}td.bar span{background:#56b4e9}}
@media print{body{max-width:none;margin:0;color:#000;background:#fff}.charts{grid-template-columns:1fr 1fr}
figure,table{break-inside:avoid}h2{break-after:avoid}}
figure{margin:0}";

/// A page: its title as text, its body as HTML.
pub(crate) fn page(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\
         <h1>{title}</h1>{body}</body></html>\n"
    )
}

/// A table of texts whose first row is its head.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let row = |(i, cells): (usize, &Vec<String>)| {
        let tag = if i == 0 { "th" } else { "td" };
        let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
        format!("<tr>{cells}</tr>")
    };
    format!("<table>{}</table>", rows.iter().enumerate().map(row).collect::<String>())
}
