//! What KVM has counted of a machine and its vCPUs: exits by kind, page faults.
//!
//! Input: the descriptor of a vCPU. Output: [`KvmCounts`]. Not here: what is made of them, which is the
//! benchmark's.
//!
//! KVM describes its counters itself, by name (`Documentation/virt/kvm/api.rst`, section 4.133): a header, a
//! descriptor for each counter, the values. A kernel that has not got one of the names here counts none of
//! it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

use kvm_bindings::KVMIO;
use vmm_sys_util::ioctl::ioctl;
use vmm_sys_util::ioctl_io_nr;

ioctl_io_nr!(KVM_GET_STATS_FD, KVMIO, 0xce);

/// Counters of a machine, all its vCPUs together, since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KvmCounts {
    /// Times that a vCPU left the guest, for whatever reason.
    pub exits: u64,
    /// Those that the monitor served as accesses to memory-mapped registers.
    pub mmio: u64,
    /// Those that it served as accesses to ports.
    pub port: u64,
    /// Those by which a vCPU halted.
    pub halt: u64,
    /// Page faults that KVM has fixed by mapping a page for the guest.
    pub faults: u64,
}

impl KvmCounts {
    fn of(mut value: impl FnMut(&str) -> u64) -> KvmCounts {
        KvmCounts {
            exits: value("exits"),
            mmio: value("mmio_exits"),
            port: value("io_exits"),
            halt: value("halt_exits"),
            faults: value("pf_fixed"),
        }
    }

    /// Each counter here with that of another.
    fn with(self, other: KvmCounts, each: fn(u64, u64) -> u64) -> KvmCounts {
        KvmCounts {
            exits: each(self.exits, other.exits),
            mmio: each(self.mmio, other.mmio),
            port: each(self.port, other.port),
            halt: each(self.halt, other.halt),
            faults: each(self.faults, other.faults),
        }
    }

    /// The sum of the two.
    pub fn plus(self, other: KvmCounts) -> KvmCounts {
        self.with(other, u64::saturating_add)
    }

    /// What has been counted since `before`.
    pub fn since(self, before: KvmCounts) -> KvmCounts {
        self.with(before, u64::saturating_sub)
    }
}

/// Reads the counters of one vCPU.
///
/// # Errors
/// On a kernel before 5.14, or when what it says of itself makes no sense.
pub(crate) fn read(vcpu: &impl AsRawFd) -> io::Result<KvmCounts> {
    // SAFETY: the ioctl takes no argument and touches no memory of this process.
    let fd = unsafe { ioctl(vcpu, KVM_GET_STATS_FD()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that was just made, and is nobody else's.
    let file = unsafe { File::from_raw_fd(fd) };
    parse(&|at, into| file.read_exact_at(into, at))
}

/// Most counters, and most bytes of a name, that are believed.
const MOST: u32 = 4096;

/// Finds the counters by their names in a file of KVM's form.
fn parse(read_at: &dyn Fn(u64, &mut [u8]) -> io::Result<()>) -> io::Result<KvmCounts> {
    let word = |bytes: &[u8], at: usize| {
        let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    };
    let mut header = [0; 24];
    read_at(0, &mut header)?;
    let [name_size, count, _, descriptors, data] = [4, 8, 12, 16, 20].map(|at| word(&header, at));
    if name_size == 0 || name_size > MOST || count > MOST {
        return Err(io::Error::other("KVM's statistics are of another form"));
    }
    // Before the name: flags, exponent and number of values, offset of the first, size of a bucket.
    let each = 16 + name_size as usize;
    let mut all = vec![0; each * count as usize];
    read_at(u64::from(descriptors), &mut all)?;
    let value = |name: &str| {
        let of_that_name =
            |bytes: &&[u8]| bytes[16..].split(|byte| *byte == 0).next() == Some(name.as_bytes());
        let at = all
            .chunks_exact(each)
            .find(of_that_name)
            .map(|bytes| word(bytes, 8))?;
        let mut value = [0; 8];
        read_at(u64::from(data) + u64::from(at), &mut value).ok()?;
        Some(u64::from_le_bytes(value))
    };
    Ok(KvmCounts::of(|name| value(name).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of counters in KVM's form, names of at most eleven bytes.
    fn file(counters: &[(&str, u64)]) -> Vec<u8> {
        let (each, descriptors) = (16 + 12, 24);
        let data = descriptors + each * counters.len();
        let header = [0, 12, counters.len(), 0, descriptors, data];
        let mut bytes: Vec<u8> = header
            .iter()
            .flat_map(|word| (*word as u32).to_le_bytes())
            .collect();
        for (index, (name, _)) in counters.iter().enumerate() {
            let words = [0, 1 << 16, index as u32 * 8, 0];
            bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            let mut padded = name.as_bytes().to_vec();
            padded.resize(12, 0);
            bytes.extend(padded);
        }
        bytes.extend(counters.iter().flat_map(|(_, value)| value.to_le_bytes()));
        bytes
    }

    fn parsed(bytes: &[u8]) -> io::Result<KvmCounts> {
        parse(&|at, into| {
            let from = bytes.get(at as usize..).and_then(|rest| rest.get(..into.len()));
            into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    #[test]
    fn counters_are_found_by_their_whole_names() {
        let counters = [
            ("exits_more", 1),
            ("io_exits", 7),
            ("exits", 9),
            ("mmio_exits", 2),
            ("pf_fixed", 5),
        ];
        let expected = KvmCounts {
            exits: 9,
            mmio: 2,
            port: 7,
            halt: 0,
            faults: 5,
        };
        assert_eq!(parsed(&file(&counters)).unwrap(), expected);
    }

    #[test]
    fn what_is_cut_short_or_senseless_is_an_error() {
        let whole = file(&[("exits", 9)]);
        assert!(parsed(&whole[..30]).is_err());
        let mut senseless = whole;
        senseless[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(parsed(&senseless).is_err());
    }

    #[test]
    fn counts_add_up_and_are_taken_apart() {
        let one = KvmCounts {
            exits: 5,
            mmio: 1,
            port: 2,
            halt: 3,
            faults: 4,
        };
        assert_eq!(one.plus(one).since(one), one);
    }
}
