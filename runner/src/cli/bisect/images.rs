//! A bisect of ready kernels: `--images DIR`.
//!
//! Input: a folder of kernels, in the order of their names. Output: the first that is bad. There is no
//! build and no Git; every profile boots the kernel in question. Not here: the verdict on one.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use provium_base::cancel::Cancel;
use provium_base::exit;

use super::known::Known;
use super::records::{Records, key};
use super::say;
use super::trial::{Halt, Repeat, Trial};
use super::verdict::Verdict;
use crate::cli::args::{DriverArgs, RunArgs};
use crate::cli::print::print;
use crate::cli::project::Project;

/// A bisect of images.
struct Images<'a> {
    args: &'a DriverArgs,
    cancel: &'a Arc<Cancel>,
    /// Names of all profiles.
    profiles: Vec<String>,
    images: Vec<PathBuf>,
    records: Records,
}

/// Which image is next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// This one.
    Try(usize),
    /// The one behind the last good is the first bad.
    Found,
    /// All between the two are skipped.
    Stuck,
}

/// Bisects the images of a folder.
pub(super) fn drive(args: &DriverArgs, folder: &Path, cancel: &Arc<Cancel>) -> Result<u8, Halt> {
    let trial = trial(args, cancel, Vec::new());
    let (_, project) = trial.project()?;
    let folder = project.cwd.join(folder);
    let images = images(&folder)?;
    let place = |given: Option<&String>, or: usize| match given {
        None => Ok(or),
        Some(name) => images
            .iter()
            .position(|image| image.ends_with(name))
            .ok_or_else(|| anyhow::anyhow!("there is no image `{name}` in {}", folder.display())),
    };
    if args.good.len() > 1 {
        return Err(anyhow::anyhow!(
            "--images: one image is the last that is known to be good; --good is there twice"
        )
        .into());
    }
    let (mut good, mut bad) = (
        place(args.good.first(), 0)?,
        place(args.bad.as_ref(), images.len() - 1)?,
    );
    if good >= bad {
        return Err(anyhow::anyhow!(
            "{} does not come before {}",
            name(&images[good]),
            name(&images[bad])
        )
        .into());
    }
    let records = Records::open(&project, &folder, args.fresh)?;
    let mut bisect = Images {
        args,
        cancel,
        profiles: project.config.profiles.keys().cloned().collect(),
        images,
        records,
    };
    let mut skipped = vec![false; bisect.images.len()];
    let stuck = loop {
        match next(good, bad, &skipped) {
            Next::Found => break false,
            Next::Stuck => break true,
            Next::Try(at) => {
                say(&format!(
                    "{} images left to test: {}",
                    bad - good - 1,
                    name(&bisect.images[at])
                ));
                match bisect.judge(at)?.judged.verdict {
                    Verdict::Good => good = at,
                    Verdict::Bad => bad = at,
                    Verdict::Skip => skipped[at] = true,
                }
            }
        }
    };
    let (text, holds) = match stuck {
        true => (bisect.one_of(good, bad), false),
        false => bisect.found(good, bad)?,
    };
    print(&text)?;
    Ok(match holds {
        true => exit::SUCCESS,
        false => exit::FAILED,
    })
}

/// What is run, with these flags of `provium` beside.
fn trial<'a>(args: &'a DriverArgs, cancel: &'a Arc<Cancel>, further: Vec<OsString>) -> Trial<'a> {
    Trial {
        step: &args.step,
        sources: None,
        further,
        cancel,
    }
}

/// The files of a folder, in the order of their names, in which a number counts as a number.
fn images(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = folder
        .read_dir()
        .map_err(|error| anyhow::anyhow!("--images: {}: {error}", folder.display()))?;
    let mut images: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && !name(path).starts_with('.'))
        .collect();
    anyhow::ensure!(
        images.len() >= 2,
        "--images: {} has {} image(s); a bisect takes two or more",
        folder.display(),
        images.len()
    );
    images.sort_by_cached_key(|path| parts(&name(path)));
    Ok(images)
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// A name as text and numbers, by turns: `v6.9` comes before `v6.10`.
fn parts(name: &str) -> Vec<(String, u64)> {
    let mut parts: Vec<(String, u64)> = vec![Default::default()];
    let mut in_number = false;
    for character in name.chars() {
        let digit = character.to_digit(10);
        if digit.is_none() && in_number {
            parts.push(Default::default());
        }
        in_number = digit.is_some();
        if let Some((text, number)) = parts.last_mut() {
            match digit {
                Some(digit) => *number = number.saturating_mul(10).saturating_add(u64::from(digit)),
                None => text.push(character),
            }
        }
    }
    parts
}

