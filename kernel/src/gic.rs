// SPDX-License-Identifier: BSD-2-Clause
//! The GICv2: distributor, CPU interface and virtual interface control.
//!
//! Responsible for the registers (IHI 0048B, chapters 4 and 5; addresses from QEMU's
//! `hw/arm/virt.c`). Follows seL4 in using the GIC's active state for nothing: an interrupt is
//! ended as soon as it was noted, and masked in the distributor until its domain acknowledges it.

use core::ptr::NonNull;

use arm_gic::gicv2::registers::{Gicc, Gicd, GicdCtlr};
use kernel_image::Trigger;
use safe_mmio::fields::{ReadPure, ReadPureWrite};
use safe_mmio::{UniqueMmioPointer, field, field_shared};

/// Physical address of the distributor.
const DISTRIBUTOR: usize = 0x0800_0000;
/// Physical address of the CPU interface.
const CPU_INTERFACE: usize = 0x0801_0000;
/// Physical address of the virtual interface control block.
const VIRTUAL_CONTROL: usize = 0x0803_0000;
/// Bytes of each of them.
pub(crate) const DEVICES: [(usize, usize); 3] = [
    (DISTRIBUTOR, 0x1_0000),
    (CPU_INTERFACE, 0x1_0000),
    (VIRTUAL_CONTROL, 0x1_0000),
];

/// Every interrupt has the same priority, and the mask lets it through, as on seL4.
const PRIORITIES: u32 = 0x8080_8080;
const PRIORITY_MASK: u32 = 0xf0;

/// INTIDs from here on are special: nothing is pending.
const SPECIAL: u32 = 1020;
/// `GICC_IAR`: the INTID without the source of an SGI.
const INTID_MASK: u32 = 0x3ff;

/// Virtual interface control registers (IHI 0048B, table 5-8).
#[repr(C, align(8))]
struct Gich {
    hcr: ReadPureWrite<u32>,
    vtr: ReadPure<u32>,
    vmcr: ReadPureWrite<u32>,
    reserved_0: u32,
    misr: ReadPure<u32>,
    reserved_1: [u32; 3],
    eisr: [ReadPure<u32>; 2],
    reserved_2: [u32; 2],
    elrsr: [ReadPure<u32>; 2],
    reserved_3: [u32; 46],
    apr: ReadPureWrite<u32>,
    reserved_4: [u32; 3],
    lr: [ReadPureWrite<u32>; kernel::machine::MOST_LIST_REGISTERS],
}

const _: () = assert!(core::mem::offset_of!(Gich, apr) == 0xf0);
const _: () = assert!(core::mem::offset_of!(Gich, lr) == 0x100);

/// The GIC.
pub(crate) struct Gic {
    distributor: UniqueMmioPointer<'static, Gicd>,
    cpu_interface: UniqueMmioPointer<'static, Gicc>,
    virtual_control: UniqueMmioPointer<'static, Gich>,
    list_registers: usize,
}

impl Gic {
    /// The GIC of QEMU's `virt` machine.
    ///
    /// # Safety
    ///
    /// Once only, and the three devices must be mapped as device memory at their physical
    /// addresses before any other function is called.
    pub(crate) const unsafe fn new() -> Self {
        const fn at<T>(address: usize) -> NonNull<T> {
            match NonNull::new(core::ptr::without_provenance_mut(address)) {
                Some(pointer) => pointer,
                None => panic!("no device is at address 0"),
            }
        }
        // SAFETY: the caller vouches for the mappings and for calling this once.
        unsafe {
            Self {
                distributor: UniqueMmioPointer::new(at(DISTRIBUTOR)),
                cpu_interface: UniqueMmioPointer::new(at(CPU_INTERFACE)),
                virtual_control: UniqueMmioPointer::new(at(VIRTUAL_CONTROL)),
                list_registers: 0,
            }
        }
    }

