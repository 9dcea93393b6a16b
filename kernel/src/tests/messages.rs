// SPDX-License-Identifier: BSD-2-Clause
//! Calls, replies, signals.

use super::*;
use crate::object::Signal;

fn info(label: u64, length: u64) -> MessageInfo {
    MessageInfo::new(label, 0, 0, length)
}

#[test]
fn a_call_arrives_with_badge_label_and_all_words_and_so_does_the_answer() {
    let mut system = System::waiting();
    system.interrupt(INTID, 0);
    let words: Vec<u64> = (100..120).collect();
    system.run(domain(CLIENT), |system| {
        system.call(Syscall::Call, ENDPOINT + 1, info(7, 20), &words);
    });
    system.run(domain(SERVER), |system| {
        assert_eq!(system.received(), (CALL | 1, 7, words));
        system.answer(8, &[1, 2, 3, 4, 5]);
    });
    system.run(domain(CLIENT), |system| {
        assert_eq!(system.received(), (0, 8, vec![1, 2, 3, 4, 5]));
    });
}

#[test]
fn a_passive_server_runs_on_its_callers_time_and_gives_it_back() {
    let mut system = System::waiting();
    system.interrupt(INTID, 0);
    let budget = system.thread(domain(CLIENT)).budget;
    system.run(domain(CLIENT), |system| {
        system.call(Syscall::Call, ENDPOINT + 1, info(0, 0), &[]);
    });
    assert_eq!(system.thread(domain(SERVER)).budget, budget);
    assert_eq!(system.thread(domain(CLIENT)).budget, None);
    system.run(domain(SERVER), |system| system.answer(0, &[]));
    assert_eq!(system.thread(domain(CLIENT)).budget, budget);
    assert_eq!(system.thread(domain(SERVER)).budget, None);
}

#[test]
fn a_passive_domain_handles_a_signal_on_its_notifications_time() {
    let mut system = System::waiting();
    system.interrupt(INTID, 0);
    system.run(domain(CLIENT), |system| {
        system.call(Syscall::Send, NOTIFICATION + 1, info(0, 0), &[]);
    });
    let own = domain(SERVER).own_budget();
    system.run(domain(SERVER), |system| {
        assert_eq!(system.registers().x(0), 1 << 1);
        assert_eq!(system.thread(domain(SERVER)).budget, Some(own));
        system.receive();
    });
    assert_eq!(system.thread(domain(SERVER)).budget, None);
    assert_eq!(system.current(), Some(domain(CLIENT)));
}

#[test]
fn signals_gather_until_they_are_received() {
    let mut system = System::new();
    let client = DomainId::new(CLIENT).unwrap();
    system.interrupt(INTID, 0);
    system.run(domain(SERVER), |system| {
        system.call(Syscall::Send, NOTIFICATION + 1, info(0, 0), &[]);
    });
    assert_eq!(
        system.kernel.notifications[client].signal,
        Signal::Pending(1 << 7 | 1 << 1)
    );
    system.run(domain(SERVER), |system| system.receive());
    system.run(domain(VMM), |system| system.receive());
    system.run(domain(CHILD), |system| system.receive());
    system.run(domain(CLIENT), |system| {
        system.receive();
        assert_eq!(system.registers().x(0), 1 << 7 | 1 << 1);
    });
    assert_eq!(system.kernel.notifications[client].signal, Signal::None);
}

#[test]
fn an_interrupt_is_masked_until_its_domain_acknowledges_it() {
    let mut system = System::waiting();
    system.interrupt(INTID, 0);
    assert_eq!(system.kernel.machine.masked, [INTID]);
    assert_eq!(system.kernel.machine.ended.last(), Some(&INTID));
    system.run(domain(CLIENT), |system| {
        assert_eq!(system.registers().x(0), 1 << 7);
        assert_eq!(
            system.invoke(INTERRUPT + 7, Invocation::IrqAckIrq, &[]),
            (0, vec![])
        );
    });
    assert!(system.kernel.machine.masked.is_empty());
}

