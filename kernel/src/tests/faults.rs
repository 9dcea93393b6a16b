// SPDX-License-Identifier: BSD-2-Clause
//! Faults of domains and guests.

use super::*;
use crate::context::{FAULT_PC, NEXT_PC, SPSR};
use crate::object::{Fault, LookupFailure};

const ABORT: Fault = Fault::Memory {
    address: 0x12_3000,
    syndrome: 0x9200_0046,
    fetch: false,
};

/// A vCPU runs, everybody else waits.
fn guest() -> System {
    let mut system = System::new();
    system.run(domain(SERVER), |system| system.receive());
    system.run(domain(VMM), |system| {
        system.start_vcpu(0, 0x4000_0000);
        system.receive();
    });
    system.run(domain(CHILD), |system| system.receive());
    system.run(domain(CLIENT), |system| system.receive());
    assert_eq!(system.current(), Some(vcpu_thread(0)));
    system
}

#[test]
fn a_domain_without_a_parent_is_stopped_and_reported_and_the_others_continue() {
    let mut system = System::new();
    let server = DomainId::new(SERVER).unwrap();
    system.registers().words[FAULT_PC] = 0x20_0abc;
    system.fault(ABORT);
    assert_eq!(system.state(domain(SERVER)), State::Inactive);
    let report = Report::Stopped {
        domain: server,
        fault: ABORT,
        pc: 0x20_0abc,
    };
    assert_eq!(system.kernel.machine.reports, [report]);
    assert_eq!(system.current(), Some(domain(VMM)));
}

#[test]
fn a_childs_fault_goes_to_its_parent_with_its_identifier() {
    let mut system = System::waiting();
    system.kernel.signal(DomainId::new(CHILD).unwrap(), 1);
    system.finish();
    system.run(domain(CHILD), |system| {
        system.registers().words[FAULT_PC] = 0x20_0abc;
        system.fault(ABORT);
    });
    system.run(domain(VMM), |system| {
        let words = vec![0x20_0abc, 0x12_3000, 0, 0x9200_0046];
        assert_eq!(system.received(), (FAULT | 5, 6, words));
        // Restarted at another place, the child continues there.
        let words = [1, 1, 0x30_0000];
        let (label, _) = system.invoke(CHILD_THREAD + 5, Invocation::TcbWriteRegisters, &words);
        assert_eq!(label, 0);
        system.receive();
    });
    system.run(domain(CHILD), |system| {
        assert_eq!(system.registers().words[NEXT_PC], 0x30_0000);
    });
}

#[test]
fn a_trap_goes_to_the_vmm_and_is_repeated_unless_the_vmm_moves_on() {
    let mut system = guest();
    system.registers().words[FAULT_PC] = 0x4000_0010;
    system.fault(Fault::Trap {
        syndrome: 0x5e00_0001,
    });
    system.run(domain(VMM), |system| {
        assert_eq!(system.received(), (FAULT, 8, vec![0x5e00_0001]));
        system.answer(0, &[]);
    });
    system.run(vcpu_thread(0), |system| {
        assert_eq!(system.registers().words[NEXT_PC], 0x4000_0010);
        system.registers().words[FAULT_PC] = 0x4000_0010;
        system.fault(Fault::Trap {
            syndrome: 0x5e00_0001,
        });
    });
    system.run(domain(VMM), |system| {
        let (_, registers) = system.invoke(VM_THREAD, Invocation::TcbReadRegisters, &[0, 3]);
        assert_eq!(registers, [0x4000_0010, 0, 0x3c5]);
        system.invoke(
            VM_THREAD,
            Invocation::TcbWriteRegisters,
            &[0, 1, 0x4000_0014],
        );
        // The label of an answer to a trap means nothing.
        system.answer(1, &[]);
    });
    system.run(vcpu_thread(0), |system| {
        assert_eq!(system.registers().words[NEXT_PC], 0x4000_0014);
    });
}

