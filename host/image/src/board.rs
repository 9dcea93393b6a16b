// SPDX-License-Identifier: BSD-2-Clause
//! Boards: what differs from the board of `system.xml`, and the system description as it is on one of them.
//!
//! Responsible for: `board/<name>/board.toml`, and for putting its numbers and an image's parameters into the
//! description's text, so that both kernels' builders read one text. Never: adds or removes a domain, a mapping or a
//! channel: who may do what is the same on every board, but for calls to the firmware where QEMU's model of a board
//! cannot do without, and for a second interrupt where nobody knows which of two is the device's.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use protocol::heap;
use roxmltree::{Document, Node};
use serde::Deserialize;
use vm::PAGE_SIZE;

use super::system::LARGE_PAGE;
use super::{ImageError, capacity};

/// A board, as its `board.toml` describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// Its name, also Microkit's.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// Kernels that run on it.
    pub kernels: Vec<super::Kernel>,
    /// Where its boot loader puts the image and enters it.
    pub load_address: u64,
    /// Memory that domains can have, as Microkit's kernel hands it out.
    pub ram: AddressRange,
    /// The processor that it has.
    pub processor: Processor,
    /// Physical addresses at which guest RAM can be placed, by name.
    pub placements: BTreeMap<String, u64>,
    /// How it shows its console.
    pub console: Device,
    /// How it reaches other boards.
    pub link: Device,
    /// The timer that `timer-pd` drives.
    pub timer: Device,
    /// How domains read the system counter under QEMU, if they cannot by its register.
    pub counter: Option<Counter>,
    /// How it is started where it is hardware, for people.
    pub boot: Option<String>,
    /// How it is started under QEMU, if it can be.
    pub qemu: Option<QemuTemplate>,
    /// Regions of the description whose numbers are this board's.
    #[serde(default)]
    pub regions: BTreeMap<String, RegionNumbers>,
    /// Interrupts of the description whose numbers are this board's.
    #[serde(default)]
    pub interrupts: Vec<InterruptNumber>,
}

/// A range of physical addresses.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressRange {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
}

impl AddressRange {
    /// The same as a standard range.
    #[must_use]
    pub const fn range(self) -> Range<u64> {
        self.start..self.end
    }
}

/// A processor, as far as it can be known without asking it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Processor {
    /// The core, by its name in `board/processors.toml`.
    pub core: String,
    /// What its counter counts a second, in hertz.
    pub counter_frequency: u32,
    /// Identification registers that are others than the core's in that file, by name.
    #[serde(default)]
    pub registers: BTreeMap<String, u64>,
}

/// A way to the system counter through the firmware.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counter {
    /// The domains that need it and may therefore call the firmware.
    pub domains: Vec<String>,
    /// Cargo features that make their packages do so.
    pub features: Vec<String>,
}

/// A device that a domain drives.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Which driver.
    pub kind: String,
    /// The package of the domain that drives it.
    pub domain: String,
    /// Cargo features of that package which select the driver.
    #[serde(default)]
    pub features: Vec<String>,
    /// Its reference clock in hertz.
    pub clock: Option<u32>,
    /// Bits a second, of a serial line.
    pub baud: Option<u32>,
    /// Where its registers begin in their page, if not at its start.
    #[serde(default)]
    pub offset: u64,
}

impl Device {
    /// What its driver has to know, with the symbols in the domain's program that are to hold it.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let number = |value: Option<u32>| value.unwrap_or(0).into();
        [
            ("device_clock", number(self.clock)),
            ("device_baud", number(self.baud)),
            ("device_offset", self.offset),
        ]
        .into_iter()
    }
}

