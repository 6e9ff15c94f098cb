#![allow(clippy::disallowed_methods, reason = "a test waits, reads and starts processes")]

use proptest::prelude::*;

use super::*;

/// An event as Linux 6.18 sends it.
fn message(what: u32, fields: [u32; 6]) -> Vec<u8> {
    let mut words = vec![what, 1, 0x073c_8c74, 0x15be];
    words.extend(fields);
    let mut message = request(0, &words);
    message[16 + 12..16 + 16].copy_from_slice(&0_u32.to_ne_bytes());
    message
}

fn heard(datagram: &[u8]) -> Vec<Event> {
    let mut heard = Vec::new();
    events(datagram, &mut heard);
    heard
}

#[test]
fn every_kind_of_event_is_understood() {
    assert_eq!(heard(&message(FORK, [10, 10, 11, 11, 0, 0])), [Event::Born(11)]);
    assert_eq!(heard(&message(EXEC, [11, 11, 0, 0, 0, 0])), [Event::Changed(11)]);
    assert_eq!(heard(&message(UID, [11, 11, 1000, 0, 0, 0])), [Event::Changed(11)]);
    assert_eq!(heard(&message(GID, [11, 11, 1000, 0, 0, 0])), [Event::Changed(11)]);
    assert_eq!(heard(&message(EXIT, [11, 11, 0, 17, 10, 10])), [Event::Ended(11)]);
    let both = [message(EXEC, [11, 11, 0, 0, 0, 0]), message(EXIT, [12, 12, 0, 17, 10, 10])].concat();
    assert_eq!(heard(&both), [Event::Changed(11), Event::Ended(12)]);
}

#[test]
fn threads_and_the_kernels_own_are_nothing() {
    assert_eq!(heard(&message(FORK, [10, 10, 12, 10, 0, 0])), []);
    assert_eq!(heard(&message(EXIT, [12, 10, 0, 17, 10, 10])), []);
    assert_eq!(heard(&message(FORK, [2, 2, 13, 13, 0, 0])), []);
    assert_eq!(heard(&message(EXIT, [13, 13, 0, 17, 2, 2])), []);
    assert_eq!(heard(&message(0x200, [11, 11, 0, 0, 0, 0])), [], "a name that changed was not asked for");
    assert_eq!(heard(&message(FORK, [0, 0, u32::MAX, u32::MAX, 0, 0])), [], "no pid");
}

#[test]
fn the_answer_is_told_from_those_to_others() {
    let answer = |seq: u32, ack: u32, code: u32| {
        let mut message = message(ACKNOWLEDGED, [code, 0, 0, 0, 0, 0]);
        message[16 + 8..16 + 12].copy_from_slice(&seq.to_ne_bytes());
        message[16 + 12..16 + 16].copy_from_slice(&ack.to_ne_bytes());
        message
    };
    assert_eq!(acknowledged(&answer(7, 8, 0), 7), Some(0));
    assert_eq!(acknowledged(&answer(7, 8, 1), 7), Some(1));
    assert_eq!(acknowledged(&answer(4_298, 8, 0), 7), Some(0), "as Linux 6.18 answers");
    assert_eq!(acknowledged(&answer(7, 10, 0), 7), None);
    assert_eq!(acknowledged(&answer(7, 0, 0), 7), None);
    assert_eq!(acknowledged(&message(EXEC, [11, 11, 0, 0, 0, 0]), 7), None);
}

#[test]
fn a_message_cut_anywhere_is_none() {
    let whole = message(EXIT, [11, 11, 0, 17, 10, 10]);
    for length in 0..whole.len() {
        assert_eq!(heard(&whole[..length]), [], "{length}");
    }
}

proptest! {
    #[test]
    fn bytes_of_any_kind_do_no_harm(bytes: Vec<u8>, at in 0_usize..76, byte: u8) {
        heard(&bytes);
        acknowledged(&bytes, 7);
        let mut whole = message(EXIT, [11, 11, 0, 17, 10, 10]);
        whole[at] = byte;
        heard(&whole);
    }
}

#[test]
fn why_there_are_no_events_is_said_in_one_line() {
    let line = |error: ConnectorError| {
        let Unavailable { reason, detail } = error.unavailable();
        format!("{}: {detail}", reason.name())
    };
    let denied = || io::Error::from_raw_os_error(libc::EPERM);
    insta::assert_snapshot!(line(ConnectorError::Socket { operation: "join", source: denied() }), @"permission_denied: cannot join the kernel's process connector: Operation not permitted (os error 1): before Linux 6.6 it takes NET_ADMIN; the agent looks every second instead");
    let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
    insta::assert_snapshot!(line(ConnectorError::Socket { operation: "write to", source: refused }), @"not_supported: cannot write to the kernel's process connector: Connection refused (os error 111): it is only in the host's own network namespace (hostNetwork); the agent looks every second instead");
    insta::assert_snapshot!(line(ConnectorError::Refused(denied())), @"permission_denied: the kernel refuses process events: Operation not permitted (os error 1): before Linux 6.6 it takes NET_ADMIN; the agent looks every second instead");
    insta::assert_snapshot!(line(ConnectorError::Silent), @"not_supported: the kernel sends process events only to the host's own pid and user namespace (hostPID); the agent looks every second instead");
    insta::assert_snapshot!(line(ConnectorError::OtherProc { path: "/host/proc".into() }), @"not_supported: /host/proc is not of the agent's own pid namespace; the agent looks every second instead");
}

