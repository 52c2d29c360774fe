//! The guest channel on a real guest: content, many connections at once, one that stalls.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use provium_guest::{ExecSpec, GuestClient};
use provium_protocol::AGENT_PORT;
use provium_tests::*;

fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8)
        .collect()
}

#[test]
fn sixty_four_mib_go_there_and_back_intact() {
    let mut guest = boot_guest(provium_vmm::MachineConfig {
        memory: 256 << 20,
        ..config()
    });
    let data = pattern(64 << 20);
    guest.client.push_file(b"/tmp/big", None, &mut &data[..]).unwrap();
    let back = guest
        .client
        .ask(provium_guest::ops::read_file(b"/tmp/big"))
        .unwrap();
    assert!(
        back == data,
        "{} of {} bytes came back, or others",
        back.len(),
        data.len()
    );
}

#[test]
fn many_sessions_work_at_once_while_one_does_not_read() {
    let mut guest = boot_guest(config());
    // A session that asks for a file and then leaves the answer lying.
    guest
        .client
        .push_file(b"/tmp/big", None, &mut &pattern(4 << 20)[..])
        .unwrap();
    let stalled = guest.machine.connect(AGENT_PORT, LONG).unwrap();
    let mut stalled_client = stalled.try_clone().unwrap();
    provium_protocol::read_frame(&mut stalled_client).unwrap();
    let welcome = provium_protocol::Welcome {
        version: provium_protocol::VERSION,
    };
    provium_protocol::write_frame(&mut stalled_client, &provium_protocol::Frame::Welcome(welcome)).unwrap();
    let request = provium_protocol::Request::ReadFile {
        path: b"/tmp/big".to_vec().into(),
    };
    provium_protocol::write_frame(&mut stalled_client, &provium_protocol::Frame::Request(request)).unwrap();

    std::thread::scope(|scope| {
        for number in 0..8u32 {
            let machine = &guest.machine;
            scope.spawn(move || {
                let stream = machine.connect(AGENT_PORT, LONG).unwrap();
                let mut client = GuestClient::handshake(Box::new(stream), LONG).unwrap();
                for round in 0..10 {
                    let text = format!("{number}-{round}");
                    let outcome = client
                        .ask(provium_guest::ops::exec(ExecSpec::shell(format!("echo {text}"))))
                        .unwrap();
                    assert_eq!(outcome.stdout, format!("{text}\n").into_bytes());
                }
                let path = format!("/tmp/f{number}");
                let data = pattern(300_000 + number as usize);
                client.push_file(path.as_bytes(), None, &mut &data[..]).unwrap();
                assert!(
                    client
                        .ask(provium_guest::ops::read_file(path.as_bytes()))
                        .unwrap()
                        == data
                );
            });
        }
    });
    guest.client.ping().unwrap();
    // The stalled one is as it was: its bytes are still to be had.
    stalled.set_read_timeout(Some(LONG));
    let mut total = 0;
    while total < 4 << 20 {
        match provium_protocol::read_frame(&mut stalled_client).unwrap() {
            provium_protocol::Frame::Data { bytes, .. } => total += bytes.len(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_child_that_fills_both_pipes_while_its_input_arrives_does_not_deadlock() {
    let mut guest = boot_guest(config());
    let input = pattern(6 << 20);
    let spec = ExecSpec {
        stdin: Some(input.clone()),
        ..ExecSpec::shell("tee /dev/stderr")
    };
    let outcome = guest.client.ask(provium_guest::ops::exec(spec.clone())).unwrap();
    assert!(
        outcome.stdout == input,
        "{} bytes of stdout",
        outcome.stdout.len()
    );
    assert!(
        outcome.stderr == input,
        "{} bytes of stderr",
        outcome.stderr.len()
    );
}

#[test]
fn a_port_where_nobody_listens_is_refused_and_the_end_resets_streams() {
    let guest = boot_guest(config());
    let error = guest.machine.connect(9999, LONG).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let mut stream = guest.machine.connect(AGENT_PORT, LONG).unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50)));
    let mut rest = Vec::new();
    assert_eq!(
        stream.read_to_end(&mut rest).unwrap_err().kind(),
        ErrorKind::TimedOut
    );
    guest.machine.kill();
    assert_eq!(stream.write(b"x").unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(
        stream.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[test]
fn hundreds_of_connections_come_and_go() {
    let mut guest = boot_guest(config());
    for _ in 0..300 {
        let stream = guest.machine.connect(AGENT_PORT, LONG).unwrap();
        let mut client = GuestClient::handshake(Box::new(stream), LONG).unwrap();
        client.ping().unwrap();
    }
    guest.client.ping().unwrap();
}
