//! One QEMU process: its command line, and its end with the thread that started it.
//!
//! Input: prepared files and the emulated host's shape. Output: a [`Qemu`] with the streams to and from it.
//! Not here: what is sent on the streams.
//!
//! The effects of the options were measured with QEMU 7.2 on two cores; `docs/explanation/emulated-host.md`
//! has the numbers. One vCPU by default: with two, QEMU 7.2 freezes now and then while nested guests run.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};

use landlock::RulesetCreated;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::confine;
use crate::environment::EXE;
use crate::prepare::Prepared;

/// The name of the serial port that Provium inside looks for.
pub(crate) const PORT: &str = "provium";

/// Options by which the kernel skips what emulation makes slow or unreliable. It polls when idle: if it
/// halted while nested guests come and go, QEMU 7.2 would lose an interrupt every few minutes, and nothing
/// would wake it.
const COMMAND_LINE: &str = "console=ttyS0 panic=-1 oops=panic mitigations=off nokaslr audit=0 apparmor=0 \
    tsc=reliable no_timer_check nowatchdog rcupdate.rcu_expedited=1 rcupdate.rcu_cpu_stall_suppress=1 \
    random.trust_cpu=1 cryptomgr.notests 8250.nr_uarts=1 idle=poll";

/// Bytes of the longest path of `provium` that fits the kernel's command line, at two digits a byte.
const MAX_EXE: usize = 700;

/// Memory, CPUs and folders of an emulated host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) memory_mib: u64,
    /// Number of vCPUs.
    pub(crate) cpus: u8,
    /// Folders to share for writing.
    pub(crate) writable: Vec<PathBuf>,
    /// The `provium` to run inside.
    pub(crate) exe: PathBuf,
}

/// A running QEMU process; dropping this kills it.
pub(crate) struct Qemu {
    child: Child,
    /// The stream to and from Provium inside.
    pub(crate) channel: UnixStream,
    /// The kernel's console.
    pub(crate) console: ChildStdout,
    /// QEMU's own messages.
    pub(crate) stderr: ChildStderr,
}

