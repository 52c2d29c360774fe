//! The registered API and its reference: neither has what the other lacks.

use std::collections::BTreeSet;

use crate::lua::batch::Batch;
use crate::lua::binding::Kind;
use crate::lua::console::Console;
use crate::lua::disk::Disk;
use crate::lua::lab::Lab;
use crate::lua::open_file::OpenedFile;
use crate::lua::process::Process;
use crate::lua::remote;
use crate::lua::run_result::RunResult;
use crate::lua::snapshot::{LabSnapshot, Snapshot};
use crate::lua::stream::{ConsoleStream, Tail};
use crate::lua::syscall_handle::SyscallHandle;
use crate::lua::test_run::T;
use crate::lua::vm::Vm;
use crate::lua::worker::Worker;

const REFERENCE: &str = include_str!("../../../../docs/lua-api.md");

/// `prefix:name` of each method, with its descriptions checked on the way.
fn methods<T: Kind>() -> Vec<String> {
    for method in T::methods() {
        let (name, doc) = (method.name, method.doc);
        assert!(method.signature.starts_with('('), "{name}: {}", method.signature);
        assert!(doc.ends_with('.') && doc.len() > 5, "{name}: {doc:?}");
    }
    T::methods()
        .iter()
        .map(|method| format!("{}:{}", T::PREFIX, method.name))
        .collect()
}

/// Those of a worker that a VM does not have; the others are described with the VM and listed in the worker's section.
fn worker_methods() -> Vec<String> {
    let shared: Vec<&str> = remote::methods::<Worker>()
        .iter()
        .map(|method| method.name)
        .collect();
    let section = REFERENCE.split("\n## Worker\n").nth(1).expect("a section");
    let section = section.split("\n## ").next().unwrap_or_default();
    for name in &shared {
        assert!(
            section.contains(&format!("`{name}`")),
            "{name} is not in the worker's section"
        );
    }
    let own = |name: &String| shared.iter().all(|shared| *name != format!("worker:{shared}"));
    methods::<Worker>().into_iter().filter(own).collect()
}

#[test]
fn every_method_has_a_line_and_every_line_a_method() {
    let registered: BTreeSet<String> = [
        methods::<T>(),
        methods::<Lab>(),
        methods::<Vm>(),
        methods::<RunResult>(),
        methods::<Console>(),
        methods::<ConsoleStream>(),
        methods::<Tail>(),
        methods::<Process>(),
        worker_methods(),
        methods::<OpenedFile>(),
        methods::<SyscallHandle>(),
        methods::<Batch>(),
        methods::<Snapshot>(),
        methods::<LabSnapshot>(),
        methods::<Disk>(),
    ]
    .concat()
    .into_iter()
    .collect();
    let rows = REFERENCE.lines().filter_map(|line| line.strip_prefix("| `"));
    let described: BTreeSet<String> = rows
        .filter_map(|row| row.split_once('('))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.contains(':'))
        .collect();
    assert_eq!(described, registered);
}

#[test]
fn every_field_is_described() {
    fn fields<T: Kind>() -> Vec<(&'static str, &'static str, &'static str)> {
        T::fields()
            .iter()
            .map(|field| (field.name, field.ty, field.doc))
            .collect()
    }
    for (name, ty, doc) in [fields::<T>(), fields::<RunResult>(), fields::<Lab>()].concat() {
        assert!(!ty.is_empty() && doc.ends_with('.'), "{name}");
        let shown = [
            format!("`{name}`"),
            format!("`t.{name}`"),
            format!("`provium.{name} "),
        ];
        assert!(
            shown.iter().any(|shown| REFERENCE.contains(shown)),
            "{name} is not in docs/lua-api.md"
        );
    }
}
