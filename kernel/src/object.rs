// SPDX-License-Identifier: BSD-2-Clause
//! Kernel objects: what a thread, endpoint, notification, reply object and capability hold.
//!
//! Responsible for their fields and initial values. What happens to them is in the other modules.

use sel4_sys::FaultLabel;

use crate::context::Context;
use crate::identifier::{BudgetId, DomainId, FloatingPointId, ThreadId, VcpuId};
use crate::queue::Queue;

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Stopped.
    Inactive,
    /// Runs, or would if it were its turn.
    Running,
    /// As `Running`, but continues at its fault address: it repeats what it was doing.
    Restart,
    /// Waits in the queue of an endpoint for a message.
    Receiving {
        /// The domain whose endpoint it is.
        endpoint: DomainId,
        /// The reply object that it offers for the caller.
        reply: Option<DomainId>,
    },
    /// Waits in the queue of an endpoint for a receiver.
    Sending {
        /// The domain whose endpoint it is.
        endpoint: DomainId,
        /// What the message will be marked with.
        badge: u64,
        /// Whether it waits for the reply afterwards.
        call: bool,
    },
    /// Waits for the reply to a call or fault.
    Calling {
        /// The reply object.
        reply: DomainId,
    },
    /// Waits for a signal.
    Waiting {
        /// The domain whose notification it is.
        notification: DomainId,
    },
}

/// Why the lookup of a capability failed, as a fault message has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupFailure {
    /// The slot holds nothing of use.
    MissingCapability,
    /// Bits of the address that must be zero are not.
    GuardMismatch {
        /// How many bits were left.
        bits_left: u8,
        /// How many must be zero.
        guard_bits: u8,
    },
}

/// What a thread did that somebody else must answer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A capability that is not there.
    Capability {
        /// Its address.
        address: u64,
        /// Whether the thread was receiving.
        receiving: bool,
        /// Why it was not found.
        failure: LookupFailure,
    },
    /// A system call that does not exist.
    UnknownSyscall {
        /// Its number.
        number: u64,
    },
    /// An instruction that does not exist.
    UserException {
        /// `ESR_EL2`.
        syndrome: u32,
    },
    /// An access that no mapping permits.
    Memory {
        /// The virtual address in a domain, the intermediate physical address in a VM.
        address: u64,
        /// `ESR_EL2`.
        syndrome: u32,
        /// Whether an instruction was fetched.
        fetch: bool,
    },
    /// A list register became empty, if it is known which.
    Maintenance {
        /// Its index.
        list_register: Option<u8>,
    },
    /// An instruction that EL2 traps.
    Trap {
        /// `ESR_EL2`.
        syndrome: u32,
    },
    /// A private interrupt of a virtual CPU.
    PrivateInterrupt {
        /// Its INTID.
        intid: u32,
    },
}

impl Fault {
    /// The label of the fault's message.
    #[inline(always)]
    #[must_use]
    pub fn label(&self) -> FaultLabel {
        match self {
            Self::Capability { .. } => FaultLabel::CapFault,
            Self::UnknownSyscall { .. } => FaultLabel::UnknownSyscall,
            Self::UserException { .. } => FaultLabel::UserException,
            Self::Memory { .. } => FaultLabel::VmFault,
            Self::Maintenance { .. } => FaultLabel::VgicMaintenance,
            Self::Trap { .. } => FaultLabel::VcpuFault,
            Self::PrivateInterrupt { .. } => FaultLabel::VppiEvent,
        }
    }
}

/// Who answers for a thread's faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler {
    /// The kernel's stand-in for Microkit's monitor: the thread is stopped and reported.
    Monitor,
    /// A domain, which receives the fault as a message.
    Domain {
        /// Whose endpoint.
        endpoint: DomainId,
        /// What the message is marked with.
        badge: u64,
    },
}

/// Which capabilities a thread can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapabilitySpace {
    /// A domain's slots.
    Domain(DomainId),
    /// A VM's, which has slots but nothing in them.
    Empty,
}

