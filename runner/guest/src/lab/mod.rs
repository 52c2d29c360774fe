//! Several VMs and labs without Lua: members by name, all at once, saved and put back together.
//!
//! ```text
//! store     what the host keeps for guests beyond one VM: a pool of machines, images, lasting snapshots
//! handle    one VM that several hold: what it boots, its options, the VM behind a lock
//! members   a lab: VMs and labs by name
//! path      where a VM is in a lab and the labs inside it
//! snapshot  every VM of a lab saved at one instant, put back, or resumed as another lab
//! baseline  every VM put back to what it was
//! barrier   a place that callers leave together
//! ```
//!
//! A VM is shared as `Arc<Mutex<Vm>>` ([`VmHandle`](handle::VmHandle)), and so are labs. One thread of a
//! scripting language would do with `Rc<RefCell<Vm>>`, but a Rust program that talks to two VMs at the same
//! time would not, and boots and shutdowns of a lab run on a thread for each VM anyway. An uncontended lock
//! costs nothing beside a round trip to a guest. Nothing in here holds a VM's lock while it calls back to its
//! caller, so that a front on one thread cannot lock itself out; and whoever needs the locks of several VMs
//! takes them in one order (`handle::lock_all`).
//!
//! A front has more to say of a member than there is here: a script's value, the line it was declared at. A
//! lab is generic over such a tag, so that a front needs no second list beside it.
//!
//! Input: specs and options, then calls. Output: VMs in the states that were asked for. Not here: scopes and
//! who closes what; names that a front reserves; limits of memory and vCPUs.

pub(crate) mod barrier;
pub(crate) mod baseline;
pub(crate) mod handle;
pub(crate) mod members;
pub(crate) mod path;
pub(crate) mod snapshot;
pub(crate) mod store;
