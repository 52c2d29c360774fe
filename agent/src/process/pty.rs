//! A pseudo-terminal for a program that the host's user sits in front of.
//!
//! Input: its size, and who edits lines: this terminal, or the one that the user sees.
//! Output: its two ends, and another size later.
//! Not here: which of a program's streams it is; see `launch`.

use provium_protocol::{Terminal, TerminalSize};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{
    LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Winsize, tcgetattr, tcsetattr, tcsetwinsize,
};

use crate::fds;

/// The two ends of a pseudo-terminal.
pub(super) struct Pty {
    /// The agent's, which does not block.
    pub(super) master: OwnedFd,
    /// The program's.
    pub(super) child: OwnedFd,
}

/// Opens a pseudo-terminal; needs `/dev/ptmx`.
pub(super) fn open(terminal: &Terminal) -> Result<Pty, Errno> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = fds::own(|| openpt(flags))?;
    grantpt(&master)?;
    unlockpt(&master)?;
    // By the master and not by a name below `/dev/pts`, where something else may be mounted.
    let child = fds::own(|| ioctl_tiocgptpeer(&master, flags))?;
    resize(&master, terminal.size)?;
    if !terminal.cooked {
        let mut modes = tcgetattr(&child)?;
        modes.local_modes -= LocalModes::ECHO;
        modes.output_modes -= OutputModes::OPOST;
        tcsetattr(&child, OptionalActions::Now, &modes)?;
    }
    rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK)?;
    Ok(Pty { master, child })
}

/// Sets the size; the kernel tells the program's foreground process group.
pub(super) fn resize(master: impl AsFd, size: TerminalSize) -> Result<(), Errno> {
    tcsetwinsize(
        master,
        Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        },
    )
}

/// The character that means the end of what is typed.
pub(super) fn end_of_typing(master: impl AsFd) -> Option<u8> {
    let modes = tcgetattr(master).ok()?;
    Some(modes.special_codes[SpecialCodeIndex::VEOF])
}