/// The image to try between the last good and the first bad one: that nearest to the middle that was not
/// skipped.
fn next(good: usize, bad: usize, skipped: &[bool]) -> Next {
    if bad - good == 1 {
        return Next::Found;
    }
    let middle = good + (bad - good) / 2;
    let left = (good + 1..bad).filter(|at| !skipped[*at]);
    match left.min_by_key(|at| at.abs_diff(middle)) {
        Some(at) => Next::Try(at),
        None => Next::Stuck,
    }
}

impl Images<'_> {
    /// What the image is.
    fn judge(&mut self, at: usize) -> Result<Known, Halt> {
        let began = Instant::now();
        let image = &self.images[at];
        let repeat = self.args.repeat.map_or(Repeat::AsGiven, Repeat::UntilFail);
        let kernels = self.profiles.iter().map(|profile| {
            let mut flag = OsString::from(format!("--kernel={profile}="));
            flag.push(image);
            flag
        });
        let trial = trial(self.args, self.cancel, kernels.collect());
        let (run, project): (RunArgs, Project) = trial.project()?;
        let around = trial.circumstances(&run, &project, repeat)?;
        let digest = trial.digest(&project, image)?;
        let key = key("image", around, digest.as_bytes());
        if let Some(known) = self.records.known_before(key) {
            return Ok(known);
        }
        let name = name(image);
        let tested = self.records.run(&trial, repeat, &name)?;
        self.records
            .keep(&[key], &name, tested.judged, tested.rounds, began)
    }

    /// The answer, whose two ends are tried where they were taken from the user's word.
    fn found(&mut self, good: usize, bad: usize) -> Result<(String, bool), Halt> {
        let mut text = format!("the first bad image is {}\n", self.images[bad].display());
        let mut holds = true;
        for (at, wanted) in [(bad, Verdict::Bad), (good, Verdict::Good)] {
            let known = self.judge(at)?;
            let word = known.judged.verdict.word();
            let _ = writeln!(
                text,
                "\n{word} on {}: {}",
                name(&self.images[at]),
                known.judged.why
            );
            text += &self.records.report(&known.name);
            if known.judged.verdict != wanted {
                holds = false;
                let _ = writeln!(text, "\nThis does not fit: it was taken for {}.", wanted.word());
            }
        }
        let _ = writeln!(text, "\nlogs of each image: {}", self.records.logs().display());
        Ok((text, holds))
    }

    /// What is left where all between are skipped.
    fn one_of(&self, good: usize, bad: usize) -> String {
        let mut text = format!(
            "it is one of these {}, which could not be told apart:\n",
            bad - good
        );
        for image in &self.images[good + 1..=bad] {
            let _ = writeln!(text, "  {}", image.display());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_their_numbers() {
        let mut names = [
            "vmlinuz-6.10",
            "vmlinuz-6.9",
            "vmlinuz-6.9.2",
            "vmlinuz-6.9-rc1",
            "vmlinuz-5.20",
        ];
        names.sort_by_cached_key(|name| parts(name));
        assert_eq!(
            names,
            [
                "vmlinuz-5.20",
                "vmlinuz-6.9",
                "vmlinuz-6.9-rc1",
                "vmlinuz-6.9.2",
                "vmlinuz-6.10"
            ]
        );
    }

    #[test]
    fn every_first_bad_image_is_found_in_the_fewest_steps() {
        for count in 2..40 {
            for first in 1..count {
                let (mut good, mut bad, mut steps) = (0, count - 1, 0);
                let skipped = vec![false; count];
                while let Next::Try(at) = next(good, bad, &skipped) {
                    steps += 1;
                    match at >= first {
                        true => bad = at,
                        false => good = at,
                    }
                }
                assert_eq!((good, bad), (first - 1, first));
                assert!(1 << steps <= 2 * count, "{steps} steps for {count}");
            }
        }
    }

    #[test]
    fn skipped_images_are_passed_over_and_end_it_when_nothing_else_is_left() {
        let mut skipped = vec![false; 9];
        assert_eq!(next(0, 8, &skipped), Next::Try(4));
        skipped[4] = true;
        assert_eq!(next(0, 8, &skipped), Next::Try(3));
        skipped[3] = true;
        assert_eq!(next(2, 5, &skipped), Next::Stuck);
        assert_eq!(next(4, 5, &skipped), Next::Found);
    }
}
