//! Small queues, all of them: every table of descriptors, every place in the ring, every event index, against
//! the words of the specification.

use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress};

use super::Batch;
use crate::GuestRam;

const SIZE: u16 = 4;
const TABLE: u64 = 0x1000;
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;
const OTHER_TABLE: u64 = 0x4000;
/// Descriptor `n`'s buffer is at this address plus `n`; those of the other table follow at 8.
const BUFFERS: u64 = 0x5000;

const NEXT: u16 = 1;
const INDIRECT: u16 = 4;

fn ram() -> GuestRam {
    GuestRam::from_ranges(&[(GuestAddress(0), 0x8000)]).unwrap()
}

/// A queue of which `taken` chains were taken and given back before.
fn queue(taken: u16, event_idx: bool) -> Queue {
    let mut queue = Queue::new(SIZE).unwrap();
    queue.set_desc_table_address(Some(TABLE as u32), None);
    queue.set_avail_ring_address(Some(AVAILABLE as u32), None);
    queue.set_used_ring_address(Some(USED as u32), None);
    queue.set_event_idx(event_idx);
    queue.set_next_avail(taken);
    queue.set_next_used(taken);
    queue.set_ready(true);
    queue
}

fn describe(ram: &GuestRam, table: u64, at: u16, buffer: u64, len: u32, flags: u16, next: u16) {
    let place = table + u64::from(at) * 16;
    ram.write_obj(buffer, GuestAddress(place)).unwrap();
    ram.write_obj(len, GuestAddress(place + 8)).unwrap();
    ram.write_obj(flags, GuestAddress(place + 12)).unwrap();
    ram.write_obj(next, GuestAddress(place + 14)).unwrap();
}

/// Makes the chain at `head` available as number `index` of all.
fn offer(ram: &GuestRam, index: u16, head: u16) {
    let slot = u64::from(index % SIZE);
    ram.write_obj(head, GuestAddress(AVAILABLE + 4 + 2 * slot))
        .unwrap();
    ram.write_obj(index.wrapping_add(1), GuestAddress(AVAILABLE + 2))
        .unwrap();
}

/// The buffers of the one chain that is available, as numbers from [`BUFFERS`] on.
fn walk(ram: &GuestRam) -> Vec<u64> {
    let mut queue = queue(0, false);
    let mut batch = Batch::of(&queue);
    let chain = batch.next(&mut queue, ram).expect("one chain is available");
    // A walk that never ends would be found here, by the memory it takes.
    let buffers = chain
        .take(64)
        .map(|descriptor| descriptor.addr().0 - BUFFERS)
        .collect();
    assert!(batch.next(&mut queue, ram).is_none(), "there is one chain");
    buffers
}

/// What comes behind a descriptor: nothing, another, or one that is not there.
const BEHIND: [Option<u16>; 6] = [None, Some(0), Some(1), Some(2), Some(3), Some(4)];

#[test]
fn every_table_of_four_descriptors_is_walked_as_far_as_it_makes_sense() {
    let ram = ram();
    for number in 0..BEHIND.len().pow(4) {
        let behind: Vec<_> = (0..4)
            .map(|at| BEHIND[number / BEHIND.len().pow(at) % BEHIND.len()])
            .collect();
        for (at, next) in (0..).zip(&behind) {
            let flags = next.map_or(0, |_| NEXT);
            describe(
                &ram,
                TABLE,
                at,
                BUFFERS + u64::from(at),
                1,
                flags,
                next.unwrap_or(0),
            );
        }
        for head in 0..SIZE {
            offer(&ram, 0, head);
            // A chain has no more descriptors than the queue, section 2.7.5.3.1: so a loop ends.
            let mut expected = Vec::new();
            let mut at = Some(head);
            while let Some(here) = at.filter(|here| *here < SIZE && expected.len() < usize::from(SIZE)) {
                expected.push(u64::from(here));
                at = behind[usize::from(here)];
            }
            assert_eq!(walk(&ram), expected, "from {head} in {behind:?}");
        }
    }
}

