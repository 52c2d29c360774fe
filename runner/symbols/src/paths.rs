//! Paths of source files, relative to the folder of the sources.
//!
//! Input: paths as compilers wrote them. Output: the same, short. Not here: whether the files exist.

use std::path::{Component, Path, PathBuf};

/// The folders that paths are shown relative to.
#[derive(Debug, Default)]
pub(crate) struct Shortener {
    roots: Vec<PathBuf>,
}

impl Shortener {
    /// The sources' folder is known by one file in it: its whole path, and its path in the folder. Files that
    /// a build has made are in `objects`. What is in the working directory is shown relative to that.
    pub(crate) fn new(whole: Option<&str>, inside: &str, objects: Option<&str>) -> Shortener {
        let sources = whole.and_then(|whole| {
            let whole = normal(whole);
            let folder = whole.ancestors().nth(Path::new(inside).components().count())?;
            whole.ends_with(inside).then(|| folder.to_owned())
        });
        let here = std::env::current_dir().ok();
        Shortener {
            roots: sources
                .into_iter()
                .chain(objects.map(normal))
                .chain(here)
                .collect(),
        }
    }

    /// A path as it is shown.
    pub(crate) fn short(&self, path: &str) -> String {
        let path = normal(path);
        let inside = self.roots.iter().find_map(|root| path.strip_prefix(root).ok());
        let shown = inside
            .filter(|inside| !inside.as_os_str().is_empty())
            .unwrap_or(&path);
        shown.display().to_string()
    }
}

/// The path without `.` and `..`.
fn normal(path: &str) -> PathBuf {
    let mut parts: Vec<Component<'_>> = Vec::new();
    for part in Path::new(path).components() {
        match (part, parts.last()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => drop(parts.pop()),
            (Component::ParentDir, Some(Component::RootDir)) => {}
            _ => parts.push(part),
        }
    }
    parts.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_sources_however_they_are_written() {
        let short = Shortener::new(
            Some("/build/objects/../linux/init/main.c"),
            "init/main.c",
            Some("/build/objects"),
        );
        assert_eq!(
            short.short("/build/objects/./include/generated/a.h"),
            "include/generated/a.h"
        );
        assert_eq!(short.short("/build/linux/kernel/exit.c"), "kernel/exit.c");
        assert_eq!(
            short.short("/build/objects/../linux/./fs/proc/../open.c"),
            "fs/open.c"
        );
        assert_eq!(short.short("/elsewhere/mod.c"), "/elsewhere/mod.c");
        assert_eq!(short.short("kernel/exit.c"), "kernel/exit.c");
        assert_eq!(short.short("/../../../x.c"), "/x.c");
        let relative = Shortener::new(Some("./init/main.c"), "init/main.c", None);
        assert_eq!(relative.short("./kernel/exit.c"), "kernel/exit.c");
    }

    #[test]
    fn files_of_the_working_directory_are_relative_to_it() {
        let here = std::env::current_dir().unwrap();
        let short = Shortener::new(None, "init/main.c", None);
        assert_eq!(
            short.short(here.join("mod/splat.c").to_str().unwrap()),
            "mod/splat.c"
        );
        assert_eq!(short.short(here.to_str().unwrap()), here.to_str().unwrap());
    }
}
