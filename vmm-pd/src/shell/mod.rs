// SPDX-License-Identifier: BSD-2-Clause
//! The port between the machine and seL4.
//!
//! Responsible for: one invocation, call or memory access for each of the machine's wishes.

#[cfg(feature = "measure")]
mod measure;
#[cfg(not(feature = "measure"))]
mod no_measure;
pub(crate) mod stub;

use channel::ring::Duplex;
use channel::vgic::Injection;
use channel::{Message, ProtocolError, VcpuId, ids, microkit, timer, vgic};
use guest_bundle::{Bundle, MAX_HEAD, Place, RAM_BASE, ROM_LOOP};
use sel4_microkit::{Channel, memory_region_symbol, var};
use state::machine::{MAX_BOARD_NAME, MAX_PROMISE};
use state::record::Header;
use stopwatch::Step;
use vmm_pd::capture::{DataPage, layout};
use vmm_pd::lifecycle::machine::Boot;
use vmm_pd::port::{Frame, KernelError, Operation, Port, VcpuRegister};

#[cfg(feature = "measure")]
use measure::Clock;
#[cfg(not(feature = "measure"))]
use no_measure::Clock;
use region::Region;

/// The first slot of the threads of a domain's virtual machine (Microkit 2.3.0).
const VM_THREAD_SLOT: u64 = sel4_sys::microkit::VM_TCB_BASE_SLOT;
/// The first slot of the vCPUs of a domain's virtual machine (Microkit 2.3.0).
const VCPU_SLOT: u64 = sel4_sys::microkit::VCPU_BASE_SLOT;
/// Bytes that `vgic-pd` publishes for each vCPU.
const VIEW_SIZE: usize = 0x1000;
/// Sizes of regions as `system.xml` has them.
const CAPTURE_CODE_SIZE: usize = 0x2000;
const CAPTURE_DATA_SIZE: usize = 0x4000;
const VIEWS_SIZE: usize = 0x4000;
const RECORD_SIZE: usize = 0x8000;
const CONSOLE_RING_SIZE: usize = 0x4000;

/// A vCPU thread's registers, as seL4 hands them over.
#[derive(Default)]
pub(crate) struct Registers(sel4::UserContext);

impl Frame for Registers {
    #[inline]
    fn program_counter(&self) -> u64 {
        *self.0.pc()
    }
    #[inline]
    fn set_program_counter(&mut self, value: u64) {
        *self.0.pc_mut() = value;
    }
    #[inline]
    fn stack_pointer(&self) -> u64 {
        *self.0.sp()
    }
    #[inline]
    fn set_stack_pointer(&mut self, value: u64) {
        *self.0.sp_mut() = value;
    }
    #[inline]
    fn state(&self) -> u64 {
        *self.0.spsr()
    }
    #[inline]
    fn set_state(&mut self, value: u64) {
        *self.0.spsr_mut() = value;
    }
    #[inline]
    fn general(&self, register: u8) -> u64 {
        *self.0.gpr(usize::from(register))
    }
    #[inline]
    fn set_general(&mut self, register: u8, value: u64) {
        *self.0.gpr_mut(usize::from(register)) = value;
    }
    fn thread_pointers(&self) -> [u64; 2] {
        [self.0.inner().tpidr_el0, self.0.inner().tpidrro_el0]
    }
    fn set_thread_pointers(&mut self, values: [u64; 2]) {
        [self.0.inner_mut().tpidr_el0, self.0.inner_mut().tpidrro_el0] = values;
    }
}

/// Everything that this domain may touch.
pub(crate) struct Shell {
    ram: Region,
    rom: Region,
    /// Firmware memory holds firmware.
    rom_filled: bool,
    /// Where bundles are: what came with the image, and what came with a guest.
    bundles: [Region; 2],
    /// What is loaded, and where it is.
    loading: Option<(Bundle, Region)>,
    capture_code: Region,
    capture_data: Region,
    views: Region,
    export: Region,
    import: Region,
    /// A record to import, out of the peer domain's reach.
    import_copy: [u8; RECORD_SIZE],
    console: Duplex,
    clock: Clock,
    /// The vCPUs that were resumed since an exit came, one bit each.
    #[cfg(feature = "printing")]
    resumed: u8,
}

fn thread(vcpu: VcpuId) -> sel4::cap::Tcb {
    sel4::Cap::from_bits(VM_THREAD_SLOT + vcpu.index() as u64)
}

