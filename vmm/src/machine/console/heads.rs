//! The lines by which a kernel begins to report a fault of its own, by kind.
//!
//! Input: the text of one console line, without its stamp. Output: the [`SplatKind`] that it begins, if it
//! does. The forms are those of `kernel/panic.c`, `lib/bug.c`, `arch/x86/kernel/dumpstack.c`,
//! `mm/kasan/report.c`, `kernel/kcsan/report.c`, `lib/ubsan.c`, `mm/kfence/report.c`,
//! `kernel/locking/lockdep.c`, `kernel/rcu/tree_stall.h`, `kernel/watchdog.c`, `kernel/hung_task.c`,
//! `kernel/sched/core.c`, `mm/page_alloc.c`, `mm/slub.c`, `lib/refcount.c` and `mm/kmemleak.c`, as they were
//! from Linux 4.19 on. Not here: which lines follow (`recogniser`).
//!
//! A line that only mentions a bug is none: firmware's faults (`[Firmware Bug]`, `ACPI BIOS Error (bug)`),
//! complaints about parameters, a program's own `WARNING: …`. Where lines have stamps, one that has none is a
//! program's, so that the whole wording is asked of it.

use std::fmt;

/// Sorts of faults that a kernel reports about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SplatKind {
    /// An exception in the kernel: a bad address, an instruction that cannot be.
    Oops,
    /// `BUG()`, and complaints of the kernel's that begin with `BUG:` and are of no other kind.
    Bug,
    /// `WARN()`.
    Warning,
    /// The address sanitizer.
    Kasan,
    /// The data race sanitizer.
    Kcsan,
    /// The sanitizer of memory that was never written.
    Kmsan,
    /// The undefined behaviour sanitizer.
    Ubsan,
    /// The sampling detector of memory errors.
    Kfence,
    /// The lock validator, and RCU's.
    Lockdep,
    /// A grace period of RCU that does not end.
    RcuStall,
    /// A processor that schedules nothing.
    SoftLockup,
    /// A processor that takes no interrupt.
    HardLockup,
    /// A workqueue that makes no progress.
    WorkqueueLockup,
    /// A task that sleeps and is not woken.
    HungTask,
    /// Sleeping where that is forbidden.
    SchedulingWhileAtomic,
    /// A reference count that went wrong.
    Refcount,
    /// A page in a state it should not be in.
    BadPage,
    /// An object of the slab allocator that was written past its end or after it was freed.
    Slab,
    /// Memory that nothing points to.
    Kmemleak,
}

impl SplatKind {
    /// Name of the kind: `soft_lockup`.
    pub fn name(self) -> &'static str {
        match self {
            SplatKind::Oops => "oops",
            SplatKind::Bug => "bug",
            SplatKind::Warning => "warning",
            SplatKind::Kasan => "kasan",
            SplatKind::Kcsan => "kcsan",
            SplatKind::Kmsan => "kmsan",
            SplatKind::Ubsan => "ubsan",
            SplatKind::Kfence => "kfence",
            SplatKind::Lockdep => "lockdep",
            SplatKind::RcuStall => "rcu_stall",
            SplatKind::SoftLockup => "soft_lockup",
            SplatKind::HardLockup => "hard_lockup",
            SplatKind::WorkqueueLockup => "workqueue_lockup",
            SplatKind::HungTask => "hung_task",
            SplatKind::SchedulingWhileAtomic => "scheduling_while_atomic",
            SplatKind::Refcount => "refcount",
            SplatKind::BadPage => "bad_page",
            SplatKind::Slab => "slab",
            SplatKind::Kmemleak => "kmemleak",
        }
    }
}

impl fmt::Display for SplatKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What stands before a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing that begins a report.
    Nothing,
    /// `------------[ cut here ]------------`.
    CutHere,
    /// A line of equals signs, this long.
    Ruler(usize),
}

/// The line that stands before reports of `BUG()` and `WARN()`.
pub(super) const CUT_HERE: &str = "------------[ cut here ]------------";
/// How the line that ends them begins.
pub(super) const END_TRACE: &str = "---[ end trace ";

