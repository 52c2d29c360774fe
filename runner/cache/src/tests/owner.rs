//! Whose the cache is: its user's alone, since memory of guests is in it.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use super::*;
use crate::Store;

#[test]
fn nobody_else_can_look_into_the_cache() {
    let dir = TempDir::new().expect("a temporary folder");
    let cache = dir.path().join("new/cache");
    let mode = || fs::metadata(&cache).expect("it is there").mode() & 0o777;
    Store::look(&cache, u64::MAX).prepare().expect("it is made");
    assert_eq!(mode(), 0o700);
    // One that was made by an older version.
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).expect("ours");
    Store::look(&cache, u64::MAX).prepare().expect("it is there");
    assert_eq!(mode(), 0o700);
}

#[test]
fn a_cache_of_somebody_else_is_refused() {
    let dir = TempDir::new().expect("a temporary folder");
    let cache = dir.path().join("cache");
    Store::look(&cache, u64::MAX).prepare().expect("it is made");
    let user = rustix::process::geteuid().as_raw();
    // Only root can give a folder away; others are shown one of root's.
    let theirs = match user {
        0 => {
            chown(&cache, Some(12345), None).expect("given away");
            cache
        }
        _ => PathBuf::from("/usr"),
    };
    let owner = fs::metadata(&theirs).expect("it is there").uid();
    let error = Store::look(&theirs, u64::MAX)
        .close_to_others()
        .expect_err("it is refused");
    assert_eq!(
        error.to_string(),
        format!(
            "the fixture cache {} belongs to user {owner}, and this is user {user}: let `cache_dir` name another folder, \
             or give this one to user {user}",
            theirs.display()
        )
    );
}
