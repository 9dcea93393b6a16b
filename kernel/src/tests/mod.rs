// SPDX-License-Identifier: BSD-2-Clause
//! The kernel on a machine of memory: what threads see of it, and what must hold after any entry.

mod faults;
mod invariants;
mod messages;
mod scheduling;
mod virtual_cpus;

use kernel_image::builder::ImageBuilder;
use kernel_image::{
    Capability, Description, Domain, Mapping, Object, PAGE_SIZE, Rights, Space as ImageSpace,
    Trigger, Vcpu, Vm,
};
use sel4_sys::{Invocation, InvocationLabels, MessageInfo, Syscall, VCpuRegister};

use crate::budget::Ticks;
use crate::identifier::{DomainId, Identifier, ThreadId, VcpuId};
use crate::machine::{FloatingPoint, Machine, Space, VcpuRegisters};
use crate::object::State;
use crate::own::OwnRegisters;
#[cfg(feature = "guest-debug")]
use crate::own::Switches;
use crate::report::Report;
use crate::{Kernel, vcpu};

/// Ticks in a second: a microsecond has ten.
const FREQUENCY: u64 = 10_000_000;
const MICROSECOND: Ticks = FREQUENCY / 1_000_000;

/// List registers of the machine.
const LIST_REGISTERS: usize = 4;

/// A machine whose registers are variables.
#[derive(Debug)]
struct Fake {
    time: Ticks,
    deadline: Ticks,
    messages: [[u64; 120]; DomainId::COUNT],
    masked: Vec<u32>,
    pending: Vec<u32>,
    ended: Vec<u32>,
    space: Option<Space>,
    thread_pointers: (u64, u64),
    floating_point: FloatingPoint,
    floating_point_traps: bool,
    guest: bool,
    registers: VcpuRegisters,
    own: OwnRegisters,
    #[cfg(feature = "guest-debug")]
    switches: Switches,
    interface_control: u32,
    interface_state: (u32, u32),
    list_registers: [u32; LIST_REGISTERS],
    maintenance: (u32, u64),
    reports: Vec<Report>,
    full_saves: u32,
}

impl Fake {
    fn new() -> Self {
        Self {
            time: 1000,
            deadline: 0,
            messages: [[0; 120]; DomainId::COUNT],
            masked: Vec::new(),
            pending: Vec::new(),
            ended: Vec::new(),
            space: None,
            thread_pointers: (0, 0),
            floating_point: FloatingPoint::ZERO,
            floating_point_traps: true,
            guest: false,
            registers: [0; VCpuRegister::COUNT],
            own: OwnRegisters::INITIAL,
            #[cfg(feature = "guest-debug")]
            switches: Switches::INITIAL,
            interface_control: 0,
            interface_state: (0, 0),
            list_registers: [0; LIST_REGISTERS],
            maintenance: (0, 0),
            reports: Vec::new(),
            full_saves: 0,
        }
    }
}

fn copy_registers(from: &VcpuRegisters, to: &mut VcpuRegisters, early: bool) {
    for register in VCpuRegister::ALL {
        if vcpu::is_saved_early(register) == early {
            to[register as usize] = from[register as usize];
        }
    }
}

impl Machine for Fake {
    fn time(&mut self) -> Ticks {
        self.time
    }

    fn set_deadline(&mut self, deadline: Ticks) {
        self.deadline = deadline;
    }

    fn message_word(&self, domain: DomainId, index: usize) -> u64 {
        self.messages[domain.index()][index]
    }

    fn set_message_word(&mut self, domain: DomainId, index: usize, value: u64) {
        self.messages[domain.index()][index] = value;
    }

    fn message_words(&self, domain: DomainId, words: &mut [u64]) {
        let length = words.len();
        words.copy_from_slice(&self.messages[domain.index()][4..4 + length]);
    }

    fn set_message_words(&mut self, domain: DomainId, words: &[u64]) {
        for (index, word) in words.iter().enumerate().skip(4) {
            self.messages[domain.index()][index] = *word;
        }
    }

    fn unmask_interrupt(&mut self, intid: u32) {
        self.masked.retain(|&masked| masked != intid);
    }

    fn mask_interrupt(&mut self, intid: u32) {
        self.unmask_interrupt(intid);
        self.masked.push(intid);
    }

