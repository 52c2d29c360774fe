//! Which folders a search of a project goes into.
//!
//! Input: an entry of a walk. Output: yes or no. Not here: what is looked for.

use walkdir::DirEntry;

/// Folders that are never searched, beside hidden ones.
const SKIPPED: [&str; 2] = ["target", "node_modules"];

/// A folder given by name is searched whatever it is called; below it, hidden and build folders are not.
pub fn is_searched(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    entry.depth() == 0 || !entry.file_type().is_dir() || !(name.starts_with('.') || SKIPPED.contains(&&*name))
}
