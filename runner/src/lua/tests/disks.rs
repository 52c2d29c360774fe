//! Disks of a VM that is not booted, and what wrong calls say.

use super::*;
use crate::lua::start::run_prepared;

/// The project's one profile boots nothing: it is declared and never booted.
fn run_with_profile(body: &str) -> TestResult {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(dir.path().join("kernel"), b"none").expect("a file");
    std::fs::write(dir.path().join("image.raw"), [7; 1024]).expect("a file");
    std::fs::write(dir.path().join("image.qcow2"), b"QFI\xfb and so on").expect("a file");
    let toml = "[provium]\ncache_dir = 'cache'\n[profiles.p]\nkernel = 'kernel'\ncmdline = 'quiet'\n\
                [profiles.q]\ninherits = 'p'\n[[profiles.q.disks]]\npath = 'image.raw'\n\
                [[profiles.q.disks]]\nid = 'more'\nscratch = '1M'\n";
    std::fs::write(dir.path().join("provium.toml"), toml).expect("a file");
    let config = Config::load(None, dir.path(), &[], &Environment::default()).expect("a good file");
    let source = format!("test('the test', function(t)\n{body}\nend)");
    let mut job = job(dir.path(), &source);
    job.config = Arc::new(config);
    job.fixtures = fixtures(&job.config);
    let mut result = run_prepared(&job, &silent(), |_| Ok(()));
    assert_eq!(result.chunk_error, None, "for {body}");
    result.tests.pop().expect("one test")
}

#[track_caller]
fn passes(body: &str) {
    let result = run_with_profile(body);
    assert_eq!(result.status, TestStatus::Passed, "{:?}", result.message);
}

#[test]
fn a_vm_that_is_not_booted_has_its_disks_already() {
    passes(
        r"
        local vm = provium:vm('a', 'p', {disks = {{scratch = '1M'}, {path = 'image.raw', id = 'img', readonly = true}}})
        local scratch, img = vm:disk('disk0'), vm:disk('img')
        t:assert_eq(scratch:size(), 1024 * 1024)
        t:assert_eq(img:size(), 1024)
        t:assert_eq(img:read_sectors(0, 2), ('\7'):rep(1024))
        scratch:write_sectors(2, ('x'):rep(512))
        t:assert_eq(scratch:read_sectors(1, 3), ('\0'):rep(512) .. ('x'):rep(512) .. ('\0'):rep(512))
        t:assert(vm:disk('disk0') == scratch)
        t:assert_eq(tostring(img), 'Disk `img` of VM `a`')
        local more = vm:attach_disk{image = 'image.raw', size = 4096}
        t:assert_eq(more:id(), 'disk1')
        t:assert_eq(more:read_sectors(1, 2), ('\7'):rep(512) .. ('\0'):rep(512))
        more:detach()
        more:detach()
        t:assert(more:is_detached())",
    );
}

#[test]
fn a_pipe_in_place_of_an_image_is_refused_at_once() {
    passes(
        r"
        local folder = io.popen('mktemp -d'):read('l')
        t:defer(function() os.execute('rm -r ' .. folder) end)
        assert(os.execute('mkfifo ' .. folder .. '/pipe.img'))
        local disks = {{path = folder .. '/pipe.img'}}
        t:assert_contains(t:assert_raises(function() provium:vm('a', 'p', {disks = disks}):disk('disk0') end), 'not a regular file')
        local vm = provium:vm('b', 'p')
        t:assert_contains(t:assert_raises(function() vm:boot({disks = disks}) end), 'not a regular file')",
    );
}

#[test]
fn a_profile_has_disks_whose_place_a_vms_own_take() {
    passes(
        r"
        local vm = provium:vm('a', 'q')
        t:assert_eq(vm:disk('disk0'):read_sectors(0, 2), ('\7'):rep(1024))
        t:assert_eq(vm:disk('more'):size(), 1024 * 1024)
        local other = provium:vm('b', 'q', {disks = {{id = 'own', scratch = '2M'}}})
        t:assert_eq(other:disk('own'):size(), 2 * 1024 * 1024)
        t:assert_contains(t:assert_raises(function() other:disk('more') end), 'it has own')
        t:assert_contains(t:assert_raises(function() provium:vm('c', 'q', {disks = {}}):disk('more') end), 'it has none')",
    );
}

#[test]
fn faults_are_listed_as_they_were_given() {
    passes(
        r"
        local disk = provium:vm('a', 'p'):attach_disk{size = '1M'}
        t:assert_eq(disk:active_faults(), {})
        disk:fault_inject('eio_read')
        disk:fault_inject('eio_write', {sectors = {2, 5}, after = 1, count = 3})
        disk:fault_inject('slow', {delay = '250ms', sectors = {from = 0, to = 0}})
        disk:fault_inject('slow')
        t:assert_eq(disk:active_faults(), {
          {mode = 'eio_read', after = 0},
          {mode = 'eio_write', sectors = {from = 2, to = 5}, after = 1, count = 3},
          {mode = 'slow', delay = 0.25, sectors = {from = 0, to = 0}, after = 0},
          {mode = 'slow', delay = 0.05, after = 0},
        })
        disk:clear_faults()
        t:assert_eq(disk:active_faults(), {})",
    );
}

