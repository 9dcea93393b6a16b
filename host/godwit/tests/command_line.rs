// SPDX-License-Identifier: BSD-2-Clause
//! The program as it is started from a shell, with this test in place of a board.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};

use godwit::link::Address;
use godwit::running::{Facts, Registration, Registry, Role};
use godwit::session::Scratch;
use hang::Hang;
use protocol::frame::{finish, finish_in};
use protocol::management::{
    Failure, Figures, MoveReport, Phase, Stage, Statistics, StatusReport, Verdict, Welcome,
};
use protocol::{
    Answer, Decoder, HEADER_LENGTH, MAX_FRAME, MoveFailure, MoveId, Pace, Request, RequestError,
    VERSION,
};

/// Runs the program with its directory of running boards under `runtime`.
fn godwit(runtime: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_godwit"))
        .args(arguments)
        .env("XDG_RUNTIME_DIR", runtime)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A board named "left" whose guest is paused and stays so.
fn board(runtime: &Path) -> Registration {
    board_that(runtime, answer)
}

/// A board named "left" that answers so.
fn board_that(runtime: &Path, answer: fn(&Request) -> Answer<'static>) -> Registration {
    let facts = Facts {
        process: std::process::id(),
        board: "qemu_virt_aarch64".to_owned(),
        kernel: "embedded".to_owned(),
        guest: "a test".to_owned(),
        ram_mib: 128,
        started: 0,
    };
    let registry = Registry::at(&runtime.join("godwit")).unwrap();
    let board = registry.register(Some("left"), &facts).unwrap();
    let listener = UnixListener::bind(board.link()).unwrap();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut decoder = Decoder::new(vec![0; MAX_FRAME]);
            while let Ok(count @ 1..) = client.read(decoder.space()) {
                decoder.filled(count);
                while let Some(frame) = decoder.next() {
                    let request = Request::decode(frame.kind, frame.payload).unwrap();
                    let answer = answer(&request);
                    let mut bytes = vec![0; HEADER_LENGTH + 512];
                    let length = answer.encode(&mut bytes[HEADER_LENGTH..]).unwrap();
                    let length = finish(&mut bytes, answer.kind(), frame.tag, length).unwrap();
                    client.write_all(&bytes[..length]).unwrap();
                }
            }
        }
    });
    board
}

fn answer(request: &Request) -> Answer<'static> {
    match request {
        Request::Hello => Answer::Welcome(Welcome {
            ram_bytes: 128 << 20,
            counter_frequency: 62_500_000,
            uptime_us: 12_300_000,
            pace: Pace::UNLIMITED,
        }),
        Request::Status => Answer::Status(StatusReport {
            phase: Phase::Stopped,
            vcpus: 2,
            failure: Failure::None,
            detail: 0,
            program_counter: 0,
            ram_bytes: 128 << 20,
            newest_move: MoveId(0),
            last_move: None,
        }),
        Request::Look => {
            let at = 0x4400_0000;
            Answer::Looked([None, Some(Hang::Loop { at, after: None }), None, None])
        }
        Request::Statistics => Answer::Statistics(Statistics::from_words([1, 2, 3, 4, 5, 6, 7, 8])),
        _ => Answer::Refused(RequestError::WrongPhase {
            phase: Phase::Stopped,
        }),
    }
}

#[test]
fn a_wrong_command_line_is_told_from_what_did_not_work() {
    let scratch = Scratch::new().unwrap();
    let usage = godwit(scratch.path(), &["run", "--vcpus", "9"]);
    assert_eq!(usage.status.code(), Some(2));
    let missing = godwit(scratch.path(), &["status", "nowhere"]);
    assert_eq!(missing.status.code(), Some(1));
    let error = text(&missing.stderr);
    assert!(error.contains("no board named nowhere"), "{error}");
    assert!(!error.contains('\x1b'), "no colours in a file: {error}");
}