    fn acknowledge_interrupt(&mut self) -> Option<u32> {
        let next = self
            .pending
            .iter()
            .position(|intid| !self.masked.contains(intid))?;
        Some(self.pending.remove(next))
    }

    fn end_interrupt(&mut self, intid: u32) {
        self.ended.push(intid);
    }

    fn enter_space(&mut self, space: Space) {
        self.space = Some(space);
    }

    fn thread_pointers(&mut self) -> (u64, u64) {
        self.thread_pointers
    }

    fn set_thread_pointers(&mut self, read_write: u64, read_only: u64) {
        self.thread_pointers = (read_write, read_only);
    }

    fn trap_floating_point(&mut self, trap: bool) {
        self.floating_point_traps = trap;
    }

    fn save_floating_point(&mut self, registers: &mut FloatingPoint) {
        assert!(!self.floating_point_traps);
        registers.clone_from(&self.floating_point);
    }

    fn load_floating_point(&mut self, registers: &FloatingPoint) {
        assert!(!self.floating_point_traps);
        self.floating_point.clone_from(registers);
    }

    fn enter_guest(&mut self, registers: &VcpuRegisters) {
        self.guest = true;
        copy_registers(registers, &mut self.registers, true);
    }

    fn leave_guest(&mut self, registers: &mut VcpuRegisters) {
        self.guest = false;
        copy_registers(&self.registers, registers, true);
        // What domains have instead.
        copy_registers(&[0xd0; VCpuRegister::COUNT], &mut self.registers, true);
    }

    fn vcpu_register(&mut self, register: VCpuRegister) -> u64 {
        self.registers[register as usize]
    }

    fn set_vcpu_register(&mut self, register: VCpuRegister, value: u64) {
        self.registers[register as usize] = value;
    }

    fn save_vcpu_registers(&mut self, registers: &mut VcpuRegisters) {
        self.full_saves += 1;
        copy_registers(&self.registers, registers, false);
    }

    fn load_vcpu_registers(&mut self, registers: &VcpuRegisters) {
        copy_registers(registers, &mut self.registers, false);
    }

    fn save_own_registers(&mut self, own: &mut OwnRegisters) {
        own.clone_from(&self.own);
    }

    fn load_own_registers(&mut self, own: &OwnRegisters) {
        self.own.clone_from(own);
    }

    #[cfg(feature = "guest-debug")]
    fn disarm(&mut self, switches: &mut Switches) {
        *switches = core::mem::replace(&mut self.switches, Switches::INITIAL);
    }

    #[cfg(feature = "guest-debug")]
    fn arm(&mut self, switches: &Switches) {
        self.switches = *switches;
    }

    fn list_registers(&self) -> usize {
        LIST_REGISTERS
    }

    fn set_interface_control(&mut self, value: u32) {
        self.interface_control = value;
    }

    fn interface_state(&mut self) -> (u32, u32) {
        self.interface_state
    }

    fn set_interface_state(&mut self, control: u32, active_priorities: u32) {
        self.interface_state = (control, active_priorities);
    }

    fn list_register(&mut self, index: usize) -> u32 {
        self.list_registers[index]
    }

    fn set_list_register(&mut self, index: usize, value: u32) {
        self.list_registers[index] = value;
    }

    fn maintenance_status(&mut self) -> (u32, u64) {
        self.maintenance
    }

    fn report(&mut self, report: &Report) {
        self.reports.push(report.clone());
    }
}

/// The domains of the test system, by index.
const CLIENT: usize = 0;
const SERVER: usize = 1;
const VMM: usize = 2;
const CHILD: usize = 3;

/// Slots, as Microkit lays them out.
const INPUT: u64 = 1;
const REPLY: u64 = 4;
const MONITOR: u64 = 5;
const NOTIFICATION: u64 = 10;
const ENDPOINT: u64 = 74;
const INTERRUPT: u64 = 138;
const CHILD_THREAD: u64 = 202;
const VM_THREAD: u64 = 266;
const VCPU: u64 = 330;

/// The badge of a fault.
const FAULT: u64 = 1 << 62;
/// The badge of a call.
const CALL: u64 = 1 << 63;

/// The interrupt that the client handles as channel 7.
const INTID: u32 = 33;

