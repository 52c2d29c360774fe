//! Every userdata of the API, in one list.
//!
//! Enters: the kinds. Leaves: their tables as text, for editor stubs and the check of the reference. A kind that is not in
//! the list does not compile. Absent on purpose: what a method does.

use crate::lua::api::binding::Kind;
use crate::lua::classic::Text;
use crate::lua::objects::batch::Batch;
use crate::lua::objects::clock::Clock;
use crate::lua::objects::console::Console;
use crate::lua::objects::disk::Disk;
use crate::lua::objects::lab::Lab;
use crate::lua::objects::open_file::OpenedFile;
use crate::lua::objects::process::Process;
use crate::lua::objects::run_result::RunResult;
use crate::lua::objects::snapshot::{LabSnapshot, Snapshot};
use crate::lua::objects::stream::{ConsoleStream, Tail};
use crate::lua::objects::syscall_handle::SyscallHandle;
use crate::lua::objects::vm::Vm;
use crate::lua::objects::worker::Worker;
use crate::lua::test::test_run::T;

/// What is in the list below. A userdata of a test of this crate says so by itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is missing from the list of kinds in runner/src/lua/kinds.rs",
    note = "the list is what editor stubs and the check of the reference are made from"
)]
pub(crate) trait Listed {}

/// A kind as text.
pub(crate) struct Described {
    /// Its name: `VM`.
    pub(crate) name: &'static str,
    /// What calls on it are named after: `vm`.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the check of the reference"))]
    pub(crate) prefix: &'static str,
    /// Its methods; a type is the signature.
    pub(crate) methods: Vec<Entry>,
    /// Its fields.
    pub(crate) fields: Vec<Entry>,
    /// Type of what any other key finds.
    pub(crate) others: Option<&'static str>,
}

/// A method or a field as text.
#[derive(PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its type in LuaLS's notation.
    pub(crate) ty: &'static str,
    /// One sentence.
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

        /// All of them.
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
