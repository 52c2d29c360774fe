//! A lab without Lua: the example of the guest crate, as it is, on real guests.
//!
//! Input: the guests' kernel and initrd. Output: what the example prints. Not here: what a Lua test does with
//! a lab.

#[expect(dead_code, reason = "`main` is called when the example is run by itself")]
#[path = "../../runner/guest/examples/two_vms.rs"]
mod two_vms;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use provium_guest::{
    Baseline, BootOptions, Cancel, ExecSpec, GuestSpec, HostStore, SaveMode, VmHandle, WarmPool, ops,
};
use provium_tests::artifact;
use provium_vmm::Machine;
use provium_vmm::disk::ImageDigest;
use provium_vmm::snapshot::Snapshot;

/// A store whose snapshots stay, so that others lie on top of them.
struct Lasting(WarmPool);

impl HostStore for Lasting {
    fn pool(&self) -> &WarmPool {
        &self.0
    }
    fn folder(&self) -> &Path {
        self.0.folder()
    }
    fn rootfs_image(&self, path: &Path) -> Result<PathBuf, String> {
        self.0.rootfs_image(path)
    }
    fn temporary(&self) -> Result<PathBuf, String> {
        self.0.temporary()
    }
    fn image_digest(&self, path: &Path) -> std::io::Result<ImageDigest> {
        self.0.image_digest(path)
    }
    fn keeps(&self, _: &Snapshot) -> bool {
        true
    }
}

/// What a file does that wants its VM to be put back before each test: it may run something of its own first.
fn file(store: &Lasting, fixture: &Arc<Snapshot>, own: Option<&str>) -> (VmHandle, Baseline) {
    let spec = GuestSpec::new(artifact("vmlinux"));
    let vm = VmHandle::declare("vm", spec, BootOptions::default()).expect("it is declared");
    vm.restore(fixture, store).expect("the fixture is resumed");
    if let Some(line) = own {
        shell(&vm, line);
    }
    let baseline = Baseline::take(vec![vm.clone()], store).expect("a baseline");
    (vm, baseline)
}

fn shell(vm: &VmHandle, line: &str) -> String {
    let ran = vm.ask(ops::exec(ExecSpec::shell(line)), &Cancel::new());
    String::from_utf8(ran.expect("it answers").stdout).expect("text")
}

fn machine(vm: &VmHandle) -> *const Machine {
    let machine = vm.lock().machine().expect("it runs");
    Arc::as_ptr(&machine)
}

#[test]
fn a_guest_that_one_file_leaves_serves_the_next_whatever_was_saved_of_it() {
    let store = Lasting(WarmPool::new(1));
    let spec = GuestSpec {
        initrd: Some(artifact("initrd.cpio")),
        memory: 128 << 20,
        ..GuestSpec::new(artifact("vmlinux"))
    };
    let built = VmHandle::declare("built", spec, BootOptions::default()).expect("it is declared");
    built
        .boot(BootOptions::default(), &Cancel::new())
        .expect("it boots");
    shell(&built, "mount -t tmpfs none /tmp; echo fixture > /tmp/said");
    let folder = tempfile::tempdir().expect("a folder");
    let fixture = built
        .save(folder.path(), SaveMode::default(), &store)
        .expect("it is saved");
    drop(built);

    let mut served = Vec::new();
    for own in [
        None,
        Some("echo file >> /tmp/said"),
        None,
        Some("echo other >> /tmp/said"),
    ] {
        let (vm, baseline) = file(&store, &fixture, own);
        let origin = vm.lock().origin().expect("it came from a snapshot").id();
        assert_eq!(
            origin == fixture.id(),
            own.is_none(),
            "only what was touched is saved"
        );
        let word = own.map_or("", |line| line.split(' ').nth(1).expect("a word"));
        let expected = format!("fixture\n{word}\n").replace("\n\n", "\n");
        for _ in 0..3 {
            baseline.put_back(&store).expect("it is put back");
            assert_eq!(shell(&vm, "cat /tmp/said; echo test >> /tmp/said"), expected);
        }
        served.push(machine(&vm));
        vm.close(&store);
    }
    assert!(
        served.iter().all(|machine| *machine == served[0]),
        "one machine for all files"
    );
    store.0.close();
}

#[test]
fn two_vms_are_saved_together_and_resumed_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = two_vms::run(artifact("vmlinux"), Some(artifact("initrd.cpio")), folder.path());
    assert_eq!(
        lines.expect("the example runs"),
        [
            "first server: server",
            "first client: client",
            "second server: server",
            "second client: client",
            "pair server: server",
            "pair client: client",
        ]
    );
}