/// A thread.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Thread {
    /// Its registers, current while it does not run.
    pub registers: Context,
    /// What it does.
    pub state: State,
    /// Scheduling priority.
    pub priority: u8,
    /// Where its FP and SIMD registers are kept, if it may use them.
    pub floating_point: Option<FloatingPointId>,
    /// Is in a queue of runnable threads.
    pub queued: bool,
    /// Is in the queue of threads that wait for budget.
    pub delayed: bool,
    /// The thread after it in the one queue that it is in.
    pub next: Option<ThreadId>,
    /// The thread before it.
    pub previous: Option<ThreadId>,
    /// The time that it may use.
    pub budget: Option<BudgetId>,
    /// The fault that it waits to be answered.
    pub fault: Option<Fault>,
    /// Who answers.
    pub handler: Handler,
    /// The capabilities that it can name.
    pub capabilities: CapabilitySpace,
    /// The virtual CPU that it runs.
    pub vcpu: Option<VcpuId>,
}

impl Thread {
    /// One that does not exist.
    pub const EMPTY: Self = Self {
        registers: Context::ZERO,
        state: State::Inactive,
        priority: 0,
        floating_point: None,
        queued: false,
        delayed: false,
        next: None,
        previous: None,
        budget: None,
        fault: None,
        handler: Handler::Monitor,
        capabilities: CapabilitySpace::Empty,
        vcpu: None,
    };

    /// Whether it could use the processor.
    #[inline(always)]
    #[must_use]
    pub fn is_runnable(&self) -> bool {
        matches!(self.state, State::Running | State::Restart)
    }
}

/// Where messages are handed over. Its queue holds senders or receivers, never both.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Who waits, by priority.
    pub queue: Queue,
    /// Whether those who wait are receivers.
    pub receivers: bool,
}

impl Endpoint {
    /// One that nobody waits at.
    pub const EMPTY: Self = Self {
        queue: Queue::EMPTY,
        receivers: false,
    };
}

/// What a notification holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Nothing.
    None,
    /// Nothing, and its thread waits for it.
    Awaited,
    /// The badges of all signals since the last receipt.
    Pending(u64),
}

/// Where signals are collected for its domain's thread, the only one that may wait for them.
#[derive(Clone, Debug)]
pub struct Notification {
    /// What it holds.
    pub signal: Signal,
    /// The scheduling context that it lends to its thread when that has none.
    pub budget: Option<BudgetId>,
}

impl Notification {
    /// One that holds nothing.
    pub const EMPTY: Self = Self {
        signal: Signal::None,
        budget: None,
    };
}

/// What follows a reply object in the stack of calls on one scheduling context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Above {
    /// It is in no stack.
    Nothing,
    /// A later call.
    Call(DomainId),
    /// It is the last call: the scheduling context itself.
    Budget(BudgetId),
}

/// The right to answer one caller.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The thread that waits for the answer, or the one that receives with this object.
    pub thread: Option<ThreadId>,
    /// The call before.
    pub below: Option<DomainId>,
    /// The call after.
    pub above: Above,
}

impl Reply {
    /// One that answers nobody.
    pub const EMPTY: Self = Self {
        thread: None,
        below: None,
        above: Above::Nothing,
    };
}

/// A right to use an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// None.
    Null,
    /// Send to, call and receive from an endpoint.
    Endpoint {
        /// Whose.
        domain: DomainId,
        /// What messages are marked with.
        badge: u64,
    },
    /// The same for the endpoint of Microkit's monitor, which the kernel stands in for.
    Monitor,
    /// Signal, and for its own domain receive from, a notification.
    Notification {
        /// Whose.
        domain: DomainId,
        /// What the signal adds.
        badge: u64,
    },
    /// Answer a caller.
    Reply {
        /// Whose.
        domain: DomainId,
    },
    /// The domain's own address space. Nothing that seL4 does with it is offered here.
    AddressSpace,
    /// Control a thread.
    Thread {
        /// Which.
        thread: ThreadId,
    },
    /// Control a virtual CPU.
    Vcpu {
        /// Which.
        vcpu: VcpuId,
    },
    /// Unmask an interrupt.
    Interrupt {
        /// Its INTID.
        intid: u16,
    },
}