#[test]
fn every_table_of_its_own_is_walked_and_none_below_that() {
    let ram = ram();
    // Entries of a table of two: what comes behind each, and whether it says that it is a table itself.
    let kinds = [
        (0, 0),
        (NEXT, 0),
        (NEXT, 1),
        (NEXT, 2),
        (INDIRECT, 0),
        (INDIRECT | NEXT, 1),
    ];
    for first in kinds {
        for second in kinds {
            for len in [0, 15, 16, 32, 33, u32::MAX] {
                for (at, (flags, next)) in [(0, first), (1, second)] {
                    describe(&ram, OTHER_TABLE, at, BUFFERS + 8 + u64::from(at), 1, flags, next);
                }
                describe(&ram, TABLE, 0, OTHER_TABLE, len, INDIRECT, 0);
                offer(&ram, 0, 0);
                let found = walk(&ram);
                let what = format!("{found:?} in a table of {len} bytes: {first:?}, {second:?}");
                assert!(found.len() <= 2, "{what}");
                assert!(found.iter().all(|buffer| [8, 9].contains(buffer)), "{what}");
                if len == 32 && first == (NEXT, 1) && second == (0, 0) {
                    assert_eq!(found, [8, 9], "the good one");
                }
                if len % 16 != 0 || len == 0 {
                    assert!(found.is_empty(), "{what}");
                }
            }
        }
    }
}

#[test]
fn at_every_place_of_the_ring_a_batch_is_what_was_made_available() {
    let ram = ram();
    (0..SIZE).for_each(|at| describe(&ram, TABLE, at, BUFFERS + u64::from(at), 1, 0, 0));
    // In another order than that of the descriptors.
    let head_of = |number: u16| number.wrapping_mul(3) % SIZE;
    for before in 0..=u16::MAX {
        let added = before % 7;
        for number in (0..added).map(|more| before.wrapping_add(more)) {
            offer(&ram, number, head_of(number));
        }
        ram.write_obj(before.wrapping_add(added), GuestAddress(AVAILABLE + 2))
            .unwrap();
        let mut queue = queue(before, false);
        let mut batch = Batch::of(&queue);
        let mut heads = Vec::new();
        while let Some(chain) = batch.next(&mut queue, &ram) {
            heads.push(chain.head_index());
        }
        // More than there are places cannot have been added: then nothing in the ring makes sense.
        let sound = if added <= SIZE { added } else { 0 };
        let expected: Vec<u16> = (0..sound)
            .map(|more| head_of(before.wrapping_add(more)))
            .collect();
        assert_eq!(heads, expected, "{added} behind {before}");
        assert_eq!(batch.is_over(), sound == SIZE);
    }
}

/// Section 2.7.10.1, and `vring_need_event` of Linux's `virtio_ring.h`.
fn need_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[test]
fn a_driver_is_interrupted_when_its_event_index_says_so() {
    let ram = ram();
    for old in [0, 1, 2, 0x7fff, 0x8000, u16::MAX - 3, u16::MAX - 1, u16::MAX] {
        for given_back in 0..=SIZE {
            for distance in 0..=u16::MAX {
                // All of them at one place, the nearest at the others.
                if old != 0 && (16..=u16::MAX - 16).contains(&distance) {
                    continue;
                }
                let event = old.wrapping_add(distance);
                ram.write_obj(event, GuestAddress(AVAILABLE + 4 + 2 * u64::from(SIZE)))
                    .unwrap();
                let mut queue = queue(old, true);
                for head in 0..given_back {
                    queue.add_used(&ram, head, 0).unwrap();
                }
                let new = old.wrapping_add(given_back);
                assert_eq!(
                    queue.needs_notification(&ram).unwrap(),
                    need_event(event, new, old),
                    "event {event}, {given_back} given back behind {old}"
                );
            }
        }
    }
}
