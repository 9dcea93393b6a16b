// SPDX-License-Identifier: BSD-2-Clause
//! Holds what `board/*/board.toml` says against others who know the boards.
//!
//! The Microkit SDK (`$MICROKIT_SDK`, else `microkit-sdk-2.3.0` in the home folder) knows what memory and which device
//! pages its kernels hand out. Device trees know devices and interrupts: those of Debian's arm64 kernel packages, or
//! whatever `$GODWIT_DEVICE_TREES` has under `<board>.dtb`. Where there is neither, there is nothing to compare with: the
//! tests say so and pass.

use std::ops::Range;
use std::path::{Path, PathBuf};

use fdt::Fdt;
use fdt::node::FdtNode;
use image::processor::matrix::Matrix;
use image::{Board, Kernel, workspace};

fn boards() -> Vec<Board> {
    let root = workspace().unwrap();
    Board::names(&root)
        .iter()
        .map(|name| Board::load(&root, name).unwrap())
        .filter(|board| board.kernels.contains(&Kernel::Sel4))
        .collect()
}

/// The configurations that an SDK has for a board.
fn configurations(board: &Board) -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let sdk = std::env::var_os("MICROKIT_SDK").map_or_else(
        || Path::new(&home).join("microkit-sdk-2.3.0"),
        PathBuf::from,
    );
    let directory = sdk.join("board").join(&board.name);
    let Ok(entries) = std::fs::read_dir(&directory) else {
        eprintln!("nothing compared: no {}", directory.display());
        return Vec::new();
    };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Ranges of physical addresses in `platform_gen.json`.
fn ranges(platform: &serde_json::Value, kind: &str) -> Vec<Range<u64>> {
    let ranges = platform[kind].as_array().unwrap().iter();
    ranges
        .map(|range| range["start"].as_u64().unwrap()..range["end"].as_u64().unwrap())
        .collect()
}

fn contains(ranges: &[Range<u64>], wanted: &Range<u64>) -> bool {
    ranges
        .iter()
        .any(|range| range.start <= wanted.start && wanted.end <= range.end)
}

/// What an image takes at least: guest RAM of the usual size.
const GUEST_RAM: u64 = 128 << 20;

#[test]
fn memory_and_devices_are_what_the_kernel_hands_out() {
    for board in boards() {
        for configuration in configurations(&board) {
            let path = configuration.join("platform_gen.json");
            let text = std::fs::read_to_string(&path).unwrap();
            let platform = serde_json::from_str(&text).unwrap();
            let (memory, devices) = (ranges(&platform, "memory"), ranges(&platform, "devices"));
            let at = path.display();
            assert!(contains(&memory, &board.ram.range()), "{at}: ram");
            let entry = board.load_address..board.load_address + 1;
            assert!(contains(&memory, &entry), "{at}: load address");
            for (name, start) in &board.placements {
                let placed = *start..*start + GUEST_RAM;
                assert!(contains(&memory, &placed), "{at}: placement {name}");
            }
            for (name, region) in &board.regions {
                let end = region.phys_addr + region.size;
                let pages = region.phys_addr..end;
                assert!(contains(&devices, &pages), "{at}: region {name}");
            }
        }
    }
}

/// A device in a device tree, with the physical address of its registers and its interrupts' INTIDs.
#[derive(Debug)]
struct Found {
    compatible: Vec<String>,
    registers: Vec<Range<u64>>,
    /// With whether it is edge-triggered.
    interrupts: Vec<(u32, bool)>,
}

fn cells(bytes: &[u8]) -> Vec<u64> {
    bytes
        .chunks_exact(4)
        .map(|cell| u32::from_be_bytes(cell.try_into().unwrap()).into())
        .collect()
}

fn number(cells: &[u64]) -> u64 {
    cells.iter().fold(0, |number, cell| number << 32 | cell)
}

/// How a bus shows its children's addresses: child, parent, size.
type Windows = Vec<(u64, u64, u64)>;