/// Beginnings that are of one kind whoever prints them.
const EXACT: &[(&str, SplatKind)] = &[
    ("BUG: KASAN: ", SplatKind::Kasan),
    ("BUG: KCSAN: ", SplatKind::Kcsan),
    ("BUG: KMSAN: ", SplatKind::Kmsan),
    ("BUG: KFENCE: ", SplatKind::Kfence),
    ("BUG: soft lockup - CPU#", SplatKind::SoftLockup),
    ("Watchdog detected hard LOCKUP on cpu ", SplatKind::HardLockup),
    ("BUG: workqueue lockup - pool", SplatKind::WorkqueueLockup),
    ("BUG: scheduling while atomic: ", SplatKind::SchedulingWhileAtomic),
    (
        "BUG: sleeping function called from invalid context at ",
        SplatKind::SchedulingWhileAtomic,
    ),
    ("BUG: Bad page state in process ", SplatKind::BadPage),
    ("BUG: Bad page map in process ", SplatKind::BadPage),
    ("BUG: Bad page cache in process ", SplatKind::BadPage),
    ("BUG: Bad rss-counter state ", SplatKind::BadPage),
    ("BUG: non-zero pgtables_bytes on freeing mm: ", SplatKind::BadPage),
    ("BUG: kernel NULL pointer dereference, address: ", SplatKind::Oops),
    ("BUG: unable to handle ", SplatKind::Oops),
    ("BUG: stack guard page was hit at ", SplatKind::Oops),
    ("BUG: TASK stack guard page was hit at ", SplatKind::Oops),
    ("BUG: IRQ stack guard page was hit at ", SplatKind::Oops),
    ("BUG: spinlock ", SplatKind::Bug),
    ("BUG: rwlock ", SplatKind::Bug),
    ("BUG: MAX_LOCK", SplatKind::Lockdep),
    ("BUG: MAX_STACK_TRACE_ENTRIES too low!", SplatKind::Lockdep),
    ("BUG: Invalid wait context", SplatKind::Lockdep),
    ("INFO: trying to register non-static key.", SplatKind::Lockdep),
    (
        "WARNING: possible circular locking dependency detected",
        SplatKind::Lockdep,
    ),
    ("WARNING: possible recursive locking detected", SplatKind::Lockdep),
    (
        "WARNING: possible irq lock inversion dependency detected",
        SplatKind::Lockdep,
    ),
    ("WARNING: inconsistent lock state", SplatKind::Lockdep),
    ("WARNING: bad unlock balance detected!", SplatKind::Lockdep),
    ("WARNING: bad contention detected!", SplatKind::Lockdep),
    ("WARNING: held lock freed!", SplatKind::Lockdep),
    (
        "WARNING: lock held when returning to user space!",
        SplatKind::Lockdep,
    ),
    ("WARNING: Nested lock was not taken", SplatKind::Lockdep),
    ("WARNING: suspicious RCU usage", SplatKind::Lockdep),
    ("refcount_t: addition on 0; use-after-free", SplatKind::Refcount),
    ("refcount_t: underflow; use-after-free", SplatKind::Refcount),
    ("refcount_t: saturated; leaking memory", SplatKind::Refcount),
    ("refcount_t: decrement hit 0; leaking memory", SplatKind::Refcount),
    ("refcount_t: unknown saturation event", SplatKind::Refcount),
];

/// Names of x86's exceptions as `die()` has them.
const EXCEPTIONS: &[&str] = &[
    "Oops",
    "general protection fault",
    "invalid opcode",
    "divide error",
    "int3",
    "stack segment",
    "double fault",
    "alignment check",
    "invalid TSS",
    "segment not present",
    "bounds",
    "overflow",
    "stack guard page",
    "control protection fault",
];

