//! A lab: VMs and labs by name, in the order in which they came.
//!
//! Input: members. Output: VMs found by name, or all of them, and what is done to all. A member that was
//! closed is none any more. Not here: the life of a member; taking it out of a lab only takes its name out of
//! there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use provium_base::cancel::Cancel;

use super::barrier::Barriers;
use super::handle::{SetupError, VmHandle, all_at_once};
use super::store::HostStore;
use crate::options::boot::BootOptions;
use crate::options::error::OptionsError;
use crate::options::spec::GuestSpec;
use crate::vm::error::VmError;

/// A lab, shared; `T` is what its user keeps with each member.
#[derive(Debug)]
pub struct Lab<T = ()>(Arc<SharedLab<T>>);

#[derive(Debug)]
struct SharedLab<T> {
    name: String,
    members: Mutex<Vec<Member<T>>>,
    barriers: Barriers,
    closed: AtomicBool,
}

/// A lab that may be gone, for whoever must not keep it.
#[derive(Debug)]
pub struct WeakLab<T = ()>(Weak<SharedLab<T>>);

/// A member of a lab.
#[derive(Debug, Clone)]
pub struct Member<T> {
    /// The VM or lab.
    pub part: Part<T>,
    /// What the lab's user keeps with it.
    pub tag: T,
}

/// A VM or a lab.
#[derive(Debug)]
pub enum Part<T> {
    /// A VM.
    Vm(VmHandle),
    /// A lab inside the lab.
    Lab(Lab<T>),
}

/// Why something cannot be a member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// The name belongs to another member.
    #[error("the name `{0}` is taken")]
    Taken(String),
    /// It was closed.
    #[error("`{0}` is closed")]
    Closed(String),
    /// Two of those to be added have the same name.
    #[error("the name `{0}` is there twice")]
    Twice(String),
    /// The lab would be inside itself.
    #[error("lab `{0}` has this lab inside it, or is it")]
    Circle(String),
}

impl<T> Clone for Lab<T> {
    fn clone(&self) -> Lab<T> {
        Lab(Arc::clone(&self.0))
    }
}

impl<T> WeakLab<T> {
    /// The lab, if it is still there.
    pub fn upgrade(&self) -> Option<Lab<T>> {
        self.0.upgrade().map(Lab)
    }
}

impl<T> Clone for Part<T> {
    fn clone(&self) -> Part<T> {
        match self {
            Part::Vm(vm) => Part::Vm(vm.clone()),
            Part::Lab(lab) => Part::Lab(lab.clone()),
        }
    }
}

impl<T> Part<T> {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Part::Vm(vm) => vm.name(),
            Part::Lab(lab) => lab.name(),
        }
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        match self {
            Part::Vm(vm) => vm.is_closed(),
            Part::Lab(lab) => lab.is_closed(),
        }
    }

    /// Whether both are the same VM or the same lab.
    pub fn same(&self, other: &Part<T>) -> bool {
        match (self, other) {
            (Part::Vm(a), Part::Vm(b)) => a.same(b),
            (Part::Lab(a), Part::Lab(b)) => a.same(b),
            (Part::Vm(_), Part::Lab(_)) | (Part::Lab(_), Part::Vm(_)) => false,
        }
    }
}

