//! Which files and folders a search of a project looks at.
//!
//! Input: an entry of a walk. Output: yes or no. Not here: what is looked for.

use walkdir::DirEntry;

/// Folders that are never searched, beside hidden ones.
const SKIPPED: [&str; 2] = ["target", "node_modules"];

/// What is given by name is searched whatever it is called; below it, hidden files and folders, which macOS
/// leaves beside others, and build folders are not.
pub fn is_searched(entry: &DirEntry) -> bool {
    let name = entry.file_name().as_encoded_bytes();
    let skipped = entry.file_type().is_dir() && SKIPPED.iter().any(|skipped| skipped.as_bytes() == name);
    entry.depth() == 0 || !(name.starts_with(b".") || skipped)
}