fn vcpu_capability(vcpu: VcpuId) -> sel4::cap::VCpu {
    sel4::Cap::from_bits(VCPU_SLOT + vcpu.index() as u64)
}

#[inline]
fn refused(operation: Operation) -> impl FnOnce(sel4::Error) -> KernelError {
    move |error| KernelError {
        operation,
        code: error as u64,
    }
}

/// The number of a register in seL4's vCPU object.
const fn number(register: VcpuRegister) -> u64 {
    use sel4_sys::VCpuRegister as Index;
    (match register {
        VcpuRegister::SCTLR => Index::SCTLR,
        VcpuRegister::CPACR => Index::CPACR,
        VcpuRegister::TTBR0 => Index::TTBR0,
        VcpuRegister::TTBR1 => Index::TTBR1,
        VcpuRegister::TCR => Index::TCR,
        VcpuRegister::ESR => Index::ESR,
        VcpuRegister::FAR => Index::FAR,
        VcpuRegister::VBAR => Index::VBAR,
        VcpuRegister::VMPIDR => Index::VMPIDR_EL2,
        VcpuRegister::SpEl1 => Index::SP_EL1,
        VcpuRegister::ElrEl1 => Index::ELR_EL1,
        VcpuRegister::SpsrEl1 => Index::SPSR_EL1,
        VcpuRegister::CntvCtl => Index::CNTV_CTL,
        VcpuRegister::CntvCval => Index::CNTV_CVAL,
        VcpuRegister::Cntvoff => Index::CNTVOFF,
        VcpuRegister::Cntkctl => Index::CNTKCTL_EL1,
    }) as u64
}

impl Shell {
    /// Takes possession of the regions; called once.
    pub(crate) fn new() -> Self {
        let ram_size = *var!(guest_ram_size: usize = 0);
        let rom_size = *var!(guest_rom_size: usize = 0);
        let bundle_size = *var!(guest_bundle_size: usize = 0);
        let store_size = *var!(bundle_store_size: usize = 0);
        // SAFETY: `system.xml` maps these regions with at least these sizes, readable, and
        // writable but for `vgic_view`, `vmm_import` and those of bundles; this is the only place that names them.
        unsafe {
            Self {
                ram: Region::new(memory_region_symbol!(guest_ram: *mut u8), ram_size),
                rom: Region::new(memory_region_symbol!(guest_rom: *mut u8), rom_size),
                rom_filled: true,
                bundles: [
                    Region::new(memory_region_symbol!(guest_bundle: *mut u8), bundle_size),
                    Region::new(memory_region_symbol!(bundle_store: *mut u8), store_size),
                ],
                loading: None,
                capture_code: Region::new(
                    memory_region_symbol!(capture_code: *mut u8),
                    CAPTURE_CODE_SIZE,
                ),
                capture_data: Region::new(
                    memory_region_symbol!(capture_data: *mut u8),
                    CAPTURE_DATA_SIZE,
                ),
                views: Region::new(memory_region_symbol!(vgic_view: *mut u8), VIEWS_SIZE),
                export: Region::new(memory_region_symbol!(vmm_export: *mut u8), RECORD_SIZE),
                import: Region::new(memory_region_symbol!(vmm_import: *mut u8), RECORD_SIZE),
                import_copy: [0; RECORD_SIZE],
                console: Duplex::new(
                    memory_region_symbol!(vmm_to_serial: *mut u8),
                    CONSOLE_RING_SIZE,
                    memory_region_symbol!(serial_to_vmm: *mut u8),
                    CONSOLE_RING_SIZE,
                )
                .unwrap_or_else(|error| panic!("console: {error}")),
                clock: Clock::new(),
                #[cfg(feature = "printing")]
                resumed: 0,
            }
        }
    }

    /// An exit is about to be handled: which vCPUs were resumed before, by a notification or a call, does not count.
    #[cfg(feature = "printing")]
    pub(crate) fn begin_exit(&mut self) {
        self.resumed = 0;
    }

    /// An exit of this vCPU is handled; where it has not been resumed, its thread is suspended. It is suspended in either case, but
    /// its fault would be unanswered when `vmm-pd` waits for the next event with the same reply object, and a debug kernel
    /// says so, each time ("Reply object already has unexecuted reply!"), before it does the same.
    #[cfg(feature = "printing")]
    pub(crate) fn end_exit(&mut self, vcpu: VcpuId) {
        if self.resumed & 1 << vcpu.index() == 0 {
            let _ = thread(vcpu).tcb_suspend();
        }
    }

