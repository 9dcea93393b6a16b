// SPDX-License-Identifier: BSD-2-Clause
//! What a guest can change and that is still there when something else runs, and why it does no harm.
//!
//! Responsible for: an answer for each kernel and for every register of the table, every other register that EL1 or EL0 of
//! a Cortex-A53 to A76 can reach, and every interrupt line; and what a kernel's configuration must be for the answers to
//! be true. A row of the table without an answer does not compile. `docs/isolation.md` is generated from it, and `godwit`
//! refuses a kernel that contradicts it. Never: acts; `board/el2-stage`, the kernels and `vmm-pd` do.
//!
//! "Left" means that a domain runs, at EL0 under `HCR_EL2.TGE`: stage 1 of EL1 and EL0 is off then, and whatever controls
//! it has no effect. seL4 is 16.0.0 in the release configuration of the Microkit SDK; the debug configuration leaves a guest
//! its debug registers. Encodings: DDI 0487, C5 and D24.

use crate::register_table;

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// The kernel keeps each vCPU's own.
    Switched,
    /// A guest that touches it leaves for EL2, and nothing of what it writes gets there.
    Trapped,
    /// It is put into a harmless state before a domain runs.
    Reset,
    /// It stays, and the reason says why that does not matter.
    Harmless,
}

impl Treatment {
    /// In a table.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Switched => "switched",
            Self::Trapped => "trapped",
            Self::Reset => "reset",
            Self::Harmless => "harmless",
        }
    }
}

/// What becomes of it on each kernel, with how or why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Treatments {
    /// On seL4.
    pub sel4: (Treatment, &'static str),
    /// On the embedded kernel.
    pub embedded: (Treatment, &'static str),
}

impl Treatments {
    const fn both(treatment: Treatment, how: &'static str) -> Self {
        Self {
            sel4: (treatment, how),
            embedded: (treatment, how),
        }
    }
}

/// Something that is no row of the register table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Other {
    /// What it is.
    pub name: &'static str,
    /// What becomes of it.
    pub treatments: Treatments,
}

/// An option of seL4's configuration (`gen_config.json`) that the answers depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Its name.
    pub option: &'static str,
    /// What it must be.
    pub on: bool,
    /// Which answer would be wrong otherwise.
    pub why: &'static str,
}

use Treatment::{Harmless, Reset, Switched, Trapped};

const THREAD: Treatments = Treatments::both(Switched, "in the thread's registers");
const EXIT: Treatments = Treatments::both(
    Switched,
    "when the guest is left, and domains have the kernel's value",
);
const LATER: Treatments = Treatments::both(
    Switched,
    "when another vCPU runs; until then it stays, without an effect on EL0",
);
const FLOATING_POINT: Treatments = Treatments::both(
    Switched,
    "when somebody else uses FP or SIMD, which traps until then; the domains are built without",
);
const DEBUG: Treatments = Treatments::both(
    Trapped,
    "`MDCR_EL2.{TDA,TDOSA}`; the OS lock is set and nothing enabled",
);
const MONITOR: Treatments = Treatments::both(
    Trapped,
    "`MDCR_EL2.{TPM,TPMCR}`; off, empty, and `PMUSERENR_EL0` is 0",
);
const CONSTANT: Treatments = Treatments::both(Harmless, "cannot be written");
const CACHE_SELECTION: Treatments = Treatments {
    sel4: (
        Harmless,
        "selects what `CCSIDR_EL1` shows: vCPUs of one guest share it; the kernel sets its own before it reads",
    ),
    embedded: (Switched, "when another vCPU runs"),
};
const VIRTUAL_TIMER: Treatments = Treatments {
    sel4: (Switched, "when the guest is left"),
    embedded: (
        Switched,
        "when another vCPU runs; EL0 has no access, and an interrupt meanwhile is masked",
    ),
};
const OFFSET: Treatments = Treatments::both(
    Harmless,
    "a guest cannot write it: it counts from `CNTVOFF_EL2`, which is each vCPU's",
);

