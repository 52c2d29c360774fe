//! Where a VM is in a lab: the labs that lead there, and its name.
//!
//! Input: members. Output: their VMs and those of the labs among them, each once, with its [`VmPath`]. Not
//! here: looking one VM up by its name, which `members` has.

use std::fmt;

use super::handle::VmHandle;
use super::members::{Member, Part};

/// Where a VM is in a lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmPath {
    /// Names of the labs that lead there, from the outermost; none for a VM directly in the lab.
    pub labs: Vec<String>,
    /// Name of the VM.
    pub name: String,
}

impl fmt::Display for VmPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.labs.iter().try_for_each(|lab| write!(f, "{lab}/"))?;
        f.write_str(&self.name)
    }
}

/// A VM and where it is in a lab.
#[derive(Debug, Clone)]
pub struct PlacedVm<T = ()> {
    /// Where it is.
    pub path: VmPath,
    /// The VM.
    pub vm: VmHandle,
    /// What the lab's user keeps with it.
    pub tag: T,
}

/// The VMs among `members` and in the labs among them, in their order, each once.
pub fn placed_vms<T: Clone>(members: Vec<Member<T>>) -> Vec<PlacedVm<T>> {
    let mut found = Vec::new();
    collect(members, &[], &mut found);
    found
}

fn collect<T: Clone>(members: Vec<Member<T>>, labs: &[String], found: &mut Vec<PlacedVm<T>>) {
    for Member { part, tag } in members {
        match part {
            Part::Vm(vm) if found.iter().any(|other| other.vm.same(&vm)) => {}
            Part::Vm(vm) => found.push(PlacedVm {
                path: VmPath {
                    labs: labs.to_vec(),
                    name: vm.name().to_owned(),
                },
                vm,
                tag,
            }),
            Part::Lab(lab) => {
                let labs = [labs, &[lab.name().to_owned()]].concat();
                collect(lab.members(), &labs, found);
            }
        }
    }
}
