//! From a guest to a snapshot and back, with the agent's session alive on the way.
//!
//! Input: a [`Guest`], or a [`Snapshot`] and perhaps a blank machine to load it into. Output: the other. No
//! handshake is made with a resumed guest: its session's connection is part of the snapshot. What the guest
//! cannot know (the time, fresh entropy) is sent before it runs and answered before the first request's
//! answer. Not here: where snapshots are kept, and when one is still good.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use provium_protocol::Resumed;
use provium_vmm::disk::ImageDigest;
use provium_vmm::snapshot::Snapshot;
use provium_vmm::{Machine, MachineError, SaveOptions};
use serde::{Deserialize, Serialize};

use super::boot::Guest;
use crate::client::process::{self, ExecSpec};
use crate::client::session::GuestClient;
use crate::error::GuestError;

/// What a guest is given when it is resumed from a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeOptions {
    /// Fresh entropy for its random numbers; without, every guest of the snapshot draws the same.
    pub reseed: bool,
    /// The host's wall clock time; without, its clock goes on at the time of the snapshot.
    pub correct_clock: bool,
}

impl Default for ResumeOptions {
    fn default() -> ResumeOptions {
        ResumeOptions {
            reseed: true,
            correct_clock: true,
        }
    }
}

/// Why a guest cannot be saved or resumed.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The monitor cannot.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The snapshot is none of a guest with an agent.
    #[error("the snapshot in {folder} has no session with an agent: {why}")]
    NoSession {
        /// Where it is.
        folder: String,
        /// What was found.
        why: String,
    },
    /// Other connections than the session are open.
    #[error("{0} connection(s) to the guest are open besides the agent's session; close them first")]
    OpenConnections(usize),
    /// The session is over.
    #[error("the session with the agent is over")]
    SessionOver,
    /// The guest could not be told what is new.
    #[error("{0}")]
    Guest(#[from] GuestError),
    /// The host has no entropy to give.
    #[error("no random bytes: {0}")]
    Entropy(std::io::Error),
}

/// The version of what a snapshot remembers of its guest besides the machine; goes up with every change of
/// it.
pub const NOTE_VERSION: u32 = 1;

/// What a snapshot remembers of its guest besides the machine.
#[derive(Debug, Serialize, Deserialize)]
struct SessionNote {
    /// The session's ports: host's, guest's.
    ports: (u32, u32),
    /// The session's process in the guest.
    pid: u32,
    /// Answers to requests made in advance that nobody has read yet.
    owed: usize,
    /// What the guest is told when it is resumed.
    on_resume: ResumeOptions,
}

/// How long a guest that does not run yet may take to have room for what it is told. It has room at once, or
/// it was saved when it had none; then it never will.
const ROOM_LIMIT: Duration = Duration::from_secs(2);

/// How long a guest that is resumed for a try may take for a command.
const TRY_LIMIT: Duration = Duration::from_secs(10);

/// Writes the guest into `folder`. It is paused meanwhile, and goes on unless it was paused before.
///
/// With `on_parent`, only what differs from the snapshot the guest came from is written. `on_resume` is
/// remembered, for [`resume_options_of`].
///
/// # Errors
/// [`ResumeError::OpenConnections`], and what the monitor says; the guest goes on.
pub fn save(
    guest: &Guest,
    folder: &Path,
    on_parent: bool,
    on_resume: ResumeOptions,
) -> Result<Arc<Snapshot>, ResumeError> {
    save_with(guest, folder, on_parent, on_resume, BTreeMap::new())
}

/// The same, with digests of images below its disks.
///
/// # Errors
/// Those of [`save`].
pub(crate) fn save_with(
    guest: &Guest,
    folder: &Path,
    on_parent: bool,
    on_resume: ResumeOptions,
    image_digests: BTreeMap<PathBuf, ImageDigest>,
) -> Result<Arc<Snapshot>, ResumeError> {
    let ports = guest.client.ports().ok_or(ResumeError::SessionOver)?;
    let others = guest.machine.held_connections().saturating_sub(1);
    if others > 0 {
        return Err(ResumeError::OpenConnections(others));
    }
    let note = SessionNote {
        ports,
        pid: guest.client.pid(),
        owed: guest.client.owed(),
        on_resume,
    };
    let options = SaveOptions {
        on_parent,
        note: rmp_serde::to_vec(&note).expect("plain data is written to memory"),
        image_digests,
    };
    let was_paused = guest.machine.is_paused();
    if !was_paused {
        guest.machine.pause()?;
    }
    let saved = guest.machine.save(folder, options);
    if !was_paused {
        guest.machine.resume()?;
    }
    Ok(saved?)
}

