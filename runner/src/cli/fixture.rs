//! `provium fixture`: what the cache holds, why it does not hold something, and how to change that.
//!
//! Enters: the arguments, and what can build a fixture. Leaves: a text or JSON and an exit code. Absent on purpose:
//! how fixtures are built; what is known of them without that is in `fixture`.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand, ValueHint};
use serde_json::json;

use super::args::ChooseArgs;
use super::{Project, run};
use crate::cancel::{Cancel, CancelReason};
use crate::config::Config;
use crate::discover::shown;
use crate::doctor::{self, Accel, Way};
use crate::emulated;
use crate::fixture::{CacheState, Event, FixtureSource, Other, ProjectWorld, Status, Store, Why};
use crate::run::build::{self, BuildError};
use crate::run::interrupt::{EXIT_INTERRUPTED, Watch};
use crate::stock::{BuildFixture, Order, project_world};
use crate::units::DisplayDuration;

/// Exit code when a fixture could not be built.
const EXIT_FAILED: u8 = 1;

/// What `provium fixture` takes.
#[derive(Debug, Args)]
pub struct FixtureArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: FixtureCommand,
}

/// What to do with fixtures.
#[derive(Debug, Subcommand)]
pub enum FixtureCommand {
    /// List the fixtures: cached, stale or not built, with their sizes
    List {
        /// Which.
        #[command(flatten)]
        which: Which,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Build the fixtures that are not cached
    Build(BuildArgs),
    /// Build fixtures anew, and at their next use those that start from them
    Rebuild(BuildArgs),
    /// Remove fixtures from the cache: one, those of a folder, or all it holds
    Clean(Which),
    /// List the fixtures that will be built at their next use, and why
    Stale(Which),
    /// Say what changed since a fixture was built
    Why(Which),
}

/// Which fixtures.
#[derive(Debug, Args)]
pub struct Which {
    /// A fixture's name or source, or a folder with fixtures [default: all]
    #[arg(value_name = "PATH|NAME", value_hint = ValueHint::AnyPath)]
    pub target: Option<String>,
    /// The configuration [default: provium.toml here or in a parent folder]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Where guests run
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub accel: Accel,
    /// What the emulated host gives to every command; there is nothing to keep in it
    #[arg(long, value_name = "FILE", hide = true)]
    pub journal: Option<PathBuf>,
}

/// What building takes.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Which.
    #[command(flatten)]
    pub which: Which,
    /// Show the output of profiles' `build` commands
    #[arg(short, long)]
    pub verbose: bool,
}

pub(super) fn fixture(args: &FixtureArgs, builder: BuildFixture<'_>) -> anyhow::Result<u8> {
    if let FixtureCommand::List { which, .. } | FixtureCommand::Stale(which) | FixtureCommand::Why(which) =
        &args.command
        && let Some(code) = inside(which)?
    {
        return Ok(code);
    }
    match &args.command {
        FixtureCommand::List { which, json } => list(&Scene::open(which)?, *json),
        FixtureCommand::Build(args) => build(args, false, builder),
        FixtureCommand::Rebuild(args) => build(args, true, builder),
        FixtureCommand::Clean(which) => clean(&Scene::open(which)?, which),
        FixtureCommand::Stale(which) => stale(&Scene::open(which)?),
        FixtureCommand::Why(which) => why(&Scene::open(which)?),
    }
}

/// Runs the command where guests run, for their processor is part of every key; `None` where that is here.
fn inside(which: &Which) -> anyhow::Result<Option<u8>> {
    if emulated::is_inside() {
        return Ok(None);
    }
    let project = project(which)?;
    // Without a profile no fixture can boot anything, so any host will do.
    if project.config.profiles.is_empty() {
        return Ok(None);
    }
    // A host that can run no guests at all can still say what the cache holds.
    match doctor::choose(which.accel) {
        Ok(Way::EmulatedHost { .. }) => run::in_emulated_host(&project, 2).map(Some),
        _ => Ok(None),
    }
}

fn project(which: &Which) -> anyhow::Result<Project> {
    let choose = ChooseArgs {
        paths: Vec::new(),
        config: which.config.clone(),
    };
    Project::load(&choose)
}

/// The project, its cache as it is, and the fixtures that are meant.
struct Scene {
    project: Project,
    config: Arc<Config>,
    store: Arc<Store>,
    world: Arc<ProjectWorld>,
    chosen: Vec<FixtureSource>,
    /// Whether that is all of them.
    all: bool,
}

