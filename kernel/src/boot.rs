// SPDX-License-Identifier: BSD-2-Clause
//! Starting up.
//!
//! Responsible for the way from the first instruction to the first domain: check the image, map,
//! fill memory, build address spaces, start the devices. Must never start anything of an image that
//! breaks a rule: it says which and stops.

use core::fmt::Write;
use core::ops::Range;
use core::ptr::NonNull;

use aarch64_cpu::registers::{CNTFRQ_EL0, CNTHP_CTL_EL2, Readable, VTCR_EL2, Writeable};
use kernel::identifier::{DomainId, VmId};
use kernel::stage2::{self, Root, TablePool, TranslationTable};
use kernel::{Kernel, Machine, StartError, interrupt};
use kernel_image::{
    Description, ImageError, KERNEL_BASE, KERNEL_TABLES, MAXIMUM_DOMAINS, MAXIMUM_VMS,
    MachineLimits, Object, PAGE_SIZE, Space,
};

use crate::console::Console;
use crate::hardware::{DomainMemory, Hardware, KERNEL, halt, resume};
use crate::memory::{self, AddressSpace};
use crate::registers;
use crate::{console, gic};

unsafe extern "C" {
    static __text_start: u8;
    static __text_end: u8;
    static __rodata_end: u8;
    static __image_end: u8;
}

