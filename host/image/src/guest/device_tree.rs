// SPDX-License-Identifier: BSD-2-Clause
//! The device tree of the guest's machine.
//!
//! Responsible for: describing exactly what `vmm-pd` and `vgic-pd` emulate, the same on every board. Never: contains
//! anything random or anything of the board: two builds of one guest are equal byte by byte.
//!
//! Bindings: Linux's Documentation/devicetree/bindings and the Devicetree Specification 0.4. Addresses follow QEMU's
//! `virt` map, because guests for it exist already.

use std::ops::Range;

use guest_bundle::RAM_BASE;
use vm_fdt::FdtWriter;

type Result<T, E = vm_fdt::Error> = std::result::Result<T, E>;

/// The distributor, 64 KiB.
const DISTRIBUTOR: u64 = 0x0800_0000;
/// The CPU interface, 8 KiB: its second page holds `GICC_DIR`.
const CPU_INTERFACE: u64 = 0x0801_0000;
/// The console's UART.
const UART: u64 = 0x0900_0000;
/// The UART's clock; PL011s on development boards have it since the Versatile family.
const UART_CLOCK: u32 = 24_000_000;
/// The UART's interrupt, as an SPI.
const UART_SPI: u32 = 1;
/// The clock of the day.
const CLOCK: u64 = 0x0901_0000;
/// Its interrupt, as an SPI.
const CLOCK_SPI: u32 = 2;
/// The virtual timer, as a PPI (Arm BSA, "PPI assignments"): the one timer that a guest has.
const VIRTUAL_TIMER_PPI: u32 = 11;
/// How many interrupts a timer's node lists by position: secure and non-secure physical, virtual and hypervisor timer.
const TIMER_INTERRUPTS: usize = 4;

/// First cell of an interrupt specifier, from `dt-bindings/interrupt-controller/arm-gic.h`.
const GIC_SPI: u32 = 0;
const GIC_PPI: u32 = 1;
const LEVEL_HIGH: u32 = 4;

const GIC_HANDLE: u32 = 1;
const CLOCK_HANDLE: u32 = 2;

/// What differs between guests' machines.
#[derive(Clone, Debug)]
pub struct MachineDescription<'a> {
    /// Number of vCPUs.
    pub vcpus: u32,
    /// Bytes of RAM.
    pub ram: u64,
    /// The command line.
    pub arguments: &'a str,
    /// Where the initramfs lies, as IPAs.
    pub initramfs: Option<Range<u64>>,
    /// Random numbers for one start.
    pub seeds: Option<Seeds>,
}

/// Random numbers that a guest begins with (`/chosen` in the Devicetree Specification's schema): without them, Linux has
/// no entropy for minutes and lies at the same addresses every time. For one start only: what has been used once is known.
#[derive(Clone)]
pub struct Seeds {
    /// `kaslr-seed`.
    kaslr: u64,
    /// `rng-seed`.
    rng: [u8; RNG_SEED],
}

/// Bytes of `rng-seed`: what Linux's generator takes in at once, twice.
const RNG_SEED: usize = 64;

impl Seeds {
    /// From the host's generator.
    ///
    /// # Errors
    ///
    /// The host has none.
    pub fn fresh() -> std::result::Result<Self, getrandom::Error> {
        let mut rng = [0; RNG_SEED];
        getrandom::fill(&mut rng)?;
        Ok(Self {
            kaslr: getrandom::u64()?,
            rng,
        })
    }
}

impl std::fmt::Debug for Seeds {
    /// Without the numbers, which are nobody's business.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Seeds")
    }
}

