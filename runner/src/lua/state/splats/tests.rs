//! Tests of which part a splat belongs to, without a guest.
//!
//! Input: splats out of texts. Output: none. Not here: what one means by itself (`decide`).

use provium_vmm::splats_in;

use super::*;

fn splat(head: &str) -> Arc<Splat> {
    // Whole, since another begins behind it.
    let text = format!("[    1.000000] BUG: {head}\n[    1.000000] BUG: other\n");
    splats_in(text.as_bytes()).remove(0)
}

fn file(policy: SplatPolicy, ignored: &[&str]) -> Arc<FileSplats> {
    let rules = SplatRules {
        policy,
        ignored: ignored.iter().map(|text| (*text).to_owned()).collect(),
    };
    FileSplats::new(&rules, Arc::default())
}

fn heads(splats: &[GuestSplat]) -> Vec<&str> {
    splats.iter().map(|splat| splat.head.as_str()).collect()
}

#[test]
fn a_splat_ends_the_part_it_was_printed_in_and_no_other() {
    let file = file(SplatPolicy::Fail, &[]);
    let listener = file.listener("a");
    let (own, one, two) = (Cancel::new(), Cancel::new(), Cancel::new());
    file.begin(&own, Allowance::None);
    file.begin(&one, Allowance::None);
    listener(&splat("first"));
    let told = file.end();
    assert_eq!(heads(&told.failing), ["BUG: first"]);
    assert_eq!(told.failing[0].vm, "a");
    assert_eq!(one.is_cancelled(), Some(CancelReason::Splat));
    assert_eq!(file.said.lock().as_deref(), Some("kernel of VM `a`: BUG: first"));
    file.begin(&two, Allowance::None);
    assert_eq!((two.is_cancelled(), file.said.lock().clone()), (None, None));
    assert_eq!(heads(&file.end().failing), [""; 0]);
    assert_eq!(own.is_cancelled(), None);
    listener(&splat("between"));
    assert_eq!(heads(&file.end().failing), ["BUG: between"]);
    listener(&splat("late"));
    assert!(file.end().failing.is_empty(), "nothing is under way");
}

#[test]
fn a_warning_ends_nothing_and_is_told_of() {
    let file = file(SplatPolicy::Warn, &["known noise"]);
    let token = Cancel::new();
    file.begin(&token, Allowance::None);
    let listener = file.listener("a");
    listener(&splat("one"));
    listener(&splat("known noise"));
    file.set_policy(SplatPolicy::Ignore);
    listener(&splat("two"));
    assert_eq!(
        heads(&file.told().warned),
        ["BUG: one"],
        "the policy is that of the moment"
    );
    assert!(file.end().failing.is_empty());
    assert_eq!(token.is_cancelled(), None);
}

#[test]
fn an_expectation_is_waited_for_and_takes_what_it_matches() {
    let file = file(SplatPolicy::Fail, &[]);
    let token = Cancel::new();
    file.begin(&token, Allowance::None);
    let number = file.expect(Some(b"second %w+".to_vec()));
    assert_eq!(file.met(number, Duration::from_millis(5)), None);
    let listener = file.listener("a");
    let met = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| file.met(number, Duration::from_secs(60)));
        listener(&splat("the second one"));
        waiter.join().unwrap()
    });
    assert_eq!(met.map(|seen| seen.head).as_deref(), Some("BUG: the second one"));
    assert_eq!(token.is_cancelled(), None);
    file.forget(number);
    listener(&splat("the second one"));
    assert_eq!(heads(&file.end().failing), ["BUG: the second one"]);
}

#[test]
fn a_wait_for_an_expectation_ends_with_the_part() {
    let file = file(SplatPolicy::Fail, &[]);
    let token = Cancel::new();
    file.begin(&token, Allowance::None);
    let number = file.expect(Some(b"never".to_vec()));
    file.listener("a")(&splat("another"));
    assert_eq!(file.met(number, Duration::from_secs(600)), None);
    assert_eq!(token.is_cancelled(), Some(CancelReason::Splat));
}

#[test]
fn a_flood_is_bounded_and_counted() {
    let file = file(SplatPolicy::Fail, &[]);
    file.begin(&Cancel::new(), Allowance::None);
    let listener = file.listener("a");
    let splat = splat("again");
    for _ in 0..1000 {
        listener(&splat);
    }
    let told = file.end();
    assert_eq!(told.failing.len(), MAX_TOLD);
    assert_eq!(told.more, 1000 - MAX_TOLD as u64);
}
