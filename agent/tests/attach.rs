//! Programs that have the connection: input and output as they come, terminals, signals from beside.

mod common;

use common::{Host, Output, is_running, program, shell, wait_until};
use provium_agent::SessionError;
use provium_protocol::*;

/// A terminal that is all three streams and does what a terminal does.
const COOKED: Terminal = Terminal {
    stdin: true,
    stdout: true,
    stderr: true,
    cooked: true,
    size: TerminalSize {
        rows: 24,
        columns: 80,
    },
};

/// A host whose connection a program has, and the program's handle and process id.
fn attach(exec: Exec, terminal: Option<Terminal>) -> (Host, u64, u32) {
    let mut host = Host::new();
    match host.ask(Request::Attach(Attach { exec, terminal })).1 {
        Ok(Response::Started { handle, pid }) => (host, handle, pid),
        other => panic!("{other:?}"),
    }
}

fn type_in(host: &mut Host, bytes: &[u8]) {
    write_data(&mut host.stream, BODY, bytes).expect("sent");
}

/// Reads output until this much has come, for a program that goes on.
fn read_until(host: &mut Host, wanted: &[u8]) {
    let mut all = Vec::new();
    while !all.windows(wanted.len()).any(|window| window == wanted) {
        match read_frame(&mut host.stream).expect("a frame") {
            Frame::Data { bytes, .. } => all.extend(bytes),
            other => panic!("{other:?} after {:?}", all.escape_ascii().to_string()),
        }
    }
}

/// All output until the end, and how it ended.
fn ended(mut host: Host) -> (Output, ExitStatus) {
    let (output, reply) = host.answer();
    let status = match reply {
        Ok(Response::Process(process)) => process.ended.expect("its end").status,
        other => panic!("{other:?}"),
    };
    assert!(host.end().is_ok(), "the connection is at its end");
    (output, status)
}

/// Closes the connection under a program.
fn hang_up(host: Host) {
    let ended = host.close();
    assert!(
        matches!(ended, Ok(()) | Err(SessionError::Frame(FrameError::Closed))),
        "{ended:?}"
    );
}

#[test]
fn input_goes_in_and_output_comes_while_it_runs() {
    let (mut host, _, _) = attach(
        shell("read line; echo got $line; echo err >&2; cat; exit 3"),
        None,
    );
    type_in(&mut host, b"one\n");
    read_until(&mut host, b"got one\n");
    type_in(&mut host, b"two");
    host.send(&Frame::End { channel: BODY });
    let (output, status) = ended(host);
    assert_eq!(output.stdout, b"two");
    assert_eq!(output.stderr, b"err\n");
    assert_eq!(status, ExitStatus::Exited(3));
}

#[test]
fn more_than_all_buffers_passes_through_both_ways() {
    let (host, _, _) = attach(program(&["cat"]), None);
    let bytes: Vec<u8> = (0..40 << 20).map(|at: u32| (at % 251) as u8).collect();
    let mut to = host.stream.try_clone().expect("a handle");
    let given = bytes.clone();
    let writer = std::thread::spawn(move || {
        write_data(&mut to, BODY, &given).expect("sent");
        write_frame(&mut to, &Frame::End { channel: BODY }).expect("sent");
    });
    let (output, status) = ended(host);
    writer.join().expect("all sent");
    assert_eq!(status, ExitStatus::Exited(0));
    assert!(output.stdout == bytes, "{} bytes came", output.stdout.len());
}

#[test]
fn input_that_nobody_reads_holds_up_no_signal() {
    let (mut host, handle, _) = attach(program(&["sleep", "1000"]), None);
    let mut beside = host.beside();
    let mut to = host.stream.try_clone().expect("a handle");
    // More than fits anywhere; it is cut short by the end.
    let writer = std::thread::spawn(move || write_data(&mut to, BODY, &vec![b'x'; 8 << 20]));
    let signal = Request::SignalGroup { handle, signal: 2 };
    assert_eq!(beside.ask(signal).1, Ok(Response::Done));
    let (_, reply) = host.answer();
    let Ok(Response::Process(process)) = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(process.ended.expect("its end").status, ExitStatus::Signalled(2));
    drop(host);
    let _ = writer.join();
}