fn translate(buses: &[Windows], address: u64) -> u64 {
    buses.iter().rev().fold(address, |address, windows| {
        let window = windows
            .iter()
            .find(|(child, _, size)| (*child..*child + *size).contains(&address));
        window.map_or(address, |(child, parent, _)| address - child + parent)
    })
}

fn size_of(node: &FdtNode<'_, '_>, name: &str) -> usize {
    node.property(name)
        .and_then(|property| property.as_usize())
        .unwrap_or(2)
}

fn collect(
    node: &FdtNode<'_, '_>,
    (address, size): (usize, usize),
    buses: &mut Vec<Windows>,
    found: &mut Vec<Found>,
) {
    let property = |name| node.property(name).map(|property| cells(property.value));
    if let Some(compatible) = node.compatible() {
        let reg = property("reg").unwrap_or_default();
        let registers = reg.chunks_exact(address + size).map(|entry| {
            let start = translate(buses, number(&entry[..address]));
            start..start + number(&entry[address..])
        });
        // Of the GIC's three cells: SPI or PPI, number, trigger (1 and 2 are edges).
        let interrupts = property("interrupts").unwrap_or_default();
        let interrupts = interrupts.chunks_exact(3).map(|entry| {
            let first = if entry[0] == 0 { 32 } else { 16 };
            (
                u32::try_from(entry[1] + first).unwrap(),
                entry[2] & 0b11 != 0,
            )
        });
        found.push(Found {
            compatible: compatible.all().map(str::to_owned).collect(),
            registers: registers.collect(),
            interrupts: interrupts.collect(),
        });
    }
    let inner = (
        size_of(node, "#address-cells"),
        size_of(node, "#size-cells"),
    );
    let windows = property("ranges").unwrap_or_default();
    let windows = windows
        .chunks_exact((inner.0 + address + inner.1).max(1))
        .map(|entry| {
            let (child, rest) = entry.split_at(inner.0);
            let (parent, size) = rest.split_at(address);
            (number(child), number(parent), number(size))
        });
    buses.push(windows.collect());
    for child in node.children() {
        collect(&child, inner, buses, found);
    }
    buses.pop();
}

/// The names that Debian's kernel packages have for the boards' device trees.
const DEVICE_TREES: [(&str, &str); 9] = [
    ("kria_k26", "xilinx/zynqmp-sm-k26-revA.dtb"),
    ("rpi4b_1gb", "broadcom/bcm2711-rpi-4-b.dtb"),
    ("rpi4b_2gb", "broadcom/bcm2711-rpi-4-b.dtb"),
    ("rpi4b_4gb", "broadcom/bcm2711-rpi-4-b.dtb"),
    ("rpi4b_8gb", "broadcom/bcm2711-rpi-4-b.dtb"),
    // Its successor's SoC, addresses and interrupts are the same.
    ("ultra96v2", "xilinx/avnet-ultra96-rev1.dtb"),
    ("zcu102", "xilinx/zynqmp-zcu102-rev1.0.dtb"),
    ("odroidc2", "amlogic/meson-gxbb-odroidc2.dtb"),
    ("odroidc4", "amlogic/meson-sm1-odroid-c4.dtb"),
];

fn device_tree(board: &str) -> Option<Vec<u8>> {
    let given = std::env::var_os("GODWIT_DEVICE_TREES")
        .map(|directory| Path::new(&directory).join(format!("{board}.dtb")));
    let installed = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    let installed = installed.filter(|entry| {
        entry
            .file_name()
            .to_string_lossy()
            .starts_with("linux-image-")
    });
    let (_, name) = DEVICE_TREES.iter().find(|(name, _)| *name == board)?;
    let mut paths = given
        .into_iter()
        .chain(installed.map(|entry| entry.path().join(name)));
    let tree = paths.find_map(|path| std::fs::read(path).ok());
    if tree.is_none() {
        eprintln!("nothing compared: no device tree of {board}");
    }
    tree
}