/// A client that may call and notify a passive server of higher priority (channel 1 at both ends)
/// and handles an interrupt; a VMM with two vCPUs below it, which may call the server (channel 2
/// there) and has a child. The budgets are in microseconds.
fn image(budget: u64, period: u64) -> Vec<u8> {
    let mut builder = ImageBuilder::new();
    let parent = kernel_image::Parent {
        domain: VMM,
        child: 5,
    };
    let domains = [
        ("client", 100, false, None),
        ("server", 200, true, None),
        ("vmm", 150, false, None),
        ("child", 100, false, Some(parent)),
    ];
    for (index, (name, priority, passive, parent)) in (0..).zip(domains) {
        let ipc_buffer_physical = 0x6100_0000 + index * PAGE_SIZE;
        let domain = Domain {
            name,
            priority,
            passive,
            fpu: false,
            budget,
            period,
            entry: 0x20_0000,
            stack_top: 0x30_0000,
            ipc_buffer: 0xff_ffff_f000,
            ipc_buffer_physical,
            parent,
        };
        let index = builder.add_domain(&domain).unwrap();
        builder.add_mapping(&Mapping {
            space: ImageSpace::Domain(index),
            address: domain.ipc_buffer,
            physical: ipc_buffer_physical,
            length: PAGE_SIZE,
            rights: Rights {
                read: true,
                write: true,
                execute: false,
            },
            cached: true,
        });
    }
    let vm = builder
        .add_vm(&Vm {
            name: "guest",
            owner: VMM,
        })
        .unwrap();
    let mut grant = |owner, slot: u64, object| {
        let slot = u32::try_from(slot).unwrap();
        builder.add_capability(&Capability {
            owner,
            slot,
            object,
        });
    };
    grant(
        CLIENT,
        ENDPOINT + 1,
        Object::Endpoint {
            domain: SERVER,
            badge: CALL | 1,
        },
    );
    grant(
        CLIENT,
        NOTIFICATION + 1,
        Object::Notification {
            domain: SERVER,
            badge: 1 << 1,
        },
    );
    grant(
        SERVER,
        NOTIFICATION + 1,
        Object::Notification {
            domain: CLIENT,
            badge: 1 << 1,
        },
    );
    grant(
        VMM,
        ENDPOINT + 2,
        Object::Endpoint {
            domain: SERVER,
            badge: CALL | 2,
        },
    );
    grant(VMM, CHILD_THREAD + 5, Object::Child { domain: CHILD });
    let interrupt = Object::Interrupt {
        intid: INTID,
        trigger: Trigger::Level,
        badge: 1 << 7,
    };
    grant(CLIENT, INTERRUPT + 7, interrupt);
    for id in 0..2 {
        let vcpu = builder.add_vcpu(&Vcpu {
            vm,
            id,
            priority: 50,
            budget,
            period,
        });
        let mut grant = |slot: u64, object| {
            let slot = u32::try_from(slot).unwrap() + id;
            builder.add_capability(&Capability {
                owner: VMM,
                slot,
                object,
            });
        };
        grant(VM_THREAD, Object::VmThread { vcpu });
        grant(VCPU, Object::Vcpu { vcpu });
    }
    builder
        .finish(&[], 0x6000_0000..0x7000_0000, 0x6000_0000..0x6100_0000)
        .unwrap()
}

/// The test system, and what its threads do.
struct System {
    kernel: Box<Kernel<Fake>>,
}

impl System {
    /// Freshly started, with slices of a millisecond.
    fn new() -> Self {
        Self::with_budget(1000, 1000)
    }

    fn with_budget(budget: u64, period: u64) -> Self {
        let image = image(budget, period);
        let description = Description::parse(&image).unwrap();
        let mut kernel = Box::new(Kernel::new(Fake::new()));
        kernel.start(&description, FREQUENCY).unwrap();
        let mut system = Self { kernel };
        system.finish();
        system
    }

    /// As `new`, but with every domain waiting at its input, the passive server on no time.
    fn waiting() -> Self {
        let mut system = Self::new();
        system.run(domain(SERVER), |system| {
            let registers = system.registers();
            registers.set_x(8, MONITOR);
            system.call(Syscall::NBSendRecv, INPUT, MessageInfo::default(), &[]);
        });
        for index in [VMM, CHILD, CLIENT] {
            system.run(domain(index), |system| system.receive());
        }
        assert_eq!(system.current(), None);
        // The server still has the time that it started with; it gives it back when it waits again.
        system.kernel.signal(DomainId::new(SERVER).unwrap(), 1 << 1);
        system.finish();
        system.run(domain(SERVER), |system| system.receive());
        assert!(system.thread(domain(SERVER)).budget.is_none());
        system
    }