/// The kernel's side, where this test runs in the host's own namespaces on a kernel that tells everybody; elsewhere its refusal.
fn opened() -> Option<Connector> {
    match Connector::open(Path::new("/proc")) {
        Ok(connector) => Some(connector),
        Err(error) => {
            assert!(!tells_everybody(), "{error:?}");
            None
        }
    }
}

/// From 6.6 on, in the host's own namespaces: the inode numbers of the first ones are fixed.
fn tells_everybody() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap(), numbers.next().unwrap());
    let first = |name: &str, number: &str| {
        std::fs::read_link(format!("/proc/thread-self/ns/{name}")).is_ok_and(|link| link.to_string_lossy().contains(number))
    };
    let net = if version >= (6, 17) { "4026531833" } else { "4026531840" };
    version >= (6, 6) && first("pid", "4026531836") && first("user", "4026531837") && first("net", net)
}

/// Starts `true` until the end of one was heard, and returns its pid and all that was heard: where very much happens on a machine, the
/// kernel has no room for all of it.
fn hear_an_end(connector: &mut Connector) -> (i64, Heard) {
    for _ in 0..20 {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i64::from(child.id());
        child.wait().unwrap();
        let heard = hear_until(connector, |heard| heard.lost || heard.events.contains(&Event::Ended(pid)));
        if !heard.lost {
            return (pid, heard);
        }
    }
    panic!("there was never room for the end of a process");
}

fn hear_until(connector: &mut Connector, found: impl Fn(&Heard) -> bool) -> Heard {
    let until = Instant::now() + Duration::from_mins(1);
    let mut all = Heard::default();
    while !found(&all) && Instant::now() < until {
        let heard = connector.hear().unwrap();
        all.lost |= heard.lost;
        all.events.extend(heard.events);
        std::thread::sleep(Duration::from_millis(1));
    }
    all
}

#[test]
fn the_kernel_tells_of_a_process_from_birth_to_end() {
    let Some(mut connector) = opened() else { return };
    let (pid, heard) = hear_an_end(&mut connector);
    let of_child: Vec<&Event> =
        heard.events.iter().filter(|event| [Event::Born(pid), Event::Changed(pid), Event::Ended(pid)].contains(event)).collect();
    assert_eq!(of_child, [&Event::Born(pid), &Event::Changed(pid), &Event::Ended(pid)]);
}

#[test]
fn when_the_kernel_has_no_room_it_is_told_and_listening_goes_on() {
    let Some(mut connector) = opened() else { return };
    connector.socket.set_rx_buf_sz(2_048_u32).unwrap();
    for _ in 0..100 {
        std::thread::spawn(|| {}).join().unwrap();
    }
    assert!(hear_until(&mut connector, |heard| heard.lost).lost);
    connector.socket.set_rx_buf_sz(QUEUE_BYTES).unwrap();
    let (pid, heard) = hear_an_end(&mut connector);
    assert!(heard.events.contains(&Event::Ended(pid)), "{heard:?}");
}

/// Whoever may send to this socket (root) could otherwise make the agent read all the time, or believe that it is told.
#[test]
fn what_another_process_sends_is_not_the_kernels_word() {
    let Some(mut connector) = opened() else { return };
    let mut own = SocketAddr::new(0, 0);
    connector.socket.get_address(&mut own).unwrap();
    let forged = i64::from(i32::MAX);
    let pid = i32::MAX.cast_unsigned();
    let sender = Socket::new(NETLINK_CONNECTOR).unwrap();
    if sender.send_to(&message(EXIT, [pid, pid, 0, 17, 10, 10]), &own, 0).is_err() {
        return;
    }
    // In the order in which it was sent: the forged one comes first, if it comes.
    let first = connector.hear().unwrap();
    let (pid, heard) = hear_an_end(&mut connector);
    assert!(heard.events.contains(&Event::Ended(pid)), "{heard:?}");
    let believed = first.events.iter().chain(&heard.events).any(|event| *event == Event::Ended(forged));
    assert!(!believed, "{first:?} {heard:?}");
}