/// The kind of report that a line begins, `stamped` telling whether it was the kernel's beyond doubt.
pub(super) fn head(text: &str, stamped: bool, before: Before) -> Option<SplatKind> {
    let text = ["NMI watchdog: ", "watchdog: ", "rcu: "]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text);
    // Nearly every line has none of these words.
    let exact = EXACT.iter().find(|(start, _)| text.starts_with(start));
    if let Some((_, kind)) = exact {
        return Some(*kind);
    }
    if is_die_header(text, stamped) {
        return Some(SplatKind::Oops);
    }
    let rest = |prefix: &str| text.strip_prefix(prefix);
    if rest("kernel BUG at ").is_some_and(|place| place.strip_suffix('!').is_some_and(is_place)) {
        return Some(SplatKind::Bug);
    }
    if rest("WARNING: ").is_some_and(is_warning) {
        return Some(SplatKind::Warning);
    }
    if let Some(rest) = rest("INFO: ") {
        return info(rest);
    }
    if let Some(rest) = rest("UBSAN: ") {
        let place = rest.split_once(" in ").map(|(_, place)| place);
        return place.is_some_and(is_place).then_some(SplatKind::Ubsan);
    }
    if let Some(rest) = rest("kmemleak: ") {
        let (count, what) = rest.split_once(' ')?;
        return (is_number(count) && what.starts_with("new suspected memory leaks"))
            .then_some(SplatKind::Kmemleak);
    }
    if text.contains(": Watchdog detected hard LOCKUP on cpu") && text.starts_with("CPU") {
        return Some(SplatKind::HardLockup);
    }
    match before {
        Before::Ruler(_) if stamped => in_ruler(text),
        _ if stamped && text.starts_with("BUG: ") => Some(SplatKind::Bug),
        _ => None,
    }
}

/// A line right behind the kernel's own line of equals signs.
fn in_ruler(text: &str) -> Option<SplatKind> {
    let starts = |start: &str| text.starts_with(start);
    if starts("WARNING: ") || starts("[ BUG: ") || starts("[ INFO: ") {
        return Some(SplatKind::Lockdep);
    }
    if starts("BUG: ") {
        return Some(SplatKind::Bug);
    }
    // "BUG kmalloc-64 (Tainted: G    B  ): Redzone overwritten"
    (starts("BUG ") && text.contains("): ")).then_some(SplatKind::Slab)
}

/// Whether the line is `die()`'s own: an exception, its error code, the number of the oops.
pub(super) fn is_die_header(text: &str, stamped: bool) -> bool {
    let Some((what, behind)) = text.split_once(" [#") else {
        return false;
    };
    let Some((before, code)) = what.rsplit_once(": ") else {
        return false;
    };
    let number = behind.split_once(']').map_or("", |(number, _)| number);
    let code = code.len() == 4 && code.bytes().all(|byte| byte.is_ascii_hexdigit());
    code && is_number(number) && (stamped || EXCEPTIONS.iter().any(|name| before.starts_with(name)))
}

/// `CPU: 0 PID: 71 at mm/foo.c:12 foo+0x1/0x2 [mod]`, or since Linux 6.18
/// `mm/foo.c:12 at foo+0x1/0x2, CPU#0: sh/71`.
fn is_warning(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix("CPU: ") {
        let mut words = rest.split(' ').filter(|word| !word.is_empty());
        let mut next = || words.next().unwrap_or_default();
        return is_number(next()) && next() == "PID: ".trim_end() && is_number(next()) && next() == "at";
    }
    match text.split_once(" at ") {
        Some((place, rest)) => is_place(place) && (rest.contains("+0x") || rest.contains("CPU#")),
        None => false,
    }
}

fn info(text: &str) -> Option<SplatKind> {
    if text.starts_with("rcu") && text.contains("detected") && text.contains("stall") {
        return Some(SplatKind::RcuStall);
    }
    let hung = text.starts_with("task ") && text.contains(" blocked ") && text.contains("for more than ");
    hung.then_some(SplatKind::HungTask)
}

/// `lib/foo.c:12`, with a column or without.
fn is_place(text: &str) -> bool {
    let mut parts = text.splitn(3, ':');
    let (file, line, column) = (parts.next(), parts.next(), parts.next());
    let file = file.unwrap_or_default();
    !file.is_empty() && !file.contains(' ') && line.is_some_and(is_number) && column.is_none_or(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The length of a line of equals signs, as reports begin and end with.
pub(super) fn ruler(text: &str) -> Option<usize> {
    (text.len() >= 20 && text.bytes().all(|byte| byte == b'=')).then_some(text.len())
}
