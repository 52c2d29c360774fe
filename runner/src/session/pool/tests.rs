//! Files that share a pool: who gets what, in which order, and that nobody waits for ever.
//!
//! Input: a pool and accounts. Output: what each has. Not here: machines.

use provium_base::events::{Discard, Event, Recorder};

use super::*;

fn amount(memory: u64, cpus: u32) -> Amount {
    Amount { memory, cpus }
}

fn account(pool: &Arc<Pool>, name: &str) -> Arc<Account> {
    Account::open(pool, name, Arc::new(Discard), Cancel::new())
}

/// Waits until so many wishes wait.
fn until_waiting(pool: &Pool, count: usize) {
    while pool.ledger.lock().queued() < count {
        std::thread::yield_now();
    }
}

#[test]
fn a_claim_waits_for_another_to_end() {
    let (pool, cancel) = (Pool::new(amount(100, 4)), Cancel::new());
    let (first, beside, second) = (account(&pool, "a"), account(&pool, "b"), account(&pool, "c"));
    first.claim(amount(60, 1), &cancel).expect("it is free");
    beside.claim(amount(40, 3), &cancel).expect("it is free");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| second.claim(amount(60, 1), &cancel));
        until_waiting(&pool, 1);
        assert_eq!(pool.taken(), amount(100, 4));
        drop(first);
        assert_eq!(waiting.join().expect("no panic"), Ok(()));
    });
    assert_eq!(pool.taken(), amount(100, 4));
    second.release_claim();
    assert_eq!(pool.taken(), amount(40, 3));
}

#[test]
fn vms_are_charged_and_use_a_claim_first() {
    let (pool, cancel) = (Pool::new(amount(100, 4)), Cancel::new());
    let file = account(&pool, "a");
    let vm = file.vm(amount(30, 1)).expect("it is free");
    assert_eq!(pool.taken(), amount(30, 1));
    file.claim(amount(50, 2), &cancel).expect("it is free");
    assert_eq!(pool.taken(), amount(50, 2));
    let further = file.vm(amount(30, 1)).expect("it is free");
    assert_eq!(pool.taken(), amount(60, 2));
    drop((vm, further));
    assert_eq!(pool.taken(), amount(50, 2));
    file.release_claim();
    assert_eq!(pool.taken(), Amount::default());
}

#[test]
fn a_large_wish_is_not_overtaken() {
    let (pool, cancel) = (Pool::new(amount(100, 4)), Cancel::new());
    let first = account(&pool, "a");
    first.claim(amount(50, 0), &cancel).expect("it is free");
    let order = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let take = |memory| {
            let file = account(&pool, "b");
            file.claim(amount(memory, 0), &cancel).expect("it becomes free");
            order.lock().push(memory);
        };
        scope.spawn(move || take(100));
        until_waiting(&pool, 1);
        scope.spawn(move || take(10));
        until_waiting(&pool, 2);
        drop(first);
    });
    assert_eq!(*order.lock(), [100, 10]);
}

#[test]
fn who_has_something_comes_before_who_has_nothing() {
    let pool = Pool::new(amount(100, 4));
    let (holder, other) = (account(&pool, "a"), account(&pool, "b"));
    let _kept = holder.vm(amount(40, 0)).expect("it is free");
    let others = other.vm(amount(60, 0)).expect("it is free");
    let order = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let take = |file: Arc<Account>, name| {
            let vm = file.vm(amount(60, 0)).expect("it becomes free");
            order.lock().push(name);
            drop(vm);
        };
        let (newcomer, holder) = (account(&pool, "c"), Arc::clone(&holder));
        scope.spawn(move || take(newcomer, "newcomer"));
        until_waiting(&pool, 1);
        scope.spawn(move || take(holder, "holder"));
        until_waiting(&pool, 2);
        drop(others);
    });
    assert_eq!(*order.lock(), ["holder", "newcomer"]);
}

#[test]
fn files_that_have_all_of_it_and_want_more_do_not_wait_for_ever() {
    let pool = Pool::new(amount(100, 8));
    // Each takes half, waits for all others to have theirs, and wants another half.
    let all_have_theirs = std::sync::Barrier::new(2);
    let most = Mutex::new(0);
    std::thread::scope(|scope| {
        for name in ["a", "b"] {
            let (pool, barrier, most) = (&pool, &all_have_theirs, &most);
            scope.spawn(move || {
                let file = account(pool, name);
                let _first = file.vm(amount(50, 1)).expect("it is free");
                barrier.wait();
                let _second = file.vm(amount(50, 1)).expect("it becomes free");
                let taken = pool.taken().memory;
                let mut most = most.lock();
                *most = taken.max(*most);
            });
        }
    });
    assert_eq!(
        *most.lock(),
        150,
        "one of them, and no more, had more than there is"
    );
    assert_eq!(pool.taken(), Amount::default());
}