/// How to start a board under QEMU.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QemuTemplate {
    /// The program.
    pub program: String,
    /// Its arguments, with `{image}`, `{load_address}`, `{ram}` and `{firmware}` to be filled in. They refer to two
    /// character devices that whoever starts it adds: `console` and `link`.
    pub arguments: Vec<String>,
    /// The processors that it can have besides the one that its arguments ask for, by QEMU's names, that one included;
    /// none if there is no choice.
    #[serde(default)]
    pub processors: Vec<String>,
    /// More arguments, for versions that want them.
    #[serde(default)]
    pub newer: Vec<Newer>,
    /// The package of a program of ours that runs before the image.
    pub firmware: Option<String>,
    /// RAM unless somebody asks for another amount, as QEMU's `-m` takes it.
    pub ram: String,
    /// Where that begins.
    pub ram_start: u64,
    /// What its counter counts a second, in hertz, if not what the board's does.
    pub counter_frequency: Option<u32>,
}

impl QemuTemplate {
    /// Bytes of RAM unless somebody asks for another amount.
    ///
    /// # Errors
    ///
    /// [`ImageError::RamSize`].
    pub fn ram_bytes(&self) -> Result<u64, ImageError> {
        capacity::ram_size(&self.ram).map_err(ImageError::RamSize)
    }
}

/// What QEMU has to be told since some version.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Newer {
    /// The version, numbers and points.
    pub since: String,
    /// The arguments.
    pub arguments: Vec<String>,
}

/// What a region has on a board.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionNumbers {
    /// Physical address.
    pub phys_addr: u64,
    /// Bytes.
    pub size: u64,
}

/// What an interrupt is on a board.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterruptNumber {
    /// The domain that handles it.
    pub domain: String,
    /// Its identifier there.
    pub id: u8,
    /// INTID at the board's interrupt controller.
    pub irq: u32,
    /// `level` unless given.
    #[serde(default)]
    pub edge: bool,
    /// For an interrupt that the description does not have: which of the domain's it stands beside. The domain handles
    /// both alike.
    pub beside: Option<u8>,
}

impl InterruptNumber {
    /// It as the description has interrupts.
    fn element(&self) -> String {
        let trigger = if self.edge { "edge" } else { "level" };
        format!(
            "<irq irq=\"{}\" id=\"{}\" trigger=\"{trigger}\" />",
            self.irq, self.id
        )
    }
}

/// What an image has of its own, besides its board.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parameters {
    /// Bytes of guest RAM.
    pub guest_ram: u64,
    /// Physical address of guest RAM; the builder's choice if absent.
    pub guest_ram_at: Option<u64>,
    /// Bytes in which a board keeps what a guest from elsewhere is started from.
    pub bundle_room: u64,
}

