//! One shared folder of the host: what may be opened in it.
//!
//! Input: paths below the folder. Output: descriptors of what is there, and never of anything else. Not here:
//! who asks (`server`).

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use provium_devices::virtio::saved::FsFolderState;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde_bytes::ByteBuf;

use super::stat::Stat;
use super::wire::Valid;

/// A folder of the host that guests see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedFolder {
    /// Where it is, absolute.
    pub path: PathBuf,
    /// Whether a guest may change what is in it.
    pub writable: bool,
    /// Whether it is shown only as far as everybody on the host may see it, and without homes, keys, sockets
    /// and what is of this moment: for a host's own root.
    pub public: bool,
}

/// Folders that a public share shows without what is in them.
const CLOSED: [&[u8]; 8] = [
    b"dev", b"home", b"proc", b"root", b"run", b"sys", b"tmp", b"var/tmp",
];
/// Files that a public share does not show, whoever may read them.
const ABSENT: [&[u8]; 4] = [b"etc/shadow", b"etc/shadow-", b"etc/gshadow", b"etc/gshadow-"];
/// File systems of the kernel's own: what is in them is the host's state and no file.
const KERNELS_OWN: [u32; 20] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0xcafe_4a11, // bpf
    0x1cd1,      // devpts
    0x1980_0202, // mqueue
    0x6165_676c, // pstore
    0xde5e_81e4, // efivarfs
    0x6265_6570, // configfs
    0x4249_4e4d, // binfmt_misc
    0x6573_5543, // fusectl
    0x6e73_6673, // nsfs
    0x9584_58f6, // hugetlbfs
    0x0187,      // autofs
    0x6759_6969, // rpc_pipefs
    0x6e66_7364, // nfsd
];
/// How often a path is walked again that changes under the walk.
const TRIES: u32 = 16;
/// Seconds for which a guest need not ask again about a host's root, which changes seldom.
const PUBLIC_VALID: u64 = 10;
/// Nanoseconds for which a guest that has opened a file need not ask again how long it is: enough to read a
/// small one.
const FILE_VALID_NANOS: u32 = 50_000_000;

/// What a share makes of a name in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// It is there.
    As,
    /// It is an empty folder.
    Closed,
    /// It is not there.
    Not,
}

/// A shared folder, opened.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) spec: SharedFolder,
    /// `None` when the host has it no more.
    root: Option<OwnedFd>,
    device: u64,
}

impl Folder {
    /// Opens a folder.
    ///
    /// # Errors
    /// When it is none, or one of the kernel's own.
    pub(super) fn open(spec: SharedFolder) -> io::Result<Folder> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, &spec.path, flags, Mode::empty())?;
        if is_kernels_own(&root)? {
            return Err(io::Error::other(
                "it is a file system of the kernel's own, which cannot be shared",
            ));
        }
        let device = Stat::of(&root)?.device;
        Ok(Folder {
            spec,
            root: Some(root),
            device,
        })
    }

    /// The folder of a saved state, which may be gone.
    pub(super) fn restore(state: &FsFolderState) -> Folder {
        let spec = SharedFolder {
            path: PathBuf::from(OsStr::from_bytes(&state.path)),
            writable: state.writable,
            public: state.public,
        };
        Folder::open(spec.clone()).unwrap_or_else(|error| {
            tracing::warn!(path = %spec.path.display(), %error, "a shared folder is not there any more");
            Folder {
                spec,
                root: None,
                device: 0,
            }
        })
    }

    pub(super) fn save(&self) -> FsFolderState {
        FsFolderState {
            path: ByteBuf::from(self.spec.path.as_os_str().as_bytes()),
            writable: self.spec.writable,
            public: self.spec.public,
        }
    }

    /// Opens what is at `path` in it, and not behind a link, below a link or outside.
    ///
    /// # Errors
    /// Those of the host's kernel; ESTALE when the folder is gone.
    pub(super) fn at(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let root = self.root.as_ref().ok_or(Errno::STALE)?;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..TRIES {
            match rustix::fs::openat2(root, path, flags, Mode::empty(), how) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return opened,
            }
        }
        Err(Errno::STALE)
    }

    /// What is made of the name at `path`.
    pub(super) fn shows(&self, path: &[u8]) -> Shown {
        let key = || {
            path.strip_prefix(b"etc/ssh/ssh_host_")
                .is_some_and(|rest| rest.ends_with(b"_key"))
        };
        match self.spec.public {
            true if CLOSED.contains(&path) => Shown::Closed,
            true if ABSENT.contains(&path) || key() => Shown::Not,
            _ => Shown::As,
        }
    }

    /// Refuses what only its owner, or its group, may do, in a share that is public.
    ///
    /// # Errors
    /// EACCES.
    pub(super) fn check_public(&self, stat: &Stat, bits: u32) -> Result<(), Errno> {
        match self.spec.public && stat.mode & bits != bits {
            true => Err(Errno::ACCESS),
            false => Ok(()),
        }
    }

    /// Refuses changes where a guest may not make any.
    ///
    /// # Errors
    /// EROFS.
    pub(super) fn check_writable(&self) -> Result<(), Errno> {
        match self.spec.writable {
            true => Ok(()),
            false => Err(Errno::ROFS),
        }
    }

    /// The inode number that programs of the guest see: the host's; for another file system that is mounted
    /// in the folder, one that does not meet those of the first.
    pub(super) fn ino(&self, stat: &Stat) -> u64 {
        match stat.device == self.device {
            true => stat.ino,
            false => stat.ino ^ (stat.device.wrapping_mul(0x9e37_79b9_7f4a_7c15) & !0xffff_ffff_ffff),
        }
    }

    /// For how long a guest need not ask again. Not at all, in folders that a test may write to, whether a
    /// name is there, which is asked at each open, and what is said of a folder, since a list of names is
    /// believed as long as that. So the guest sees what the host has written as soon as it looks.
    pub(super) fn valid(&self, stat: &Stat) -> Valid {
        match self.spec.public {
            true => Valid {
                name: PUBLIC_VALID,
                attributes: (PUBLIC_VALID, 0),
            },
            false if stat.is_folder() => Valid::default(),
            false => Valid {
                name: 0,
                attributes: (0, FILE_VALID_NANOS),
            },
        }
    }
}

/// Whether it is a file system of the kernel's own that a descriptor is in.
pub(super) fn is_kernels_own(fd: impl AsFd) -> Result<bool, Errno> {
    let found = rustix::fs::fstatfs(fd)?;
    Ok(KERNELS_OWN.contains(&(found.f_type as u32)))
}

/// Opens anew, for what the flags say, what a descriptor of a path stands for: a regular file. Nothing else
/// is ever opened for a guest, since opening may do something already.
pub(super) fn reopen(fd: &OwnedFd, stat: &Stat, flags: OFlags) -> Result<OwnedFd, Errno> {
    match stat.kind() {
        FileType::RegularFile => rustix::fs::openat(
            CWD,
            proc_path(fd),
            flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        ),
        FileType::Directory => Err(Errno::ISDIR),
        _ => Err(Errno::INVAL),
    }
}

/// The path by which the kernel finds what a descriptor stands for.
pub(super) fn proc_path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