/// What becomes of a row of the register table, from its class and name. Of classes that are one mechanism's, all rows
/// alike; the others row by row.
// rustfmt moves a macro within a macro further to the right each time.
#[rustfmt::skip]
macro_rules! treatments {
    (Core $name:ident) => { THREAD };
    (FloatingPoint $name:ident) => { FLOATING_POINT };
    (Debug $name:ident) => { DEBUG };
    (Pmu $name:ident) => { MONITOR };
    (Constant MDRAR_EL1) => { Treatments::both(Trapped, "`MDCR_EL2.TDRA`") };
    (Constant PMCEID0_EL0) => { MONITOR };
    (Constant PMCEID1_EL0) => { MONITOR };
    (Constant $name:ident) => { CONSTANT };
    (Timer CNTV_CTL_EL0) => { VIRTUAL_TIMER };
    (Timer CNTV_CVAL_EL0) => { VIRTUAL_TIMER };
    (Timer CNTKCTL_EL1) => { EXIT };
    (Timer CNTVCT_EL0) => { OFFSET };
    (System TPIDR_EL0) => { THREAD };
    (System TPIDRRO_EL0) => { THREAD };
    (System SCTLR_EL1) => { EXIT };
    (System CPACR_EL1) => { EXIT };
    (System CSSELR_EL1) => { CACHE_SELECTION };
    (System ACTLR_EL1) => { LATER };
    (System TTBR0_EL1) => { LATER };
    (System TTBR1_EL1) => { LATER };
    (System TCR_EL1) => { LATER };
    (System AFSR0_EL1) => { LATER };
    (System AFSR1_EL1) => { LATER };
    (System ESR_EL1) => { LATER };
    (System FAR_EL1) => { LATER };
    (System PAR_EL1) => { LATER };
    (System MAIR_EL1) => { LATER };
    (System AMAIR_EL1) => { LATER };
    (System CONTEXTIDR_EL1) => { LATER };
    (System TPIDR_EL1) => { LATER };
    (System ELR_EL1) => { LATER };
    (System SPSR_EL1) => { LATER };
    (System SP_EL1) => { LATER };
    (System VBAR_EL1) => { LATER };
}

macro_rules! rows {
    ([] $($class:ident $source:ident $policy:ident $reason:literal {
        $($name:ident $kind:ident $identifier:tt;)*
    })*) => {
        &[$($((stringify!($name), treatments!($class $name)),)*)*]
    };
}

/// The rows of the register table, in their order.
pub const REGISTERS: &[(&str, Treatments)] = register_table!(rows);