#[test]
fn a_running_board_is_listed_and_managed_by_its_name() {
    let scratch = Scratch::new().unwrap();
    let board = board(scratch.path());
    let list = text(&godwit(scratch.path(), &["boards"]).stdout);
    assert!(list.contains("qemu_virt_aarch64"), "{list}");
    assert!(list.contains("left ") && list.contains("a test"), "{list}");
    let status = text(&godwit(scratch.path(), &["status", "left"]).stdout);
    assert!(status.contains("paused, 2 vCPUs"), "{status}");
    assert!(status.contains("up 12.3 s"), "{status}");
    let hangs = "vCPU 1     endless loop at 0x44000000, with all interrupts masked";
    assert!(status.contains(hangs), "{status}");
    assert!(!status.contains("vCPU 0"), "{status}");
    let link = board.link();
    let statistics = godwit(scratch.path(), &["statistics", link.to_str().unwrap()]);
    let statistics = text(&statistics.stdout);
    assert!(statistics.contains("36  in all"), "{statistics}");
}

#[test]
fn a_refusal_names_the_board_the_step_and_the_reason() {
    let scratch = Scratch::new().unwrap();
    let _board = board(scratch.path());
    let refused = godwit(scratch.path(), &["pause", "left"]);
    assert_eq!(refused.status.code(), Some(1));
    let error = text(&refused.stderr);
    for part in [
        "board left refuses",
        "pausing its guest",
        "not while the guest is paused",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains(".link"), "it was not typed so: {error}");
}

#[test]
fn a_board_of_another_version_says_which() {
    let scratch = Scratch::new().unwrap();
    let path = scratch.path().join("old.link");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = client.read(&mut bytes) {
            heard.extend_from_slice(&bytes[..count]);
            // What a board of version 1 takes for a frame, and no other.
            if heard.windows(5).any(|it| it == b"\xc7GDW\x01") {
                heard.clear();
                let welcome = answer(&Request::Hello);
                let mut bytes = [0; 512];
                let length = welcome.encode(&mut bytes[HEADER_LENGTH..]).unwrap();
                let length = finish_in(1, &mut bytes, welcome.kind(), 0, length).unwrap();
                client.write_all(&bytes[..length]).unwrap();
            }
        }
    });
    let status = godwit(scratch.path(), &["status", path.to_str().unwrap()]);
    assert_eq!(status.status.code(), Some(1));
    let error = text(&status.stderr);
    let ours = format!("this godwit version {VERSION}");
    for part in ["old.link", "speaks version 1", &ours] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_guest_cannot_be_moved_to_a_board_that_has_one() {
    let [scratch, other] = [(); 2].map(|()| Scratch::new().unwrap());
    let [from, to] = [&scratch, &other].map(|scratch| board(scratch.path()));
    let [source, destination] = [from.link(), to.link()];
    let arguments = [
        "migrate",
        "--json",
        source.to_str().unwrap(),
        destination.to_str().unwrap(),
    ];
    let moved = godwit(scratch.path(), &arguments);
    assert_eq!(moved.status.code(), Some(1));
    let error = text(&moved.stderr);
    assert!(error.contains("has a guest already"), "{error}");
    assert!(
        moved.stdout.is_empty(),
        "no figures of a move that was none"
    );
}

#[test]
fn who_has_seen_enough_may_leave() {
    let scratch = Scratch::new().unwrap();
    let _board = board(scratch.path());
    let lists: [&[&str]; 4] = [
        &["reg", "list"],
        &["boards"],
        &["status", "left"],
        &["statistics", "left"],
    ];
    // Whoever reads leaves before anything can have been written: the output, or what is said to people.
    let leave = |arguments: &[&str], output: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_godwit"))
            .args(arguments)
            .env("XDG_RUNTIME_DIR", scratch.path())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        if output {
            drop(command.stdout.take());
        } else {
            drop(command.stderr.take());
        }
        let ended = command.wait_with_output().unwrap();
        (ended.status.code(), text(&ended.stderr))
    };
    for arguments in lists {
        let (status, said) = leave(arguments, true);
        assert_eq!((status, said.as_str()), (Some(0), ""), "{arguments:?}");
    }
    let (status, _) = leave(&["pause", "left"], false);
    assert_eq!(status, Some(1), "a refusal that nobody hears is one");
}

#[test]
fn a_guest_does_not_move_to_where_it_is() {
    let scratch = Scratch::new().unwrap();
    let board = board(scratch.path());
    let link = board.link();
    for other in ["left", link.to_str().unwrap()] {
        let moved = godwit(scratch.path(), &["migrate", "left", other]);
        let error = text(&moved.stderr);
        assert_eq!(moved.status.code(), Some(1));
        assert!(error.contains("the same board"), "{error}");
    }
}

