// SPDX-License-Identifier: BSD-2-Clause
//! Requests one by one: who may ask, what is refused, what is kept.
#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers of a test are small"
)]

use channel::timer::{ALARM_IS_DUE, Count, Refusal, Request, VirtualTimer, decode_answer};
use channel::{Message, ProtocolError, Ticks, VcpuId};
use proptest::prelude::*;
use state::record;
use state::{TimerRecordV1, VcpuTimerV1};
use timer_pd::board::BoardTimer;
use timer_pd::{Caller, MAX_RECORD, Regions, Service};

/// A board: its clock, its frequency, and what its timer is set to.
#[derive(Debug, Clone, Copy)]
struct Board {
    now: u64,
    frequency: u32,
    deadline: Option<Ticks>,
}

impl BoardTimer for Board {
    fn frequency(&self) -> u32 {
        self.frequency
    }

    fn now(&self) -> Ticks {
        Ticks(self.now)
    }

    fn set(&mut self, deadline: Option<Ticks>) {
        self.deadline = deadline;
    }
}

#[derive(Debug)]
struct Memory {
    export: Vec<u8>,
    import: Vec<u8>,
}

impl Regions for Memory {
    fn export(&mut self) -> &mut [u8] {
        &mut self.export
    }

    fn import(&mut self, length: usize) -> Option<&[u8]> {
        self.import
            .get(..length)
            .filter(|bytes| bytes.len() <= MAX_RECORD)
    }
}

type Domain = Service<Board, Memory>;

const FREQUENCY: u32 = 62_500_000;

fn domain(now: u64, frequency: u32) -> Domain {
    let board = Board {
        now,
        frequency,
        deadline: None,
    };
    Service::new(
        board,
        Memory {
            export: vec![0; 0x1000],
            import: vec![0; 0x1000],
        },
    )
}

fn id(vcpu: usize) -> VcpuId {
    VcpuId::new(vcpu).unwrap()
}

fn handle<B: BoardTimer, R: Regions>(
    service: &mut Service<B, R>,
    caller: Caller,
    mut message: Message,
) -> Message {
    service.handle(caller, &mut message);
    message
}

fn ask(domain: &mut Domain, request: Request) -> Result<u64, ProtocolError> {
    decode_answer(&handle(domain, Caller::Vmm, request.encode()))
}

fn load(domain: &mut Domain, vcpu: usize) -> Result<VirtualTimer, ProtocolError> {
    let request = Request::Load { vcpu: id(vcpu) };
    VirtualTimer::decode(&handle(domain, Caller::Vmm, request.encode()))
}

fn refused<T>(refusal: Refusal) -> Result<T, ProtocolError> {
    Err(ProtocolError::Refused {
        reason: refusal as u64,
    })
}

/// A timer that differs from every other vCPU's.
fn timer(vcpu: usize) -> VirtualTimer {
    VirtualTimer {
        control: [1, 3, 2, 1][vcpu],
        compare: Ticks(1000 * (vcpu as u64 + 1)),
        kernel_control: 0x300 + [0, 1, 2, 3][vcpu],
        asserted: vcpu.is_multiple_of(2),
    }
}

/// A machine of `vcpus` that runs.
fn running(now: u64, vcpus: u8) -> Domain {
    let mut domain = domain(now, FREQUENCY);
    ask(&mut domain, Request::Reset { vcpus }).unwrap();
    (0..vcpus.into()).for_each(|vcpu| {
        load(&mut domain, vcpu).unwrap();
    });
    ask(&mut domain, Request::Release).unwrap();
    domain
}

/// Exports from one domain and imports into another.
fn hand_over(from: &mut Domain, to: &mut Domain, advance: u64) -> Result<u64, ProtocolError> {
    let answer = handle(from, Caller::Migration, Request::Export.encode());
    let length = decode_answer(&answer)?;
    let exported = from.regions_mut().export.clone();
    to.regions_mut().import = exported;
    let length = u32::try_from(length).unwrap();
    let import = Request::Import {
        length,
        advance: Ticks(advance),
    };
    decode_answer(&handle(to, Caller::Migration, import.encode()))
}