    /// Puts the capture stub where a vCPU can run it.
    pub(crate) fn install_stub(&mut self, code: &[u64]) {
        assert!(
            size_of_val(code) <= CAPTURE_CODE_SIZE,
            "the capture stub does not fit"
        );
        self.capture_code.set_words64(0, code);
        self.capture_code
            .clean_and_invalidate(0, self.capture_code.length());
    }

    /// What the board boots: nothing if its image's bundle is empty; a boot that cannot be if that is not a bundle.
    pub(crate) fn image_boot(&mut self) -> Option<Boot> {
        let [image, _] = self.bundles;
        match self.read_bundle(image) {
            Some(bundle) if bundle.is_empty() => None,
            Some(bundle) => {
                self.loading = Some((bundle, image));
                Some(boot_from(&bundle))
            }
            None => Some(Boot {
                identity: 0,
                vcpus: 0,
                entry: 0,
                context: 0,
                segments: 0,
            }),
        }
    }

    /// The bundle in a region, if there is one. `migration-pd` may write the region: what is checked is a copy.
    fn read_bundle(&self, region: Region) -> Option<Bundle> {
        let mut head = [0; MAX_HEAD];
        let room = region.length() as u64;
        let copied = region.get(0, &mut head);
        copied.then(|| Bundle::read(&head, room, self.ram.length() as u64).ok())?
    }

    /// Tells `serial-pd` about console bytes that it waits for.
    #[inline]
    pub(crate) fn flush(&mut self) {
        self.clock.tell(&mut self.console.producer);
        let written = self.console.producer.notify_due();
        if written | self.console.consumer.notify_due() {
            Channel::new(ids::vmm::SERIAL).notify();
        }
    }
}

impl DataPage for Shell {
    fn write_page(&mut self, vcpu: VcpuId, first: usize, words: &[u64]) {
        let offset = page_offset(vcpu, first);
        self.capture_data.set_words64(offset, words);
        self.capture_data
            .clean_and_invalidate(offset, 8 * words.len());
    }

    fn read_page(&mut self, vcpu: VcpuId, first: usize, words: &mut [u64]) {
        let offset = page_offset(vcpu, first);
        self.capture_data
            .clean_and_invalidate(offset, 8 * words.len());
        if !self.capture_data.words64(offset, words) {
            words.fill(0);
        }
    }
}

/// How a guest starts from a bundle.
fn boot_from(bundle: &Bundle) -> Boot {
    Boot {
        identity: bundle.identity(),
        vcpus: u8::try_from(bundle.vcpus()).unwrap_or(0),
        entry: bundle.entry(),
        context: bundle.device_tree(),
        segments: bundle.segments().count(),
    }
}

/// Bytes of RAM that are gone through at once: a fraction of a millisecond on every board.
const SLICE: usize = 0x4_0000;

/// Where slice `number` of `length` bytes begins, and how long it is; the last is shorter.
fn slice_of(number: usize, length: usize) -> Option<(usize, usize)> {
    let offset = number.checked_mul(SLICE)?;
    let left = length.checked_sub(offset).filter(|left| *left > 0)?;
    Some((offset, left.min(SLICE)))
}

/// Where word `first` of a vCPU's data page is in the region of all of them.
const fn page_offset(vcpu: VcpuId, first: usize) -> usize {
    vcpu.index() * layout::PAGE + 8 * first
}

impl Port for Shell {
    type Frame = Registers;

    #[inline]
    fn read(&mut self, vcpu: VcpuId, count: usize) -> Result<Registers, KernelError> {
        thread(vcpu)
            .tcb_read_registers(false, count as u64)
            .map(Registers)
            .map_err(refused(Operation::ReadThread))
    }

    #[inline]
    fn write(
        &mut self,
        vcpu: VcpuId,
        frame: &mut Registers,
        count: usize,
        resume: bool,
    ) -> Result<(), KernelError> {
        #[cfg(feature = "printing")]
        {
            self.resumed |= u8::from(resume) << vcpu.index();
        }
        let mut write = || thread(vcpu).tcb_write_registers(resume, count as u64, &mut frame.0);
        let done = if resume {
            self.clock.time(Step::Resume, write)
        } else {
            write()
        };
        done.map_err(refused(Operation::WriteThread))
    }