impl Qemu {
    /// Starts QEMU. It is killed when the thread that called this ends.
    ///
    /// # Errors
    /// When it cannot be executed, or the path of `provium` is too long to be passed on.
    pub(crate) fn start(prepared: &Prepared, shape: &Shape) -> io::Result<Self> {
        let (channel, theirs) = UnixStream::pair()?;
        let theirs = OwnedFd::from(theirs);
        let fd = theirs.as_raw_fd();
        let parent = rustix::process::getpid();
        let mut command = Command::new(&prepared.qemu);
        command.args(arguments(prepared, shape, fd)?);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Not in the terminal's foreground group: Ctrl-C is for Provium to deal with.
        command.process_group(0);
        // Where the kernel has none, QEMU may open what the user may.
        let mut ruleset = confine::ruleset(&shape.writable).ok();
        // SAFETY: between fork and exec only system calls are made: no allocation, no lock. `theirs` is open
        // in the child, since it is dropped only after the spawn.
        unsafe {
            command.pre_exec(move || {
                set_parent_process_death_signal(Some(Signal::KILL))?;
                if getppid() != Some(parent) {
                    return Err(io::Error::other("Provium has ended")); // before the line above took effect
                }
                fcntl_setfd(std::os::fd::BorrowedFd::borrow_raw(fd), FdFlags::empty())?;
                match ruleset.take().map(RulesetCreated::restrict_self) {
                    // An error of the crate's would have to be rendered, which takes memory.
                    Some(Err(_)) => Err(io::ErrorKind::PermissionDenied.into()),
                    _ => Ok(()),
                }
            });
        }
        let mut child = command.spawn()?;
        let (console, stderr) = (child.stdout.take(), child.stderr.take());
        let (Some(console), Some(stderr)) = (console, stderr) else {
            unreachable!("both are piped")
        };
        channel.set_nonblocking(true)?;
        rustix::io::ioctl_fionbio(&console, true)?;
        rustix::io::ioctl_fionbio(&stderr, true)?;
        Ok(Self {
            child,
            channel,
            console,
            stderr,
        })
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, unless it has ended, and gives its exit status.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub(crate) fn end(&mut self) -> io::Result<ExitStatus> {
        match self.child.try_wait()? {
            Some(status) => Ok(status),
            None => {
                self.child.kill()?;
                self.child.wait()
            }
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// CPU model with AMD-V and nested paging, and without XSAVE: the emulation does not let a monitor intercept
/// XSETBV, so that KVM would replace the guest's XCR0 at every entry.
const CPU: &str = "EPYC-v1,+svm,+npt,-xsave,-xsaveopt,-xsavec,-xgetbv1,-avx,-avx2,-f16c,-fma";

/// What QEMU may not ask of the host's kernel: programs, other privileges, priorities, what is obsolete.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// QEMU's command line; `channel` is the file descriptor of the stream to Provium inside.
///
/// # Errors
/// When the path of `provium` is too long.
fn arguments(prepared: &Prepared, shape: &Shape, channel: i32) -> io::Result<Vec<OsString>> {
    let exe = shape.exe.as_os_str().as_bytes();
    if exe.len() > MAX_EXE {
        let message = format!(
            "{}: the path is too long for the emulated host",
            shape.exe.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let exe: String = exe.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut args: Vec<OsString> = Vec::new();
    let mut add = |option: &str, value: OsString| args.extend([option.into(), value]);
    add("-machine", "q35".into());
    add("-accel", "tcg".into());
    add("-cpu", CPU.into());
    add("-smp", shape.cpus.to_string().into());
    add("-m", format!("{}M", shape.memory_mib).into());
    add("-display", "none".into());
    // It reads what the emulated host writes, which guests have had their hands on.
    add("-sandbox", SANDBOX.into());
    add("-serial", "stdio".into());
    add("-kernel", prepared.kernel.clone().into());
    add("-initrd", prepared.initramfs.clone().into());
    // The emulated counter is this processor's own. Left to find out its frequency, the kernel may be wrong
    // by a thousandth, and correct itself only after KVM is loaded, whose guests are then without a timer.
    let khz = provium_vmm::measured_tsc_khz();
    add(
        "-append",
        format!("{COMMAND_LINE} tsc_early_khz={khz} {EXE}{exe}").into(),
    );
    add("-device", "virtio-serial-pci,max_ports=2".into());
    add("-chardev", format!("socket,id={PORT},fd={channel}").into());
    add(
        "-device",
        format!("virtserialport,chardev={PORT},name={PORT}").into(),
    );
    add("-virtfs", share(Path::new("/"), "host", ",readonly=on"));
    for (i, folder) in shape.writable.iter().enumerate() {
        add("-virtfs", share(folder, &format!("rw{i}"), ""));
    }
    args.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(OsString::from));
    Ok(args)
}

/// Value of the option that shares a folder, with owners and modes as they are. Other file systems may be
/// mounted below it.
fn share(folder: &Path, tag: &str, more: &str) -> OsString {
    let rest = format!(",mount_tag={tag},security_model=none,multidevs=remap{more}");
    [OsStr::new("local,path="), &quoted(folder), OsStr::new(&rest)]
        .into_iter()
        .collect()
}

/// The path as part of an option's value, in which a comma is written twice.
fn quoted(path: &Path) -> OsString {
    let bytes = path.as_os_str().as_bytes();
    OsString::from_vec(
        bytes
            .iter()
            .flat_map(|&b| std::iter::repeat_n(b, if b == b',' { 2 } else { 1 }))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            memory_mib: 2048,
            cpus: 1,
            writable: vec!["/home/a,b".into(), "/cache".into()],
            exe: "/opt/my tools/provium".into(),
        }
    }

    fn prepared() -> Prepared {
        Prepared {
            qemu: "/usr/bin/qemu".into(),
            kernel: "/k".into(),
            initramfs: "/i".into(),
        }
    }

    fn values(args: &[OsString], option: &str) -> Vec<String> {
        let pairs = args.windows(2).filter(|pair| pair[0] == option);
        pairs.map(|pair| pair[1].to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn folders_are_shared_and_only_those_asked_for_can_be_written() {
        let args = arguments(&prepared(), &shape(), 7).unwrap();
        let shares = values(&args, "-virtfs");
        assert_eq!(shares.len(), 3);
        assert!(shares[0].starts_with("local,path=/,mount_tag=host,") && shares[0].ends_with(",readonly=on"));
        assert!(
            shares[1].starts_with("local,path=/home/a,,b,mount_tag=rw0,"),
            "{}",
            shares[1]
        );
        assert!(shares[1..].iter().all(|share| !share.contains("readonly")));
        assert_eq!(values(&args, "-chardev"), ["socket,id=provium,fd=7"]);
        assert_eq!(values(&args, "-m"), ["2048M"]);
        assert_eq!(values(&args, "-sandbox"), [SANDBOX]);
    }

    #[test]
    fn the_programs_path_goes_through_the_kernels_command_line() {
        let line = &values(&arguments(&prepared(), &shape(), 7).unwrap(), "-append")[0];
        assert!(
            line.ends_with("provium.exe=2f6f70742f6d7920746f6f6c732f70726f7669756d"),
            "{line}"
        );
        let longest = Shape {
            exe: format!("/{}", "x".repeat(MAX_EXE - 1)).into(),
            ..shape()
        };
        let line = &values(&arguments(&prepared(), &longest, 7).unwrap(), "-append")[0];
        assert!(line.len() < 2048, "the kernel takes no more than 2047 bytes");
        let too_long = Shape {
            exe: format!("/{}", "x".repeat(MAX_EXE)).into(),
            ..shape()
        };
        assert!(arguments(&prepared(), &too_long, 7).is_err());
    }

    #[test]
    fn qemu_dies_when_it_is_dropped_and_knows_how_it_ended() {
        let stand_in = Prepared {
            qemu: "/bin/false".into(),
            ..prepared()
        };
        let mut qemu = Qemu::start(&stand_in, &shape()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert_eq!(qemu.end().unwrap().code(), Some(1));
        assert!(
            Qemu::start(
                &Prepared {
                    qemu: "/nonexistent".into(),
                    ..prepared()
                },
                &shape()
            )
            .is_err()
        );
    }
}