#[test]
fn a_machine_s_count_starts_at_zero_and_is_frozen_until_released() {
    let mut domain = domain(5000, FREQUENCY);
    ask(&mut domain, Request::Reset { vcpus: 2 }).unwrap();
    assert_eq!(ask(&mut domain, Request::Freeze), Ok(0));
    domain.board_mut().now = 6000;
    assert_eq!(ask(&mut domain, Request::Freeze), Ok(0));
    load(&mut domain, 0).unwrap();
    assert_eq!(
        ask(&mut domain, Request::Release),
        refused(Refusal::NotLoaded)
    );
    load(&mut domain, 1).unwrap();
    assert_eq!(ask(&mut domain, Request::Release), Ok(6000));
    assert_eq!(
        ask(&mut domain, Request::Release),
        refused(Refusal::Running)
    );
    domain.board_mut().now = 6777;
    assert_eq!(ask(&mut domain, Request::Freeze), Ok(777));
}

#[test]
fn a_timer_that_is_saved_has_to_be_loaded_again() {
    let mut domain = running(0, 1);
    ask(&mut domain, Request::Freeze).unwrap();
    load(&mut domain, 0).unwrap();
    ask(
        &mut domain,
        Request::Save {
            vcpu: id(0),
            timer: timer(0),
        },
    )
    .unwrap();
    assert_eq!(
        ask(&mut domain, Request::Release),
        refused(Refusal::NotLoaded)
    );
    assert_eq!(load(&mut domain, 0), Ok(timer(0)));
    assert!(ask(&mut domain, Request::Release).is_ok());
}

#[test]
fn what_needs_time_to_be_frozen_or_to_run_is_refused_otherwise() {
    let mut domain = running(0, 1);
    let save = Request::Save {
        vcpu: id(0),
        timer: timer(0),
    };
    let sleep = Request::Sleep {
        vcpu: id(0),
        deadline: Ticks(9),
    };
    assert_eq!(ask(&mut domain, save), refused(Refusal::Running));
    assert_eq!(load(&mut domain, 0), refused(Refusal::Running));
    assert_eq!(ask(&mut domain, Request::Export), refused(Refusal::Running));
    let import = Request::Import {
        length: 0,
        advance: Ticks(0),
    };
    assert!(ask(&mut domain, import).is_err());
    ask(&mut domain, Request::Freeze).unwrap();
    assert_eq!(ask(&mut domain, sleep), refused(Refusal::Frozen));
    assert_eq!(ask(&mut domain, Request::Due), Ok(0));
}

#[test]
fn vcpus_that_do_not_exist_are_refused() {
    let mut domain = running(0, 2);
    let vcpu = id(2);
    let sleep = Request::Sleep {
        vcpu,
        deadline: Ticks(9),
    };
    assert_eq!(ask(&mut domain, sleep), refused(Refusal::NotLoaded));
    assert_eq!(
        ask(&mut domain, Request::Wake { vcpu }),
        refused(Refusal::NotLoaded)
    );
    ask(&mut domain, Request::Freeze).unwrap();
    assert_eq!(load(&mut domain, 2), refused(Refusal::NotLoaded));
    let reset = Request::Reset { vcpus: 5 };
    assert_eq!(ask(&mut domain, reset), refused(Refusal::NotLoaded));
    ask(&mut domain, Request::Reset { vcpus: 0 }).unwrap();
    assert_eq!(
        ask(&mut domain, Request::Release),
        refused(Refusal::NotLoaded)
    );
    assert_eq!(
        ask(&mut domain, Request::Export),
        refused(Refusal::NotLoaded)
    );
}

#[test]
fn each_caller_has_its_own_requests() {
    let mut domain = running(0, 1);
    let vcpu = id(0);
    let not_for_migration = [
        Request::Reset { vcpus: 1 },
        Request::Freeze,
        Request::Save {
            vcpu,
            timer: timer(0),
        },
        Request::Load { vcpu },
        Request::Release,
        Request::Sleep {
            vcpu,
            deadline: Ticks(1),
        },
        Request::Wake { vcpu },
        Request::Due,
        Request::Count,
        Request::Alarm { deadline: Ticks(1) },
    ];
    for request in not_for_migration {
        let answer = handle(&mut domain, Caller::Migration, request.encode());
        assert_eq!(
            decode_answer(&answer),
            refused(Refusal::NotYours),
            "{request:?}"
        );
    }
}

#[test]
fn one_timer_serves_all_sleepers() {
    let mut domain = running(1000, 2);
    let sleep = |vcpu, deadline| Request::Sleep {
        vcpu: id(vcpu),
        deadline: Ticks(deadline),
    };
    assert_eq!(ask(&mut domain, sleep(0, 300)), Ok(0));
    assert_eq!(domain.board_mut().deadline, Some(Ticks(1300)));
    assert_eq!(ask(&mut domain, sleep(1, 200)), Ok(0));
    assert_eq!(domain.board_mut().deadline, Some(Ticks(1200)));

    domain.board_mut().now = 1199;
    assert!(!domain.interrupt(), "not yet");
    domain.board_mut().now = 1200;
    assert!(domain.interrupt());
    assert!(!domain.interrupt(), "once");
    assert_eq!(domain.board_mut().deadline, Some(Ticks(1300)));
    assert_eq!(ask(&mut domain, Request::Due), Ok(0b10));
    assert_eq!(ask(&mut domain, Request::Due), Ok(0));
    ask(&mut domain, Request::Wake { vcpu: id(0) }).unwrap();
    assert_eq!(
        domain.board_mut().deadline,
        None,
        "an idle board stays idle"
    );
}