    #[inline]
    fn resume(&mut self, vcpu: VcpuId) -> Result<(), KernelError> {
        #[cfg(feature = "printing")]
        {
            self.resumed |= 1 << vcpu.index();
        }
        self.clock
            .time(Step::Resume, || thread(vcpu).tcb_resume())
            .map_err(refused(Operation::Resume))
    }

    fn suspend(&mut self, vcpu: VcpuId) -> Result<(), KernelError> {
        thread(vcpu)
            .tcb_suspend()
            .map_err(refused(Operation::Suspend))
    }

    #[inline]
    fn read_vcpu(&mut self, vcpu: VcpuId, register: VcpuRegister) -> Result<u64, KernelError> {
        let capability = vcpu_capability(vcpu).bits();
        let answer = sel4::with_ipc_buffer_mut(|buffer| {
            buffer
                .inner_mut()
                .seL4_ARM_VCPU_ReadRegs(capability, number(register))
        });
        sel4::Error::from_sys(answer.error).map_or(Ok(answer.value), |error| {
            Err(refused(Operation::ReadVcpu)(error))
        })
    }

    #[inline]
    fn write_vcpu(
        &mut self,
        vcpu: VcpuId,
        register: VcpuRegister,
        value: u64,
    ) -> Result<(), KernelError> {
        let capability = vcpu_capability(vcpu).bits();
        let error = sel4::with_ipc_buffer_mut(|buffer| {
            buffer
                .inner_mut()
                .seL4_ARM_VCPU_WriteRegs(capability, number(register), value)
        });
        sel4::Error::from_sys(error)
            .map_or(Ok(()), |error| Err(refused(Operation::WriteVcpu)(error)))
    }

    #[inline]
    fn inject(&mut self, injection: Injection) -> Result<(), KernelError> {
        let Injection {
            vcpu,
            intid,
            priority,
            group,
            list_register,
        } = injection;
        let vcpu = vcpu_capability(vcpu);
        self.clock
            .time(Step::Inject, || {
                vcpu.vcpu_inject_irq(intid.value(), priority, group, list_register)
            })
            .map_err(refused(Operation::Inject))
    }

    #[inline]
    fn acknowledge_timer(&mut self, vcpu: VcpuId) -> Result<(), KernelError> {
        vcpu_capability(vcpu)
            .vcpu_ack_vppi(channel::Intid::VIRTUAL_TIMER.value().into())
            .map_err(refused(Operation::AcknowledgeTimer))
    }

    #[inline]
    fn vgic(&mut self, request: &vgic::Request) -> Result<Message, ProtocolError> {
        self.clock.time(Step::of_vgic(request), || {
            microkit::call(Channel::new(ids::vmm::VGIC), &request.encode())
        })
    }

    #[inline]
    fn timer(&mut self, request: &timer::Request) -> Result<Message, ProtocolError> {
        self.clock.time(Step::of_timer(request), || {
            microkit::call(Channel::new(ids::vmm::TIMER), &request.encode())
        })
    }

    #[inline]
    fn view(&self, vcpu: VcpuId, offset: u32) -> u32 {
        self.views
            .word32(vcpu.index() * VIEW_SIZE + offset as usize)
            .unwrap_or(0)
    }

    fn phase_changed(&mut self) {
        self.clock.time(Step::PeerDomain, || {
            Channel::new(ids::vmm::MIGRATION).notify();
        });
    }

    fn export_region(&mut self) -> &mut [u8] {
        // SAFETY: `migration-pd` only reads the region, and the exclusive borrow of `self` is that
        // of the slice.
        unsafe { self.export.owned() }
    }

    fn import_region(&mut self, length: usize) -> Option<&[u8]> {
        let copy = self.import_copy.get_mut(..length)?;
        self.import.get(0, copy).then_some(&*copy)
    }

    fn board(&self) -> &str {
        // Written by whoever builds the image, from the name of the folder under `board/`.
        let name = var!(board_name: [u8; MAX_BOARD_NAME] = [0; MAX_BOARD_NAME]);
        let end = name.iter().position(|byte| *byte == 0);
        let name = name.get(..end.unwrap_or(name.len())).unwrap_or_default();
        core::str::from_utf8(name).unwrap_or_default()
    }

