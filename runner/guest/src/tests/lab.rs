//! Labs whose VMs never boot, and barriers.
//!
//! Input: declarations, callers on threads. Output: who is a member, who leaves together. Not here: guests,
//! which need KVM.

use std::sync::Arc;
use std::time::Duration;

use super::LIMIT;
use crate::{
    BarrierError, Barriers, Baseline, BootOptions, Cancel, CancelReason, DiskOption, GuestSpec, HostStore,
    Lab, Member, MemberError, Part, SaveMode, VmError, VmHandle, VmState, WarmPool, placed_vms, restore_all,
    save_all,
};

fn declared(name: &str) -> VmHandle {
    VmHandle::declare(name, GuestSpec::new("/no/such/kernel"), BootOptions::default()).expect("a VM")
}

fn member(vm: &VmHandle) -> Member<u32> {
    Member {
        part: Part::Vm(vm.clone()),
        tag: 7,
    }
}

fn names(vms: &[VmHandle]) -> Vec<&str> {
    vms.iter().map(VmHandle::name).collect()
}

#[test]
fn members_have_different_names_and_come_in_order() {
    let lab: Lab<u32> = Lab::new("lab");
    let (a, b) = (declared("a"), declared("b"));
    lab.add(vec![member(&b), member(&a)]).expect("two members");
    assert_eq!(names(&lab.vms()), ["b", "a"]);
    assert_eq!(lab.find("a").map(|member| member.tag), Some(7));
    let taken = lab.add(vec![member(&declared("c")), member(&declared("a"))]);
    assert_eq!(taken, Err(MemberError::Taken("a".to_owned())));
    let twice = lab.add(vec![member(&declared("d")), member(&declared("d"))]);
    assert_eq!(twice, Err(MemberError::Twice("d".to_owned())));
    assert_eq!(names(&lab.vms()), ["b", "a"], "all or none");
    assert_eq!(lab.free_name("a"), "a-2");
    assert_eq!(lab.free_name("c"), "c");
    let (at, removed) = lab.remove(|part| part.name() == "b").expect("a member");
    assert_eq!((at, names(&lab.vms())), (0, vec!["a"]));
    lab.put_back(at, removed);
    assert_eq!(names(&lab.vms()), ["b", "a"]);
}

#[test]
fn a_closed_vm_gives_its_name_back() {
    let (lab, pool) = (Lab::new("lab"), WarmPool::new(0));
    let spec = GuestSpec::new("/no/such/kernel");
    let vm = lab
        .declare("a", spec.clone(), BootOptions::default())
        .expect("a VM");
    assert!(vm.close(&pool) && !vm.close(&pool) && vm.is_closed());
    assert!(lab.vms().is_empty());
    let closed = lab.add(vec![Member {
        part: Part::Vm(vm),
        tag: (),
    }]);
    assert_eq!(closed, Err(MemberError::Closed("a".to_owned())));
    lab.declare("a", spec, BootOptions::default())
        .expect("the name is free");
    lab.close_all(&pool);
    assert!(lab.is_closed() && lab.parts().is_empty());
}

#[test]
fn a_lab_is_not_inside_itself_and_its_inner_vms_are_found_once() {
    let (outer, inner, other): (Lab<u32>, Lab<u32>, Lab<u32>) =
        (Lab::new("outer"), Lab::new("inner"), Lab::new("other"));
    let as_member = |lab: &Lab<u32>| Member {
        part: Part::Lab(lab.clone()),
        tag: 0,
    };
    let shared = declared("shared");
    inner.add(vec![member(&shared)]).expect("a member");
    other.add(vec![member(&shared)]).expect("a member");
    outer
        .add(vec![as_member(&inner), as_member(&other)])
        .expect("two labs");
    assert_eq!(
        inner.add(vec![as_member(&outer)]),
        Err(MemberError::Circle("outer".to_owned()))
    );
    assert_eq!(
        outer.add(vec![as_member(&outer)]),
        Err(MemberError::Circle("outer".to_owned()))
    );
    assert!(outer.vms().is_empty());
    assert_eq!(names(&outer.all_vms()), ["shared"]);
}

#[test]
fn what_is_done_to_all_says_who_could_not() {
    let (lab, pool, cancel) = (Lab::new("lab"), WarmPool::new(0), Cancel::new());
    let spec = GuestSpec::new("/no/such/kernel");
    let [a, b] = ["a", "b"].map(|name| {
        lab.declare(name, spec.clone(), BootOptions::default())
            .expect("a VM")
    });
    for result in [lab.pause_all(), lab.resume_all()] {
        let error = result.expect_err("VMs that never booted");
        assert!(
            error.to_string().starts_with("VM `a` was not booted yet"),
            "{error}"
        );
    }
    lab.prepare_all(&pool).expect("no disks");
    let error = lab.boot_all(&cancel).expect_err("no kernel");
    assert!(
        matches!(&error, VmError::Boot { name, .. } if name == "a"),
        "{error}"
    );
    assert_eq!((a.state(), b.state()), (VmState::Dead, VmState::Dead));
}

#[test]
fn a_vm_that_ended_can_be_ended_again_and_says_why_it_did() {
    let (lab, cancel) = (Lab::new("lab"), Cancel::new());
    let spec = GuestSpec::new("/no/such/kernel");
    let [a, b] = ["a", "b"].map(|name| {
        lab.declare(name, spec.clone(), BootOptions::default())
            .expect("a VM")
    });
    lab.shutdown_all(&cancel).expect("nothing runs");
    a.lock().kill();
    assert_eq!((a.state(), b.state()), (VmState::Created, VmState::Created));
    lab.boot_all(&cancel).expect_err("no kernel");
    a.lock().kill();
    b.lock().shutdown(&cancel).expect("it has ended");
    lab.shutdown_all(&cancel).expect("both have ended");
    assert_eq!((a.state(), b.state()), (VmState::Shutdown, VmState::Shutdown));
    for vm in [a, b] {
        let error = vm.lock().pause().expect_err("it does not run").to_string();
        assert!(error.contains("is shutdown (it did not boot: "), "{error}");
    }
}

