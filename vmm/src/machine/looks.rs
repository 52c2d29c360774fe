//! How somebody who wants to know where vCPUs stand, and the vCPUs' threads, come together.
//!
//! Input: looks, and vCPU threads that come by. Output: their answers. Not here: reading registers
//! (`kvm/vcpu_place.rs`), getting a vCPU out of the guest (`lifecycle`).
//!
//! Whoever looks raises a number and kicks the vCPUs. A vCPU thread compares the number before each entry
//! with the one it answered last. One that does not come by, since it waits for a disk or for somebody's
//! lock, has no answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::kvm::vcpu_place::VcpuPlace;

/// Looks at the vCPUs of one machine.
#[derive(Default)]
pub(crate) struct Looks {
    /// Number of the last look; read without the lock.
    number: AtomicU64,
    state: Mutex<LookState>,
    answered: Condvar,
    /// What was seen before the machine was ended.
    pub(super) last: Mutex<Vec<VcpuPlace>>,
}

#[derive(Default)]
struct LookState {
    number: u64,
    /// What the vCPUs have answered to the last look.
    places: Vec<Option<VcpuPlace>>,
}

impl Looks {
    /// Number of the last look.
    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::SeqCst)
    }

    /// Takes the answer of a vCPU to the look of that number.
    pub(crate) fn answer(&self, number: u64, vcpu: usize, place: VcpuPlace) {
        let mut state = self.state.lock();
        if state.number == number
            && let Some(answer) = state.places.get_mut(vcpu)
        {
            *answer = Some(place);
            self.answered.notify_all();
        }
    }

    /// Begins a look at this many vCPUs.
    pub(super) fn begin(&self, vcpus: usize) -> u64 {
        let mut state = self.state.lock();
        state.number += 1;
        state.places = vec![None; vcpus];
        self.number.store(state.number, Ordering::SeqCst);
        state.number
    }

    /// Waits for all answers to a look, until `deadline`; gives those that came.
    pub(super) fn wait(&self, number: u64, deadline: Instant) -> Vec<Option<VcpuPlace>> {
        let mut state = self.state.lock();
        let is_open = |state: &LookState| state.number == number && state.places.contains(&None);
        while is_open(&state) && !self.answered.wait_until(&mut state, deadline).timed_out() {}
        state.places.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn a_look_has_the_answers_that_came() {
        let looks = Looks::default();
        let number = looks.begin(2);
        assert_eq!(looks.number(), number);
        looks.answer(number, 1, VcpuPlace::NotStarted);
        looks.answer(number, 7, VcpuPlace::NotStarted);
        looks.answer(number - 1, 0, VcpuPlace::NotStarted);
        assert_eq!(
            looks.wait(number, Instant::now()),
            [None, Some(VcpuPlace::NotStarted)]
        );
        looks.answer(number, 0, VcpuPlace::Busy);
        let all = [Some(VcpuPlace::Busy), Some(VcpuPlace::NotStarted)];
        assert_eq!(looks.wait(number, Instant::now() + LIMIT), all);
    }

    #[test]
    fn a_look_ends_when_another_begins() {
        let looks = Looks::default();
        let first = looks.begin(1);
        let second = looks.begin(1);
        looks.answer(first, 0, VcpuPlace::NotStarted);
        assert_eq!(looks.wait(first, Instant::now() + LIMIT), [None]);
        looks.answer(second, 0, VcpuPlace::NotStarted);
        assert_eq!(
            looks.wait(second, Instant::now() + LIMIT),
            [Some(VcpuPlace::NotStarted)]
        );
    }
}