#[test]
fn an_interrupt_that_nobody_handles_stays_masked() {
    let mut system = System::waiting();
    system.interrupt(100, 0);
    assert_eq!(system.kernel.machine.masked, [100]);
    assert_eq!(system.current(), None);
}

#[test]
fn a_second_caller_waits_until_the_first_is_answered() {
    let mut system = System::new();
    // Everybody calls before the server has received anything; the vmm is first by priority.
    system.run(domain(SERVER), |system| {
        system.call(Syscall::Wait, INPUT, MessageInfo::default(), &[]);
    });
    let server = DomainId::new(SERVER).unwrap();
    system.run(domain(VMM), |system| {
        system.call(Syscall::Send, ENDPOINT + 2, info(1, 0), &[]);
    });
    system.run(domain(SERVER), |system| {
        assert_eq!(system.received().0, CALL | 2)
    });
    system.kernel.signal(server, 1);
    system.run(domain(SERVER), |system| {
        system.call(Syscall::NBRecv, INPUT, MessageInfo::default(), &[]);
        assert_eq!(system.registers().x(0), 1, "the signal goes first");
        system.call(Syscall::NBRecv, INPUT, MessageInfo::default(), &[]);
        assert_eq!(system.registers().x(0), 0, "nothing more");
    });
}

#[test]
fn receiving_again_without_an_answer_forgets_the_caller() {
    let mut system = System::waiting();
    system.interrupt(INTID, 0);
    system.run(domain(CLIENT), |system| {
        system.call(Syscall::Call, ENDPOINT + 1, info(0, 0), &[]);
    });
    system.run(domain(SERVER), |system| system.receive());
    assert_eq!(system.state(domain(CLIENT)), State::Inactive);
    // The time stays with the server, which waits on it: as on seL4.
    assert!(system.thread(domain(CLIENT)).budget.is_none());
}

#[test]
fn errors_are_those_of_sel4() {
    let mut system = System::waiting();
    system.interrupt(INTID, 0);
    let mut result = |capability, label: u64| {
        system.call(Syscall::Call, capability, info(label, 0), &[9, 9, 9, 9]);
        let thread = system.current();
        assert_eq!(thread, Some(domain(CLIENT)));
        (
            system.kernel.message_info(domain(CLIENT)).word(),
            system.registers().x(2),
        )
    };
    assert_eq!(result(9, 0), (0x2001, 0), "a slot that holds nothing");
    assert_eq!(
        result(1 << 60, 0),
        (0x2001, 0),
        "an entry of the root that holds nothing"
    );
    assert_eq!(result(INTERRUPT + 7, 5), (0x3000, 9), "no such invocation");
    assert_eq!(
        result(3, 40),
        (0x3000, 9),
        "nothing is offered on address spaces"
    );
    assert_eq!(result(REPLY, 0), (0, 9), "nobody to answer is no error");
}

#[test]
fn a_use_that_does_not_wait_has_no_effect_without_a_receiver() {
    let mut system = System::new();
    system.run(domain(SERVER), |system| system.receive());
    system.run(domain(VMM), |system| {
        system.call(Syscall::NBSend, 1 << 20, info(0, 0), &[]);
    });
    assert!(system.kernel.machine.reports.is_empty());
    assert_eq!(system.current(), Some(domain(VMM)));
}

#[test]
fn only_the_owner_receives_at_an_input() {
    let mut system = System::waiting();
    system.interrupt(INTID, 0);
    system.run(domain(CLIENT), |system| {
        system.call(Syscall::Recv, ENDPOINT + 1, MessageInfo::default(), &[]);
    });
    assert_eq!(system.state(domain(CLIENT)), State::Inactive);
    assert_eq!(system.kernel.machine.reports.len(), 1);
}