    fn current(&self) -> Option<ThreadId> {
        self.kernel.current()
    }

    fn thread(&self, thread: ThreadId) -> &crate::object::Thread {
        &self.kernel.threads[thread]
    }

    fn registers(&mut self) -> &mut crate::context::Context {
        let current = self.current().expect("somebody runs");
        &mut self.kernel.threads[current].registers
    }

    /// Has `thread`, whose turn it must be, do something.
    fn run(&mut self, thread: ThreadId, action: impl FnOnce(&mut Self)) {
        assert_eq!(self.current(), Some(thread), "whose turn it is");
        action(self);
    }

    /// The current thread makes a system call on a capability.
    fn call(&mut self, call: Syscall, capability: u64, info: MessageInfo, words: &[u64]) {
        let thread = self.current().expect("somebody runs");
        let registers = self.registers();
        registers.set_x(0, capability);
        registers.set_x(1, info.word());
        registers.set_x(6, REPLY);
        registers.set_x(7, call.word());
        for (index, &word) in words.iter().enumerate() {
            self.kernel.set_word(thread, index, word);
        }
        self.kernel.system_call();
        self.finish();
    }

    /// The current thread invokes an object and returns the label and words of the answer.
    fn invoke(&mut self, capability: u64, what: Invocation, words: &[u64]) -> (u64, Vec<u64>) {
        let thread = self.current().expect("somebody runs");
        let label = InvocationLabels::DEFAULT.label(what);
        let info = MessageInfo::new(label, 0, 0, words.len() as u64);
        self.call(Syscall::Call, capability, info, words);
        let info = self.kernel.message_info(thread);
        let length = usize::try_from(info.length()).unwrap();
        (
            info.label(),
            (0..length)
                .map(|index| self.kernel.word(thread, index))
                .collect(),
        )
    }

    /// The current thread waits at its input.
    fn receive(&mut self) {
        self.call(Syscall::Recv, INPUT, MessageInfo::default(), &[]);
    }

    /// The current thread answers its caller and waits at its input.
    fn answer(&mut self, label: u64, words: &[u64]) {
        let info = MessageInfo::new(label, 0, 0, words.len() as u64);
        self.call(Syscall::ReplyRecv, INPUT, info, words);
    }

    /// What the current thread received: badge, label, words.
    fn received(&mut self) -> (u64, u64, Vec<u64>) {
        let thread = self.current().expect("somebody runs");
        let info = self.kernel.message_info(thread);
        let length = usize::try_from(info.length()).unwrap();
        let words = (0..length)
            .map(|index| self.kernel.word(thread, index))
            .collect();
        (self.registers().x(0), info.label(), words)
    }

    fn fault(&mut self, fault: crate::object::Fault) {
        self.kernel.fault(fault);
        self.finish();
    }

    /// An interrupt comes, `after` that many ticks.
    fn interrupt(&mut self, intid: u32, after: Ticks) {
        self.kernel.machine.time += after;
        self.kernel.machine.pending.push(intid);
        self.kernel.interrupt();
        self.finish();
    }

    /// Time passes up to the timer's deadline, which interrupts.
    fn until_deadline(&mut self) {
        let deadline = self.kernel.machine.deadline;
        assert!(deadline >= self.kernel.machine.time && deadline < Ticks::MAX);
        self.kernel.machine.time = deadline;
        self.interrupt(crate::interrupt::KERNEL_TIMER, 0);
    }

    fn finish(&mut self) {
        self.kernel.finish();
        invariants::check(&self.kernel);
    }

    /// The VMM lets a vCPU's thread run from `pc` on. It must be the VMM's turn.
    fn start_vcpu(&mut self, id: u64, pc: u64) {
        let words = [1, 3, pc, 0, 0x3c5];
        assert_eq!(
            self.invoke(VM_THREAD + id, Invocation::TcbWriteRegisters, &words)
                .0,
            0
        );
    }

    fn state(&self, thread: ThreadId) -> State {
        self.thread(thread).state
    }
}

fn domain(index: usize) -> ThreadId {
    ThreadId::of_domain(DomainId::new(index).unwrap())
}

fn vcpu_thread(index: usize) -> ThreadId {
    ThreadId::of_vcpu(VcpuId::new(index).unwrap())
}
