//! Every subcommand, flag and argument has a test that runs the command and fails where it does nothing.
//!
//! Input: clap's own tree of commands, and a table. Output: what the table lacks, has too much, or names that
//! is no test. Not here: those tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::{Arg, Command, CommandFactory};
use provium::cli::args::Cli;

/// What can be written on the command line, the file of its test below the repository's root, and the test's
/// name.
#[rustfmt::skip]
const TESTS: &[(&str, &str, &str)] = &[
    ("[PATHS]", CLI, "no_tests_says_where_it_looked"),
    ("--config", CLI, "a_mistake_in_the_configuration_ends_the_run_before_it_begins"),
    ("--preset", CONFIGURATION, "a_preset_stands_in_for_parts_of_the_file"),
    ("--kernel", CONFIGURATION, "a_kernel_comes_from_the_command_line"),
    ("--filter", SELECTION, "filters_choose_tests_and_an_empty_choice_is_an_error"),
    ("-k", SELECTION, "filters_choose_tests_and_an_empty_choice_is_an_error"),
    ("--tag", SELECTION, "tags_and_metadata_choose_tests"),
    ("--no-tag", SELECTION, "tags_and_metadata_choose_tests"),
    ("--tag-meta", SELECTION, "tags_and_metadata_choose_tests"),
    ("--no-tag-meta", SELECTION, "tags_and_metadata_choose_tests"),
    ("--include-slow", SELECTION, "tags_and_metadata_choose_tests"),
    ("--rerun-failed", SELECTION, "what_failed_last_runs_again_or_first"),
    ("--failed-first", SELECTION, "what_failed_last_runs_again_or_first"),
    ("--partition", SELECTION, "partitions_have_each_test_once"),
    ("--since", SELECTION, "since_runs_what_changed_and_what_uses_it"),
    ("--shuffle", SELECTION, "a_shuffled_order_is_named_and_can_be_repeated"),
    ("--retries", RUNNING, "a_failed_test_is_tried_again_as_often_as_retries_says"),
    ("--repeat", RUNNING, "tests_are_repeated_in_rounds"),
    ("--until-fail", RUNNING, "until_fail_goes_on_until_a_test_fails"),
    ("--maxfail", RUNNING, "a_run_ends_at_the_failure_that_maxfail_says"),
    ("--durations", RUNNING, "the_slowest_tests_are_named_at_the_end"),
    ("--matrix", COMMAND, "a matrix says where kernels differ"),
    ("--no-build", BISECT, "no_build_takes_what_is_there"),
    ("--jobs", RUNNING, "as_many_files_run_at_a_time_as_jobs_says"),
    ("--mem", RUNNING, "claims_share_what_the_flags_say"),
    ("--cpus", RUNNING, "claims_share_what_the_flags_say"),
    ("--cpu-overcommit", RUNNING, "claims_share_what_the_flags_say"),
    ("--timeout", CLI, "a_file_past_its_limit_is_reported_as_such"),
    ("--ready", COMMAND, "machines are kept ready as --ready says"),
    ("--allow-empty", CLI, "a_file_without_a_test_is_no_pass"),
    ("--known-failures", CLI, "known_failures_are_expected_and_what_is_mended_is_said"),
    ("--fail-fast", CLI, "fail_fast_leaves_the_rest"),
    ("--watch", WATCH, "a_change_runs_what_it_touches_and_nothing_else"),
    ("--accel", RUNNING, "every_command_that_runs_guests_goes_where_accel_says"),
    ("--artifacts", ARTIFACTS, "a_failed_test_leaves_a_folder_and_the_next_run_takes_it_away"),
    ("--verbose", CLI, "a_failed_test_and_a_broken_file_exit_with_1"),
    ("--quiet", CLI, "a_failed_test_and_a_broken_file_exit_with_1"),
    ("--json", CLI, "json_lines_hold_everything_and_nothing_else_is_on_stdout"),
    ("--color", CLI, "colours_are_for_terminals_unless_the_flag_says_otherwise"),
    ("--progress", CLI, "what_runs_is_shown_as_progress_says"),
    ("--junit", REPORTS, "a_junit_file_is_what_ci_systems_read"),
    ("--tap", REPORTS, "tap_is_what_others_parse"),
    ("--ktap", REPORTS, "ktap_is_read_by_the_reader_of_guests"),
    ("--save-events", EVENTS, "saved_events_are_read_in_another_language"),
    ("--events-stdout", EVENTS, "events_on_stdout_leave_the_report_to_stderr"),
    ("--events-socket", EVENTS, "clients_of_the_socket_read_along_and_it_is_gone_afterwards"),
    ("--coverage", EVENTS, "coverage_is_text_json_and_a_page"),
    ("run", RUN, "a command has the streams, and its exit code is the command's"),
    ("run [PROFILE]", RUN, "an image is the root, and a shell reads what comes in"),
    ("run [CMD]", RUN, "a command has the streams, and its exit code is the command's"),
    ("run --kernel", RUN, "a folder is a build tree, and without an initrd there is a busybox"),
    ("run --rootfs", RUN, "an image is the root, and a shell reads what comes in"),
    ("run --share", RUN, "on this machine's own root the command begins here, and folders are shared"),
    ("run --initrd", RUN, "a command has the streams, and its exit code is the command's"),
    ("run --fixture", RUN, "a fixture goes on, and a splat is the exit code"),
    ("run --append", RUN, "a command has the streams, and its exit code is the command's"),
    ("run --memory", RUN, "a command has the streams, and its exit code is the command's"),
    ("run --cpus", RUN, "a command has the streams, and its exit code is the command's"),
    ("run --timeout", RUN, "a limit of time ends the guest"),
    ("run --console", RUN, "a panic is the exit code, and the console is shown"),
    ("run --config", RUN, "what does not exist is told from what cannot be executed, and both from a guest that is not there"),
    ("run --accel", RUNNING, "every_command_that_runs_guests_goes_where_accel_says"),
    ("list", LIST, "list_shows_tests_and_boots_nothing"),
    ("list [PATHS]", LIST, "list_names_the_files"),
    ("list --config", LIST, "list_takes_another_configuration"),
    ("list --preset", CONFIGURATION, "a_preset_stands_in_for_parts_of_the_file"),
    ("list --kernel", CONFIGURATION, "a_kernel_comes_from_the_command_line"),
    ("list --fixtures", LIST, "list_names_the_fixtures"),
    ("list --json", LIST, "list_shows_tests_and_boots_nothing"),
    ("list --filter", LIST, "list_obeys_what_chooses_tests"),
    ("list -k", LIST, "list_obeys_what_chooses_tests"),
    ("list --tag", LIST, "list_obeys_what_chooses_tests"),
    ("list --no-tag", LIST, "list_obeys_what_chooses_tests"),
    ("list --tag-meta", LIST, "list_obeys_what_chooses_tests"),
    ("list --no-tag-meta", LIST, "list_obeys_what_chooses_tests"),
    ("list --include-slow", LIST, "list_obeys_what_chooses_tests"),
    ("list --rerun-failed", LIST, "list_obeys_what_chooses_tests"),
    ("list --partition", LIST, "list_obeys_what_chooses_tests"),
    ("list --since", LIST, "list_obeys_what_chooses_tests"),
    ("fixture", FIXTURE, "a_project_whose_fixtures_were_never_built"),
    ("fixture list", FIXTURE, "a_project_whose_fixtures_were_never_built"),
    ("fixture list [PATH|NAME]", FIXTURE, "every_command_takes_a_target_and_a_configuration"),
    ("fixture list --config", FIXTURE, "every_command_takes_a_target_and_a_configuration"),
    ("fixture list --preset", CONFIGURATION, "a_preset_stands_in_for_parts_of_the_file"),
    ("fixture list --kernel", CONFIGURATION, "a_kernel_comes_from_the_command_line"),
    ("fixture list --accel", RUNNING, "every_command_that_runs_guests_goes_where_accel_says"),
    ("fixture list --json", FIXTURE, "a_project_whose_fixtures_were_never_built"),
    ("fixture build", COMMAND, "fixtures are built, explained, rebuilt and removed"),
    ("fixture build [PATH|NAME]", FIXTURE, "every_command_takes_a_target_and_a_configuration"),
    ("fixture build --config", FIXTURE, "every_command_takes_a_target_and_a_configuration"),
    ("fixture build --preset", CONFIGURATION, "a_preset_stands_in_for_parts_of_the_file"),
    ("fixture build --kernel", CONFIGURATION, "a_kernel_comes_from_the_command_line"),
    ("fixture build --accel", RUNNING, "every_command_that_runs_guests_goes_where_accel_says"),
    ("fixture build --verbose", RUNNING, "a_fixtures_build_shows_what_profiles_builds_print"),
    ("fixture rebuild", COMMAND, "fixtures are built, explained, rebuilt and removed"),
    ("fixture rebuild [PATH|NAME]", FIXTURE, "every_command_takes_a_target_and_a_configuration"),
    ("fixture rebuild --config", FIXTURE, "every_command_takes_a_target_and_a_configuration"),
    ("fixture rebuild --preset", CONFIGURATION, "a_preset_stands_in_for_parts_of_the_file"),
    ("fixture rebuild --kernel", CONFIGURATION, "a_kernel_comes_from_the_command_line"),
    ("fixture rebuild --accel", RUNNING, "every_command_that_runs_guests_goes_where_accel_says"),
    ("fixture rebuild --verbose", RUNNING, "a_fixtures_build_shows_what_profiles_builds_print"),
    ("fixture clean", COMMAND, "fixtures are built, explained, rebuilt and removed"),
    ("fixture clean [PATH|NAME]", FIXTURE, "every_command_takes_a_target_and_a_configuration"),
    ("fixture clean --config", FIXTURE, "every_command_takes_a_target_and_a_configuration"),
    ("fixture clean --preset", CONFIGURATION, "a_preset_stands_in_for_parts_of_the_file"),
    ("fixture clean --kernel", CONFIGURATION, "a_kernel_comes_from_the_command_line"),
    ("fixture stale", FIXTURE, "a_project_whose_fixtures_were_never_built"),
    ("fixture stale [PATH|NAME]", FIXTURE, "every_command_takes_a_target_and_a_configuration"),
    ("fixture stale --config", FIXTURE, "every_command_takes_a_target_and_a_configuration"),
    ("fixture stale --preset", CONFIGURATION, "a_preset_stands_in_for_parts_of_the_file"),
    ("fixture stale --kernel", CONFIGURATION, "a_kernel_comes_from_the_command_line"),
    ("fixture stale --accel", RUNNING, "every_command_that_runs_guests_goes_where_accel_says"),
    ("fixture why", FIXTURE, "a_project_whose_fixtures_were_never_built"),
    ("fixture why [PATH|NAME]", FIXTURE, "every_command_takes_a_target_and_a_configuration"),
    ("fixture why --config", FIXTURE, "every_command_takes_a_target_and_a_configuration"),
    ("fixture why --preset", CONFIGURATION, "a_preset_stands_in_for_parts_of_the_file"),
    ("fixture why --kernel", CONFIGURATION, "a_kernel_comes_from_the_command_line"),
    ("fixture why --accel", RUNNING, "every_command_that_runs_guests_goes_where_accel_says"),
    ("bisect", BISECT, "a_bisect_finds_the_commit_in_a_worktree_of_its_own"),
    ("bisect [TESTS]", BISECT, "a_bisect_finds_the_commit_in_a_worktree_of_its_own"),
    ("bisect --good", BISECT, "a_bisect_finds_the_commit_in_a_worktree_of_its_own"),
    ("bisect --bad", BISECT, "a_bisect_finds_the_commit_in_a_worktree_of_its_own"),
    ("bisect --fresh", BISECT, "a_bisect_finds_the_commit_in_a_worktree_of_its_own"),
    ("bisect --images", BISECT_GUESTS, "ready kernels are bisected in the order of their names"),
    ("bisect --tree", BISECT, "the_sources_can_be_those_of_another_repository"),
    ("bisect --first-parent", BISECT, "a_merge_is_searched_on_both_sides_or_on_the_first_alone"),
    ("bisect --repeat", BISECT, "a_test_that_fails_at_times_is_repeated_as_often_as_it_takes"),
    ("bisect --confidence", BISECT, "a_test_that_fails_at_times_is_repeated_as_often_as_it_takes"),
    ("bisect --boot-failure", BISECT_GUESTS, "a module that breaks is found, by the driver and by git"),
    ("bisect step", BISECT, "each_exit_code_of_a_step_is_what_git_bisect_run_takes_it_for"),
    ("bisect step [TESTS]", BISECT, "each_exit_code_of_a_step_is_what_git_bisect_run_takes_it_for"),
    ("bisect step --boot-failure", BISECT_GUESTS, "a module that breaks is found, by the driver and by git"),
    ("init", PROJECT, "init_makes_a_project_and_leaves_alone_what_is_there"),
    ("init [DIR]", PROJECT, "init_makes_a_project_and_leaves_alone_what_is_there"),
    ("init --kernel", PROJECT, "init_takes_the_kernel_that_is_named"),
    ("guest", PROJECT, "a_fetched_guest_is_at_hand_in_any_project"),
    ("guest fetch", PROJECT, "a_fetched_guest_is_at_hand_in_any_project"),
    ("guest fetch --userland", PROJECT, "the_userland_is_there_when_it_is_asked_for"),
    ("doctor", CLI, "doctor_says_whether_tests_can_run_here"),
    ("doctor --json", CLI, "doctor_says_whether_tests_can_run_here"),
    ("doctor --kernel", CLI, "doctor_says_what_a_kernel_lacks_and_prints_it_as_a_fragment"),
    ("doctor --modules", CLI, "doctor_says_what_a_kernel_lacks_and_prints_it_as_a_fragment"),
    ("doctor --merge", CLI, "doctor_says_what_a_kernel_lacks_and_prints_it_as_a_fragment"),
    ("host", EMULATED, "a_command_runs_as_if_it_ran_here_but_for_kvm_and_what_it_writes"),
    ("host [COMMAND]", EMULATED, "a_command_runs_as_if_it_ran_here_but_for_kvm_and_what_it_writes"),
    ("host --rw", EMULATED, "a_command_runs_as_if_it_ran_here_but_for_kvm_and_what_it_writes"),
    ("host --mem", RUNNING, "an_emulated_host_has_the_memory_and_cpus_of_the_flags"),
    ("host --cpus", RUNNING, "an_emulated_host_has_the_memory_and_cpus_of_the_flags"),
    ("coverage", EVENTS, "coverage_is_text_json_and_a_page"),
    ("coverage --from", EVENTS, "coverage_is_text_json_and_a_page"),
    ("coverage --by", EVENTS, "coverage_is_text_json_and_a_page"),
    ("coverage --expect", EVENTS, "coverage_is_text_json_and_a_page"),
    ("coverage --json", EVENTS, "coverage_is_text_json_and_a_page"),
    ("coverage --html", EVENTS, "coverage_is_text_json_and_a_page"),
    ("man", EDITORS, "the_manual_is_a_page_or_one_for_each_command"),
    ("man [DIR]", EDITORS, "the_manual_is_a_page_or_one_for_each_command"),
    ("lsp-setup", EDITORS, "lsp_setup_writes_into_its_folder_and_replaces_by_force_alone"),
    ("lsp-setup [DIR]", EDITORS, "lsp_setup_writes_into_its_folder_and_replaces_by_force_alone"),
    ("lsp-setup --force", EDITORS, "lsp_setup_writes_into_its_folder_and_replaces_by_force_alone"),
    ("completions", EDITORS, "completions_are_a_script_of_the_shell_that_is_named"),
    ("completions [SHELL]", EDITORS, "completions_are_a_script_of_the_shell_that_is_named"),
];

