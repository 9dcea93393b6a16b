// SPDX-License-Identifier: BSD-2-Clause
//! Virtual CPUs: registers, interrupts, lazy switching.

use super::*;
use crate::interrupt::{MAINTENANCE, VIRTUAL_TIMER};
use crate::object::Fault;

/// Both vCPUs have been started, the first runs, the VMM waits.
fn two_guests() -> System {
    let mut system = System::new();
    system.run(domain(SERVER), |system| system.receive());
    system.run(domain(VMM), |system| {
        for id in [1, 0] {
            let register = VCpuRegister::VMPIDR_EL2.number();
            let words = [register, 0x8000_0000 + id];
            assert_eq!(
                system
                    .invoke(VCPU + id, Invocation::ArmVcpuWriteReg, &words)
                    .0,
                0
            );
            system.start_vcpu(id, 0x4000_0000);
        }
        system.receive();
    });
    system.run(domain(CHILD), |system| system.receive());
    system.run(domain(CLIENT), |system| system.receive());
    assert_eq!(system.current(), Some(vcpu_thread(0)));
    system
}

/// Has the running vCPU exit to the VMM.
fn exit(system: &mut System) {
    system.fault(Fault::Trap {
        syndrome: 0x5e00_0000,
    });
    assert_eq!(system.current(), Some(domain(VMM)));
}

fn read(system: &mut System, vcpu: u64, register: VCpuRegister) -> u64 {
    let (label, words) = system.invoke(
        VCPU + vcpu,
        Invocation::ArmVcpuReadReg,
        &[register.number()],
    );
    assert_eq!((label, words.len()), (0, 1));
    words[0]
}

fn write(system: &mut System, vcpu: u64, register: VCpuRegister, value: u64) {
    let words = [register.number(), value];
    assert_eq!(
        system.invoke(VCPU + vcpu, Invocation::ArmVcpuWriteReg, &words),
        (0, vec![])
    );
}

/// The word of an injection.
fn interrupt(intid: u64, priority: u64, group: u64, index: u64) -> u64 {
    intid | priority << 16 | group << 24 | index << 32
}

#[test]
fn leaving_a_guest_for_a_domain_saves_only_what_is_in_the_way() {
    let mut system = two_guests();
    let saves = system.kernel.machine.full_saves;
    for _ in 0..3 {
        exit(&mut system);
        system.answer(0, &[]);
        assert_eq!(system.current(), Some(vcpu_thread(0)));
    }
    assert_eq!(system.kernel.machine.full_saves, saves);
    exit(&mut system);
    system.receive();
    assert_eq!(system.current(), Some(vcpu_thread(1)));
    assert_eq!(system.kernel.machine.full_saves, saves + 1);
}

#[test]
fn every_register_of_every_vcpu_is_its_own_wherever_it_is() {
    let mut system = two_guests();
    let value = |vcpu: u64, register: VCpuRegister| 0x1000 * (vcpu + 1) + register.number();
    exit(&mut system);
    for vcpu in 0..2 {
        for register in VCpuRegister::ALL {
            write(&mut system, vcpu, register, value(vcpu, register));
        }
    }
    system.answer(0, &[]);
    // The running guest sees its own and changes one of each kind.
    for register in VCpuRegister::ALL {
        assert_eq!(
            system.kernel.machine.registers[register as usize],
            value(0, register)
        );
    }
    system.kernel.machine.registers[VCpuRegister::TTBR0 as usize] = 0xabc;
    system.kernel.machine.registers[VCpuRegister::SCTLR as usize] = 0xdef;
    exit(&mut system);
    for vcpu in 0..2 {
        for register in VCpuRegister::ALL {
            let expected = match (vcpu, register) {
                (0, VCpuRegister::TTBR0) => 0xabc,
                (0, VCpuRegister::SCTLR) => 0xdef,
                _ => value(vcpu, register),
            };
            assert_eq!(
                read(&mut system, vcpu, register),
                expected,
                "{vcpu} {register:?}"
            );
        }
    }
    // The first waits for its answer; the second gets the processor and finds its own.
    system.receive();
    assert_eq!(system.current(), Some(vcpu_thread(1)));
    for register in VCpuRegister::ALL {
        assert_eq!(
            system.kernel.machine.registers[register as usize],
            value(1, register)
        );
    }
    exit(&mut system);
    assert_eq!(read(&mut system, 0, VCpuRegister::TTBR0), 0xabc);
}