/// Writes a device tree.
///
/// # Errors
///
/// The command line contains a zero byte.
pub fn device_tree(machine: &MachineDescription<'_>) -> Result<Vec<u8>> {
    let mut tree = FdtWriter::new()?;
    let root = tree.begin_node("")?;
    tree.property_u32("#address-cells", 2)?;
    tree.property_u32("#size-cells", 2)?;
    tree.property_u32("interrupt-parent", GIC_HANDLE)?;
    tree.property_string("compatible", "linux,dummy-virt")?;
    tree.property_string("model", "Godwit virtual machine")?;
    chosen(&mut tree, machine)?;
    memory(&mut tree, machine.ram)?;
    cpus(&mut tree, machine.vcpus)?;
    psci(&mut tree)?;
    interrupt_controller(&mut tree)?;
    timer(&mut tree, machine.vcpus)?;
    uart(&mut tree)?;
    clock(&mut tree)?;
    tree.end_node(root)?;
    tree.finish()
}

fn chosen(tree: &mut FdtWriter, machine: &MachineDescription<'_>) -> Result<()> {
    let node = tree.begin_node("chosen")?;
    tree.property_string("bootargs", machine.arguments)?;
    tree.property_string("stdout-path", &format!("/pl011@{UART:x}"))?;
    if let Some(initramfs) = &machine.initramfs {
        tree.property_u64("linux,initrd-start", initramfs.start)?;
        tree.property_u64("linux,initrd-end", initramfs.end)?;
    }
    if let Some(seeds) = &machine.seeds {
        tree.property_u64("kaslr-seed", seeds.kaslr)?;
        tree.property("rng-seed", &seeds.rng)?;
    }
    tree.end_node(node)
}

fn memory(tree: &mut FdtWriter, size: u64) -> Result<()> {
    let node = tree.begin_node(&format!("memory@{RAM_BASE:x}"))?;
    tree.property_string("device_type", "memory")?;
    tree.property_array_u64("reg", &[RAM_BASE, size])?;
    tree.end_node(node)
}

fn cpus(tree: &mut FdtWriter, count: u32) -> Result<()> {
    let node = tree.begin_node("cpus")?;
    tree.property_u32("#address-cells", 1)?;
    tree.property_u32("#size-cells", 0)?;
    for index in 0..count {
        let cpu = tree.begin_node(&format!("cpu@{index:x}"))?;
        tree.property_string("device_type", "cpu")?;
        // No certain core: it is not the same on every board.
        tree.property_string("compatible", "arm,armv8")?;
        tree.property_string("enable-method", "psci")?;
        // MPIDR_EL1.Aff0.
        tree.property_u32("reg", index)?;
        tree.end_node(cpu)?;
    }
    tree.end_node(node)
}

fn psci(tree: &mut FdtWriter) -> Result<()> {
    let node = tree.begin_node("psci")?;
    tree.property_string_list("compatible", strings(["arm,psci-1.0", "arm,psci-0.2"]))?;
    // Not HVC: seL4 takes a guest's HVC for a system call.
    tree.property_string("method", "smc")?;
    tree.end_node(node)
}

fn interrupt_controller(tree: &mut FdtWriter) -> Result<()> {
    let node = tree.begin_node(&format!("intc@{DISTRIBUTOR:x}"))?;
    tree.property_string("compatible", "arm,cortex-a15-gic")?;
    tree.property_u32("#interrupt-cells", 3)?;
    tree.property_u32("#address-cells", 0)?;
    tree.property_null("interrupt-controller")?;
    tree.property_array_u64("reg", &[DISTRIBUTOR, 0x1_0000, CPU_INTERFACE, 0x2000])?;
    tree.property_phandle(GIC_HANDLE)?;
    tree.end_node(node)
}

