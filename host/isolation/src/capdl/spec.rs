// SPDX-License-Identifier: BSD-2-Clause
//! The form of Microkit's capDL description, as far as it bears rights.
//!
//! Responsible for: objects and capabilities as its tool writes them (`--capdl-json`, Microkit 2.3.0). A kind of object or
//! capability that is not here is an error: nobody may overlook it.

use serde::Deserialize;

/// Slots of a thread's own capabilities, as capDL numbers them (`sel4-capdl-initializer`, `TcbSlot`).
pub(super) mod tcb {
    pub(in super::super) const CSPACE: u32 = 0;
    pub(in super::super) const VSPACE: u32 = 1;
    pub(in super::super) const IPC_BUFFER: u32 = 4;
    pub(in super::super) const FAULT_HANDLER: u32 = 5;
    pub(in super::super) const SCHEDULING_CONTEXT: u32 = 6;
    pub(in super::super) const BOUND_NOTIFICATION: u32 = 8;
    pub(in super::super) const VCPU: u32 = 9;
    /// All of them; what stands in another is not understood.
    pub(in super::super) const ALL: [u32; 7] = [
        CSPACE,
        VSPACE,
        IPC_BUFFER,
        FAULT_HANDLER,
        SCHEDULING_CONTEXT,
        BOUND_NOTIFICATION,
        VCPU,
    ];
}

#[derive(Debug, Deserialize)]
pub(super) struct Spec {
    pub(super) objects: Vec<Named>,
    pub(super) irqs: Vec<Irq>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) object: Object,
}

#[derive(Debug, Deserialize)]
pub(super) struct Irq {
    pub(super) irq: u32,
    pub(super) handler: usize,
}

#[derive(Debug, Deserialize)]
pub(super) enum Object {
    Endpoint,
    Notification,
    Reply,
    VCpu,
    ArmSmc,
    Frame(Frame),
    PageTable(Slots),
    CNode(CNode),
    Tcb(Tcb),
    SchedContext(SchedContext),
    ArmIrq(Slots),
    /// Stands for a reference to nothing.
    #[serde(skip)]
    Missing,
}

#[derive(Debug, Deserialize)]
pub(super) struct SchedContext {
    pub(super) extra: SchedContextExtra,
}

/// Microseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct SchedContextExtra {
    pub(super) period: u64,
    pub(super) budget: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Frame {
    pub(super) size_bits: u8,
    pub(super) paddr: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Slots {
    pub(super) slots: Vec<Slot>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CNode {
    pub(super) size_bits: u8,
    pub(super) slots: Vec<Slot>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Slot {
    pub(super) slot: u32,
    pub(super) cap: Cap,
}

#[derive(Debug, Deserialize)]
pub(super) struct Tcb {
    pub(super) slots: Vec<Slot>,
    pub(super) extra: TcbExtra,
}

#[derive(Debug, Deserialize)]
pub(super) struct TcbExtra {
    pub(super) prio: u8,
    pub(super) max_prio: u8,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Rights {
    pub(super) read: bool,
    pub(super) write: bool,
}

#[derive(Debug, Deserialize)]
pub(super) enum Cap {
    Endpoint {
        object: usize,
        badge: u64,
        rights: Rights,
    },
    Notification {
        object: usize,
        badge: u64,
        rights: Rights,
    },
    Frame {
        object: usize,
        rights: Rights,
        cached: bool,
        executable: bool,
    },
    PageTable {
        object: usize,
    },
    CNode {
        object: usize,
    },
    Tcb {
        object: usize,
    },
    VCpu {
        object: usize,
    },
    SchedContext {
        object: usize,
    },
    Reply {
        object: usize,
    },
    ArmIrqHandler {
        object: usize,
    },
    ArmSmc {
        object: usize,
    },
    Untyped {
        object: usize,
    },
    AsidPool {
        object: usize,
    },
}

impl Cap {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Endpoint { .. } => "endpoint",
            Self::Notification { .. } => "notification",
            Self::Frame { .. } => "frame",
            Self::PageTable { .. } => "page table",
            Self::CNode { .. } => "capability node",
            Self::Tcb { .. } => "thread",
            Self::VCpu { .. } => "vCPU",
            Self::SchedContext { .. } => "scheduling context",
            Self::Reply { .. } => "reply object",
            Self::ArmIrqHandler { .. } => "interrupt handler",
            Self::ArmSmc { .. } => "SMC",
            Self::Untyped { .. } => "untyped memory",
            Self::AsidPool { .. } => "address space pool",
        }
    }

    pub(super) fn object(&self) -> Option<usize> {
        match self {
            Self::Endpoint { object, .. }
            | Self::Notification { object, .. }
            | Self::Frame { object, .. }
            | Self::PageTable { object }
            | Self::CNode { object }
            | Self::Tcb { object }
            | Self::VCpu { object }
            | Self::SchedContext { object }
            | Self::Reply { object }
            | Self::ArmIrqHandler { object }
            | Self::ArmSmc { object }
            | Self::Untyped { object }
            | Self::AsidPool { object } => Some(*object),
        }
    }

    pub(super) fn cnode(&self) -> Option<usize> {
        match self {
            Self::CNode { object } => Some(*object),
            _ => None,
        }
    }

    pub(super) fn page_table(&self) -> Option<usize> {
        match self {
            Self::PageTable { object } => Some(*object),
            _ => None,
        }
    }

    pub(super) fn rights(&self) -> Option<Rights> {
        match self {
            Self::Endpoint { rights, .. }
            | Self::Notification { rights, .. }
            | Self::Frame { rights, .. } => Some(*rights),
            _ => None,
        }
    }
}

impl Tcb {
    pub(super) fn slot(&self, wanted: u32) -> Option<&Cap> {
        let entry = self.slots.iter().find(|entry| entry.slot == wanted);
        entry.map(|entry| &entry.cap)
    }
}

impl Spec {
    pub(super) fn object(&self, index: usize) -> &Object {
        self.objects
            .get(index)
            .map_or(&Object::Missing, |named| &named.object)
    }

    pub(super) fn name(&self, index: usize) -> &str {
        self.objects.get(index).map_or("?", |named| &named.name)
    }

    /// All frames with a physical address: object, address, and bytes.
    pub(super) fn placed(&self) -> impl Iterator<Item = (usize, u64, u64)> {
        let objects = self.objects.iter().enumerate();
        objects.filter_map(|(index, named)| match &named.object {
            Object::Frame(frame) => Some((index, frame.paddr?, 1 << frame.size_bits)),
            _ => None,
        })
    }

    pub(super) fn threads(&self) -> impl Iterator<Item = (usize, &str, &Tcb)> {
        self.objects
            .iter()
            .enumerate()
            .filter_map(|(index, named)| match &named.object {
                Object::Tcb(tcb) => Some((index, named.name.as_str(), tcb)),
                _ => None,
            })
    }
}