#[test]
fn floating_point_registers_change_hands_between_guests_only() {
    let mut system = two_guests();
    system.kernel.machine.floating_point.vectors[3] = [1, 2];
    exit(&mut system);
    assert!(system.kernel.machine.floating_point_traps);
    assert_eq!(system.kernel.machine.floating_point.vectors[3], [1, 2]);
    system.receive();
    assert_eq!(system.current(), Some(vcpu_thread(1)));
    assert_eq!(system.kernel.machine.floating_point.vectors[3], [0, 0]);
    system.kernel.machine.floating_point.vectors[3] = [3, 4];
    exit(&mut system);
    system.start_vcpu(0, 0x4000_0000);
    system.receive();
    assert_eq!(system.current(), Some(vcpu_thread(0)));
    assert_eq!(system.kernel.machine.floating_point.vectors[3], [1, 2]);
}

#[test]
fn thread_pointers_change_hands_with_the_thread() {
    let mut system = two_guests();
    system.kernel.machine.thread_pointers = (5, 6);
    exit(&mut system);
    assert_eq!(system.kernel.machine.thread_pointers, (0, 0));
    let (_, words) = system.invoke(VM_THREAD, Invocation::TcbReadRegisters, &[0, 36]);
    assert_eq!(words[34..], [5, 6]);
    system.answer(0, &[]);
    assert_eq!(system.kernel.machine.thread_pointers, (5, 6));
}

#[test]
fn an_injection_makes_an_interrupt_pending_with_an_event_at_its_end() {
    let mut system = two_guests();
    exit(&mut system);
    let inject = |system: &mut System, vcpu, word| {
        system.invoke(VCPU + vcpu, Invocation::ArmVcpuInjectIrq, &[word])
    };
    assert_eq!(inject(&mut system, 0, interrupt(40, 5, 1, 2)), (0, vec![]));
    assert_eq!(
        system.kernel.machine.list_registers[2],
        1 << 30 | 1 << 28 | 5 << 23 | 1 << 19 | 40
    );
    assert_eq!(inject(&mut system, 1, interrupt(41, 0, 0, 0)), (0, vec![]));
    assert_eq!(
        system.kernel.machine.list_registers[0], 0,
        "the other's are not loaded"
    );
    let range = |most| (4, vec![0, most]);
    assert_eq!(
        inject(&mut system, 0, interrupt(0x400, 0, 0, 0)),
        range(0x3ff)
    );
    assert_eq!(inject(&mut system, 0, interrupt(1, 32, 0, 0)), range(31));
    assert_eq!(inject(&mut system, 0, interrupt(1, 0, 2, 0)), range(1));
    assert_eq!(inject(&mut system, 0, interrupt(1, 0, 0, 4)), range(3));
    system.receive();
    assert_eq!(system.current(), Some(vcpu_thread(1)));
    assert_eq!(
        system.kernel.machine.list_registers,
        [1 << 28 | 1 << 19 | 41, 0, 0, 0]
    );
}

#[test]
fn an_injection_over_an_active_interrupt_is_refused_only_if_the_saved_copy_shows_it() {
    let mut system = two_guests();
    let active = 2 << 28 | 40;
    system.kernel.machine.list_registers[1] = active;
    exit(&mut system);
    let word = interrupt(41, 0, 0, 1);
    let result = system.invoke(VCPU, Invocation::ArmVcpuInjectIrq, &[word]);
    assert_eq!(result, (0, vec![]), "the copy is stale while it is loaded");
    system.kernel.machine.list_registers[1] = active;
    system.receive();
    assert_eq!(system.current(), Some(vcpu_thread(1)));
    exit(&mut system);
    let result = system.invoke(VCPU, Invocation::ArmVcpuInjectIrq, &[word]);
    assert_eq!(result, (8, vec![]), "now it is saved");
}

#[test]
fn the_end_of_an_interrupt_reaches_the_vmm_with_its_list_register() {
    let mut system = two_guests();
    system.kernel.machine.list_registers[1] = 1 << 19 | 40;
    system.kernel.machine.maintenance = (1, 1 << 1);
    system.interrupt(MAINTENANCE, 0);
    system.run(domain(VMM), |system| {
        assert_eq!(system.received(), (FAULT, 7, vec![1]))
    });
    assert_eq!(
        system.kernel.machine.list_registers[1], 40,
        "the event has been taken"
    );
    system.answer(0, &[]);
    system.kernel.machine.maintenance = (0, 0);
    system.interrupt(MAINTENANCE, 0);
    system.run(domain(VMM), |system| {
        assert_eq!(system.received(), (FAULT, 7, vec![u64::MAX]));
    });
}