impl<T> Lab<T> {
    /// A lab without members.
    pub fn new(name: impl Into<String>) -> Lab<T> {
        Lab(Arc::new(SharedLab {
            name: name.into(),
            members: Mutex::default(),
            barriers: Barriers::default(),
            closed: AtomicBool::new(false),
        }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The lab for whoever must not keep it.
    pub fn downgrade(&self) -> WeakLab<T> {
        WeakLab(Arc::downgrade(&self.0))
    }

    /// Its barriers.
    pub fn barriers(&self) -> &Barriers {
        &self.0.barriers
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Relaxed)
    }

    /// Whether both are the same lab.
    pub fn same(&self, other: &Lab<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Lets go of its members and of those inside them; none is ended by that, and no longer found either.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
        self.clear();
    }

    /// Lets go of its members, and of those of the labs inside it.
    pub fn clear(&self) {
        let members = std::mem::take(&mut *self.0.members.lock());
        for member in members {
            if let Part::Lab(lab) = member.part {
                lab.clear();
            }
        }
    }

    /// Adds members; all of them, or none if one cannot be.
    ///
    /// # Errors
    /// [`MemberError`], of the first one that cannot be.
    pub fn add(&self, members: Vec<Member<T>>) -> Result<(), MemberError> {
        for (at, member) in members.iter().enumerate() {
            let name = member.part.name();
            if member.part.is_closed() {
                return Err(MemberError::Closed(name.to_owned()));
            }
            if self.has(name) {
                return Err(MemberError::Taken(name.to_owned()));
            }
            if members[..at].iter().any(|other| other.part.name() == name) {
                return Err(MemberError::Twice(name.to_owned()));
            }
            if let Part::Lab(inner) = &member.part
                && (inner.same(self) || inner.has_inside(self))
            {
                return Err(MemberError::Circle(name.to_owned()));
            }
        }
        self.0.members.lock().extend(members);
        Ok(())
    }

    /// Takes the member out for which `wanted` holds; returns it and its place among the others.
    pub fn remove(&self, wanted: impl Fn(&Part<T>) -> bool) -> Option<(usize, Member<T>)> {
        self.forget_closed();
        let mut members = self.0.members.lock();
        let at = members.iter().position(|member| wanted(&member.part))?;
        Some((at, members.remove(at)))
    }

    /// Puts a member back to where it was.
    pub fn put_back(&self, at: usize, member: Member<T>) {
        let mut members = self.0.members.lock();
        let at = at.min(members.len());
        members.insert(at, member);
    }

    /// Takes out what was closed.
    pub fn forget_closed(&self) {
        // What is dropped here may be more than a VM; that is done without the lock.
        let closed: Vec<_> = {
            let mut members = self.0.members.lock();
            members.extract_if(.., |member| member.part.is_closed()).collect()
        };
        drop(closed);
    }

    /// Whether there is a member of this name.
    pub fn has(&self, name: &str) -> bool {
        self.parts().iter().any(|part| part.name() == name)
    }

    /// Whether `other` is a member, or a member of a member.
    pub fn has_inside(&self, other: &Lab<T>) -> bool {
        self.parts().iter().any(|part| match part {
            Part::Lab(lab) => lab.same(other) || lab.has_inside(other),
            Part::Vm(_) => false,
        })
    }

    /// A name like `wanted` that no member has.
    pub fn free_name(&self, wanted: &str) -> String {
        let numbered = (2..).map(|number| format!("{wanted}-{number}"));
        let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
        names.find(|name| !self.has(name)).unwrap_or_default()
    }

    /// Its VMs and labs, in the order in which they came.
    pub fn parts(&self) -> Vec<Part<T>> {
        self.forget_closed();
        let members = self.0.members.lock();
        members.iter().map(|member| member.part.clone()).collect()
    }

    /// Its VMs, in the order in which they came.
    pub fn vms(&self) -> Vec<VmHandle> {
        let parts = self.parts().into_iter();
        let vms = parts.filter_map(|part| match part {
            Part::Vm(vm) => Some(vm),
            Part::Lab(_) => None,
        });
        vms.collect()
    }

    /// Its VM of this name.
    pub fn vm(&self, name: &str) -> Option<VmHandle> {
        self.vms().into_iter().find(|vm| vm.name() == name)
    }

    /// The VMs of the lab and of the labs inside it, each once.
    pub fn all_vms(&self) -> Vec<VmHandle> {
        let mut found: Vec<VmHandle> = Vec::new();
        let inner = self.parts().into_iter().flat_map(|part| match part {
            Part::Vm(vm) => vec![vm],
            Part::Lab(lab) => lab.all_vms(),
        });
        for vm in inner {
            if !found.iter().any(|other| other.same(&vm)) {
                found.push(vm);
            }
        }
        found
    }

    /// Gives those of its VMs that were never booted the disks they were declared with.
    ///
    /// # Errors
    /// [`SetupError`], of the first that cannot have them.
    pub fn prepare_all(&self, store: &dyn HostStore) -> Result<(), SetupError> {
        let vms = self.vms();
        vms.iter().try_for_each(|vm| vm.prepare_declared(store).map(drop))
    }

    /// Boots its VMs, all at once, once they are prepared; returns when all have answered or failed. The
    /// others stay booted where one fails.
    ///
    /// # Errors
    /// The first failure, in the order in which the VMs came.
    pub fn boot_all(&self, cancel: &Arc<Cancel>) -> Result<(), VmError> {
        all_at_once(&self.vms(), |vm| vm.boot(cancel))
    }

    /// Shuts its VMs down, all at once; returns when all have ended.
    ///
    /// # Errors
    /// The first failure, in the order in which the VMs came.
    pub fn shutdown_all(&self, cancel: &Arc<Cancel>) -> Result<(), VmError> {
        all_at_once(&self.vms(), |vm| vm.shutdown(cancel))
    }

    /// Pauses its VMs, one after the other.
    ///
    /// # Errors
    /// The first failure; the VMs behind it run on.
    pub fn pause_all(&self) -> Result<(), VmError> {
        self.vms().iter().try_for_each(|vm| vm.lock().pause())
    }

    /// Resumes its VMs, one after the other.
    ///
    /// # Errors
    /// The first failure; the VMs behind it stay paused.
    pub fn resume_all(&self) -> Result<(), VmError> {
        self.vms().iter().try_for_each(|vm| vm.lock().resume())
    }

    /// Ends the VMs of the lab and of the labs inside it for good, and lets go of them.
    pub fn close_all(&self, store: &dyn HostStore) {
        for vm in self.all_vms() {
            vm.close(store);
        }
        self.close();
    }
}

impl<T: Clone> Lab<T> {
    /// Its members, in the order in which they came.
    pub fn members(&self) -> Vec<Member<T>> {
        self.forget_closed();
        self.0.members.lock().clone()
    }

    /// Its member of this name.
    pub fn find(&self, name: &str) -> Option<Member<T>> {
        let named = |member: &Member<T>| member.part.name() == name;
        self.members().into_iter().find(named)
    }
}

impl Lab<()> {
    /// Declares a VM of the lab; nothing is made yet.
    ///
    /// # Errors
    /// [`DeclareError`].
    pub fn declare(
        &self,
        name: impl Into<String>,
        spec: GuestSpec,
        options: BootOptions,
    ) -> Result<VmHandle, DeclareError> {
        let vm = VmHandle::declare(name, spec, options)?;
        self.add(vec![Member {
            part: Part::Vm(vm.clone()),
            tag: (),
        }])?;
        Ok(vm)
    }
}

/// Why a VM cannot be declared.
#[derive(Debug, thiserror::Error)]
pub enum DeclareError {
    /// The lab cannot have it.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// Its options cannot be had here.
    #[error(transparent)]
    Options(#[from] OptionsError),
}
