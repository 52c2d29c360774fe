//! What a bisect comes to: the commit, and the two reports that show it.
//!
//! Input: what Git says in the end. Output: text; whether the answer holds, which is tried where one of
//! its two ends was taken from the user's word. Not here: the search.

use std::fmt::Write as _;

use super::driver::Driver;
use super::git::Progress;
use super::trial::Halt;
use super::verdict::Verdict;

/// An answer.
pub(super) struct Answer {
    /// What is shown.
    pub(super) text: String,
    /// Whether it names one commit, whose tests fail and whose parent's pass.
    pub(super) holds: bool,
}

/// The answer to this end of a bisect.
pub(super) fn of(driver: &mut Driver<'_>, end: &Progress) -> Result<Answer, Halt> {
    match end {
        Progress::Found(commit) => found(driver, commit),
        Progress::OneOf(commits) => {
            let mut text = format!(
                "it is one of these {}, which could not be told apart:\n",
                commits.len()
            );
            for commit in commits {
                let _ = writeln!(text, "  {}", driver.git.title(commit)?);
            }
            Ok(Answer { text, holds: false })
        }
        Progress::Next(_) => {
            Err(anyhow::anyhow!("the bisect has no end yet; this is a bug in Provium").into())
        }
    }
}

fn found(driver: &mut Driver<'_>, commit: &str) -> Result<Answer, Halt> {
    let shown = driver
        .git
        .text(["show", "--no-color", "--stat", "--format=medium", commit])?;
    let mut text = format!(
        "the first bad commit is {}\n\n{}\n",
        driver.git.title(commit)?,
        shown.trim_end()
    );
    let parents = driver.git.words(["rev-list", "--parents", "-1", commit])?;
    let parent = parents.split(' ').nth(1).map(str::to_owned);
    let mut holds = true;
    for (of, wanted) in [(Some(commit.to_owned()), Verdict::Bad), (parent, Verdict::Good)] {
        let Some(of) = of else { continue };
        driver.git.check_out(&of)?;
        let known = driver.judge(&of)?;
        let _ = writeln!(
            text,
            "\n{} on {}: {}",
            known.judged.verdict.word(),
            driver.git.title(&of)?,
            known.judged.why
        );
        text += &driver.records.report(&known.name);
        // A parent that could not be told was skipped, and Git knows better.
        if known.judged.verdict != wanted && known.judged.verdict != Verdict::Skip {
            holds = false;
            let _ = writeln!(
                text,
                "\nThis does not fit: {of} was taken for {}. Was it given as that, or do the tests fail only at \
                 times (--confidence)?",
                wanted.word()
            );
        }
    }
    Ok(Answer { text, holds })
}