#[test]
fn only_vms_that_run_are_saved() {
    let (pool, vm) = (WarmPool::new(0), declared("a"));
    let (outer, inner): (Lab<u32>, Lab<u32>) = (Lab::new("outer"), Lab::new("inner"));
    let part = Part::Lab(inner.clone());
    outer
        .add(vec![Member { part, tag: 0 }, member(&vm)])
        .expect("members");
    inner.add(vec![member(&declared("a"))]).expect("a member");
    let placed = placed_vms(outer.members());
    let mut asked = |vm: &VmHandle| -> Result<_, String> { Err(format!("{} was asked for", vm.name())) };
    let saved = save_all(&placed, SaveMode::default(), &pool, &mut asked);
    assert_eq!(
        saved.expect_err("nothing runs").to_string(),
        "there is nothing to save: VM `inner/a` is created, VM `a` is created"
    );
    let saved = Lab::<u32>::new("none").snapshot(std::path::Path::new("/no/such/folder"), &pool);
    let error = saved.expect_err("no VM").to_string();
    assert_eq!(error, "there is nothing to save: the lab has no VM");
    let baseline = Baseline::take(vec![vm.clone()], &pool).expect("a baseline");
    baseline.put_back(&pool).expect("nothing to put back");
    restore_all(&placed, &[], |_| true, &pool).expect("nothing to restore");
    assert_eq!(vm.state(), VmState::Created);
}

#[test]
fn disks_are_prepared_once_and_a_root_must_be_an_image() {
    let pool = WarmPool::new(0);
    let options = BootOptions {
        disks: Some(vec![DiskOption {
            id: "scratch".to_owned(),
            image: None,
            raw: false,
            readonly: false,
            size: Some(1 << 20),
            writable: false,
        }]),
        ..BootOptions::default()
    };
    let spec = GuestSpec::new("/no/such/kernel");
    let vm = VmHandle::declare("a", spec.clone(), options.clone()).expect("a VM");
    vm.prepare_declared(&pool).expect("a disk");
    let ids: Vec<String> = vm
        .lock()
        .disks()
        .iter()
        .map(|disk| disk.id().to_owned())
        .collect();
    assert_eq!(ids, ["scratch"]);
    let folder = tempfile::tempdir().expect("a folder");
    let spec = GuestSpec {
        rootfs: Some(folder.path().to_owned()),
        ..spec
    };
    let vm = VmHandle::declare("b", spec, options).expect("a VM");
    let error = vm.prepare_declared(&pool).expect_err("a folder");
    assert!(
        error
            .to_string()
            .ends_with("a root file system is a disk image here, and this is no file"),
        "{error}"
    );
    assert!(vm.lock().disks().is_empty());
    assert_eq!(pool.folder(), std::path::Path::new(""));
}

#[test]
fn callers_leave_a_barrier_together_and_the_next_begin_another_round() {
    let (barriers, cancel) = (Barriers::default(), Cancel::new());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| barriers.wait("door", 3, LIMIT, &cancel).expect("the others come"));
        }
    });
    let waiter = barriers.arrive("door", 2, None).expect("a new round");
    assert_eq!((waiter.arrived(), waiter.is_open()), (1, false));
    let other = BarrierError::OtherCount {
        name: "door".to_owned(),
        expected: 2,
        count: 3,
    };
    assert_eq!(barriers.arrive("door", 3, None).map(drop), Err(other));
    let last = barriers.arrive("door", 2, None).expect("the last");
    assert!(waiter.is_open() && last.is_open());
    waiter.leave();
    assert!(last.is_open(), "it was complete");
}

#[test]
fn a_caller_that_waited_in_vain_goes_away() {
    let (barriers, cancel) = (Barriers::default(), Cancel::new());
    let moment = Duration::from_millis(20);
    let error = barriers
        .wait("door", 2, moment, &cancel)
        .expect_err("nobody comes");
    assert_eq!(error.to_string(), "`door`: 1 of 2 callers arrived within 0.02s");
    let alone = barriers
        .arrive("door", 1, None)
        .expect("the round went with its caller");
    assert!(alone.is_open());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| barriers.wait("door", 2, LIMIT, &cancel));
        cancel.cancel(CancelReason::Interrupted);
        let cancelled = Err(BarrierError::Cancelled(CancelReason::Interrupted));
        assert_eq!(waiting.join().expect("no panic"), cancelled);
    });
}

#[test]
fn a_round_is_over_with_its_owner_and_a_caller_that_left_does_not_count() {
    let barriers = Barriers::default();
    let owner = Arc::new(());
    let first = barriers
        .arrive("door", 2, Some(Arc::downgrade(&owner)))
        .expect("a round");
    assert!(!first.is_over());
    drop(owner);
    assert!(first.is_over());
    let second = barriers.arrive("door", 3, None).expect("another round");
    second.leave();
    let third = barriers.arrive("door", 2, None).expect("a third");
    let fourth = barriers.arrive("door", 2, None).expect("its last");
    assert!(third.is_open() && fourth.is_open() && !first.is_open() && !second.is_open());
}