#[test]
fn while_a_move_runs_others_hear_of_it_and_do_not_disturb_it() {
    let scratch = Scratch::new().unwrap();
    let board = board(scratch.path());
    let registry = Registry::at(&scratch.path().join("godwit")).unwrap();
    let address: Address = format!("unix:{}", board.link().display()).parse().unwrap();
    let role = Role::MoveTo("right".to_owned());
    let mut job = registry
        .begin(vec![("left".to_owned(), &address, role)])
        .unwrap();
    job.progress("round 7, 12 pages sent");
    let facts = [
        "a move of its guest to board right",
        "in progress, for",
        "round 7",
    ];
    let commands: [&[&str]; 6] = [
        &["pause", "left"],
        &["resume", "left"],
        &["discard", "left"],
        &["migrate", "left", "unix:/nowhere"],
        &["snapshot", "left", "file"],
        &["reg", "get", "left"],
    ];
    for arguments in commands {
        let refused = godwit(scratch.path(), arguments);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let error = text(&refused.stderr);
        for fact in facts {
            assert!(error.contains(fact), "{arguments:?}: {fact}: {error}");
        }
        assert!(!error.contains("resolve"), "{arguments:?}: {error}");
    }
    let status = text(&godwit(scratch.path(), &["status", "left"]).stdout);
    for fact in ["paused, 2 vCPUs"].into_iter().chain(facts) {
        assert!(status.contains(fact), "{fact}: {status}");
    }
    drop(job);
    let status = text(&godwit(scratch.path(), &["status", "left"]).stdout);
    assert!(!status.contains("in progress"), "{status}");
}

#[test]
fn a_device_is_not_replaced_by_a_snapshot() {
    let scratch = Scratch::new().unwrap();
    let _board = board(scratch.path());
    let link = scratch.path().join("full");
    std::os::unix::fs::symlink("/dev/full", &link).unwrap();
    let refused = godwit(
        scratch.path(),
        &["snapshot", "left", link.to_str().unwrap()],
    );
    let error = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(error.contains("it is a device"), "{error}");
    assert!(link.is_symlink());
}

/// As a board answers whose guest was handed over, and which has not heard that it was taken.
fn answer_in_doubt(request: &Request) -> Answer<'static> {
    let id = MoveId(7);
    let report = |stage, failure| MoveReport {
        id,
        stage,
        failure,
        figures: Figures {
            downtime_us: 61_200_000,
            ..Figures::default()
        },
    };
    match (request, answer(request)) {
        (_, Answer::Status(status)) => Answer::Status(StatusReport {
            newest_move: id,
            last_move: Some(report(Stage::InDoubt, None)),
            ..status
        }),
        (Request::Resolve(of, Verdict::Keep), _) if *of == id => Answer::Accepted,
        (Request::Query(_), _) => Answer::Move(report(Stage::Failed, Some(MoveFailure::Operator))),
        (Request::Discard, _) => Answer::Refused(RequestError::InDoubt { id }),
        (_, answer) => answer,
    }
}

#[test]
fn a_doubt_is_explained_and_ends_with_the_operators_word() {
    let scratch = Scratch::new().unwrap();
    let _board = board_that(scratch.path(), answer_in_doubt);
    let here = "`godwit resolve left --keep`";
    let gone = "`godwit resolve left --drop`";
    let cases: [(&[&str], &[&str]); 4] = [
        (
            &["resolve", "left"],
            &["0x7", "61.2 s", "was not asked", here, gone],
        ),
        (
            &["resolve", "left", "right"],
            &["no board named right", here, gone],
        ),
        (
            &["resolve", "left", "right", "--keep"],
            &["refused", "no board named right", here],
        ),
        (
            &["discard", "left"],
            &["move 0x7 is in doubt", "`godwit resolve`"],
        ),
    ];
    for (arguments, parts) in cases {
        let refused = godwit(scratch.path(), arguments);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let error = text(&refused.stderr);
        for part in parts {
            assert!(error.contains(part), "{arguments:?}: {part}: {error}");
        }
    }
    let resolved = godwit(scratch.path(), &["resolve", "left", "--keep"]);
    let said = text(&resolved.stderr);
    assert_eq!(resolved.status.code(), Some(0), "{said}");
    assert!(said.contains("the guest is on board left"), "{said}");
    let neither = godwit(scratch.path(), &["resolve", "left", "--keep", "--drop"]);
    assert_eq!(neither.status.code(), Some(2));
}
