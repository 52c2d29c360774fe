//! `provium.toml`: read, resolved, its files looked for.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use provium::config::{Config, Environment};
use provium_fuzz::seeds;

/// The project's folder, in memory where the host has one.
static PROJECT: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let place = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    tempfile::Builder::new()
        .prefix("provium-fuzz-")
        .tempdir_in(place)
        .expect("a folder")
});

static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| Environment {
    home: Some(PathBuf::from("/home/me")),
    variables: [("KDIR".to_owned(), "/src".to_owned())].into(),
    ..Environment::default()
});

/// The examples' files, and the documentation's.
fn first_inputs() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace");
    [
        "docs/examples/provium.toml",
        "tests/lua/provium.toml",
        "examples/hello/provium.toml",
    ]
    .iter()
    .filter_map(|file| fs::read(root.join(file)).ok())
    .collect()
}

fuzz_target!(
    init: seeds::plant(first_inputs()),
    |bytes: &[u8]| {
        let file = PROJECT.path().join("provium.toml");
        fs::write(&file, bytes).expect("write the file");
        match Config::load(Some(&file), PROJECT.path(), &[], &ENVIRONMENT) {
            Ok(config) => drop(config.check_files()),
            Err(error) => assert!(error.to_string().contains("provium.toml"), "{error}: the file is not named"),
        }
    }
);