#[test]
fn wrong_calls_say_what_is_wrong() {
    let vm = "local vm = provium:vm('a', 'p', {disks = {{id = 'data', scratch = '1M'}}})\n";
    let disk = "local disk = provium:vm('a', 'p'):attach_disk{size = 1024}\n";
    for (setup, call, expected) in [
        (
            "",
            "provium:vm('a', 'p', {disks = {{}}})",
            "give `path`, or `scratch` for scratch",
        ),
        (
            "",
            "provium:vm('a', 'p', {disks = 'x'})",
            "option `disks`: expected a table, got string",
        ),
        (
            "",
            "provium:vm('a', 'p', {disks = {7}})",
            "item 1: expected a table, got number",
        ),
        (
            "",
            "provium:vm('a', 'p', {disks = {{pth = 'x', scratch = 512}}})",
            "unknown option `pth`; did you mean `path`?",
        ),
        (
            "",
            "provium:vm('a', 'p', {disks = {{path = 'x', format = 'qcow2'}}})",
            "`qcow2` is not supported, only `raw`",
        ),
        (
            "",
            "provium:vm('a', 'p', {disks = {{scratch = 512, id = 'x'}, {scratch = 512, id = 'x'}}})",
            "two disks have the id `x`",
        ),
        (
            vm,
            "vm:disk('dat')",
            "VM `a` has no disk `dat`; did you mean `data`?",
        ),
        (
            vm,
            "vm:disk()",
            "vm:disk: expected a string as the disk's id, got nil",
        ),
        (vm, "vm:attach_disk{}", "give `image`, or `size` for scratch"),
        (
            vm,
            "vm:attach_disk{id = 'data', size = 512}",
            "VM `a` has a disk `data` already",
        ),
        (
            vm,
            "vm:attach_disk{id = 'a/b', size = 512}",
            "`a/b` is no name of a disk",
        ),
        (
            vm,
            "vm:attach_disk{size = 100}",
            "100 bytes are not whole sectors of 512",
        ),
        (
            vm,
            "vm:attach_disk{image = 'nope'}",
            "nope: no such file on the host",
        ),
        (
            vm,
            "vm:attach_disk{image = 'image.qcow2'}",
            "image.qcow2 is in the format qcow2, and only raw images are supported; convert it: qemu-img convert -O raw ",
        ),
        (
            vm,
            "vm:attach_disk{size = 512, writable = true}",
            "option `writable`: it is for an image",
        ),
        (
            disk,
            "disk:read_sectors(0, 3)",
            "has 2 sectors; 3 sectors from sector 0",
        ),
        (
            disk,
            "disk:read_sectors(-1, 1)",
            "first sector: -1 is less than 0",
        ),
        (
            disk,
            "disk:read_sectors(0)",
            "disk:read_sectors: number of sectors: expected an integer",
        ),
        (
            disk,
            "disk:write_sectors(0, 'short')",
            "5 bytes are not whole sectors of 512",
        ),
        (disk, "disk:write_sectors(1, ('x'):rep(1024))", "beyond its end"),
        (disk, "disk:fault_inject('eio')", "unknown mode `eio`"),
        (
            disk,
            "disk:fault_inject('eio_read', {delay = 1})",
            "option `delay`: it is for `slow`",
        ),
        (
            disk,
            "disk:fault_inject('eio_read', {sectors = {5, 2}})",
            "from 5 to 2 is no range",
        ),
        (
            disk,
            "disk:fault_inject('eio_read', {sector = {5, 2}})",
            "unknown option `sector`; did you mean `sectors`?",
        ),
        (
            disk,
            "disk:fault_inject('eio_read', {count = -1})",
            "option `count`: -1 is less than 0",
        ),
        (
            disk,
            "disk:detach() disk:size()",
            "disk `disk0` of VM `a` is detached",
        ),
    ] {
        let result = run_with_profile(&format!("{setup}{call}"));
        let message = result.message.unwrap_or_default();
        assert!(message.contains(expected), "{call}: {message}");
        assert_eq!(result.status, TestStatus::Failed, "{call}");
    }
}

#[test]
fn an_image_that_is_said_to_be_raw_is_taken_as_it_is() {
    passes(
        r#"
        local vm = provium:vm("a", "p")
        local disk = vm:attach_disk{image = "image.qcow2", format = "raw", size = 512}
        t:assert_eq(disk:read_sectors(0, 1):sub(1, 4), "QFI\xfb")
        vm:attach_disk{id = "other", size = 512, format = "raw"}
        "#,
    );
}