impl Board {
    /// Reads `board/<name>/board.toml` of the workspace at `root`.
    ///
    /// # Errors
    ///
    /// There is no such board (the error lists those that there are), or its file is malformed.
    pub fn load(root: &Path, name: &str) -> Result<Self, ImageError> {
        let path = root.join("board").join(name).join("board.toml");
        let text = std::fs::read_to_string(&path).map_err(|_| ImageError::NoBoard {
            name: name.to_owned(),
            known: Self::names(root),
        })?;
        let board: Self = toml::from_str(&text).map_err(|error| ImageError::BoardFile {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        if board.name == name {
            Ok(board)
        } else {
            let reason = format!("names itself '{}'", board.name);
            Err(ImageError::BoardFile { path, reason })
        }
    }

    /// The board itself, without what only QEMU's model of it needs: a right that stands in for something missing there
    /// would be one too many where nothing is missing.
    #[must_use]
    pub fn on_hardware(self) -> Self {
        Self {
            counter: None,
            qemu: None,
            ..self
        }
    }

    /// What its counter counts a second, in hertz: QEMU's model of it, unless this is the board itself.
    #[must_use]
    pub fn counter_frequency(&self) -> u32 {
        let emulated = self.qemu.as_ref().and_then(|qemu| qemu.counter_frequency);
        emulated.unwrap_or(self.processor.counter_frequency)
    }

    /// Names of the boards of the workspace at `root`, sorted.
    #[must_use]
    pub fn names(root: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(root.join("board"))
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<String> = entries
            .filter(|entry| entry.path().join("board.toml").is_file())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Where guest RAM goes when asked for by the name of a placement.
    ///
    /// # Errors
    ///
    /// The board has no placement of this name.
    pub fn placement(&self, name: &str) -> Result<u64, ImageError> {
        self.placements
            .get(name)
            .copied()
            .ok_or_else(|| ImageError::NoPlacement {
                board: self.name.clone(),
                name: name.to_owned(),
                known: self.placements.keys().cloned().collect(),
            })
    }

    /// Whether so many bytes of guest RAM fit between a placement and the next, or the end of RAM.
    #[must_use]
    pub fn placement_holds(&self, name: &str, guest_ram: u64) -> bool {
        self.placements.get(name).is_some_and(|at| {
            let next = self.placements.values().filter(|next| *next > at).min();
            next.unwrap_or(&self.ram.end) - at >= guest_ram
        })
    }

    /// The devices that a package drives.
    pub fn devices<'a>(&'a self, package: &'a str) -> impl Iterator<Item = &'a Device> {
        [&self.console, &self.link, &self.timer]
            .into_iter()
            .filter(move |device| device.domain == package)
    }

    /// Cargo features that the board adds to a package.
    pub fn features<'a>(&'a self, package: &'a str) -> impl Iterator<Item = &'a str> {
        let counter = self.counter.iter().filter(move |counter| {
            let domains = &mut counter.domains.iter();
            domains.any(|domain| domain.replace('_', "-") == package)
        });
        self.devices(package)
            .flat_map(|device| &device.features)
            .chain(counter.flat_map(|counter| &counter.features))
            .map(String::as_str)
    }

    /// Whether its link is a serial line, which loses and damages bytes.
    #[must_use]
    pub const fn link_is_serial(&self) -> bool {
        self.link.baud.is_some()
    }

    /// Refuses a kernel that the board does not run.
    ///
    /// # Errors
    ///
    /// [`ImageError::NoSuchKernel`].
    pub fn check_kernel(&self, kernel: super::Kernel) -> Result<(), ImageError> {
        if self.kernels.contains(&kernel) {
            return Ok(());
        }
        Err(ImageError::NoSuchKernel {
            board: self.name.clone(),
            kernel,
            known: self.kernels.iter().map(ToString::to_string).collect(),
        })
    }

    /// Its link's bits a second if that is a serial line, else 0.
    #[must_use]
    pub fn link_baud(&self) -> u32 {
        self.link.baud.unwrap_or(0)
    }

    /// The description's text with this board's numbers and an image's parameters.
    ///
    /// # Errors
    ///
    /// The text is not XML, or lacks something that the board has a number for.
    pub fn substitute(&self, xml: &str, parameters: &Parameters) -> Result<String, ImageError> {
        let document = Document::parse(xml).map_err(|error| ImageError::Substitution {
            what: error.to_string(),
        })?;
        let mut edits = Edits::default();
        for (name, numbers) in &self.regions {
            let region = region(&document, name)?;
            edits.set(&region, "phys_addr", &format!("{:#x}", numbers.phys_addr));
            edits.set(&region, "size", &format!("{:#x}", numbers.size));
        }
        for number in &self.interrupts {
            if let Some(beside) = number.beside {
                let present = interrupt(&document, &number.domain, beside)?;
                edits.add_after(&present, &number.element());
                continue;
            }
            let interrupt = interrupt(&document, &number.domain, number.id)?;
            edits.set(&interrupt, "irq", &number.irq.to_string());
            if number.edge || interrupt.has_attribute("trigger") {
                edits.set(
                    &interrupt,
                    "trigger",
                    if number.edge { "edge" } else { "level" },
                );
            }
        }
        for name in self.counter.iter().flat_map(|counter| &counter.domains) {
            edits.set(&domain(&document, name)?, "smc", "true");
        }
        let guest_ram = region(&document, GUEST_RAM)?;
        edits.set(&guest_ram, "size", &format!("{:#x}", parameters.guest_ram));
        let heap = region(&document, MIGRATION_HEAP)?;
        edits.set(
            &heap,
            "size",
            &format!("{:#x}", heap_size(parameters.guest_ram)),
        );
        let store = region(&document, BUNDLE_STORE)?;
        edits.set(&store, "size", &format!("{:#x}", parameters.bundle_room));
        if let Some(address) = parameters.guest_ram_at {
            edits.set(&guest_ram, "phys_addr", &format!("{address:#x}"));
        }
        Ok(edits.apply(xml))
    }
}

/// The region that is the guest's memory.
pub const GUEST_RAM: &str = "guest_ram";
/// The region in which `migration-pd` keeps what it knows of each page of that.
const MIGRATION_HEAP: &str = "migration_heap";

/// The region for what a guest from elsewhere is started from.
const BUNDLE_STORE: &str = "bundle_store";

/// What `system.xml` gives [`MIGRATION_HEAP`], which is enough for most guests.
const LEAST_HEAP: u64 = 2 * LARGE_PAGE;

/// Bytes of [`MIGRATION_HEAP`] for a guest with so much RAM, in whole pages of that region.
fn heap_size(guest_ram: u64) -> u64 {
    let pages = u32::try_from(guest_ram / PAGE_SIZE as u64).unwrap_or(u32::MAX);
    heap::needed(pages)
        .next_multiple_of(LARGE_PAGE)
        .max(LEAST_HEAP)
}

fn region<'a, 'input>(
    document: &'a Document<'input>,
    name: &str,
) -> Result<Node<'a, 'input>, ImageError> {
    element(document, "memory_region", name)
}

fn domain<'a, 'input>(
    document: &'a Document<'input>,
    name: &str,
) -> Result<Node<'a, 'input>, ImageError> {
    element(document, "protection_domain", name)
}

fn element<'a, 'input>(
    document: &'a Document<'input>,
    tag: &str,
    name: &str,
) -> Result<Node<'a, 'input>, ImageError> {
    document
        .root_element()
        .children()
        .find(|node| node.has_tag_name(tag) && node.attribute("name") == Some(name))
        .ok_or_else(|| ImageError::Substitution {
            what: format!("no {tag} '{name}'"),
        })
}

fn interrupt<'a, 'input>(
    document: &'a Document<'input>,
    domain: &str,
    id: u8,
) -> Result<Node<'a, 'input>, ImageError> {
    let id = id.to_string();
    document
        .root_element()
        .children()
        .filter(|node| node.attribute("name") == Some(domain))
        .flat_map(|domain| domain.children())
        .find(|node| node.has_tag_name("irq") && node.attribute("id") == Some(&id))
        .ok_or_else(|| ImageError::Substitution {
            what: format!("no interrupt {id} of '{domain}'"),
        })
}

/// Changes to a text, by ranges of the unchanged text.
#[derive(Default)]
struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Gives an attribute a value, whether or not the element has it.
    fn set(&mut self, node: &Node<'_, '_>, attribute: &str, value: &str) {
        match node.attribute_node(attribute) {
            Some(present) => self.0.push((present.range_value(), value.to_owned())),
            None => {
                // Directly after the element's name.
                let at = node.range().start + 1 + node.tag_name().name().len();
                self.0.push((at..at, format!(" {attribute}=\"{value}\"")));
            }
        }
    }

    /// Adds an element on a line of its own, after another.
    fn add_after(&mut self, node: &Node<'_, '_>, element: &str) {
        let at = node.range().end;
        self.0.push((at..at, format!("\n        {element}")));
    }

    fn apply(mut self, text: &str) -> String {
        self.0.sort_by_key(|(range, _)| range.start);
        let mut result = String::with_capacity(text.len());
        let mut done = 0;
        for (range, replacement) in self.0 {
            result.push_str(&text[done..range.start]);
            result.push_str(&replacement);
            done = range.end;
        }
        result.push_str(&text[done..]);
        result
    }
}

#[cfg(test)]
mod tests;