impl Scene {
    fn open(which: &Which) -> anyhow::Result<Scene> {
        let project = project(which)?;
        let config = Arc::new(project.config.clone());
        let store = Arc::new(Store::look(&config.cache_dir, config.cache_max_size));
        let world = Arc::new(project_world(&config, &store)?);
        let chosen = chosen(&world, which.target.as_deref(), &project.cwd)?;
        Ok(Scene {
            config,
            store,
            world,
            chosen,
            all: which.target.is_none(),
            project,
        })
    }

    fn shown(&self, path: &Path) -> String {
        shown(path, &self.project.cwd)
    }
}

/// The fixtures that `target` means: one by name, those of a folder, or all.
fn chosen(world: &ProjectWorld, target: Option<&str>, cwd: &Path) -> anyhow::Result<Vec<FixtureSource>> {
    let sources = world.sources();
    let Some(target) = target else {
        return Ok(sources.all().cloned().collect());
    };
    let folder = std::path::absolute(cwd.join(target))?;
    if sources.named(target).is_some() || !folder.is_dir() {
        return Ok(vec![sources.lookup(target, Some(cwd))?.clone()]);
    }
    let below = |source: &&FixtureSource| source.path.starts_with(&folder);
    let found: Vec<_> = sources.all().filter(below).cloned().collect();
    anyhow::ensure!(!found.is_empty(), "there are no fixtures in {target}");
    Ok(found)
}

fn list(scene: &Scene, as_json: bool) -> anyhow::Result<u8> {
    let (listed, others) = scene.store.list(&scene.chosen, scene.world.as_ref())?;
    // What is beside some of the fixtures may be the others.
    let others: &[Other] = if scene.all { &others } else { &[] };
    let text = match as_json {
        true => format!("{:#}\n", to_json(&listed, others)),
        false => table(scene, &listed, others),
    };
    print(&text)
}

fn to_json(listed: &[Status], others: &[Other]) -> serde_json::Value {
    let time = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or_default().as_secs()
    };
    let fixtures: Vec<_> = listed
        .iter()
        .map(|status| {
            json!({
                "name": status.source.name,
                "path": status.source.path.to_string_lossy(),
                "state": status.state,
                "why": status.why.to_string(),
                "bytes": status.bytes,
                "last_used": status.last_used.map(time),
            })
        })
        .collect();
    let others: Vec<_> = others
        .iter()
        .map(|other| {
            json!({
                "name": other.name,
                "path": other.path.to_string_lossy(),
                "bytes": other.bytes,
                "last_used": time(other.last_used),
            })
        })
        .collect();
    json!({ "fixtures": fixtures, "others": others })
}

fn table(scene: &Scene, listed: &[Status], others: &[Other]) -> String {
    let mut text = String::new();
    let width = listed
        .iter()
        .map(|status| status.source.name.chars().count())
        .max();
    let width = width.unwrap_or(0);
    for status in listed {
        let size = status.bytes.map_or("-".to_owned(), rough_size);
        let used = status.last_used.map_or("-".to_owned(), ago);
        let path = scene.shown(&status.source.path);
        let name = &status.source.name;
        let _ = writeln!(
            text,
            "{name:width$}  {:9}  {size:>8}  {used:14}  {path}",
            status.state
        );
    }
    if listed.is_empty() {
        text.push_str("no fixtures (NAME.fixture.lua under a root, or fixtures/NAME.lua)\n");
    }
    if !others.is_empty() {
        let bytes = others.iter().map(|other| other.bytes).sum();
        let _ = writeln!(
            text,
            "{} other entries, {}: other projects' or of earlier inputs",
            others.len(),
            rough_size(bytes)
        );
    }
    text
}

fn stale(scene: &Scene) -> anyhow::Result<u8> {
    let (listed, _) = scene.store.list(&scene.chosen, scene.world.as_ref())?;
    let mut text = String::new();
    for status in listed.iter().filter(|status| status.state != CacheState::Cached) {
        let _ = writeln!(text, "{}: {}", status.source.name, status.why);
    }
    print(&text)
}

