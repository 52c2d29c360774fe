//! Every userdata of the API, in one list.
//!
//! Input: the kinds. Output: their tables as text, for editor stubs and the check of the reference. A kind
//! that is not in the list does not compile. Not here: what a method does.

use super::api::binding::{Kind, Listed};
use super::api::text::Text;
use super::objects::batch::Batch;
use super::objects::clock::Clock;
use super::objects::console::handle::Console;
use super::objects::disk::Disk;
use super::objects::lab::handle::Lab;
use super::objects::open_file::OpenedFile;
use super::objects::process::handle::Process;
use super::objects::process::run_result::RunResult;
use super::objects::snapshot::saved::{LabSnapshot, Snapshot};
use super::objects::stream::handle::{ConsoleStream, Tail};
use super::objects::syscall::handle::SyscallHandle;
use super::objects::vm::handle::Vm;
use super::objects::worker::Worker;
use super::test::t::T;

/// A kind as text.
pub(crate) struct Described {
    /// Name of the kind: `VM`.
    pub(crate) name: &'static str,
    /// Name before the colon in names of calls: `vm`.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the check of the reference"))]
    pub(crate) prefix: &'static str,
    /// Methods of the kind, with their signatures as types.
    pub(crate) methods: Vec<Entry>,
    /// Fields of the kind.
    pub(crate) fields: Vec<Entry>,
    /// Type of what any other key finds.
    pub(crate) others: Option<&'static str>,
}

/// A method or a field as text.
#[derive(PartialEq, Eq)]
pub(crate) struct Entry {
    /// Name of the method or field.
    pub(crate) name: &'static str,
    /// Type in LuaLS's notation.
    pub(crate) ty: &'static str,
    /// Description in one sentence.
    pub(crate) doc: &'static str,
}

impl Described {
    fn of<T: Kind>() -> Described {
        Described {
            name: T::NAME,
            prefix: T::PREFIX,
            methods: T::methods()
                .iter()
                .map(|method| Entry {
                    name: method.name,
                    ty: method.signature,
                    doc: method.doc,
                })
                .collect(),
            fields: T::fields()
                .iter()
                .map(|field| Entry {
                    name: field.name,
                    ty: field.ty,
                    doc: field.doc,
                })
                .collect(),
            others: T::OTHERS,
        }
    }
}

macro_rules! kinds {
    ($($kind:ty),* $(,)?) => {
        $(impl Listed for $kind {})*

        /// All kinds.
        pub(crate) fn kinds() -> Vec<Described> {
            vec![$(Described::of::<$kind>()),*]
        }
    };
}

kinds![
    T,
    Lab,
    Vm,
    RunResult,
    Process,
    Worker,
    OpenedFile,
    SyscallHandle,
    Batch,
    Console,
    ConsoleStream,
    Tail,
    Clock,
    Disk,
    Snapshot,
    LabSnapshot,
    Text,
];