const CLI: &str = "runner/tests/cli.rs";
const CONFIGURATION: &str = "runner/tests/configuration.rs";
const SELECTION: &str = "runner/tests/selection.rs";
const RUNNING: &str = "runner/tests/running.rs";
const REPORTS: &str = "runner/tests/reports.rs";
const WATCH: &str = "runner/tests/watch.rs";
const EVENTS: &str = "runner/tests/events.rs";
const LIST: &str = "runner/tests/list.rs";
const FIXTURE: &str = "runner/tests/fixture_command.rs";
const ARTIFACTS: &str = "runner/tests/artifacts.rs";
const EMULATED: &str = "runner/tests/emulated_host.rs";
const PROJECT: &str = "runner/tests/project.rs";
const EDITORS: &str = "runner/tests/editors.rs";
const BISECT: &str = "runner/tests/bisect.rs";
const BISECT_GUESTS: &str = "tests/lua/bisect.test.lua";
const COMMAND: &str = "tests/lua/command.test.lua";
const RUN: &str = "tests/lua/run.test.lua";

#[test]
fn everything_on_the_command_line_has_a_test() {
    let mut there = BTreeSet::new();
    gather("", &Cli::command(), &mut there);
    let tested: BTreeSet<String> = TESTS.iter().map(|(what, ..)| (*what).to_owned()).collect();
    let untested: Vec<_> = there.difference(&tested).collect();
    assert!(
        untested.is_empty(),
        "without a line in this file's table: {untested:?}"
    );
    let gone: Vec<_> = tested.difference(&there).collect();
    assert!(
        gone.is_empty(),
        "in this file's table, and not on the command line: {gone:?}"
    );
    assert_eq!(tested.len(), TESTS.len(), "something stands in the table twice");
}

#[test]
fn the_tests_of_the_table_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the repository");
    for (what, file, name) in TESTS {
        let source = fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let test = match file.ends_with(".lua") {
            true => format!("\ntest(\"{name}\", "),
            false => format!("\n#[test]\nfn {name}() "),
        };
        assert!(source.contains(&test), "{what}: {file} has no test `{name}`");
    }
}

/// Adds all that can be written below a command whose words are `words`, but for what help does not show.
fn gather(words: &str, command: &Command, into: &mut BTreeSet<String>) {
    let join = |word: &str| format!("{words} {word}").trim_start().to_owned();
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
        into.insert(join(&written(arg)));
    }
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        let words = join(below.get_name());
        into.insert(words.clone());
        gather(&words, below, into);
    }
}

/// How an argument is written: by its long flag, else by its short one, else by the name of its value.
fn written(arg: &Arg) -> String {
    match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => format!("--{long}"),
        (None, Some(short)) => format!("-{short}"),
        (None, None) => {
            let names = arg.get_value_names().unwrap_or_default();
            let name = names.first().map_or(arg.get_id().as_str(), |name| name.as_str());
            format!("[{}]", name.to_uppercase())
        }
    }
}
