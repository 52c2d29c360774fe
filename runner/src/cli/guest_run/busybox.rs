//! The initramfs of a guest for which none is given: this machine's static busybox and its applets.
//!
//! Input: this machine's programs. Output: an archive in the cache's folder, made once for each busybox. Not
//! here: an init; the agent is the first process and makes what mount points there have to be.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use provium_base::initramfs::{InitramfsFile, InitramfsLink, archive_with_links};

/// Files besides busybox, as programs expect them.
const ETC: [(&str, &str); 2] = [
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
    ("/etc/group", "root:x:0:\ntty:x:5:\n"),
];

/// The archive, below `cache`.
///
/// # Errors
/// When this machine has no static busybox, with what to do about it; when the archive cannot be made.
pub(super) fn initrd(cache: &Path) -> Result<PathBuf> {
    let busybox = provium_emulated::static_busybox().ok_or_else(|| {
        anyhow!(
            "the guest has no user space: give --rootfs or --initrd, or install a static busybox, which is taken \
             then (apt-get install busybox-static)"
        )
    })?;
    let metadata = fs::metadata(&busybox).with_context(|| busybox.display().to_string())?;
    let folder = cache.join("initrd");
    let name = format!(
        "busybox-{}-{}-{}.cpio",
        metadata.ino(),
        metadata.size(),
        metadata.mtime()
    );
    let path = folder.join(name);
    if path.is_file() {
        return Ok(path);
    }
    let made = make(&busybox)?;
    let failed = || format!("cannot write below {}", folder.display());
    fs::create_dir_all(&folder).with_context(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(&folder).with_context(failed)?;
    file.write_all(&made).with_context(failed)?;
    file.persist(&path).with_context(failed)?;
    Ok(path)
}

/// An archive with this busybox.
fn make(busybox: &Path) -> Result<Vec<u8>> {
    let shown = busybox.display();
    let content = fs::read(busybox).with_context(|| shown.to_string())?;
    let listed = Command::new(busybox).arg("--list-full").output();
    let listed = listed.with_context(|| format!("{shown} --list-full"))?;
    let applets = String::from_utf8(listed.stdout).context("the names of busybox's applets")?;
    let applets: Vec<String> = applets.lines().map(|applet| format!("/{applet}")).collect();
    ensure!(
        applets.iter().any(|applet| applet == "/bin/sh"),
        "{shown} has no shell: give --rootfs or --initrd"
    );
    let mut files = vec![InitramfsFile {
        path: "/bin/busybox",
        mode: 0o755,
        content: &content,
    }];
    files.extend(ETC.map(|(path, content)| InitramfsFile {
        path,
        mode: 0o644,
        content: content.as_bytes(),
    }));
    let links = applets.iter().filter(|applet| *applet != "/bin/busybox");
    let links: Vec<_> = links
        .map(|applet| InitramfsLink {
            path: applet,
            target: "/bin/busybox",
        })
        .collect();
    Ok(archive_with_links(&files, &links)?)
}