fn timer(tree: &mut FdtWriter, vcpus: u32) -> Result<()> {
    let node = tree.begin_node("timer")?;
    tree.property_string("compatible", "arm,armv8-timer")?;
    // A GICv2's PPI specifier names the CPUs that it is wired to.
    let wired = ((1 << vcpus) - 1) << 8;
    // Whoever reads names finds the virtual timer alone. Linux before 5.13, EDK2 and others know positions only, the third
    // for the virtual timer, and want all four to be there: whichever they take, it is the one that works.
    let cells = [GIC_PPI, VIRTUAL_TIMER_PPI, wired | LEVEL_HIGH].repeat(TIMER_INTERRUPTS);
    tree.property_array_u32("interrupts", &cells)?;
    tree.property_string_list("interrupt-names", vec!["virt".to_owned()])?;
    tree.property_null("always-on")?;
    tree.end_node(node)
}

fn uart(tree: &mut FdtWriter) -> Result<()> {
    let clock = tree.begin_node("apb-pclk")?;
    tree.property_string("compatible", "fixed-clock")?;
    tree.property_u32("#clock-cells", 0)?;
    tree.property_u32("clock-frequency", UART_CLOCK)?;
    tree.property_string("clock-output-names", "clk24mhz")?;
    tree.property_phandle(CLOCK_HANDLE)?;
    tree.end_node(clock)?;

    let node = tree.begin_node(&format!("pl011@{UART:x}"))?;
    tree.property_string_list("compatible", strings(["arm,pl011", "arm,primecell"]))?;
    tree.property_array_u64("reg", &[UART, 0x1000])?;
    tree.property_array_u32("interrupts", &[GIC_SPI, UART_SPI, LEVEL_HIGH])?;
    tree.property_array_u32("clocks", &[CLOCK_HANDLE, CLOCK_HANDLE])?;
    tree.property_string_list("clock-names", strings(["uartclk", "apb_pclk"]))?;
    tree.end_node(node)
}

fn clock(tree: &mut FdtWriter) -> Result<()> {
    let node = tree.begin_node(&format!("pl031@{CLOCK:x}"))?;
    tree.property_string_list("compatible", strings(["arm,pl031", "arm,primecell"]))?;
    tree.property_array_u64("reg", &[CLOCK, 0x1000])?;
    tree.property_array_u32("interrupts", &[GIC_SPI, CLOCK_SPI, LEVEL_HIGH])?;
    tree.property_u32("clocks", CLOCK_HANDLE)?;
    tree.property_string("clock-names", "apb_pclk")?;
    tree.end_node(node)
}

