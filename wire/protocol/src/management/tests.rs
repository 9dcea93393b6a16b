// SPDX-License-Identifier: BSD-2-Clause
//! Every request, answer and event keeps its bytes.

use super::*;
use crate::WireError;
use hang::{Hang, Taken};
use proptest::prelude::*;

fn requests() -> Vec<Request> {
    let id = MoveId(0x1234_5678_9abc);
    vec![
        Request::Hello,
        Request::Status,
        Request::Pause,
        Request::Resume,
        Request::Statistics,
        Request::Describe,
        Request::Discard,
        Request::Start(StartMove {
            id,
            seed: [u64::MAX, 1],
            downtime_target_us: 80_000,
            downtime_limit_ms: 0,
            max_rounds: 30,
            share: 60,
            bandwidth: 0,
            timeout_ms: 3000,
            pace: Pace::line(921_600),
            advance: true,
            accept_core: true,
        }),
        Request::Cancel(id),
        Request::Query(id),
        Request::Resolve(id, Verdict::Drop),
        Request::Examine(Domain::Timer),
        Request::Look,
        Request::SetRegister(SetRegister {
            vcpu: 3,
            register: 0x0010_0026,
            value: u128::MAX,
        }),
    ]
}

fn report() -> MoveReport {
    MoveReport {
        id: MoveId(7),
        stage: Stage::Failed,
        failure: Some(MoveFailure::RamSize {
            source_bytes: 1 << 27,
            destination_bytes: 1 << 28,
        }),
        figures: Figures {
            rounds: 3,
            bytes: u64::MAX,
            ..Figures::default()
        },
    }
}

fn hang() -> Hang {
    let taken = Taken {
        at: u64::MAX,
        syndrome: 0x0200_0000,
        instruction: Some(0xd51c_1100),
    };
    Hang::Vector {
        taken,
        first: Some(taken),
    }
}

fn answers() -> Vec<Answer<'static>> {
    vec![
        Answer::Welcome(Welcome {
            ram_bytes: 1 << 27,
            counter_frequency: 62_500_000,
            uptime_us: 1,
            pace: Pace::line(115_200),
        }),
        Answer::Status(StatusReport {
            phase: Phase::Failed,
            vcpus: 4,
            failure: Failure::NoBundle,
            detail: 3,
            program_counter: u64::MAX,
            ram_bytes: 0,
            newest_move: MoveId(9),
            last_move: Some(report()),
        }),
        Answer::Accepted,
        Answer::Statistics(Statistics::from_words([1, 2, 3, 4, 5, 6, 7, u64::MAX])),
        Answer::Description(b"a record"),
        Answer::Examined(Domain::Vgic, b"a record"),
        Answer::Looked([None, Some(hang()), None, None]),
        Answer::Move(report()),
        Answer::Refused(RequestError::PeerDomain {
            domain: Domain::Vgic,
            reason: 5,
        }),
        Answer::Refused(RequestError::InDoubt { id: MoveId(9) }),
    ]
}

#[test]
fn messages_survive_the_wire() {
    let mut out = [0; 512];
    for request in requests() {
        let length = request.encode(&mut out).unwrap();
        let back = Request::decode(request.kind(), &out[..length]);
        assert_eq!(back, Ok(request));
    }
    for answer in answers() {
        let length = answer.encode(&mut out).unwrap();
        assert_eq!(Answer::decode(answer.kind(), &out[..length]), Ok(answer));
    }
    for event in [Event::Progress(report()), Event::MoveEnded(report())] {
        let length = event.encode(&mut out).unwrap();
        assert_eq!(Event::decode(event.kind(), &out[..length]), Ok(event));
    }
}

#[test]
fn a_failure_with_a_detail_it_does_not_have_is_not_canonical() {
    let kind = kind::REFUSED;
    assert!(Answer::decode(kind, &[3, 0, 0, 0]).is_ok());
    assert_eq!(
        Answer::decode(kind, &[3, 0, 0, 1]),
        Err(WireError::NotCanonical { kind })
    );
    assert_eq!(
        Answer::decode(kind, &[99, 0, 0, 0]),
        Err(WireError::Malformed { kind })
    );
}

proptest! {
    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(
        kind in any::<u8>(), payload in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut out = [0; 128];
        if let Ok(request) = Request::decode(kind, &payload) {
            let length = request.encode(&mut out).unwrap();
            prop_assert_eq!(&out[..length], &payload[..]);
        }
        if let Ok(answer) = Answer::decode(kind, &payload) {
            let length = answer.encode(&mut out).unwrap();
            prop_assert_eq!(&out[..length], &payload[..]);
        }
        if let Ok(event) = Event::decode(kind, &payload) {
            let length = event.encode(&mut out).unwrap();
            prop_assert_eq!(&out[..length], &payload[..]);
        }
    }
}
