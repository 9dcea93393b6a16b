// SPDX-License-Identifier: BSD-2-Clause
//! Capture and restore against a model of the kernel, the processor and the stub.

pub(crate) mod fake;
mod interface;
mod lossless;
mod scripts;
mod system;

use channel::timer::VirtualTimer;
use channel::vgic::{Answer, CpuInterface, Injection, LIST_REGISTERS, RestorePlan};
use channel::{Intid, Ticks, VcpuId};
use proptest::prelude::*;
use state::{Class, Register, RegisterFile, Source};

use super::layout::{self, Command};
use super::{
    Capture, CaptureError, Captured, Clean, Features, Probe, Progress, Restore, Restored, identity,
    park,
};
use crate::exit::{Exit, Syndrome, class};
use crate::lifecycle::gate::RunPermit;
use crate::port::VcpuRegister;
use fake::{Asked, Fake, Slot, Thread, features};

const VCPU: VcpuId = match VcpuId::new(2) {
    Some(vcpu) => vcpu,
    None => unreachable!(),
};

/// Whether a register is the stub's on the fake's processor.
fn is_stubs(register: Register) -> bool {
    let all = features().saved(6);
    let position = layout::SAVED.iter().position(|saved| *saved == register);
    register.source() == Source::StubVectors
        || position.is_some_and(|position| all.iter().any(|range| range.contains(&position)))
}

fn any_stubs() -> impl Strategy<Value = RegisterFile> {
    prop::collection::vec(any::<u128>(), state::REGISTER_COUNT).prop_map(|values| {
        let mut file = RegisterFile::new();
        for (register, value) in Register::ALL.into_iter().zip(values) {
            if is_stubs(register) {
                let value = value & (u128::MAX >> (128 - register.width().bits()));
                assert!(file.set(register, value));
            }
        }
        file
    })
}

fn any_thread() -> impl Strategy<Value = Thread> {
    // EL0t, EL1t, EL1h, and a 32-bit program.
    let mode = prop::sample::select(vec![0_u64, 4, 5, 0x10]);
    let words = (mode, any::<[u32; 3]>());
    (any::<[u64; 31]>(), any::<[u64; 2]>(), words).prop_map(
        |(general, pointers, (mode, [program_counter, stack_pointer, state]))| Thread {
            program_counter: program_counter.into(),
            stack_pointer: stack_pointer.into(),
            state: u64::from(state) & !0x1f | mode,
            general,
            pointers,
        },
    )
}

fn any_slots() -> impl Strategy<Value = [Slot; LIST_REGISTERS]> {
    prop::array::uniform4((0u8..5, 0u16..200)).prop_map(|slots| {
        let mut position = 0;
        slots.map(|(kind, intid)| {
            position += 1;
            // Different in each list register, as vgic-pd keeps them.
            let intid = 4 * intid + position - 1;
            match kind {
                0 => Slot::Empty,
                1 => Slot::Pending(intid),
                2 => Slot::Active(intid),
                3 => Slot::Ended(intid),
                _ => Slot::Lost(intid),
            }
        })
    })
}

fn any_interface() -> impl Strategy<Value = CpuInterface> {
    any::<[u32; 5]>().prop_map(CpuInterface::from_words)
}

prop_compose! {
    fn any_fake()(
        registers in any_stubs(),
        thread in any_thread(),
        slots in any_slots(),
        interface in any_interface(),
        (compare, kernel_control) in any::<(u64, u32)>(),
        (sctlr, control) in any::<(u64, u64)>(),
        slow_events in any::<bool>(),
    ) -> Fake {
        let mut fake = Fake::parked(VCPU, registers);
        fake.thread = thread;
        fake.slots = slots;
        fake.interface = interface;
        fake.timer = [compare, kernel_control.into()];
        fake.object.insert(VcpuRegister::SCTLR, sctlr);
        fake.object.insert(VcpuRegister::CntvCtl, control);
        fake.slow_events = slow_events;
        fake
    }
}

fn capture(fake: &mut Fake) -> Result<(RegisterFile, Captured), CaptureError> {
    let mut registers = RegisterFile::new();
    let entries = fake.entries();
    let mut capture = Capture::begin(fake, VCPU, features(), &entries, false, &mut registers)?;
    loop {
        let exit = fake.next_exit();
        if let Progress::Done(captured) = capture.on_exit(fake, exit, &mut registers)? {
            return Ok((registers, captured));
        }
    }
}