#[test]
fn who_waits_says_for_what_and_for_whom() {
    let pool = Pool::new(amount(100 << 20, 4));
    let heard = Recorder::default();
    let holder = account(&pool, "a.test.lua");
    let vm = holder.vm(amount(80 << 20, 1)).expect("it is free");
    let waiting = Account::open(&pool, "b.test.lua", Arc::new(heard.clone()), Cancel::new());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| waiting.vm(amount(30 << 20, 2)).map(drop));
        let blocked = loop {
            if let Some(event) = heard.take().pop() {
                break event;
            }
            std::thread::yield_now();
        };
        assert_eq!(
            blocked,
            Event::FileBlocked {
                path: "b.test.lua".into(),
                waiting_for: amount(30 << 20, 2),
                why: "waits for 30M of memory and 2 CPUs; a.test.lua has 80M of memory and 1 CPUs".into(),
            }
        );
        drop(vm);
        assert_eq!(waits.join().expect("no panic"), Ok(()));
    });
    assert_eq!(heard.take(), [], "it is said once");
}

#[test]
fn a_wish_that_is_given_up_lets_the_next_through() {
    let (pool, impatient) = (Pool::new(amount(100, 4)), Cancel::new());
    let first = account(&pool, "a");
    let _vm = first.vm(amount(50, 0)).expect("it is free");
    let large = Account::open(&pool, "b", Arc::new(Discard), Arc::clone(&impatient));
    std::thread::scope(|scope| {
        let large = scope.spawn(|| large.vm(amount(100, 0)).map(drop));
        until_waiting(&pool, 1);
        let small = scope.spawn(|| account(&pool, "c").vm(amount(10, 0)).map(drop));
        until_waiting(&pool, 2);
        impatient.cancel(CancelReason::FileTimeout);
        let given_up = Err(PoolError::Cancelled(CancelReason::FileTimeout));
        assert_eq!(large.join().expect("no panic"), given_up);
        assert_eq!(small.join().expect("no panic"), Ok(()));
    });
}

#[test]
fn what_a_fixture_is_built_with_is_charged_and_never_waits() {
    let pool = Pool::new(amount(100, 4));
    let file = account(&pool, "a");
    let _vm = file.vm(amount(100, 4)).expect("it is free");
    let build = Account::open_at_once(&pool, "f", Arc::new(Discard), Cancel::new());
    let _its = build.vm(amount(50, 1)).expect("at once");
    assert_eq!(pool.taken(), amount(150, 5));
}

#[test]
fn more_memory_than_there_is_is_an_error_at_once_and_more_vcpus_are_not() {
    let (pool, cancel) = (Pool::new(amount(100 << 20, 4)), Cancel::new());
    let file = account(&pool, "a.test.lua");
    for (asked, shown) in [
        (amount(101 << 20, 1), "101M of memory and 1 CPUs"),
        (amount(1, 5), "1 of memory and 5 CPUs"),
    ] {
        let error = file.claim(asked, &cancel).expect_err("too much");
        let expected =
            format!("{shown} is more than this run has to give, which is 100M of memory and 4 CPUs");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
    let vms: Vec<_> = (0..10)
        .map(|_| file.vm(amount(10 << 20, 1)).expect("it is free"))
        .collect();
    assert_eq!(pool.taken(), amount(100 << 20, 4));
    let error = file.vm(amount(10 << 20, 1)).expect_err("too much").to_string();
    assert_eq!(
        error,
        "with it the VMs of a.test.lua would have 110M of memory, more than this run has to give, which is 100M of \
         memory (--mem changes that); close those that are not needed"
    );
    drop(vms);
    assert!(file.claim(amount(100 << 20, 4), &cancel).is_ok());
}

#[test]
fn a_pool_is_the_host_unless_told_otherwise() {
    let host = Pool::of_host(&Limits::default());
    assert!(host.all.memory > 1 << 20 && host.all.memory < host_memory());
    assert!(host.all.cpus >= 2);
    let told = Pool::of_host(&Limits {
        memory: Some(1 << 30),
        cpus: Some(3),
        overcommit: 0.5,
    });
    assert_eq!(told.all, amount(1 << 30, 1));
}
