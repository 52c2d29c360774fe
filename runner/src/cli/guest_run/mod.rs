//! `provium run`: one command, or a shell, in a guest.
//!
//! ```text
//! chosen    what boots: a profile, a kernel alone, a fixture
//! busybox   the initramfs where none is given
//! shared    folders of this machine in it
//! streams   the command with this process's streams
//! signals   signals for the command
//! watch     console, splats and time, from outside
//! verdict   the exit code, and what is said beside it
//! ```
//!
//! Input: the arguments; standard input. Output: the command's output, an exit code. Not here: how a guest
//! boots or is resumed, which `provium-guest` does for tests as well.

mod busybox;
mod chosen;
mod shared;
mod signals;
mod streams;
mod verdict;
mod watch;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use provium_base::exit;
use provium_base::terminal::Terminals;
use provium_cache::Chain;
use provium_emulated::EmulatedRun;
use provium_guest::{
    BootOptions, Cancel, ExecSpec, FoundSplat, GuestSpec, HostStore, LifeWatch, SetupError, VmError,
    VmHandle, VmState, WarmPool,
};

use self::chosen::Chosen;
use self::signals::Watch;
use self::streams::NoEnd;
use self::verdict::{NOT_RUN, Report, Verdict};
use self::watch::{GuestWatch, Overtime};
use super::args::GuestRunArgs;
use super::host;
use super::print::complain;
use crate::doctor::{self, Way};
use crate::lua;
use crate::report::{NoticeReporter, Notices, Output};
use crate::session::build::{self, BuildLog};
use crate::session::pool::{Limits, Pool};
use crate::stock::Fixtures;

/// The name of the guest.
const NAME: &str = "guest";

/// Runs it and says why if the exit code is not the command's.
pub(super) fn run(args: &GuestRunArgs) -> Result<u8> {
    let verdict = carry_out(args).unwrap_or_else(|error| {
        let error = provium_base::cause::once(error.as_ref());
        Verdict::why(NOT_RUN, format_args!("error: {error}"))
    });
    if !verdict.said.is_empty() {
        complain(&verdict.said);
    }
    Ok(verdict.code)
}

fn carry_out(args: &GuestRunArgs) -> Result<Verdict> {
    let chosen = Chosen::of(args)?;
    let cancel = Cancel::new();
    let signals = Watch::begin(&cancel)?;
    let guest = GuestWatch::new(args.console);
    let config = &chosen.project.config;
    let sink = Arc::new(NoticeReporter::new(Arc::new(Output::stderr()), Notices::All));
    // In the emulated host, it was built outside.
    if !provium_emulated::is_inside() {
        let built = build::build_profiles(config, BuildLog::Kept, &cancel, &*sink);
        if let Some(signal) = signals.signals.ended_by() {
            return Ok(Verdict::code(verdict::of_signal(signal)));
        }
        built?;
    }
    chosen.check()?;
    let fixtures = Fixtures::new(
        Arc::clone(config),
        WarmPool::new(0), // there is one guest
        sink,
        lua::builder(&Pool::of_host(&Limits::default())),
    );
    if let Way::EmulatedHost { .. } = doctor::choose(args.accel)? {
        if chosen.needs_the_cache() {
            fixtures.read_outside(&cancel);
        }
        // What ended the reading would be lost on the run inside.
        if let Some(signal) = signals.signals.ended_by() {
            return Ok(Verdict::code(verdict::of_signal(signal)));
        }
        return elsewhere(&chosen, signals);
    }
    if let Some(limit) = args.timeout {
        guest.limit(limit, &cancel);
    }
    let ran = in_guest(args, &chosen, &fixtures, &guest, &signals, &cancel);
    fixtures.close();
    guest.finish();
    // What ended the guest from outside explains whatever it came to.
    if let Some(signal) = signals.signals.ended_by() {
        return Ok(Verdict::code(verdict::of_signal(signal)));
    }
    match (guest.overtime(), args.timeout) {
        (Some(overtime), Some(limit)) => Ok(over(overtime, limit)),
        _ => ran,
    }
}

/// What is said of a command whose time was over.
fn over(overtime: Overtime, limit: std::time::Duration) -> Verdict {
    let limit = provium_base::units::DisplayLimit(limit);
    match overtime {
        Overtime::Alive => Verdict::why(verdict::TIMED_OUT, format_args!("--timeout {limit} passed")),
        Overtime::Hung => Verdict::why(
            verdict::HUNG,
            format_args!("--timeout {limit} passed, and the guest did not answer"),
        ),
    }
}

/// Runs this very command line in the emulated host; nothing but the command's output comes on stdout.
fn elsewhere(chosen: &Chosen, signals: Watch) -> Result<Verdict> {
    let reporter = host::reporter()?;
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let argv = provium_emulated::command_line(&args, 1, &[])?;
    let mut request = EmulatedRun::new(argv, &*reporter);
    if chosen.needs_the_cache() {
        let cache = &chosen.project.config.cache_dir;
        std::fs::create_dir_all(cache)
            .with_context(|| format!("cannot make the cache folder {}", cache.display()))?;
        request.writable.push(cache.clone());
    }
    request
        .writable
        .extend(chosen.project.config.folders_that_guests_write());
    // From here on signals are for the run inside.
    drop(signals);
    let code = provium_emulated::run(request)?;
    Ok(Verdict::code(exit::of_program(code)))
}