#[test]
fn an_unknown_system_call_of_a_guest_carries_its_registers() {
    let mut system = guest();
    for register in 0..9 {
        system.registers().set_x(register, 0x100 + register as u64);
    }
    system.registers().words[FAULT_PC] = 0x4000_0010;
    system.registers().words[NEXT_PC] = 0x4000_0014;
    system.kernel.system_call();
    system.finish();
    system.run(domain(VMM), |system| {
        let (badge, label, words) = system.received();
        assert_eq!((badge, label, words.len()), (FAULT, 2, 13));
        assert_eq!(
            words[..8],
            [0x100, 0x101, 0x102, 0x103, 0x104, 0x105, 0x106, 0x107]
        );
        assert_eq!(words[8..], [0x4000_0010, 0, 0x4000_0014, 0x3c5, 0x107]);
        // Its answer may set registers, but no state above EL1.
        system.answer(0, &[1, 2, 3, 4, 5, 6, 7, 8, 0x4000_0100, 9, 0, 0x3c9]);
    });
    system.run(vcpu_thread(0), |system| {
        assert_eq!(system.registers().x(3), 4);
        assert_eq!(system.registers().words[NEXT_PC], 0x4000_0100);
        assert_eq!(system.registers().words[SPSR] & 0x1f, 0);
    });
}

#[test]
fn an_answer_with_a_label_leaves_a_guest_with_an_unknown_system_call_stopped() {
    let mut system = guest();
    system.fault(Fault::UnknownSyscall { number: 1 });
    system.run(domain(VMM), |system| system.answer(1, &[]));
    assert_eq!(system.state(vcpu_thread(0)), State::Inactive);
    assert_eq!(system.current(), None);
}

#[test]
fn a_guests_use_of_a_capability_is_a_fault_or_an_error_of_its_own() {
    let mut system = guest();
    system.call(Syscall::Call, 5, MessageInfo::default(), &[]);
    system.run(vcpu_thread(0), |system| {
        assert_eq!(
            (system.registers().x(0), system.registers().x(1)),
            (0, 0x2001)
        );
        system.call(Syscall::Send, 5, MessageInfo::default(), &[]);
    });
    system.run(vcpu_thread(0), |system| {
        system.registers().words[FAULT_PC] = 0x4000_0010;
        system.call(Syscall::Recv, 5, MessageInfo::default(), &[]);
    });
    system.run(domain(VMM), |system| {
        assert_eq!(system.received(), (FAULT, 1, vec![0x4000_0010, 5, 1, 2, 0]));
        system.answer(0, &[]);
    });
    system.run(vcpu_thread(0), |system| {
        system.call(Syscall::Send, 512, MessageInfo::default(), &[]);
    });
    system.run(domain(VMM), |system| {
        let (_, label, words) = system.received();
        assert_eq!((label, &words[1..]), (1, &[512, 0, 4, 64, 0, 55][..]));
    });
}

#[test]
fn a_missing_capability_where_one_must_be_stops_the_domain() {
    let mut system = System::new();
    system.call(Syscall::Send, 1 << 20, MessageInfo::default(), &[]);
    let failure = LookupFailure::GuardMismatch {
        bits_left: 58,
        guard_bits: 49,
    };
    let expected = Fault::Capability {
        address: 1 << 20,
        receiving: false,
        failure,
    };
    assert!(matches!(
        system.kernel.machine.reports[..],
        [Report::Stopped { fault, .. }] if fault == expected
    ));
}

#[test]
fn a_dead_server_takes_its_caller_along_and_nobody_else() {
    let mut system = System::waiting();
    system.interrupt(INTID, 0);
    system.run(domain(CLIENT), |system| {
        system.call(Syscall::Call, ENDPOINT + 1, MessageInfo::default(), &[]);
    });
    system.run(domain(SERVER), |system| system.fault(ABORT));
    assert!(matches!(
        system.state(domain(CLIENT)),
        State::Calling { .. }
    ));
    system.kernel.signal(DomainId::new(VMM).unwrap(), 1);
    system.finish();
    assert_eq!(system.current(), Some(domain(VMM)));
}

#[test]
fn the_monitor_answers_nobody() {
    let mut system = System::new();
    system.run(domain(SERVER), |system| {
        system.call(Syscall::Call, MONITOR, MessageInfo::new(9, 0, 0, 0), &[]);
    });
    assert_eq!(system.state(domain(SERVER)), State::Inactive);
    let server = DomainId::new(SERVER).unwrap();
    let report = Report::UnknownRequest {
        domain: server,
        label: 9,
    };
    assert_eq!(system.kernel.machine.reports, [report]);
}
