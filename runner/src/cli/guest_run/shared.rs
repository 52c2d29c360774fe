//! The folders of this machine that `provium run` shows its guest.
//!
//! Input: `--share`, the current folder. Output: [`ShareOption`]s, and where the command begins. Not here:
//! those of the profile.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use provium_guest::{GuestSpec, ShareMode, ShareOption};

use crate::cli::args::ShareArg;

/// The folders: those that are given, and on this machine's own root the current one, into whose copy in
/// memory the guest writes.
///
/// # Errors
/// The first that is none, or has no place in the guest.
pub(super) fn folders(given: &[ShareArg], host_root: bool, cwd: &Path) -> Result<Vec<ShareOption>> {
    let mut shares = Vec::new();
    if host_root && is_shown(cwd, home().as_deref()) {
        shares.extend(of_place(cwd, ShareMode::Overlay));
    }
    for share in given {
        let host = cwd.join(&share.host);
        let shown = share.host.display();
        let host = host.canonicalize().with_context(|| format!("--share: {shown}"))?;
        let guest = match &share.guest {
            Some(guest) => guest.clone(),
            None => {
                utf8(&host).ok_or_else(|| anyhow!("--share: {shown} is not UTF-8: say where in the guest"))?
            }
        };
        let option = ShareOption {
            guest,
            host,
            mode: share.mode,
        };
        option.check().map_err(|why| anyhow!("--share: {why}"))?;
        shares.push(option);
    }
    Ok(shares)
}

/// The folder in the guest in which the command begins, if it is not `/`: the current one where the guest has
/// it.
pub(super) fn begins_in(guest: &GuestSpec, cwd: &Path) -> Option<String> {
    let place = utf8(cwd)?;
    let has = guest.host_root
        && guest
            .shares
            .iter()
            .any(|share| share.host == cwd && share.guest == place);
    has.then_some(place)
}

/// Whether the current folder is shown unasked: not if all of a home, or of the machine, is in it.
fn is_shown(cwd: &Path, home: Option<&Path>) -> bool {
    let holds_home = home.is_some_and(|home| home.starts_with(cwd));
    !holds_home
        && !["/", "/home", "/root"]
            .iter()
            .any(|folder| cwd == Path::new(folder))
}

fn of_place(folder: &Path, mode: ShareMode) -> Option<ShareOption> {
    let share = ShareOption {
        guest: utf8(folder)?,
        host: folder.to_owned(),
        mode,
    };
    share.check().is_ok().then_some(share)
}

fn home() -> Option<std::path::PathBuf> {
    std::env::var_os("HOME").map(Into::into)
}

fn utf8(path: &Path) -> Option<String> {
    path.to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_not_shown_unasked() {
        let home = Some(Path::new("/home/me"));
        for (folder, shown) in [
            ("/home/me/linux", true),
            ("/srv/linux", true),
            ("/home/me", false),
            ("/home", false),
            ("/root", false),
            ("/", false),
        ] {
            assert_eq!(is_shown(Path::new(folder), home), shown, "{folder}");
        }
    }
}