/// Boots or resumes the guest, runs the command in it and ends it.
fn in_guest(
    args: &GuestRunArgs,
    chosen: &Chosen,
    fixtures: &Arc<Fixtures>,
    guest: &Arc<GuestWatch>,
    signals: &Watch,
    cancel: &Arc<Cancel>,
) -> Result<Verdict> {
    let store = fixtures.until(cancel);
    let vm = match start(args, chosen, fixtures, &store, guest, cancel)? {
        Ok(vm) => vm,
        Err(verdict) => return Ok(verdict),
    };
    let ended = streams::attend(
        &vm,
        command(args, vm.spec(), &chosen.project.cwd),
        &signals.signals,
        cancel,
    );
    let own = match ended {
        Ok((status, taint)) => {
            let unseen = unseen(&vm, taint, cancel);
            let mut reports: Vec<_> = guest.splats().iter().map(|splat| Report::shown(splat)).collect();
            reports.extend(unseen.unwrap_or_default().into_iter().map(Report::found));
            let own = verdict::of_status(status);
            verdict::with_reports(own, reports, &chosen.project.config.splats, args.console)
        }
        Err(NoEnd::NotStarted(error)) => verdict::of_refusal(&error),
        Err(NoEnd::Lost(error)) => lost(&vm, guest, args.console, &error),
        Err(NoEnd::Vm(error)) => Verdict::why(NOT_RUN, error),
    };
    // A disk that is written to in place is left as the guest wants it.
    let lasts = vm.spec().disks.iter().any(|disk| disk.writable);
    if lasts && vm.state() == VmState::Booted {
        let _ = vm.lock().shutdown(cancel);
    }
    vm.close(&store);
    Ok(own)
}

/// The guest, running; or why it does not.
fn start(
    args: &GuestRunArgs,
    chosen: &Chosen,
    fixtures: &Arc<Fixtures>,
    store: &dyn HostStore,
    guest: &Arc<GuestWatch>,
    cancel: &Arc<Cancel>,
) -> Result<std::result::Result<VmHandle, Verdict>> {
    let declare = |spec, options| -> Result<VmHandle> {
        let vm = VmHandle::declare(NAME, spec, options)?;
        let mut locked = vm.lock();
        locked.set_watch(Arc::clone(guest) as Arc<dyn LifeWatch>);
        locked.on_splat(guest.listener());
        drop(locked);
        Ok(vm)
    };
    let Some(name) = &args.fixture else {
        let profile = chosen.profile.as_ref().context("there is no profile")?;
        let options = BootOptions::default();
        let vm = declare(profile.guest.clone(), options.clone())?;
        vm.prepare(&options, store)?;
        return match vm.boot(options, cancel) {
            Ok(()) => Ok(Ok(vm)),
            Err(SetupError::Vm(VmError::Boot { error, .. })) => {
                guest.finish();
                Ok(Err(verdict::of_boot(&error, args.console)))
            }
            Err(error) => Err(error.into()),
        };
    };
    let source = fixtures.source(name).map_err(anyhow::Error::msg)?;
    let fixture = fixtures.obtain(&source, &Chain::default(), "provium run", cancel)?;
    let [(of, snapshot)] = &fixture.vms[..] else {
        bail!(
            "fixture `{name}` is a lab of {} VMs, and there is one command",
            fixture.vms.len()
        );
    };
    let profile = chosen
        .project
        .config
        .profile(&of.profile)
        .map_err(anyhow::Error::msg)?;
    let vm = declare(profile.guest.clone(), of.options.clone())?;
    vm.restore(snapshot, store)?;
    let machine = vm.lock().machine();
    guest.follow(&machine.ok_or_else(|| anyhow!("the fixture's guest does not run"))?);
    Ok(Ok(vm))
}

/// What the kernel has reported and its console has not shown.
fn unseen(vm: &VmHandle, taint: u64, cancel: &Arc<Cancel>) -> std::result::Result<Vec<FoundSplat>, VmError> {
    let mut vm = vm.lock();
    vm.note_answer(taint);
    vm.unseen_splats(cancel)
}

/// The command, or a shell.
fn command(args: &GuestRunArgs, guest: &GuestSpec, cwd: &Path) -> ExecSpec {
    let argv = match &args.command[..] {
        [] => vec![b"/bin/sh".to_vec()],
        given => given.iter().map(|word| word.clone().into_vec()).collect(),
    };
    let term = std::env::var_os("TERM").filter(|_| Terminals::of_process().any());
    ExecSpec {
        argv,
        env: term
            .map(|term| (b"TERM".to_vec(), term.into_vec()))
            .into_iter()
            .collect(),
        cwd: shared::begins_in(guest, cwd).map(String::into_bytes),
        ..ExecSpec::default()
    }
}

/// What a broken connection means: the machine's end, or the agent's.
fn lost(vm: &VmHandle, guest: &GuestWatch, shown: bool, error: &provium_guest::GuestError) -> Verdict {
    let mut locked = vm.lock();
    let reason = locked.wait_end();
    let console = String::from_utf8_lossy(&locked.console_log()).replace('\r', "");
    locked.kill();
    drop(locked);
    guest.finish();
    match reason {
        Some(reason) => verdict::of_end(&reason, (!shown).then_some(&console)),
        None => Verdict::why(NOT_RUN, error),
    }
}