fn why(scene: &Scene) -> anyhow::Result<u8> {
    let (listed, _) = scene.store.list(&scene.chosen, scene.world.as_ref())?;
    let mut text = String::new();
    for status in &listed {
        match &status.why {
            Why::Changed(changes) => {
                let _ = writeln!(text, "{}: changed since it was built:", status.source.name);
                for change in changes {
                    let _ = writeln!(text, "  {change}");
                }
            }
            why => {
                let _ = writeln!(text, "{}: {why}", status.source.name);
            }
        }
    }
    print(&text)
}

fn clean(scene: &Scene, which: &Which) -> anyhow::Result<u8> {
    let of_chosen = |path: &Path| scene.chosen.iter().any(|source| source.path == path);
    let wanted = |_: &str, path: &Path| which.target.is_none() || of_chosen(path);
    let cleaned = scene.store.clean(&wanted)?;
    let mut text = String::new();
    for (name, bytes) in &cleaned.removed {
        let _ = writeln!(text, "removed {name}, {}", rough_size(*bytes));
    }
    for name in &cleaned.in_use {
        let _ = writeln!(text, "kept {name}, which is in use");
    }
    if text.is_empty() {
        text.push_str("nothing to remove\n");
    }
    print(&text)
}

/// Builds what is chosen, once it was removed if that is wanted.
fn build(args: &BuildArgs, anew: bool, builder: BuildFixture<'_>) -> anyhow::Result<u8> {
    let scene = Scene::open(&args.which)?;
    anyhow::ensure!(!scene.chosen.is_empty(), "there are no fixtures to build");
    let cancel = Cancel::new();
    let watch = Watch::new(&cancel).map_err(|error| anyhow::anyhow!("cannot watch for Ctrl-C: {error}"))?;
    let say = |line: &str| eprintln!("provium: {line}");
    // In the emulated host, profiles' builds are done.
    if !emulated::is_inside() {
        match build::build_profiles(&scene.config, args.verbose, &cancel, &say) {
            Err(BuildError::Cancelled(_, CancelReason::Interrupted)) => return Ok(EXIT_INTERRUPTED),
            built => built?,
        }
    }
    scene.config.check_files()?;
    if !scene.config.profiles.is_empty()
        && let Way::EmulatedHost { .. } = doctor::choose(args.which.accel)?
    {
        drop(watch); // from here on signals are for the run inside
        return run::in_emulated_host(&scene.project, 2);
    }
    let mut on_event = |event: Event| say(&event.to_string());
    if anew {
        let of_chosen = |_: &str, path: &Path| scene.chosen.iter().any(|source| source.path == path);
        let cleaned = scene.store.clean(&of_chosen)?;
        anyhow::ensure!(
            cleaned.in_use.is_empty(),
            "in use, so it cannot be built anew: {}; end the runs that use it",
            cleaned.in_use.join(", ")
        );
    }
    scene.store.tidy(&mut on_event)?;
    let mut code = 0;
    for source in &scene.chosen {
        if let Some(CancelReason::Interrupted) = cancel.is_cancelled() {
            return Ok(EXIT_INTERRUPTED);
        }
        let order = Order {
            source,
            config: &scene.config,
            store: &scene.store,
            world: &scene.world,
            cancel: &cancel,
            on_event: &mut on_event,
        };
        if let Err(error) = builder(order) {
            say(&format!("error: {error:#}"));
            code = EXIT_FAILED;
        }
    }
    match cancel.is_cancelled() {
        Some(_) => Ok(EXIT_INTERRUPTED),
        None => Ok(code),
    }
}

fn print(text: &str) -> anyhow::Result<u8> {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(0)
}

/// A size to get an idea of.
fn rough_size(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "K", "M"] {
        if size < 1000.0 {
            let digits = usize::from(size < 10.0 && unit != "B");
            return format!("{size:.digits$}{unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.1}G")
}

fn ago(time: SystemTime) -> String {
    let since = time.elapsed().unwrap_or(Duration::ZERO);
    match since.as_secs() {
        0..172_800 => format!(
            "{} ago",
            DisplayDuration(Duration::from_secs(since.as_secs().max(1)))
        ),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_give_an_idea() {
        let sizes = [0, 512, 4096, 70 << 20, 3 << 29].map(rough_size);
        assert_eq!(sizes, ["0B", "512B", "4.0K", "70M", "1.5G"]);
        let ago = |seconds| super::ago(SystemTime::now() - Duration::from_secs(seconds));
        assert_eq!(ago(125), "2 min 05 s ago");
        assert_eq!(ago(200_000), "2 days ago");
    }
}
