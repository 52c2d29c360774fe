//! Git, and its bisect in a worktree of its own.
//!
//! Input: a repository, revisions, verdicts. Output: what is checked out next, and what `git bisect` says
//! in the end. Which commit comes next is Git's to say, so a bisect here takes as many steps as one by
//! hand. Not here: verdicts.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::verdict::Verdict;

/// A repository or a worktree of it.
#[derive(Debug, Clone)]
pub(super) struct Git(pub(super) PathBuf);

/// What `git bisect` has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Another commit is checked out; how many are left, in Git's words.
    Next(String),
    /// This commit is the first bad one.
    Found(String),
    /// It is one of these, all but the last of which were skipped.
    OneOf(Vec<String>),
}

/// How a command has ended.
struct Ended {
    success: bool,
    stdout: String,
    stderr: String,
}

impl Git {
    /// The repository that `folder` is in, and `folder` below its top.
    ///
    /// # Errors
    /// It is in none.
    pub(super) fn at(folder: &Path) -> anyhow::Result<(Git, PathBuf)> {
        let here = Git(folder.to_owned());
        let below = here.words(["rev-parse", "--show-prefix"])?;
        let top = here.words(["rev-parse", "--show-toplevel"])?;
        Ok((Git(top.into()), below.into()))
    }

    fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> anyhow::Result<Ended> {
        let mut command = Command::new("git");
        // Those of a hook or of `git bisect run` are about another worktree.
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").arg("-C").arg(&self.0).args(args);
        let output = command
            .output()
            .map_err(|error| anyhow::anyhow!("git cannot be run: {error}"))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Ended {
            success: output.status.success(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        })
    }

    /// What a command prints.
    ///
    /// # Errors
    /// It failed; with what it said.
    pub(super) fn text<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> anyhow::Result<String> {
        let args: Vec<S> = args.into_iter().collect();
        let shown: Vec<_> = args.iter().map(|arg| arg.as_ref().to_string_lossy()).collect();
        let shown = shown.join(" ");
        let ended = self.run(args)?;
        anyhow::ensure!(
            ended.success,
            "git {shown} in {}: {}",
            self.0.display(),
            ended.stderr.trim()
        );
        Ok(ended.stdout)
    }

    /// The same without the line's end.
    ///
    /// # Errors
    /// Those of [`text`](Self::text).
    pub(super) fn words<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> anyhow::Result<String> {
        Ok(self.text(args)?.trim_end().to_owned())
    }

    /// Number of the commit that a revision means.
    ///
    /// # Errors
    /// There is no such commit.
    pub(super) fn commit(&self, revision: &str) -> anyhow::Result<String> {
        let commit = format!("{revision}^{{commit}}");
        self.words(["rev-parse", "--verify", "--quiet", &commit])
            .map_err(|_| anyhow::anyhow!("`{revision}` is no commit of {}", self.0.display()))
    }

    /// The first digits of a commit's number and its subject.
    ///
    /// # Errors
    /// Those of [`text`](Self::text).
    pub(super) fn title(&self, commit: &str) -> anyhow::Result<String> {
        self.words(["log", "-1", "--format=%h %s", commit])
    }

    /// A worktree of its own at `folder`, with `commit` checked out. One that is there from before is taken,
    /// so that what it was built with is not built again.
    ///
    /// # Errors
    /// Those of [`text`](Self::text).
    pub(super) fn worktree(&self, folder: &Path, commit: &str) -> anyhow::Result<Git> {
        let worktree = Git(folder.to_owned());
        if folder.join(".git").exists() && worktree.revive(commit).is_ok() {
            return Ok(worktree);
        }
        self.run([
            "worktree".as_ref(),
            "remove".as_ref(),
            "--force".as_ref(),
            folder.as_os_str(),
        ])?;
        if folder.exists() {
            std::fs::remove_dir_all(folder)
                .map_err(|error| anyhow::anyhow!("cannot remove {}: {error}", folder.display()))?;
        }
        self.text(["worktree", "prune"])?;
        let add = ["worktree", "add", "--quiet", "--detach"].map(OsStr::new);
        self.text(add.into_iter().chain([folder.as_os_str(), commit.as_ref()]))?;
        Ok(worktree)
    }