#[test]
fn the_alarm_comes_once_whatever_sleeps_besides() {
    let mut domain = running(1000, 1);
    let alarm = |deadline| Request::Alarm {
        deadline: Ticks(deadline),
    };
    assert_eq!(ask(&mut domain, alarm(0)), Ok(1), "passed");
    assert_eq!(ask(&mut domain, alarm(500)), Ok(0));
    assert_eq!(ask(&mut domain, alarm(300)), Ok(0), "in its place");
    let sleep = Request::Sleep {
        vcpu: id(0),
        deadline: Ticks(400),
    };
    assert_eq!(ask(&mut domain, sleep), Ok(0));
    assert_eq!(domain.board_mut().deadline, Some(Ticks(1300)));
    domain.board_mut().now = 1300;
    assert!(domain.interrupt());
    assert_eq!(ask(&mut domain, Request::Due), Ok(ALARM_IS_DUE));
    domain.board_mut().now = 1400;
    assert!(domain.interrupt());
    assert_eq!(ask(&mut domain, Request::Due), Ok(1));
    ask(&mut domain, Request::Freeze).unwrap();
    assert_eq!(ask(&mut domain, alarm(900)), refused(Refusal::Frozen));
}

#[test]
fn the_count_can_be_asked_for_whether_or_not_time_advances() {
    let mut domain = running(1000, 1);
    let count = |domain: &mut Domain| {
        let answer = handle(domain, Caller::Vmm, Request::Count.encode());
        Count::decode(&answer).map(|count| count.count)
    };
    domain.board_mut().now = 1250;
    assert_eq!(count(&mut domain), Ok(Ticks(250)));
    ask(&mut domain, Request::Freeze).unwrap();
    domain.board_mut().now = 2000;
    assert_eq!(count(&mut domain), Ok(Ticks(250)));
}

#[test]
fn a_deadline_that_has_passed_does_not_sleep() {
    let mut domain = running(1000, 1);
    domain.board_mut().now = 1500;
    for (deadline, passed) in [(0, 1), (499, 1), (500, 1), (501, 0), (u64::MAX, 0)] {
        let sleep = Request::Sleep {
            vcpu: id(0),
            deadline: Ticks(deadline),
        };
        assert_eq!(ask(&mut domain, sleep), Ok(passed), "{deadline}");
    }
    assert_eq!(
        domain.board_mut().deadline,
        Some(Ticks(u64::MAX)),
        "and that is never"
    );
}

#[test]
fn a_sleeper_s_deadline_is_the_guest_s_across_a_pause() {
    let mut domain = running(1000, 1);
    let sleep = Request::Sleep {
        vcpu: id(0),
        deadline: Ticks(300),
    };
    ask(&mut domain, sleep).unwrap();
    domain.board_mut().now = 1200;
    ask(&mut domain, Request::Freeze).unwrap();
    assert_eq!(domain.board_mut().deadline, None);
    domain.board_mut().now = 9000;
    load(&mut domain, 0).unwrap();
    ask(&mut domain, Request::Release).unwrap();
    assert_eq!(domain.board_mut().deadline, Some(Ticks(9100)));
}

#[test]
fn a_move_keeps_every_vcpu_s_own_timer_and_the_machine_s_count() {
    let mut here = running(1_000_000, 4);
    here.board_mut().now = 1_234_567;
    ask(&mut here, Request::Freeze).unwrap();
    for vcpu in 0..4 {
        ask(
            &mut here,
            Request::Save {
                vcpu: id(vcpu),
                timer: timer(vcpu),
            },
        )
        .unwrap();
    }
    // A board that was started later, and has had another machine.
    let mut there = running(99, 2);
    let sleep = Request::Sleep {
        vcpu: id(0),
        deadline: Ticks(1 << 40),
    };
    ask(&mut there, sleep).unwrap();
    assert_eq!(
        hand_over(&mut here, &mut there, 0),
        refused(Refusal::Running)
    );
    ask(&mut there, Request::Freeze).unwrap();
    load(&mut there, 0).unwrap();
    load(&mut there, 1).unwrap();
    assert_eq!(hand_over(&mut here, &mut there, 0), Ok(0));

    there.board_mut().now = 500;
    assert_eq!(
        ask(&mut there, Request::Release),
        refused(Refusal::NotLoaded)
    );
    for vcpu in 0..4 {
        assert_eq!(load(&mut there, vcpu), Ok(timer(vcpu)));
    }
    let offset = ask(&mut there, Request::Release).unwrap();
    assert_eq!(
        500_u64.wrapping_sub(offset),
        234_567,
        "the guest reads on where it stopped"
    );
    assert_eq!(there.board_mut().deadline, None, "nobody sleeps any more");
}

