// SPDX-License-Identifier: BSD-2-Clause
//! Who runs, and for how long.

use super::*;

#[test]
fn domains_start_by_priority() {
    let mut system = System::new();
    system.run(domain(SERVER), |system| system.receive());
    system.run(domain(VMM), |system| system.receive());
    // Of equals the one that was started last goes first, as on seL4.
    system.run(domain(CHILD), |system| system.receive());
    system.run(domain(CLIENT), |system| system.receive());
    assert_eq!(system.current(), None);
}

#[test]
fn equals_take_turns_when_their_slices_end() {
    let mut system = System::new();
    system.run(domain(SERVER), |system| system.receive());
    system.run(domain(VMM), |system| system.receive());
    for thread in [CHILD, CLIENT, CHILD, CLIENT] {
        assert_eq!(system.current(), Some(domain(thread)));
        let start = system.kernel.machine.time;
        system.until_deadline();
        assert_eq!(system.kernel.machine.time - start, 1000 * MICROSECOND);
    }
}

#[test]
fn an_interrupted_slice_continues_before_equals() {
    let mut system = System::new();
    system.run(domain(SERVER), |system| system.receive());
    system.run(domain(VMM), |system| system.receive());
    assert_eq!(system.current(), Some(domain(CHILD)));
    let end = system.kernel.machine.deadline;
    system.kernel.signal(DomainId::new(VMM).unwrap(), 1);
    system.finish();
    system.kernel.machine.time += 100 * MICROSECOND;
    system.run(domain(VMM), |system| system.receive());
    assert_eq!(system.current(), Some(domain(CHILD)));
    // The timer was set for the slice as it was, and is set again when it interrupts.
    assert_eq!(system.kernel.machine.deadline, end);
    system.until_deadline();
    assert_eq!(system.current(), Some(domain(CHILD)));
    assert_eq!(system.kernel.machine.deadline, end + 100 * MICROSECOND);
}

#[test]
fn a_yield_ends_the_slice() {
    let mut system = System::new();
    system.run(domain(SERVER), |system| system.receive());
    system.run(domain(VMM), |system| system.receive());
    system.run(domain(CHILD), |system| {
        system.call(Syscall::Yield, 0, MessageInfo::default(), &[]);
    });
    assert_eq!(system.current(), Some(domain(CLIENT)));
}

#[test]
fn a_thread_without_budget_lets_lower_priorities_run_until_its_period_is_over() {
    let mut system = System::with_budget(100, 1000);
    let start = system.kernel.machine.time;
    assert_eq!(system.current(), Some(domain(SERVER)));
    system.until_deadline();
    assert_eq!(system.kernel.machine.time - start, 100 * MICROSECOND);
    assert_eq!(system.current(), Some(domain(VMM)));
    for _ in 0..3 {
        system.until_deadline();
    }
    assert_eq!(system.current(), None, "all have used up theirs");
    system.until_deadline();
    assert_eq!(system.current(), Some(domain(SERVER)));
    assert_eq!(system.kernel.machine.time - start, 1000 * MICROSECOND);
}

#[test]
fn an_operation_for_which_no_budget_is_left_is_repeated_later() {
    let mut system = System::with_budget(100, 1000);
    let start = system.kernel.machine.time;
    system.kernel.machine.time += 90 * MICROSECOND;
    system.registers().words[crate::context::FAULT_PC] = 0x1000;
    system.registers().words[crate::context::NEXT_PC] = 0x1004;
    system.call(
        Syscall::NBSend,
        NOTIFICATION + 1,
        MessageInfo::default(),
        &[],
    );
    assert_ne!(system.current(), Some(domain(SERVER)));
    while system.current() != Some(domain(SERVER)) {
        system.until_deadline();
    }
    assert_eq!(system.registers().words[crate::context::NEXT_PC], 0x1000);
    // The ten that were left were too little to continue with: they come with the ninety that were
    // used, and so much earlier.
    assert_eq!(system.kernel.machine.time - start, 990 * MICROSECOND);
}

#[test]
fn a_restarted_vcpu_goes_before_its_equals() {
    let mut system = System::new();
    system.run(domain(SERVER), |system| system.receive());
    system.run(domain(VMM), |system| {
        system.start_vcpu(0, 0x1000);
        system.start_vcpu(1, 0x2000);
        system.receive();
    });
    system.run(domain(CHILD), |system| system.receive());
    system.run(domain(CLIENT), |system| system.receive());
    assert_eq!(system.current(), Some(vcpu_thread(1)));
    system.until_deadline();
    assert_eq!(system.current(), Some(vcpu_thread(0)));
}

#[test]
fn an_idle_processor_has_no_deadline_and_wakes_for_an_interrupt() {
    let mut system = System::waiting();
    assert_eq!(system.kernel.machine.deadline, Ticks::MAX);
    system.interrupt(INTID, 5_000_000);
    assert_eq!(system.current(), Some(domain(CLIENT)));
    let slice = system.kernel.machine.deadline - system.kernel.machine.time;
    assert!(slice <= 1000 * MICROSECOND, "idle time is nobody's");
}
