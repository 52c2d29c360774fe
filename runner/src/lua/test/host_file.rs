//! Files of the host that a call takes in: where they are looked for.
//!
//! Input: a path as a test writes it. Output: the file's, absolute; an error that names every place it could
//! have been in. In a fixture's source, the places before the right one become inputs: a file that appears
//! there later would be found first. Not here: what is written to the host, which goes below the project's
//! folder.

use std::path::{Path, PathBuf};

use super::file::File;
use crate::lua::api::call::Call;
use crate::lua::api::location::calling_chunk;
use crate::lua::api::raise::Raise;

impl Call<'_> {
    /// The argument as a path of a file of the host that is there: beside the calling file, or else in the
    /// project's folder.
    pub(crate) fn host_file(&self, at: usize) -> Result<PathBuf, Raise> {
        let path = self.name(at, "a string as path")?;
        self.find_host_file(&path).map_err(|message| self.fail(message))
    }

    /// The same for a path out of a table.
    pub(crate) fn find_host_file(&self, path: &str) -> Result<PathBuf, String> {
        let file = self.file();
        let mut places = vec![calling_folder(self, &file).join(path), file.project().join(path)];
        places.dedup();
        for place in &places {
            // What cannot be looked at is there, and says itself why.
            if place.try_exists().unwrap_or(true) {
                return Ok(place.clone());
            }
            file.takes_in(provium_cache::Input::HostFile { path: place.clone() })?;
        }
        let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
        Err(match places.as_slice() {
            [place] => format!("{place}: no such file on the host"),
            places => format!(
                "`{path}`: no such file on the host, neither {}",
                places.join(" nor ")
            ),
        })
    }
}

/// The folder of the file that makes the call.
fn calling_folder(call: &Call<'_>, file: &File) -> PathBuf {
    let chunk = calling_chunk(call.lua());
    let path = match chunk.as_deref() {
        // What `dofile` loads has a name relative to the project, and what `require` finds an absolute one.
        Some(chunk) if chunk != file.chunk_name() && chunk.starts_with('@') => {
            file.project().join(&chunk[1..])
        }
        _ => file.job().path.clone(),
    };
    path.parent()
        .map_or_else(|| file.project().to_owned(), Path::to_owned)
}