#[test]
fn time_can_be_advanced_by_the_downtime() {
    let mut here = running(0, 1);
    here.board_mut().now = 100;
    ask(&mut here, Request::Freeze).unwrap();
    let mut there = domain(0, FREQUENCY);
    hand_over(&mut here, &mut there, 40).unwrap();
    assert_eq!(ask(&mut there, Request::Freeze), Ok(140));
}

#[test]
fn a_counter_of_another_frequency_is_refused_and_nothing_changes() {
    let mut here = running(0, 1);
    ask(&mut here, Request::Freeze).unwrap();
    let mut there = domain(0, FREQUENCY + 1);
    ask(&mut there, Request::Reset { vcpus: 3 }).unwrap();
    ask(
        &mut there,
        Request::Save {
            vcpu: id(2),
            timer: timer(2),
        },
    )
    .unwrap();
    assert_eq!(
        hand_over(&mut here, &mut there, 5),
        refused(Refusal::BadRecord)
    );
    assert_eq!(load(&mut there, 2), Ok(timer(2)));
    assert_eq!(ask(&mut there, Request::Freeze), Ok(0));
}

#[test]
fn a_bad_record_is_refused_whatever_is_wrong_with_it() {
    let mut here = running(0, 4);
    ask(&mut here, Request::Freeze).unwrap();
    let mut there = domain(0, FREQUENCY);
    hand_over(&mut here, &mut there, 0).unwrap();
    let length = u32::try_from(ask(&mut here, Request::Export).unwrap()).unwrap();
    let import = |length| Request::Import {
        length,
        advance: Ticks(0),
    };
    for wrong in [0, 1, length - 1, length + 1, 0x1000, u32::MAX] {
        assert_eq!(
            ask(&mut there, import(wrong)),
            refused(Refusal::BadRecord),
            "{wrong}"
        );
    }
    for byte in 0..length as usize {
        there.regions_mut().import[byte] ^= 1;
        assert_eq!(
            ask(&mut there, import(length)),
            refused(Refusal::BadRecord),
            "{byte}"
        );
        there.regions_mut().import[byte] ^= 1;
    }
    assert_eq!(ask(&mut there, import(length)), Ok(0));
}

#[test]
fn the_condition_bit_is_not_state() {
    let mut domain = running(0, 1);
    ask(&mut domain, Request::Freeze).unwrap();
    let saved = VirtualTimer {
        control: 0b101,
        ..timer(0)
    };
    ask(
        &mut domain,
        Request::Save {
            vcpu: id(0),
            timer: saved,
        },
    )
    .unwrap();
    assert_eq!(load(&mut domain, 0).unwrap().control, 0b001);
    assert!(ask(&mut domain, Request::Export).is_ok());
}

#[test]
fn the_largest_record_fits() {
    let vcpu = VcpuTimerV1 {
        control: 3,
        compare: u64::MAX,
        kernel_control: u32::MAX,
        asserted: true,
    };
    let record = TimerRecordV1 {
        frequency: u32::MAX,
        count: u64::MAX,
        vcpus: [vcpu; 4].into_iter().collect(),
    };
    let mut bytes = [0; 4096];
    assert!(record::encode(&record, &mut bytes).unwrap() <= MAX_RECORD);
}

proptest! {
    #[test]
    fn no_message_makes_it_panic(
        messages in prop::collection::vec(
            (0u64..14, prop::collection::vec(prop_oneof![0u64..6, any::<u64>()], 0..8)), 1..40,
        ),
        now in any::<u64>(),
    ) {
        let mut domain = domain(now, FREQUENCY);
        for (label, words) in messages {
            let message = Message::received(label, &words).unwrap();
            let answer = handle(&mut domain, Caller::Vmm, message);
            let understood = Request::decode(&message).is_ok();
            prop_assert_eq!(understood, answer != Message::not_understood());
        }
        domain.interrupt();
    }
}
