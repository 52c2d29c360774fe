//! Coverage as a page for a browser: one file without scripts, fonts or anything else to fetch.
//!
//! Input: buckets. Output: HTML. Ids, paths and names are escaped. Not here: counting.

use std::fmt::Write;

use super::{Bucket, Buckets, CameTo, Tally, UNSET};
use crate::report::text;

const HEAD: &str = "<!DOCTYPE html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">
<title>provium coverage</title>
<style>
:root { color-scheme: light dark; --pass: #2a9d4a; --fail: #d1242f; --skip: #9a9a9a; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
details { border-bottom: 1px solid #8884; }
summary { display: flex; gap: 1rem; align-items: center; padding: .3rem 0; cursor: pointer; }
summary b { flex: 1; overflow-wrap: anywhere; }
.counts { font-variant-numeric: tabular-nums; }
.bar { display: flex; width: 10rem; height: .7rem; border-radius: .35rem; overflow: hidden; background: #8882; }
.passed { background: var(--pass); } .failed { background: var(--fail); } .skipped { background: var(--skip); }
li.passed, li.failed, li.skipped { background: none; }
li.passed::marker { content: '\u{2713} '; color: var(--pass); }
li.failed::marker { content: '\u{2717} '; color: var(--fail); }
li.skipped::marker { content: '\u{2013} '; color: var(--skip); }
</style>
</head>
<body>
";

/// The page.
pub(super) fn page(buckets: &Buckets<'_>) -> String {
    let mut out = HEAD.to_owned();
    let _ = writeln!(
        out,
        "<h1>Coverage by <code>{}</code></h1>\n<p>{} ids, {}</p>",
        html(buckets.by),
        buckets.buckets.len(),
        buckets.total.shown()
    );
    if let Some(missing) = buckets.missing.as_ref().filter(|missing| !missing.is_empty()) {
        let _ = writeln!(out, "<h2>Never ran: {}</h2>\n<ul>", missing.len());
        for id in missing {
            let _ = writeln!(out, "<li class=\"failed\">{}</li>", html(id));
        }
        out.push_str("</ul>\n");
    }
    out.push_str("<h2>Ids</h2>\n");
    for (id, bucket) in &buckets.buckets {
        details(&mut out, id, bucket);
    }
    if buckets.unset.tally != Tally::default() {
        details(&mut out, UNSET, &buckets.unset);
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn details(out: &mut String, id: &str, bucket: &Bucket<'_>) {
    let Tally {
        passed,
        failed,
        skipped,
    } = bucket.tally;
    let all = (passed + failed + skipped).max(1);
    let part = |class: &str, count: usize| {
        format!(
            "<span class=\"{class}\" style=\"width: {:.2}%\"></span>",
            count as f64 * 100.0 / all as f64
        )
    };
    let _ = writeln!(
        out,
        "<details><summary><b>{}</b><span class=\"counts\">{}</span><span class=\"bar\">{}{}{}</span></summary>\n<ul>",
        html(id),
        bucket.tally.shown(),
        part("passed", passed),
        part("failed", failed),
        part("skipped", skipped)
    );
    for (path, name, came_to) in &bucket.tests {
        let class = match came_to {
            CameTo::Passed => "passed",
            CameTo::Failed => "failed",
            CameTo::Skipped => "skipped",
        };
        let _ = writeln!(
            out,
            "<li class=\"{class}\"><code>{}</code> {}</li>",
            html(path),
            html(name)
        );
    }
    out.push_str("</ul></details>\n");
}

/// Text that HTML shows as it is.
fn html(text: &str) -> String {
    let text = text::first_line(text);
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