/// The interrupt of a domain.
fn interrupt(board: &Board, domain: &str) -> (u32, bool) {
    let mut numbers = board.interrupts.iter();
    let number = numbers.find(|number| number.domain == domain).unwrap();
    (number.irq, number.edge)
}

#[test]
fn devices_and_interrupts_are_the_device_trees() {
    for board in boards() {
        let Some(bytes) = device_tree(&board.name) else {
            continue;
        };
        let tree = Fdt::new(&bytes).unwrap();
        let root = tree.find_node("/").unwrap();
        let mut found = Vec::new();
        collect(&root, (2, 2), &mut Vec::new(), &mut found);
        let devices = [
            ("console_uart", &board.console, "serial_pd"),
            ("link_device", &board.link, "link_pd"),
            ("timer_device", &board.timer, "timer_pd"),
        ];
        for (region, device, domain) in devices {
            // As the trees of seL4 and of Linux have them.
            let compatible: &[&str] = match device.kind.as_str() {
                "cadence-uart" => &["xlnx,xuartps", "cdns,uart-r1p12"],
                "meson-uart" => &["amlogic,meson-gx-uart"],
                "ttc" => &["cdns,ttc"],
                "aux-uart" => &["brcm,bcm2835-aux-uart"],
                "pl011" => &["arm,pl011"],
                "bcm-timer" => &["brcm,bcm2835-system-timer"],
                // No device tree of Linux's or seL4's for these SoCs has these timers (docs/boards.md).
                "meson-timer" => continue,
                kind => panic!("{}: nothing known about {kind}", board.name),
            };
            let at = board.regions[region].phys_addr + device.offset;
            let node = found.iter().find(|found| {
                found
                    .registers
                    .first()
                    .is_some_and(|registers| registers.start == at)
            });
            let node = node.unwrap_or_else(|| panic!("{}: nothing at {at:#x}", board.name));
            assert!(
                node.compatible
                    .iter()
                    .any(|name| compatible.contains(&name.as_str())),
                "{}: {node:?}",
                board.name
            );
            // One for each channel, of which ours is the second.
            let channel = usize::from(device.kind == "bcm-timer");
            assert_eq!(
                node.interrupts.get(channel),
                Some(&interrupt(&board, domain)),
                "{}: {domain}",
                board.name
            );
        }
        let controller = found
            .iter()
            .find(|found| found.compatible.iter().any(|name| name == "arm,gic-400"));
        let virtual_interface = &controller.unwrap().registers[3];
        let region = board.regions["gic_vcpu_interface"];
        let wanted = region.phys_addr..region.phys_addr + region.size;
        // A GIC-400 with aliases for 64 KiB pages has the interface in the last of the first page's.
        let aliased = virtual_interface.start + 0xf000;
        assert!(
            wanted.start == virtual_interface.start || wanted.start == aliased,
            "{}: {wanted:#x?} in {virtual_interface:#x?}",
            board.name
        );
        assert!(wanted.end <= virtual_interface.end, "{}", board.name);
    }
}

/// What is between these lines of docs/boards.md is written by the test below.
const GENERATED: [&str; 2] = ["<!-- generated: matrix -->\n", "<!-- end -->"];

#[test]
fn the_documentation_has_the_table_of_moves_that_the_board_files_give() {
    let root = workspace().unwrap();
    let path = root.join("docs/boards.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(GENERATED[0]).unwrap();
    let (_, after) = rest.split_once(GENERATED[1]).unwrap();
    let matrix = Matrix::of_boards(&root).unwrap();
    let wanted = format!("{before}{}{matrix}{}{after}", GENERATED[0], GENERATED[1]);
    if std::env::var_os("GODWIT_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    assert!(
        text == wanted || std::env::var_os("GODWIT_UPDATE_DOCS").is_some(),
        "docs/boards.md is not current: run `cargo xtask docs`"
    );
}