fn restore(
    fake: &mut Fake,
    registers: &RegisterFile,
    timer: &VirtualTimer,
    plan: &RestorePlan,
) -> Result<Restored, CaptureError> {
    let mut restore = Restore::begin(fake, VCPU, features(), registers, timer, plan)?;
    loop {
        let exit = fake.next_exit();
        if let Progress::Done(restored) = restore.on_exit(fake, exit, registers)? {
            return Ok(restored);
        }
    }
}

fn injection(list_register: usize, intid: u16) -> Injection {
    Injection {
        vcpu: VCPU,
        intid: Intid::new(intid).unwrap(),
        priority: 3,
        group: 0,
        list_register: u8::try_from(list_register).unwrap(),
    }
}

/// The plan that brings what was active back, as vgic-pd makes it.
fn plan(slots: &[Slot], interface: CpuInterface) -> RestorePlan {
    let mut active = Answer::new(0);
    for (register, slot) in slots.iter().enumerate() {
        if let Slot::Active(intid) = slot {
            assert!(active.inject(injection(register, *intid)));
        }
    }
    RestorePlan { interface, active }
}

/// What a guest can still find in a list register.
fn architectural(slot: Slot) -> Slot {
    match slot {
        Slot::Ended(_) | Slot::Lost(_) => Slot::Empty,
        slot => slot,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Pending, active, ended, ended with the event lost: each is told apart, with prompt and with slow events.
    #[test]
    fn what_each_list_register_was_is_found(mut fake in any_fake()) {
        let slots = fake.slots;
        let (_, captured) = capture(&mut fake).unwrap();
        for (register, slot) in slots.into_iter().enumerate() {
            let bit = |bits: u8| bits >> register & 1 == 1;
            prop_assert_eq!(bit(captured.found.pending), matches!(slot, Slot::Pending(_)));
            prop_assert_eq!(bit(captured.found.active), matches!(slot, Slot::Active(_)));
        }
        let left = fake.slots.map(architectural);
        prop_assert_eq!(left, [Slot::Empty; LIST_REGISTERS]);
    }

    /// `CNTKCTL_EL1` has 32 bits, and some processors keep what is written into the others.
    #[test]
    fn what_a_guest_writes_into_reserved_bits_does_not_keep_it_from_being_captured(
        mut fake in any_fake(), reserved in any::<u32>(),
    ) {
        let [_, control] = fake.timer;
        fake.timer[1] |= u64::from(reserved) << 32;
        let (_, captured) = capture(&mut fake).unwrap();
        prop_assert_eq!(u64::from(captured.timer.kernel_control), control);
    }

    /// Into a machine that was another one: nothing is lost, nothing of the other shines through.
    #[test]
    fn a_restore_into_a_dirty_machine_gives_back_what_was_captured(
        mut fake in any_fake(), mut dirty in any_fake(),
    ) {
        let (slots, thread, stubs) = (fake.slots, fake.thread.clone(), fake.registers.clone());
        let (interface, timer) = (fake.interface, fake.timer);
        let sctlr = fake.object[&VcpuRegister::SCTLR];
        let control = fake.object[&VcpuRegister::CntvCtl];
        let (registers, captured) = capture(&mut fake).unwrap();
        prop_assert_eq!(captured.interface, interface);
        prop_assert_eq!(captured.timer.control, u32::try_from(control & 3).unwrap());

        park(&mut dirty, VCPU).unwrap();
        dirty.slots = [Slot::Empty; LIST_REGISTERS];
        let plan = plan(&slots, captured.interface);
        let restored = restore(&mut dirty, &registers, &captured.timer, &plan).unwrap();
        let ready = restored.give_time(&mut dirty, &registers, RunPermit::with(77)).unwrap();
        ready.release(&mut dirty, &registers, true).unwrap();
        prop_assert_eq!(&dirty.registers, &stubs);
        prop_assert_eq!(&dirty.thread, &thread);
        prop_assert_eq!(dirty.interface, interface);
        prop_assert_eq!(dirty.timer, timer);
        prop_assert_eq!(dirty.object[&VcpuRegister::SCTLR], sctlr);
        prop_assert_eq!(dirty.object[&VcpuRegister::CntvCtl], control & 3);
        prop_assert_eq!(dirty.object[&VcpuRegister::Cntvoff], 77);
        prop_assert_eq!(dirty.object[&VcpuRegister::VMPIDR], identity(VCPU));
        let active = slots.map(|slot| match slot {
            Slot::Active(_) => slot,
            _ => Slot::Empty,
        });
        prop_assert_eq!(dirty.slots, active);
    }

    /// The page is the guest's to scribble on: whatever is there, there is an answer and no panic, and what the kernel
    /// knows of the vCPU stays as the kernel says.
    #[test]
    fn a_page_full_of_anything_changes_nothing_that_the_kernel_knows(
        mut fake in any_fake(),
        words in prop::collection::vec(any::<u64>(), layout::PAGE / 8),
        small in any::<bool>(),
        exits in prop::collection::vec(0u64..8, 1..6),
    ) {
        let mut registers = RegisterFile::new();
        let entries = fake.entries();
        let mut capture =
            Capture::begin(&mut fake, VCPU, features(), &entries, false, &mut registers).unwrap();
        let known: Vec<_> = registers.iter().collect();
        prop_assert!(known.contains(&(Register::MPIDR_EL1, identity(VCPU).into())));
        for (word, value) in fake.page.iter_mut().zip(words) {
            *word = if small { value & 3 } else { value };
        }
        for exit in exits {
            let exit = match exit {
                0 => Exit::SecureMonitorCall(Syndrome(class::SMC << 26 | 0x4701)),
                1 => Exit::SecureMonitorCall(Syndrome(class::SMC << 26 | 0x4704)),
                2 => Exit::SecureMonitorCall(Syndrome(class::SMC << 26 | 0x47ff)),
                register => Exit::Maintenance(register - 3),
            };
            match capture.on_exit(&mut fake, exit, &mut registers) {
                Ok(Progress::Running) => {}
                Ok(Progress::Done(_)) | Err(_) => break,
            }
        }
        for (register, value) in known {
            prop_assert_eq!(registers.get(register), Some(value), "{:?}", register);
        }
    }

    /// Nobody knows what the last guest left in the list registers.
    #[test]
    fn a_cleaned_vcpu_is_as_one_that_never_ran(mut dirty in any_fake()) {
        let mut clean = Clean::begin(&mut dirty, VCPU, features()).unwrap();
        loop {
            let exit = dirty.next_exit();
            if clean.on_exit(&mut dirty, exit).unwrap() == Progress::Done(()) {
                break;
            }
        }
        prop_assert!(dirty.registers.iter().all(|(_, value)| value == 0));
        let left = dirty.slots.map(architectural);
        prop_assert_eq!(left, [Slot::Empty; LIST_REGISTERS]);
        prop_assert_eq!(dirty.interface, CpuInterface::default());
        prop_assert!(dirty.asked.contains(&Asked::AcknowledgeTimer));
    }

    #[test]
    fn a_register_that_the_record_lacks_becomes_zero(mut dirty in any_fake()) {
        dirty.slots = [Slot::Empty; LIST_REGISTERS];
        let nothing = RegisterFile::new();
        let timer = VirtualTimer::default();
        park(&mut dirty, VCPU).unwrap();
        let restored = restore(&mut dirty, &nothing, &timer, &plan(&[], CpuInterface::default()));
        let ready = restored.unwrap().give_time(&mut dirty, &nothing, RunPermit::with(0)).unwrap();
        ready.release(&mut dirty, &nothing, false).unwrap();
        prop_assert!(dirty.registers.iter().all(|(_, value)| value == 0));
        prop_assert_eq!(&dirty.thread, &Thread::default());
    }
}

#[test]
fn nothing_but_the_stub_runs_before_the_release_and_the_timer_comes_last() {
    let mut fake = Fake::parked(VCPU, RegisterFile::new());
    let timer = VirtualTimer {
        control: 1,
        compare: Ticks(5),
        ..VirtualTimer::default()
    };
    let plan = plan(&[Slot::Active(40)], CpuInterface::default());
    let restored = restore(&mut fake, &RegisterFile::new(), &timer, &plan).unwrap();
    assert!(!fake.asked.contains(&Asked::LetGo));
    assert!(
        fake.asked
            .ends_with(&[Asked::Inject(40), Asked::Run(Command::Load)])
    );
    fake.asked.clear();
    let registers = RegisterFile::new();
    restored
        .give_time(&mut fake, &registers, RunPermit::with(9))
        .and_then(|ready| ready.release(&mut fake, &registers, true))
        .unwrap();
    assert_eq!(
        fake.asked,
        [
            Asked::Write(VcpuRegister::Cntvoff, 9),
            Asked::Write(VcpuRegister::SCTLR, 0),
            Asked::Write(VcpuRegister::CntvCtl, 1),
            Asked::AcknowledgeTimer,
            Asked::LetGo,
        ]
    );
}

#[test]
fn a_timer_event_that_may_have_been_lost_is_acknowledged_and_a_delivered_one_is_not() {
    for asserted in [false, true] {
        let mut fake = Fake::parked(VCPU, RegisterFile::new());
        let mut registers = RegisterFile::new();
        let entries = fake.entries();
        let features = Features::default();
        let begin = Capture::begin(
            &mut fake,
            VCPU,
            features,
            &entries,
            asserted,
            &mut registers,
        );
        let exit = fake.next_exit();
        let Progress::Done(captured) = begin
            .unwrap()
            .on_exit(&mut fake, exit, &mut registers)
            .unwrap()
        else {
            panic!("empty list registers take one run");
        };
        assert_eq!(captured.timer.asserted, asserted);
        let plan = plan(&[], captured.interface);
        let restored = restore(&mut fake, &registers, &captured.timer, &plan).unwrap();
        restored
            .give_time(&mut fake, &registers, RunPermit::with(0))
            .and_then(|ready| ready.release(&mut fake, &registers, true))
            .unwrap();
        assert_eq!(fake.asked.contains(&Asked::AcknowledgeTimer), !asserted);
    }
}

#[test]
fn a_vcpu_with_empty_list_registers_is_captured_in_one_exit() {
    let mut fake = Fake::parked(VCPU, RegisterFile::new());
    capture(&mut fake).unwrap();
    let runs = fake
        .asked
        .iter()
        .filter(|asked| matches!(asked, Asked::Run(_)));
    assert_eq!(runs.count(), 1);
}

#[test]
fn an_exit_that_is_not_the_stubs_ends_the_capture() {
    let guests = [
        Exit::SecureMonitorCall(Syndrome(class::SMC << 26)),
        Exit::SecureMonitorCall(Syndrome(class::SMC << 26 | 0x4702)),
        Exit::WaitForInterrupt,
        Exit::HypervisorCall { program_counter: 0 },
    ];
    for exit in guests {
        let mut fake = Fake::parked(VCPU, RegisterFile::new());
        let mut registers = RegisterFile::new();
        let entries = fake.entries();
        let begin = Capture::begin(&mut fake, VCPU, features(), &entries, false, &mut registers);
        assert_eq!(
            begin.unwrap().on_exit(&mut fake, exit, &mut registers),
            Err(CaptureError::Exit(exit))
        );
    }
}

#[test]
fn an_exception_inside_the_stub_is_reported_with_its_syndrome() {
    let mut fake = Fake::parked(VCPU, RegisterFile::new());
    let mut registers = RegisterFile::new();
    let entries = fake.entries();
    let begin = Capture::begin(&mut fake, VCPU, features(), &entries, false, &mut registers);
    fake.page[layout::FAULT] = 0x0200_0000;
    fake.page[layout::FAULT + 1] = 0x0c00_0400;
    let exit = Exit::SecureMonitorCall(Syndrome(class::SMC << 26 | 0x47ff));
    let error = begin
        .unwrap()
        .on_exit(&mut fake, exit, &mut registers)
        .unwrap_err();
    assert_eq!(
        error,
        CaptureError::Exception {
            syndrome: 0x0200_0000,
            address: 0x0c00_0400
        }
    );
    assert_eq!(error.detail(), 5 << 56 | 0x0200_0000);
}

#[test]
fn an_interrupt_that_nobody_put_there_is_noticed() {
    let mut fake = Fake::parked(VCPU, RegisterFile::new());
    let mut registers = RegisterFile::new();
    let entries = fake.entries();
    fake.slots[0] = Slot::Pending(50);
    let begin = Capture::begin(&mut fake, VCPU, features(), &entries, false, &mut registers);
    let exit = fake.next_exit();
    assert_eq!(
        begin.unwrap().on_exit(&mut fake, exit, &mut registers),
        Err(CaptureError::Interrupt { intid: 50 })
    );
}

#[test]
fn what_a_guest_wrote_into_the_reserved_half_of_cntkctl_does_not_end_it() {
    let mut fake = Fake::parked(VCPU, RegisterFile::new());
    fake.timer = [77, 1 << 40 | 0x203];
    let (_, captured) = capture(&mut fake).unwrap();
    assert_eq!(captured.timer.kernel_control, 0x203);
}

#[test]
fn an_active_interrupt_that_the_interface_does_not_acknowledge_is_noticed() {
    let mut fake = Fake::parked(VCPU, RegisterFile::new());
    let plan = plan(&[Slot::Active(60)], CpuInterface::default());
    let registers = RegisterFile::new();
    let timer = VirtualTimer::default();
    let mut restore =
        Restore::begin(&mut fake, VCPU, features(), &registers, &timer, &plan).unwrap();
    fake.page[layout::NOTED] = 0;
    let exit = fake.next_exit();
    assert_eq!(
        restore.on_exit(&mut fake, exit, &registers),
        Err(CaptureError::Interrupt { intid: 60 })
    );
}

// Pitfall: vCPUs were restored in another order.
#[test]
fn another_vcpus_registers_are_refused() {
    let mut fake = Fake::parked(VCPU, RegisterFile::new());
    let mut registers = RegisterFile::new();
    assert!(registers.set_word(Register::MPIDR_EL1, identity(VCPU) ^ 1));
    let plan = plan(&[], CpuInterface::default());
    let refused = restore(&mut fake, &registers, &VirtualTimer::default(), &plan);
    assert_eq!(refused, Err(CaptureError::Register(Register::MPIDR_EL1)));
    assert_eq!(fake.asked, []);
}

#[test]
fn debug_registers_and_counters_that_the_processor_lacks_are_refused_by_name() {
    let timer = VirtualTimer::default();
    for register in [Register::DBGBVR6_EL1, Register::DBGWCR4_EL1] {
        let mut registers = RegisterFile::new();
        assert!(registers.set_word(register, 0));
        let mut fake = Fake::parked(VCPU, RegisterFile::new());
        let plan = plan(&[], CpuInterface::default());
        assert_eq!(
            restore(&mut fake, &registers, &timer, &plan),
            Err(CaptureError::Register(register))
        );
    }
    let mut registers = RegisterFile::new();
    assert!(registers.set_word(Register::PMEVCNTR6_EL0, 0));
    let mut fake = Fake::parked(VCPU, RegisterFile::new());
    let plan = plan(&[], CpuInterface::default());
    assert_eq!(
        restore(&mut fake, &registers, &timer, &plan),
        Err(CaptureError::Register(Register::PMCR_EL0))
    );
}

fn probe(fake: &mut Fake) -> RegisterFile {
    let mut probe = Probe::begin(fake, VCPU).unwrap();
    loop {
        let exit = fake.next_exit();
        if let Progress::Done(constants) = probe.on_exit(fake, exit).unwrap() {
            return constants;
        }
    }
}

fn processor() -> Fake {
    let mut constants = RegisterFile::new();
    for register in Register::ALL {
        if register.class() == Class::Constant {
            let value = 0x11 + register.index() as u64;
            assert!(constants.set_word(register, value));
        }
    }
    assert!(constants.set_word(Register::ID_AA64DFR0_EL1, 0x1030_5106));
    assert!(constants.set_word(Register::CCSIDR_L3D, 0));
    Fake::parked(VCPU, constants)
}

#[test]
fn the_probe_reads_every_constant_that_there_is() {
    let mut fake = processor();
    let constants = probe(&mut fake);
    for register in Register::ALL {
        let absent = matches!(register, Register::CCSIDR_L3D | Register::MPIDR_EL1);
        let expected = (register.class() == Class::Constant && !absent)
            .then(|| fake.registers.word(register).unwrap());
        assert_eq!(constants.word(register), expected, "{register:?}");
    }
    assert_eq!(Features::of(&constants), features());
}

#[test]
fn registers_that_the_board_keeps_from_guests_are_left_alone() {
    let mut fake = processor();
    fake.closed = true;
    let constants = probe(&mut fake);
    assert_eq!(constants.word(Register::MDRAR_EL1), None);
    assert_eq!(constants.word(Register::PMCEID0_EL0), None);
    assert_eq!(Features::of(&constants), Features::default());
}

#[test]
fn every_register_of_the_table_that_is_written_is_moved_by_somebody() {
    for register in Register::ALL {
        let moved = match register.source() {
            Source::Thread | Source::Object | Source::StubVectors | Source::TimerDomain => true,
            _ => layout::SAVED.contains(&register),
        };
        let written = register.policy() == state::Policy::Write;
        assert!(moved || !written, "{register:?}");
    }
}