    /// Masks every interrupt, forgets what is pending or active, and switches the GIC on.
    pub(crate) fn start(&mut self) {
        let mut distributor = self.distributor.reborrow();
        field!(distributor, ctlr).write(GicdCtlr::empty());
        let typer = field_shared!(distributor, typer).read();
        let interrupts = typer.num_irqs() as usize;
        // Without security extensions, as here, all are in group 0.
        let group = if typer.has_security_extension() {
            u32::MAX
        } else {
            0
        };
        for word in 0..interrupts / 32 {
            set(field!(distributor, icenabler).get(word), u32::MAX);
            set(field!(distributor, icpendr).get(word), u32::MAX);
            set(field!(distributor, icactiver).get(word), u32::MAX);
            set(field!(distributor, igroupr).get(word), group);
        }
        for word in 0..interrupts / 4 {
            set(field!(distributor, ipriorityr).get(word), PRIORITIES);
        }
        field!(distributor, ctlr).write(GicdCtlr::EnableGrp0);
        field!(self.cpu_interface, pmr).write(PRIORITY_MASK);
        field!(self.cpu_interface, ctlr).write(1);

        // GICH_VTR.ListRegs is their number less one.
        let count = (field_shared!(self.virtual_control, vtr).read() & 0x3f) as usize + 1;
        self.list_registers = count.min(kernel::machine::MOST_LIST_REGISTERS);
        self.set_interface_control(0);
    }

    /// Says how an interrupt signals.
    pub(crate) fn set_trigger(&mut self, intid: u32, trigger: Trigger) {
        let edge = 2 << (intid % 16 * 2);
        let mut registers = field!(self.distributor, icfgr);
        if let Some(mut register) = registers.get(intid as usize / 16) {
            let value = register.read();
            register.write(match trigger {
                Trigger::Edge => value | edge,
                Trigger::Level => value & !edge,
            });
        }
    }

    #[inline(always)]
    pub(crate) fn unmask(&mut self, intid: u32) {
        set(
            field!(self.distributor, isenabler).get(intid as usize / 32),
            1 << (intid % 32),
        );
    }

    #[inline(always)]
    pub(crate) fn mask(&mut self, intid: u32) {
        set(
            field!(self.distributor, icenabler).get(intid as usize / 32),
            1 << (intid % 32),
        );
    }

    #[inline(always)]
    pub(crate) fn acknowledge(&mut self) -> Option<u32> {
        let intid = field!(self.cpu_interface, iar).read() & INTID_MASK;
        (intid < SPECIAL).then_some(intid)
    }

    #[inline(always)]
    pub(crate) fn end(&mut self, intid: u32) {
        field!(self.cpu_interface, eoir).write(intid);
    }

    #[inline(always)]
    pub(crate) fn list_registers(&self) -> usize {
        self.list_registers
    }

    #[inline(always)]
    pub(crate) fn set_interface_control(&mut self, value: u32) {
        field!(self.virtual_control, hcr).write(value);
    }

    pub(crate) fn interface_state(&mut self) -> (u32, u32) {
        let control = field_shared!(self.virtual_control, vmcr).read();
        (control, field_shared!(self.virtual_control, apr).read())
    }

    pub(crate) fn set_interface_state(&mut self, control: u32, active_priorities: u32) {
        field!(self.virtual_control, vmcr).write(control);
        field!(self.virtual_control, apr).write(active_priorities);
    }

    pub(crate) fn list_register(&mut self, index: usize) -> u32 {
        field!(self.virtual_control, lr)
            .get(index)
            .map_or(0, |register| register.read())
    }

    pub(crate) fn set_list_register(&mut self, index: usize, value: u32) {
        set(field!(self.virtual_control, lr).get(index), value);
    }

    /// `GICH_MISR`, and which list registers became empty with an EOI maintenance interrupt.
    pub(crate) fn maintenance_status(&mut self) -> (u32, u64) {
        let status = field_shared!(self.virtual_control, misr).read();
        let mut registers = field!(self.virtual_control, eisr);
        let mut word = |index| {
            registers
                .get(index)
                .map_or(0, |register| u64::from(register.read()))
        };
        (status, word(0) | word(1) << 32)
    }
}

/// Writes a register if it exists.
#[inline(always)]
fn set(register: Option<UniqueMmioPointer<'_, ReadPureWrite<u32>>>, value: u32) {
    if let Some(mut register) = register {
        register.write(value);
    }
}