fn strings(list: [&str; 2]) -> Vec<String> {
    list.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use fdt::Fdt;

    use super::*;

    fn tree(vcpus: u32) -> Vec<u8> {
        let initramfs = Some(0x4400_0000..0x4412_3456);
        device_tree(&MachineDescription {
            vcpus,
            ram: 128 << 20,
            arguments: "console=ttyAMA0 quiet",
            initramfs,
            seeds: None,
        })
        .unwrap()
    }

    fn cells(tree: &Fdt<'_>, path: &str, property: &str) -> Vec<u32> {
        let node = tree.find_node(path).unwrap_or_else(|| panic!("{path}"));
        let value = node
            .property(property)
            .unwrap_or_else(|| panic!("{path}: {property}"))
            .value;
        value
            .chunks(4)
            .map(|cell| u32::from_be_bytes(cell.try_into().unwrap()))
            .collect()
    }

    #[test]
    fn the_machine_is_described_as_documented() {
        let bytes = tree(2);
        let tree = Fdt::new(&bytes).unwrap();
        assert_eq!(
            cells(&tree, "/memory@40000000", "reg"),
            [0, 0x4000_0000, 0, 128 << 20]
        );
        let gic = cells(&tree, "/intc@8000000", "reg");
        assert_eq!(
            gic,
            [0, 0x0800_0000, 0, 0x1_0000, 0, 0x0801_0000, 0, 0x2000]
        );
        assert_eq!(cells(&tree, "/pl011@9000000", "interrupts"), [0, 1, 4]);
        let clock = "/pl031@9010000";
        assert_eq!(cells(&tree, clock, "reg"), [0, 0x0901_0000, 0, 0x1000]);
        assert_eq!(cells(&tree, clock, "interrupts"), [0, 2, 4]);
        let psci = tree.find_node("/psci").unwrap();
        assert_eq!(psci.property("method").unwrap().as_str(), Some("smc"));
        assert_eq!(tree.chosen().bootargs(), Some("console=ttyAMA0 quiet"));
        let stdout = tree.chosen().stdout().expect("stdout-path names a node");
        assert!(
            stdout
                .compatible()
                .unwrap()
                .all()
                .any(|name| name == "arm,pl011")
        );
        assert_eq!(
            cells(&tree, "/chosen", "linux,initrd-end"),
            [0, 0x4412_3456]
        );
    }

    #[test]
    fn seeds_are_there_if_wanted_and_never_twice_the_same() {
        let seeds = || {
            let bytes = device_tree(&MachineDescription {
                vcpus: 1,
                ram: 128 << 20,
                arguments: "",
                initramfs: None,
                seeds: Some(Seeds::fresh().unwrap()),
            })
            .unwrap();
            let tree = Fdt::new(&bytes).unwrap();
            let of = |name| cells(&tree, "/chosen", name);
            (of("kaslr-seed"), of("rng-seed"))
        };
        let (first, second) = (seeds(), seeds());
        assert_eq!((first.0.len(), first.1.len()), (2, RNG_SEED / 4));
        assert_ne!(first.0, second.0);
        assert!(first.1.iter().zip(&second.1).all(|(a, b)| a != b));
        let bytes = tree(1);
        let chosen = Fdt::new(&bytes).unwrap();
        let chosen = chosen.find_node("/chosen").unwrap();
        assert!(chosen.property("rng-seed").is_none());
    }

    #[test]
    fn no_timer_is_offered_but_the_virtual_one() {
        let bytes = tree(2);
        let tree = Fdt::new(&bytes).unwrap();
        let interrupts = cells(&tree, "/timer", "interrupts");
        // By position, as it was before there were names: four, of which the third is the virtual timer's.
        assert_eq!(interrupts.len(), 4 * 3);
        for interrupt in interrupts.chunks(3) {
            assert_eq!(interrupt, [1, 11, 0x304]);
        }
        let timer = tree.find_node("/timer").unwrap();
        let names = timer.property("interrupt-names").unwrap();
        assert_eq!(names.as_str(), Some("virt"));
    }

    #[test]
    fn every_vcpu_is_described_and_started_by_psci() {
        for count in 1..=4 {
            let bytes = tree(count);
            let tree = Fdt::new(&bytes).unwrap();
            let ids: Vec<_> = tree.cpus().map(|cpu| cpu.ids().first()).collect();
            assert_eq!(ids, (0..count as usize).collect::<Vec<_>>());
            assert!(tree.cpus().all(|cpu| {
                cpu.properties()
                    .any(|property| property.as_str() == Some("psci"))
            }));
        }
    }

    #[test]
    fn handles_refer_to_what_they_mean() {
        let bytes = tree(1);
        let tree = Fdt::new(&bytes).unwrap();
        assert_eq!(
            cells(&tree, "/", "interrupt-parent"),
            cells(&tree, "/intc@8000000", "phandle")
        );
        let clock = cells(&tree, "/apb-pclk", "phandle")[0];
        assert_eq!(cells(&tree, "/pl011@9000000", "clocks"), [clock, clock]);
        assert_eq!(cells(&tree, "/pl031@9010000", "clocks"), [clock]);
        assert_ne!(clock, cells(&tree, "/intc@8000000", "phandle")[0]);
    }

    #[test]
    fn nothing_in_it_is_random() {
        assert_eq!(tree(4), tree(4));
        let bytes = tree(4);
        let tree = Fdt::new(&bytes).unwrap();
        for seed in ["kaslr-seed", "rng-seed"] {
            assert!(tree.find_node("/chosen").unwrap().property(seed).is_none());
        }
    }
}