#[test]
fn a_signal_reaches_the_whole_group() {
    let (mut host, handle, pid) = attach(shell("sleep 1000 & echo $!; wait"), None);
    let mut beside = host.beside();
    let child = match read_frame(&mut host.stream).expect("a frame") {
        Frame::Data { bytes, .. } => String::from_utf8(bytes).expect("a number").trim().to_owned(),
        other => panic!("{other:?}"),
    };
    assert!(is_running(pid) && is_running(&child));
    let signal = Request::SignalGroup { handle, signal: 15 };
    assert_eq!(beside.ask(signal).1, Ok(Response::Done));
    assert_eq!(ended(host).1, ExitStatus::Signalled(15));
    wait_until("its child has ended", || !is_running(&child));
}

#[test]
fn a_terminal_is_one_and_changes_its_size() {
    let line = "tty > /dev/null && stty size; trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.01; done";
    let (mut host, handle, _) = attach(shell(line), Some(COOKED));
    let mut beside = host.beside();
    read_until(&mut host, b"24 80\r\nready\r\n");
    let size = TerminalSize {
        rows: 50,
        columns: 132,
    };
    let resize = Request::ResizeTerminal { handle, size };
    assert_eq!(beside.ask(resize).1, Ok(Response::Done));
    let (output, status) = ended(host);
    assert_eq!(output.stdout, b"50 132\r\n");
    assert_eq!(status, ExitStatus::Exited(0));
}

#[test]
fn control_characters_are_signals_and_a_shell_has_job_control() {
    let line = "trap 'echo interrupted; exit 7' INT; echo ready; while :; do sleep 0.01; done";
    let (mut host, _, _) = attach(shell(line), Some(COOKED));
    read_until(&mut host, b"ready\r\n");
    type_in(&mut host, b"\x03");
    let (output, status) = ended(host);
    assert!(output.stdout.ends_with(b"interrupted\r\n"));
    assert_eq!(status, ExitStatus::Exited(7));

    let (mut host, _, _) = attach(program(&["/bin/sh", "-i"]), Some(COOKED));
    type_in(&mut host, b"exit 4\n");
    let (output, status) = ended(host);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(!shown.contains("job control"), "{shown}");
    assert_eq!(status, ExitStatus::Exited(4));
}

#[test]
fn the_end_of_typing_is_an_end_of_file() {
    let (mut host, _, _) = attach(shell("stty -echo; echo ready; cat; echo done"), Some(COOKED));
    read_until(&mut host, b"ready\r\n");
    type_in(&mut host, b"line\n");
    read_until(&mut host, b"line\r\n");
    host.send(&Frame::End { channel: BODY });
    let (output, status) = ended(host);
    assert_eq!(output.stdout, b"done\r\n");
    assert_eq!(status, ExitStatus::Exited(0));
}

#[test]
fn streams_that_are_no_terminal_stay_apart_from_it() {
    let terminal = Terminal {
        stdin: false,
        stdout: false,
        stderr: true,
        cooked: false,
        ..COOKED
    };
    let line = "test -t 0 || echo in; test -t 1 || echo out; test -t 2 && echo err >&2; echo tty > /dev/tty";
    let (host, _, _) = attach(shell(line), Some(terminal));
    let (output, status) = ended(host);
    assert_eq!(output.stdout, b"in\nout\n");
    assert_eq!(output.stderr, b"err\ntty\n");
    assert_eq!(status, ExitStatus::Exited(0));
}

#[test]
fn a_host_that_hangs_up_ends_the_program() {
    let (host, _, pid) = attach(program(&["sleep", "1000"]), None);
    hang_up(host);
    wait_until("it has ended", || !is_running(pid));
}

#[test]
fn what_cannot_be_started_is_refused_and_the_session_goes_on() {
    let mut host = Host::new();
    let error = host.refusal(Request::Attach(Attach {
        exec: program(&["/no/such/program"]),
        terminal: Some(COOKED),
    }));
    assert_eq!(error.errno, Some(2));
    assert_eq!(host.ask(Request::Ping).1, Ok(Response::Done));
    let (handle, size) = (99, COOKED.size);
    assert!(host.ask(Request::ResizeTerminal { handle, size }).1.is_err());
}

#[test]
fn a_program_without_a_terminal_has_no_size() {
    let (host, handle, _) = attach(program(&["cat"]), None);
    let mut beside = host.beside();
    let error = beside.refusal(Request::ResizeTerminal {
        handle,
        size: COOKED.size,
    });
    assert_eq!(error.errno, Some(25), "{}", error.message);
    hang_up(host);
}
