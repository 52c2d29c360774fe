//! Boot after boot in one process leaves nothing behind: no descriptor, no thread, no mapping.
//!
//! `PROVIUM_SOAK_BOOTS` sets how many; `cargo xtask soak` runs 200.

use provium_guest::BootError;
use provium_tests::*;

#[test]
fn boots_leave_nothing_behind() {
    let boots: usize = match std::env::var("PROVIUM_SOAK_BOOTS") {
        Ok(number) => number.parse().expect("PROVIUM_SOAK_BOOTS is a number"),
        Err(_) => 6,
    };
    let mut settled = None;
    for number in 0..boots {
        let mut guest = boot_guest(config());
        assert_eq!(stdout(&mut guest, "echo alive"), "alive\n");
        if number % 2 == 0 {
            guest.client.shutdown(false, LONG).unwrap();
            guest.machine.wait_end(Some(LONG)).expect("it powers off");
        }
        drop(guest);
        // A boot that fails gives everything back as well.
        if number % 3 == 0 {
            let mut broken = config();
            broken.cmdline = "console=ttyS0 quiet root=/dev/nope".to_owned();
            (broken.initrd, broken.extra_initrds) = (None, Vec::new());
            let error = try_boot(broken, LONG).expect_err("no root");
            assert!(matches!(error, BootError::Ended { .. }), "{error}");
        }
        let now = Holdings::now();
        let (descriptors, threads) = (now.descriptors.len(), now.threads.len());
        println!(
            "boot {}: {descriptors} descriptors, {threads} threads, {} KiB",
            number + 1,
            now.writable_kib
        );
        // The first boots may make what stays for good: the allocator's arenas, the agent's archive.
        match &settled {
            None if number >= 1 => settled = Some(now),
            None => {}
            Some(before) => now.assert_no_more_than(before, 100 << 10),
        }
    }
    assert!(settled.is_some(), "at least three boots are needed to see a leak");
}
