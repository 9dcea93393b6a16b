// SPDX-License-Identifier: BSD-2-Clause
//! The attacks themselves.

use core::arch::asm;

use hostile_pd::{Attack, CONFESSION, Granted, SLOTS, confession};
use sel4_microkit::var;
use sel4_sys::{FaultLabel, MessageInfo, Syscall, SyscallError};

unsafe extern "C" {
    // Patched by whoever builds the image; sel4-microkit defines them.
    static microkit_irqs: u64;
    static microkit_notifications: u64;
    static microkit_pps: u64;
}

/// What the test has written into the program.
#[derive(Clone, Copy)]
pub(crate) struct Orders {
    pub(crate) attack: Attack,
    pub(crate) at_start: bool,
    argument: u64,
}

/// What the domain has according to the system description.
pub(crate) fn granted() -> Granted {
    // SAFETY: the symbols are words of this program that nobody writes while it runs; volatile, because they were
    // patched after it was compiled.
    unsafe {
        Granted {
            notifications: (&raw const microkit_notifications).read_volatile(),
            endpoints: (&raw const microkit_pps).read_volatile(),
            interrupts: (&raw const microkit_irqs).read_volatile(),
            vcpus: *var!(hostile_vcpus: u64 = 0),
        }
    }
}

impl Orders {
    /// As written into the program.
    pub(crate) fn given() -> Self {
        Self {
            attack: Attack::from_number(*var!(hostile_attack: u64 = 0)),
            at_start: *var!(hostile_at_start: u64 = 0) != 0,
            argument: *var!(hostile_argument: u64 = 0),
        }
    }

    /// Attacks. Returns only if nobody stops it.
    pub(crate) fn attack_now(self) {
        let argument = self.argument;
        match self.attack {
            // Whoever answers calls sees to the latter.
            Attack::Witness | Attack::Answers => {}
            Attack::Nonsense => {
                crate::pester::nonsense();
                write(argument);
            }
            Attack::Flood => crate::pester::flood(),
            Attack::Silence => compute_for_ever(argument),
            Attack::Read => read(argument),
            Attack::Write => write(argument),
            Attack::Execute => execute(argument),
            Attack::SystemCall => {
                system_call(argument, 0, 0);
            }
            Attack::Call => {
                call(argument);
            }
            Attack::Receive => {
                system_call(Syscall::Recv.word(), argument, 0);
            }
            Attack::Capabilities => call_everything(),
            Attack::SystemRegister => system_register(),
            Attack::FloatingPoint => floating_point(),
        }
    }
}

/// Computes without end, and shows the argument in x0 to whoever looks at the processor.
fn compute_for_ever(argument: u64) -> ! {
    // SAFETY: a branch to itself does nothing.
    unsafe {
        asm!("0: b 0b", in("x0") argument, options(nomem, nostack, preserves_flags, noreturn))
    }
}

fn read(address: u64) {
    // SAFETY: none is needed where the access is refused, as it is to be; a word that is read in spite of that goes
    // nowhere.
    unsafe { asm!("ldr {0}, [{0}]", inout(reg) address => _, options(nostack, readonly)) };
}

fn write(address: u64) {
    // SAFETY: where the access is refused, as it is to be, nothing happens. Where it is not, isolation is broken
    // already, and this domain does nothing afterwards that could go wrong.
    unsafe { asm!("str {0}, [{0}]", in(reg) address, options(nostack)) };
}

fn execute(address: u64) {
    // SAFETY: as for `write`.
    unsafe { asm!("blr {0}", in(reg) address, clobber_abi("C")) };
}

/// `svc` with a number in `x7` and a capability in `x0`; returns the message info in `x1`.
fn system_call(number: u64, capability: u64, info: u64) -> u64 {
    let answer;
    // SAFETY: a system call changes x0 to x5 only, and memory through the IPC buffer only, of which nothing is in use
    // meanwhile; x6 is the domain's reply object, for a call that receives.
    unsafe {
        asm!(
            "svc #0",
            inout("x0") capability => _,
            inout("x1") info => answer,
            inout("x2") 0_u64 => _, inout("x3") 0_u64 => _, inout("x4") 0_u64 => _, inout("x5") 0_u64 => _,
            in("x6") sel4_sys::microkit::REPLY_SLOT,
            in("x7") number,
            options(nostack),
        );
    }
    answer
}

/// Numbers of words that the monitor is told.
const LENGTHS: [u64; 5] = [0, 1, 4, 12, 120];
/// How often the monitor is asked for what it grants to passive domains only.
const REQUESTS: u32 = 2000;

/// Sends Microkit's monitor what only the kernel should: faults of every kind, with zeros for what belongs to them, and
/// requests to be taken off one's own time. Each is a message of its own, which the monitor deals with before this
/// domain continues. Says how many there were.
pub(crate) fn tell_monitor() -> u32 {
    let tell = |info: MessageInfo| {
        let endpoint = sel4_sys::microkit::FAULT_ENDPOINT_SLOT;
        system_call(Syscall::NBSend.word(), endpoint, info.word());
    };
    let mut told = REQUESTS;
    // No fault, all that seL4 has, and one that it has not.
    for label in 0..=FaultLabel::VppiEvent as u64 + 1 {
        for length in LENGTHS {
            tell(MessageInfo::new(label, 0, 0, length));
            told += 1;
        }
    }
    (0..REQUESTS).for_each(|_| tell(MessageInfo::new(0, 0, 0, 0)));
    told
}

/// Faults, where nobody else does.
pub(crate) fn die() {
    read(CONFESSION);
}

/// Calls a capability with an empty message; the label of the answer.
fn call(capability: u64) -> u64 {
    let answer = system_call(Syscall::Call.word(), capability, 0);
    MessageInfo::from_word(answer).label()
}

/// Every slot without a capability must say so; what else one says is confessed.
fn call_everything() {
    let granted = granted();
    let (mut refused, mut first_granted) = (0, 0);
    for slot in (0..SLOTS).filter(|slot| !granted.has(*slot)) {
        if call(slot) == SyscallError::InvalidCapability.label() {
            refused += 1;
        } else if first_granted == 0 {
            first_granted = slot;
        }
    }
    read(confession(refused, first_granted));
}

fn system_register() {
    // SAFETY: reads a register, or is refused.
    unsafe { asm!("mrs {0}, vbar_el1", out(reg) _, options(nostack, nomem)) };
}

fn floating_point() {
    // SAFETY: reads a register that this program does not use otherwise, or is refused. As a word, because the compiler
    // knows no such instruction for this target.
    unsafe {
        // fmov x0, d0
        asm!(".inst 0x9e660000", out("x0") _, options(nostack, nomem));
    }
}