/// Registers that EL1 or EL0 can reach and that are no vCPU's state, and what is changed by instructions.
pub const OTHERS: &[Other] = &[
    Other {
        name: "`PSTATE`: `NZCV`, `DAIF`, `SPSel`, `PAN`, `UAO`, `SSBS`, `SS`, `IL`",
        treatments: Treatments::both(Switched, "in `SPSR_EL2`, of each thread's own"),
    },
    Other {
        name: "`CNTP_CTL_EL0`, `CNTP_CVAL_EL0`, `CNTP_TVAL_EL0`",
        treatments: Treatments {
            sel4: (
                Harmless,
                "traps where the kernel keeps that timer; on `qemu_virt_aarch64` it is `timer-pd`'s, which sets it anew for \
                 each sleep: a guest delays wake-ups of its own vCPUs",
            ),
            embedded: (Trapped, "`CNTHCTL_EL2.EL1PCEN`, for guests"),
        },
    },
    Other {
        name: "`CNTPCT_EL0`, `CNTFRQ_EL0`, `ISR_EL1`, `CCSIDR_EL1`, `DBGAUTHSTATUS_EL1`",
        treatments: CONSTANT,
    },
    Other {
        name: "`OSLAR_EL1`, `OSDLR_EL1`, `DBGPRCR_EL1`, `OSDTRRX_EL1`, `OSDTRTX_EL1`, `OSECCR_EL1`, `DBGCLAIMSET_EL1`, \
               `DBGCLAIMCLR_EL1`",
        treatments: DEBUG,
    },
    Other {
        name: "`MDCCSR_EL0`, `DBGDTR_EL0`, `DBGDTRRX_EL0`, `DBGDTRTX_EL0`",
        treatments: Treatments::both(
            Trapped,
            "`MDCR_EL2.TDA`; from EL0 to EL1 already, by `MDSCR_EL1.TDCC`",
        ),
    },
    Other {
        name: "`PMCNTENCLR_EL0`, `PMOVSCLR_EL0`, `PMSWINC_EL0`, `PMXEVTYPER_EL0`, `PMXEVCNTR_EL0`, `PMINTENCLR_EL1`, \
               `PMMIR_EL1`",
        treatments: MONITOR,
    },
    Other {
        name: "statistical profiling and trace buffer (`PMS*_EL1`, `PMB*_EL1`, `TRB*_EL1`, `TRFCR_EL1`), where there are",
        treatments: Treatments::both(Trapped, "`MDCR_EL2.{TPMS,TTRF}`, `E2PB` and `E2TB` 0"),
    },
    Other {
        name: "trace unit (`TRC*`), where it has system registers",
        treatments: Treatments {
            sel4: (Trapped, "`CPTR_EL2.TTA`"),
            embedded: (Harmless, "QEMU's `virt` has none"),
        },
    },
    Other {
        name: "`CPUACTLR_EL1`, `CPUECTLR_EL1`, `L2ACTLR_EL1`, `L2CTLR_EL1`, `L2ECTLR_EL1` and what is like them",
        treatments: Treatments::both(Trapped, "`ACTLR_EL2` is 0"),
    },
    Other {
        name: "`CPUMERRSR_EL1`, `L2MERRSR_EL1`",
        treatments: Treatments::both(
            Harmless,
            "records of corrected memory errors, which nobody here reads",
        ),
    },
    Other {
        name: "`RAMINDEX`, `IL1DATAn_EL1`, `DL1DATAn_EL1` (Cortex-A57, A72)",
        treatments: Treatments::both(
            Harmless,
            "no board here has such a processor: there, EL1 reads with them what caches hold, other people's memory \
             included, and only `HCR_EL2.TIDCP` would keep them from it, which seL4 does not set",
        ),
    },
    Other {
        name: "`ATCR_EL1`, where there is (Cortex-A76)",
        treatments: Treatments::both(
            Harmless,
            "says what attributes walks of EL1's stage 1 take from descriptors, and that stage is off for domains; vCPUs \
             of one guest share it",
        ),
    },
    Other {
        name: "error records (`ERRSELR_EL1`, `ERX*_EL1`), `DISR_EL1`, where there are (Cortex-A76)",
        treatments: Treatments::both(
            Harmless,
            "a guest can hide errors of its core, which no kernel here handles; vCPUs of one guest share them",
        ),
    },
    Other {
        name: "`LORC_EL1`, `LORSA_EL1`, `LOREA_EL1`, `LORN_EL1`, where there are (Cortex-A76)",
        treatments: Treatments::both(
            Harmless,
            "`LDLAR` and `STLLR` order within regions, and nothing but a guest uses these instructions",
        ),
    },
    Other {
        name: "pointer authentication keys, tag registers, `SCXTNUM_EL0`, `SCXTNUM_EL1`, where there are",
        treatments: Treatments::both(Trapped, "`HCR_EL2.{APK,ATA,EnSCXT}` are 0"),
    },
    Other {
        name: "`DACR32_EL2`, `IFSR32_EL2`, `FPEXC32_EL2`, `DBGVCR32_EL2`, `SPSR_abt`, `SPSR_fiq`, `SPSR_irq`, `SPSR_und`",
        treatments: Treatments::both(
            Harmless,
            "EL1 in AArch32 alone could write them, and EL1 is AArch64 (`HCR_EL2.RW`)",
        ),
    },
    Other {
        name: "virtual CPU interface (`GICV_*`: control, masks, active priorities, list registers)",
        treatments: Treatments::both(
            Switched,
            "`GICH_VMCR`, `GICH_APR` and `GICH_LRn` when another vCPU runs; `GICH_HCR.En` is clear when the guest is left",
        ),
    },
    Other {
        name: "distributor and physical CPU interface (`GICD_*`, `GICC_*`)",
        treatments: Treatments::both(Trapped, "no stage 2 of a guest maps them"),
    },
    Other {
        name: "caches by set and way (`DC ISW`, `DC CSW`, `DC CISW`)",
        treatments: Treatments::both(
            Harmless,
            "with `HCR_EL2.VM`, to invalidate is to clean first: it costs time",
        ),
    },
    Other {
        name: "`TLBI`, `IC`, `DC` by address, `AT`",
        treatments: Treatments::both(
            Harmless,
            "of the guest's own VMID, and of addresses that its stage 2 maps",
        ),
    },
    Other {
        name: "exclusive monitors",
        treatments: Treatments::both(
            Reset,
            "`ERET` clears the local one; a store that fails is tried again",
        ),
    },
    Other {
        name: "contents of caches, TLBs and predictors",
        treatments: Treatments::both(
            Harmless,
            "changes how long something takes, and nothing else: a channel that is not closed",
        ),
    },
];