#[test]
fn the_virtual_timer_is_masked_from_its_event_until_it_is_acknowledged() {
    let mut system = two_guests();
    assert!(!system.kernel.machine.masked.contains(&VIRTUAL_TIMER));
    system.interrupt(VIRTUAL_TIMER, 0);
    system.run(domain(VMM), |system| {
        assert_eq!(
            system.received(),
            (FAULT, 9, vec![u64::from(VIRTUAL_TIMER)])
        );
        system.answer(0, &[]);
    });
    assert!(system.kernel.machine.masked.contains(&VIRTUAL_TIMER));
    exit(&mut system);
    system.receive();
    assert_eq!(system.current(), Some(vcpu_thread(1)));
    assert!(
        !system.kernel.machine.masked.contains(&VIRTUAL_TIMER),
        "each has its own mask"
    );
    exit(&mut system);
    let acknowledge =
        |system: &mut System, intid| system.invoke(VCPU, Invocation::ArmVcpuAckVppi, &[intid]);
    assert_eq!(acknowledge(&mut system, 28), (1, vec![0]));
    assert_eq!(acknowledge(&mut system, 160), (4, vec![0, 159]));
    assert_eq!(acknowledge(&mut system, 27), (0, vec![]));
    system.start_vcpu(0, 0x4000_0000);
    system.receive();
    assert_eq!(system.current(), Some(vcpu_thread(0)));
    assert!(!system.kernel.machine.masked.contains(&VIRTUAL_TIMER));
}

#[test]
fn a_guests_interrupt_is_nobodys_while_a_domain_runs() {
    let mut system = two_guests();
    exit(&mut system);
    for intid in [MAINTENANCE, VIRTUAL_TIMER] {
        system.interrupt(intid, 0);
        assert_eq!(system.current(), Some(domain(VMM)));
        assert_eq!(system.kernel.machine.ended.last(), Some(&intid));
    }
    assert_eq!(system.received().1, 8, "the message is still the trap's");
    assert!(
        system.kernel.timer_masked,
        "until the guest is entered again"
    );
}

#[test]
fn a_suspended_vcpu_continues_where_it_was() {
    let mut system = two_guests();
    system.registers().words[crate::context::NEXT_PC] = 0x4000_0040;
    system.registers().words[crate::context::FAULT_PC] = 0x4000_003c;
    system.kernel.signal(DomainId::new(VMM).unwrap(), 1);
    system.finish();
    system.run(domain(VMM), |system| {
        assert_eq!(
            system.invoke(VM_THREAD, Invocation::TcbSuspend, &[]),
            (0, vec![])
        );
        let (_, words) = system.invoke(VM_THREAD, Invocation::TcbReadRegisters, &[0, 1]);
        assert_eq!(words, [0x4000_0040]);
        assert_eq!(
            system.invoke(VM_THREAD, Invocation::TcbResume, &[]),
            (0, vec![])
        );
        assert_eq!(
            system.invoke(VM_THREAD + 1, Invocation::TcbSuspend, &[]),
            (0, vec![])
        );
        system.receive();
    });
    system.run(vcpu_thread(0), |system| {
        assert_eq!(
            system.registers().words[crate::context::NEXT_PC],
            0x4000_0040
        );
    });
}

#[test]
fn invalid_reads_and_writes_of_registers_are_refused() {
    let mut system = two_guests();
    exit(&mut system);
    let mut result = |slot, what, words: &[u64]| system.invoke(slot, what, words);
    let range = (4, vec![1, 36]);
    assert_eq!(
        result(VM_THREAD, Invocation::TcbReadRegisters, &[0, 37]),
        range
    );
    assert_eq!(
        result(VM_THREAD, Invocation::TcbReadRegisters, &[0, 0]),
        range
    );
    assert_eq!(
        result(VM_THREAD, Invocation::TcbReadRegisters, &[0]),
        (7, vec![])
    );
    assert_eq!(
        result(VM_THREAD, Invocation::TcbWriteRegisters, &[0, 2, 1]),
        (7, vec![])
    );
    assert_eq!(
        result(VCPU, Invocation::ArmVcpuReadReg, &[24]),
        (1, vec![1])
    );
    assert_eq!(result(VCPU, Invocation::ArmVcpuWriteReg, &[0]), (7, vec![]));
    assert_eq!(
        result(VCPU, Invocation::TcbReadRegisters, &[0, 1]),
        (3, vec![])
    );
}