/// Why the kernel does not start.
#[derive(Debug, thiserror::Error)]
enum BootError {
    #[error("{0}")]
    Image(#[from] ImageError),
    #[error("{0}")]
    Start(#[from] StartError),
    #[error("the kernel's own address space: {0}")]
    OwnSpace(#[from] aarch64_paging::MapError),
    #[error("address space: {0}")]
    Space(#[from] stage2::MapError),
    #[error("an address does not fit this machine")]
    Address,
    #[error("the pool for translation tables is too small")]
    Pool,
}

/// The kernel's first function.
pub(crate) extern "C" fn start() -> ! {
    // SAFETY: the only use of the kernel until the first thread runs.
    let kernel = unsafe { KERNEL.get() };
    kernel.machine.console.start();
    if let Err(error) = run(kernel) {
        let _ = writeln!(
            kernel.machine.console,
            "godwit kernel: cannot start: {error}"
        );
        halt();
    }
    resume(kernel)
}

/// What runs in place of [`start`] below EL2, where no register of EL2 can be touched.
pub(crate) extern "C" fn wrong_exception_level() -> ! {
    // SAFETY: nothing else runs, and the MMU is off.
    let mut console = unsafe { Console::new() };
    console.start();
    let remedy = "QEMU needs -machine virtualization=on";
    let _ = writeln!(console, "godwit kernel: cannot start below EL2: {remedy}");
    halt();
}

fn run(kernel: &mut Kernel<Hardware>) -> Result<(), BootError> {
    let bytes = description_bytes()?;
    let description = Description::parse(bytes)?;
    let image = KERNEL_BASE..bytes.as_ptr_range().end as u64;
    let image = image.start..image.end.next_multiple_of(PAGE_SIZE);
    description.check(&MachineLimits::qemu_virt(image.clone()))?;
    let (own_tables, tables) = pool(&description)?
        .split_at_mut_checked(KERNEL_TABLES)
        .ok_or(BootError::Pool)?;
    map_own_space(&description, &image, own_tables)?;
    description.verify_payload_with(checksum)?;

    fill_memory(&description)?;
    build_spaces(&description, tables, &mut kernel.machine)?;
    start_processor();
    start_devices(&description, &mut kernel.machine)?;
    kernel.start(&description, CNTFRQ_EL0.get())?;
    let count = description.domains().len();
    let vcpus = description.vcpus().len();
    let console = &mut kernel.machine.console;
    let _ = writeln!(
        console,
        "godwit kernel: {count} domains, {vcpus} virtual CPUs"
    );
    #[cfg(feature = "guest-debug")]
    let _ = writeln!(
        console,
        "godwit kernel: the guest has the processor's debug registers and performance monitor: for a guest that is trusted"
    );
    Ok(())
}

/// The boot description behind the kernel.
fn description_bytes() -> Result<&'static [u8], ImageError> {
    let start = &raw const __image_end;
    // SAFETY: QEMU's loader placed the image here, which is at least this long, and nothing ever
    // writes to it.
    let header =
        unsafe { core::slice::from_raw_parts(start, size_of::<kernel_image::layout::Header>()) };
    let length = Description::total_length(header)?;
    let length = usize::try_from(length).map_err(|_| ImageError::Truncated)?;
    if length > MAXIMUM_IMAGE {
        return Err(ImageError::Truncated);
    }
    // SAFETY: as above, for the length in the header; the checksums tell if it is wrong.
    Ok(unsafe { core::slice::from_raw_parts(start, length) })
}

/// Longest boot description: what lies between the kernel and the end of 2 GiB of RAM.
const MAXIMUM_IMAGE: usize = 0x4000_0000;

/// The memory for translation tables.
fn pool(description: &Description<'_>) -> Result<&'static mut [TranslationTable], BootError> {
    let pool = range(&description.pool())?;
    let start = core::ptr::with_exposed_provenance_mut::<TranslationTable>(pool.start);
    // SAFETY: the check found the pool inside the RAM, page aligned, and outside everything else;
    // called once, this is the only reference to it.
    Ok(unsafe {
        core::slice::from_raw_parts_mut(start, pool.len() / size_of::<TranslationTable>())
    })
}

/// CRC-32 (ISO-HDLC), which the processor has an instruction for.
fn checksum(bytes: &[u8]) -> u32 {
    let mut value = u32::MAX;
    let (words, rest) = bytes.as_chunks::<{ size_of::<u64>() }>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        // SAFETY: it only computes. A Cortex-A53 has the instruction.
        unsafe {
            core::arch::asm!(
                ".arch_extension crc", "crc32x {0:w}, {0:w}, {1}",
                inout(reg) value, in(reg) word, options(pure, nomem, nostack, preserves_flags),
            );
        }
    }
    for &byte in rest {
        // SAFETY: as above.
        unsafe {
            core::arch::asm!(
                ".arch_extension crc", "crc32b {0:w}, {0:w}, {1:w}",
                inout(reg) value, in(reg) u32::from(byte),
                options(pure, nomem, nostack, preserves_flags),
            );
        }
    }
    !value
}

/// Switches the MMU on.
fn map_own_space(
    description: &Description<'_>,
    image: &Range<u64>,
    tables: &'static mut [TranslationTable],
) -> Result<(), BootError> {
    let ram = range(&description.ram())?;
    let image = range(image)?;
    let text = address(&raw const __text_start)..address(&raw const __text_end);
    let constants = text.end..address(&raw const __rodata_end);
    let data = constants.end..address(&raw const __image_end);
    let mut space = AddressSpace::new(tables);
    space.map(&ram, memory::DATA)?;
    space.map(&image, memory::CONSTANT)?;
    space.map(&text, memory::CODE)?;
    space.map(&constants, memory::CONSTANT)?;
    space.map(&data, memory::DATA)?;
    for (start, length) in gic::DEVICES.into_iter().chain([console::DEVICE]) {
        space.map(&(start..start + length), memory::DEVICE)?;
    }
    // SAFETY: everything that the kernel is and uses was mapped above.
    unsafe { space.activate() };
    Ok(())
}

fn address(symbol: *const u8) -> usize {
    symbol.addr()
}

fn range(range: &Range<u64>) -> Result<Range<usize>, BootError> {
    let narrow = |value: u64| usize::try_from(value).map_err(|_| BootError::Address);
    Ok(narrow(range.start)?..narrow(range.end)?)
}

/// Fills memory as the description says.
fn fill_memory(description: &Description<'_>) -> Result<(), BootError> {
    for load in description.loads() {
        let load = load?;
        let target = range(&(load.physical..load.physical + load.length))?;
        // SAFETY: the check found the range inside the RAM that is mapped and outside the image
        // and the pool, so that nothing of the kernel's or the description's is there.
        let target = unsafe {
            let start = core::ptr::with_exposed_provenance_mut::<u8>(target.start);
            core::slice::from_raw_parts_mut(start, target.len())
        };
        let (head, rest) = target
            .split_at_mut_checked(load.bytes.len())
            .ok_or(BootError::Address)?;
        head.copy_from_slice(load.bytes);
        rest.fill(0);
    }
    // SAFETY: maintenance of whole caches' worth of instructions; domains' code was just written.
    unsafe {
        core::arch::asm!(
            "dsb ish",
            "ic iallu",
            "dsb ish",
            "isb",
            options(nostack, preserves_flags)
        );
    }
    Ok(())
}

/// Builds the stage 2 of every domain and VM.
fn build_spaces(
    description: &Description<'_>,
    tables: &mut [TranslationTable],
    hardware: &mut Hardware,
) -> Result<(), BootError> {
    let base = tables.as_ptr().addr() as u64;
    let mut pool = TablePool::new(tables, base);
    let mut domains: [Option<Root>; MAXIMUM_DOMAINS] = [None; MAXIMUM_DOMAINS];
    let mut vms: [Option<Root>; MAXIMUM_VMS] = [None; MAXIMUM_VMS];
    let mut identifier = 0;
    for (root, _) in domains.iter_mut().zip(description.domains()) {
        *root = Some(pool.create()?);
    }
    for (root, _) in vms.iter_mut().zip(description.vms()) {
        *root = Some(pool.create()?);
    }
    for mapping in description.mappings() {
        let mapping = mapping?;
        let root = match mapping.space {
            Space::Domain(index) => domains.get(index),
            Space::Vm(index) => vms.get(index),
        };
        pool.map(root.copied().flatten().ok_or(BootError::Address)?, &mapping)?;
    }
    // Each space has an identifier of its own in the TLB; 0 is nobody's.
    let mut translation = |root: Root| {
        identifier += 1;
        identifier << 48 | pool.physical(root)
    };
    for (id, (domain, root)) in DomainId::all().zip(description.domains().zip(domains)) {
        let domain = domain?;
        let buffer = usize::try_from(domain.ipc_buffer_physical).map_err(|_| BootError::Address)?;
        hardware.domains[id] = DomainMemory {
            translation: root.map_or(0, &mut translation),
            ipc_buffer: NonNull::new(core::ptr::with_exposed_provenance_mut(buffer)),
            name: name(domain.name),
        };
    }
    for (id, root) in VmId::all().zip(vms) {
        hardware.vms[id] = root.map_or(0, &mut translation);
    }
    Ok(())
}

/// A name in the boot description, which stays where it is for good.
fn name(name: &str) -> &'static str {
    // SAFETY: the description's bytes are static (`description_bytes`) and never written.
    unsafe { core::mem::transmute::<&str, &'static str>(name) }
}

/// Sets what is the same for every domain and guest.
fn start_processor() {
    VTCR_EL2.write(
        // 40 bits of input address from two concatenated level 1 tables, 4 KiB granule.
        VTCR_EL2::T0SZ.val(64 - 40)
            + VTCR_EL2::SL0.val(1)
            + VTCR_EL2::PS::PA_40B_1TB
            + VTCR_EL2::TG0::Granule4KB
            + VTCR_EL2::SH0::Inner
            + VTCR_EL2::ORGN0::NormalWBRAWA
            + VTCR_EL2::IRGN0::NormalWBRAWA
            + VTCR_EL2::RES1.val(1),
    );
    // SAFETY: no translation of EL1 and EL0 from before is needed, and no guest runs yet.
    unsafe {
        core::arch::asm!(
            "tlbi alle1",
            "dsb nsh",
            "isb",
            options(nostack, preserves_flags)
        );
    }
    registers::close_debug();
    #[cfg(feature = "guest-debug")]
    registers::open_debug();
    registers::enter_domains();
}

fn start_devices(description: &Description<'_>, hardware: &mut Hardware) -> Result<(), ImageError> {
    hardware.gic.start();
    for capability in description.capabilities() {
        if let Object::Interrupt { intid, trigger, .. } = capability?.object {
            hardware.gic.set_trigger(intid, trigger);
            hardware.unmask_interrupt(intid);
        }
    }
    hardware.unmask_interrupt(interrupt::MAINTENANCE);
    hardware.unmask_interrupt(interrupt::KERNEL_TIMER);
    hardware.set_deadline(u64::MAX);
    CNTHP_CTL_EL2.write(CNTHP_CTL_EL2::ENABLE::SET);
    Ok(())
}