    fn time_of_day(&self) -> u64 {
        // Written by whoever builds an image that is started at once.
        *var!(time_of_day: u64 = 0)
    }
    fn promise(&self) -> Option<&[u8]> {
        // Written by whoever builds the image.
        let promise: &[u8] = var!(guest_promise: [u8; MAX_PROMISE] = [0; MAX_PROMISE]);
        let length = usize::try_from(Header::peek(promise).ok()?.length).ok()?;
        promise.get(..length.checked_add(Header::SIZE)?)
    }

    fn ram_size(&self) -> u64 {
        self.ram.length() as u64
    }

    #[inline]
    fn ram_read(&self, ipa: u64) -> Option<u64> {
        match ipa.checked_sub(RAM_BASE) {
            Some(offset) => self.ram.word64(usize::try_from(offset).ok()?),
            None => self.rom.word64(usize::try_from(ipa).ok()?),
        }
    }

    fn set_rom(&mut self, from_bundle: bool) {
        if self.rom_filled {
            self.rom.clear();
        }
        self.rom_filled = from_bundle;
        let (at, word) = ROM_LOOP;
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        self.rom.put(at, &word.to_le_bytes());
        let index = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        if let Some((bundle, from)) = self.loading.filter(|_| from_bundle) {
            for segment in bundle.segments() {
                if let Place::Rom(offset) = segment.place() {
                    let (at, size) = (index(segment.offset), index(segment.size));
                    self.rom.copy(index(offset), from, at, size);
                }
            }
        }
        self.rom.clean_and_invalidate(0, self.rom.length());
    }

    fn ram_flush(&mut self, slice: usize) -> bool {
        let Some((offset, length)) = slice_of(slice, self.ram.length()) else {
            return false;
        };
        self.ram.clean_and_invalidate(offset, length);
        true
    }

    fn clear_copies(&mut self) {
        self.export.clear();
        self.import_copy.fill(0);
        self.capture_data.clear();
    }

    fn boot(&mut self, identity: u64) -> Option<Boot> {
        let found = self.bundles.into_iter().find_map(|region| {
            let bundle = self.read_bundle(region)?;
            let is_it = !bundle.is_empty() && bundle.identity() == identity;
            is_it.then_some((bundle, region))
        });
        self.loading = found.or(self.loading);
        found.map(|(bundle, _)| boot_from(&bundle))
    }

    fn load_segment(&mut self, index: usize, slice: usize) -> bool {
        let loading = self.loading.as_ref();
        let Some((segment, from)) =
            loading.and_then(|(bundle, region)| Some((bundle.segments().nth(index)?, *region)))
        else {
            return false;
        };
        let index = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let Some((first, length)) = slice_of(slice, index(segment.size)) else {
            return false;
        };
        let Place::Ram(offset) = segment.place() else {
            return false;
        };
        let offset = index(offset).saturating_add(first);
        let at = index(segment.offset).saturating_add(first);
        self.ram.copy(offset, from, at, length);
        self.ram.clean_and_invalidate(offset, length);
        true
    }

    // A console whose peer domain lies about its rings is unusable, nothing else.

    fn console_room(&mut self) -> usize {
        match self.console.producer.free() {
            Ok(0) if self.console.producer.wait(1) == Ok(true) => {
                self.console.producer.free().unwrap_or(0)
            }
            free => free.unwrap_or(0),
        }
    }

    fn console_put(&mut self, byte: u8) {
        let _ = self.console.producer.push(&[byte]);
    }

    fn console_is_sent(&mut self) -> bool {
        let producer = &mut self.console.producer;
        let all = producer.capacity();
        producer.wait(all).unwrap_or(true)
    }

    fn console_take(&mut self) -> Option<u8> {
        let mut byte = [0];
        while self.console.consumer.pop(&mut byte) != Ok(1) {
            if self.console.consumer.wait(0) != Ok(true) {
                return None;
            }
        }
        Some(byte[0])
    }

    fn console_look(&mut self, into: &mut [u8]) -> usize {
        self.console.consumer.look(into).unwrap_or(0)
    }

    fn console_drop(&mut self) {
        let consumer = &mut self.console.consumer;
        while let Ok(count) = consumer.available() {
            if consumer.consume(count).is_err() || consumer.wait(0) != Ok(true) {
                return;
            }
        }
    }
}