    /// Takes a worktree up that a killed process has left in whatever state.
    fn revive(&self, commit: &str) -> anyhow::Result<()> {
        let lock = self.words(["rev-parse", "--git-path", "index.lock"])?;
        // Whoever had it was killed: a bisect holds its folder's own lock.
        let _ = std::fs::remove_file(self.0.join(lock));
        self.text(["reset", "--quiet", "--hard"])?;
        self.text(["bisect", "reset", commit])?;
        self.check_out(commit)
    }

    /// Checks a commit out, without a branch.
    ///
    /// # Errors
    /// Those of [`text`](Self::text).
    pub(super) fn check_out(&self, commit: &str) -> anyhow::Result<()> {
        self.text(["checkout", "--quiet", "--force", "--detach", commit])
            .map(drop)
    }

    /// Begins a bisect in this worktree.
    ///
    /// # Errors
    /// What Git says to the revisions.
    pub(super) fn begin(&self, bad: &str, good: &[String], first_parent: bool) -> anyhow::Result<Progress> {
        let mut args = vec!["bisect", "start"];
        args.extend(first_parent.then_some("--first-parent"));
        args.push(bad);
        args.extend(good.iter().map(String::as_str));
        let ended = self.run(args)?;
        progress(&ended)
    }

    /// Says what the commit is that is checked out.
    ///
    /// # Errors
    /// What Git says to that.
    pub(super) fn mark(&self, verdict: Verdict) -> anyhow::Result<Progress> {
        let ended = self.run(["bisect", verdict.word()])?;
        progress(&ended)
    }
}

/// What the end of a `git bisect` command says.
fn progress(ended: &Ended) -> anyhow::Result<Progress> {
    let all = format!("{}\n{}", ended.stdout, ended.stderr);
    let mut lines = all.lines();
    // Newer versions quote the word.
    let found = |line: &str| {
        let (commit, rest) = line.split_once(' ')?;
        let rest = rest.replace('\'', "");
        (is_commit(commit) && rest.starts_with("is the first bad commit")).then(|| commit.to_owned())
    };
    if let Some(commit) = lines.clone().find_map(found) {
        return Ok(Progress::Found(commit));
    }
    if all.contains("The first bad commit could be any of")
        || all.contains("The first 'bad' commit could be any of")
    {
        return Ok(Progress::OneOf(
            lines.filter(|line| is_commit(line)).map(str::to_owned).collect(),
        ));
    }
    match lines.find_map(|line| line.strip_prefix("Bisecting: ")) {
        Some(left) if ended.success => Ok(Progress::Next(left.trim_end_matches('.').to_owned())),
        _ => Err(anyhow::anyhow!("git bisect: {}", all.trim())),
    }
}

/// Whether the text is a commit's whole number.
fn is_commit(text: &str) -> bool {
    text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3";
    const B: &str = "b94a8fe5ccb19ba61c4c0873d391e987982fbbd3";

    fn said(success: bool, text: &str) -> anyhow::Result<Progress> {
        progress(&Ended {
            success,
            stdout: text.to_owned(),
            stderr: String::new(),
        })
    }

    #[test]
    fn what_git_says_is_understood() {
        let next =
            format!("Bisecting: 3 revisions left to test after this (roughly 2 steps)\n[{A}] subject\n");
        let left = "3 revisions left to test after this (roughly 2 steps)".to_owned();
        assert_eq!(said(true, &next).expect("next"), Progress::Next(left));
        for word in ["bad", "'bad'"] {
            let found = format!("{A} is the first {word} commit\ncommit {A}\nAuthor: x\n");
            assert_eq!(said(true, &found).expect("found"), Progress::Found(A.to_owned()));
        }
        let one_of = format!(
            "There are only 'skip'ped commits left to test.\nThe first bad commit could be any of:\n{A}\n{B}\n\
             We cannot bisect more!\n"
        );
        let both = vec![A.to_owned(), B.to_owned()];
        assert_eq!(said(false, &one_of).expect("a range"), Progress::OneOf(both));
        let wrong = said(false, "The merge base x is bad.\n").expect_err("no bisect");
        assert!(wrong.to_string().contains("merge base"), "{wrong}");
    }
}