/// Interrupt lines of a core or a device that a guest can raise, hold or keep from being raised.
pub const LINES: &[Other] = &[
    Other {
        name: "27, virtual timer",
        treatments: Treatments {
            sel4: (
                Switched,
                "with its timer; masked from when it comes until `vmm-pd` acknowledges it",
            ),
            embedded: (
                Switched,
                "each vCPU's own mask; one that comes for a guest that was left is masked until it runs",
            ),
        },
    },
    Other {
        name: "30, EL1 physical timer",
        treatments: Treatments {
            sel4: (
                Harmless,
                "`timer-pd`'s on `qemu_virt_aarch64`: one too many makes it look at the count, one too few delays the \
                 guest's own wake-ups; nobody's elsewhere",
            ),
            embedded: (Trapped, "its registers trap"),
        },
    },
    Other {
        name: "26, EL2 physical timer; 29, secure timer",
        treatments: Treatments::both(Harmless, "no register that EL1 reaches raises them"),
    },
    Other {
        name: "25, virtual interface maintenance",
        treatments: Treatments::both(
            Switched,
            "comes of the list registers of the vCPU that is loaded; not while `GICH_HCR.En` is clear",
        ),
    },
    Other {
        name: "23, performance monitor; 21, profiling buffer",
        treatments: Treatments::both(
            Trapped,
            "the registers that enable them trap, and they are not enabled at the GIC",
        ),
    },
    Other {
        name: "22, debug communications channel; 24, cross trigger",
        treatments: Treatments::both(
            Trapped,
            "`MDCCINT_EL1` traps, the cross trigger is in no stage 2, and neither is enabled at the GIC",
        ),
    },
    Other {
        name: "physical SGIs and devices' interrupts",
        treatments: Treatments::both(
            Trapped,
            "a guest has no device but emulated ones, and no physical distributor",
        ),
    },
    Other {
        name: "virtual IRQ, FIQ and SError",
        treatments: Treatments::both(
            Reset,
            "`HCR_EL2.{VI,VF,VSE}` are 0, and the virtual interface is off",
        ),
    },
];

/// What seL4's configuration must be.
pub const NEEDS: &[Need] = &[
    Need {
        option: "ARM_HYPERVISOR_SUPPORT",
        on: true,
        why: "no vCPU's registers would be switched, and domains would not run under HCR_EL2.TGE",
    },
    Need {
        option: "HAVE_FPU",
        on: true,
        why: "FP and SIMD registers would not be switched",
    },
    Need {
        option: "EXPORT_PMU_USER",
        on: false,
        why: "the kernel would open the performance monitor to EL0",
    },
    Need {
        option: "EXPORT_VTMR_USER",
        on: false,
        why: "the kernel would open the guest's virtual timer to EL0 domains",
    },
    Need {
        option: "VTIMER_UPDATE_VOFFSET",
        on: false,
        why: "the kernel would change CNTVOFF_EL2 by itself",
    },
    Need {
        option: "ARM_GIC_V3_SUPPORT",
        on: false,
        why: "the virtual CPU interface would be system registers, of which the table says nothing",
    },
];