/// Resumes a guest of the snapshot for a try, has it run a command, and notes beside the snapshot which pages
/// that wrote: later guests get them copied before they run. A guest that has no shell is tried without a
/// command.
///
/// # Errors
/// [`ResumeError`]; nothing is noted then, and the snapshot is as good as before.
pub fn note_touched(snapshot: &Arc<Snapshot>) -> Result<(), ResumeError> {
    let mut guest = resume(snapshot, resume_options_of(snapshot))?;
    let command = ExecSpec {
        timeout: Some(TRY_LIMIT),
        ..ExecSpec::shell("true")
    };
    match guest.client.ask(process::exec(command)) {
        Ok(_) => {}
        Err(error) if error.session_lives() => guest.client.ping_within(TRY_LIMIT)?,
        Err(error) => return Err(error.into()),
    }
    guest.machine.pause()?;
    guest.machine.note_touched()?;
    if let Ok(machine) = Arc::try_unwrap(guest.machine) {
        machine.dispose();
    }
    Ok(())
}

/// What guests of this snapshot are to be told, as it was saved.
pub fn resume_options_of(snapshot: &Snapshot) -> ResumeOptions {
    let note: Result<SessionNote, _> = rmp_serde::from_slice(snapshot.note());
    note.map(|note| note.on_resume).unwrap_or_default()
}

/// A running guest out of a snapshot.
///
/// # Errors
/// [`ResumeError`]; no machine is left.
pub fn resume(snapshot: &Arc<Snapshot>, on_resume: ResumeOptions) -> Result<Guest, ResumeError> {
    let blank = Machine::blank(snapshot.memory(), snapshot.cpus())?;
    resume_in(blank, snapshot, on_resume)
}

/// A running guest out of a snapshot, in a blank machine that was made before.
///
/// # Errors
/// [`ResumeError`]; the blank machine is gone.
pub fn resume_in(
    blank: Machine,
    snapshot: &Arc<Snapshot>,
    on_resume: ResumeOptions,
) -> Result<Guest, ResumeError> {
    blank.load(snapshot)?;
    let client = session(&blank, snapshot, on_resume)?;
    blank.resume()?;
    Ok(Guest {
        machine: Arc::new(blank),
        client,
    })
}

/// Puts a guest back to a snapshot and lets it run; returns the number of pages that were put back, `None`
/// for all.
///
/// # Errors
/// [`ResumeError`]; the machine has ended then, unless the snapshot is of another machine or host: then it
/// goes on as if nothing had been asked.
pub fn reset(
    guest: &mut Guest,
    snapshot: &Arc<Snapshot>,
    on_resume: ResumeOptions,
) -> Result<Option<u64>, ResumeError> {
    let machine = &guest.machine;
    let was_paused = machine.is_paused();
    if !was_paused {
        machine.pause()?;
    }
    let pages = match machine.load(snapshot) {
        Ok(pages) => pages,
        Err(error) => {
            if !was_paused && machine.ended().is_none() {
                machine.resume()?;
            }
            return Err(error.into());
        }
    };
    match session(machine, snapshot, on_resume).and_then(|client| Ok(machine.resume().map(|()| client)?)) {
        Ok(client) => {
            guest.client = client;
            Ok(pages)
        }
        Err(error) => {
            machine.kill();
            Err(error)
        }
    }
}

/// Takes up the agent's session of a machine that was just given the snapshot.
fn session(
    machine: &Machine,
    snapshot: &Snapshot,
    on_resume: ResumeOptions,
) -> Result<GuestClient, ResumeError> {
    let no_session = |why: String| ResumeError::NoSession {
        folder: snapshot.folder().display().to_string(),
        why,
    };
    let note: SessionNote =
        rmp_serde::from_slice(snapshot.note()).map_err(|error| no_session(error.to_string()))?;
    let stream = machine.adopt(note.ports).ok_or_else(|| {
        no_session(format!(
            "none between ports {} and {}",
            note.ports.0, note.ports.1
        ))
    })?;
    machine.close_unclaimed();
    let advance = stream.try_clone().map_err(GuestError::Lost)?;
    advance.set_write_timeout(Some(ROOM_LIMIT));
    let mut client = GuestClient::resumed(Box::new(stream), note.pid, note.owed);
    if let Some(news) = resumed_message(on_resume)? {
        client.tell(news, &mut &advance, ROOM_LIMIT)?;
    }
    Ok(client)
}

fn resumed_message(on_resume: ResumeOptions) -> Result<Option<Resumed>, ResumeError> {
    let entropy = if on_resume.reseed {
        let mut bytes = vec![0; 32];
        rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())
            .map_err(|errno| ResumeError::Entropy(errno.into()))?;
        Some(bytes.into())
    } else {
        None
    };
    let wall_clock_ns = on_resume.correct_clock.then(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
    });
    let anything = entropy.is_some() || wall_clock_ns.is_some();
    Ok(anything.then_some(Resumed {
        entropy,
        wall_clock_ns,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_note_has_a_new_version() {
        let note = SessionNote {
            ports: (1, 2),
            pid: 3,
            owed: 4,
            on_resume: ResumeOptions::default(),
        };
        let bytes = rmp_serde::to_vec(&note).unwrap();
        let known = (1, vec![0x94, 0x92, 1, 2, 3, 4, 0x92, 0xc3, 0xc3]);
        assert_eq!(
            (NOTE_VERSION, bytes),
            known,
            "raise NOTE_VERSION with every change of the note"
        );
    }
}
