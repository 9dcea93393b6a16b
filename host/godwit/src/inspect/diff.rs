// SPDX-License-Identifier: BSD-2-Clause
//! What differs between two snapshots.
//!
//! Responsible for: naming every value that differs, and the pages. Never: says that two machines are the same when a
//! bit of one of their records differs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;
use state::{Register, RegisterFile};

use super::map::{self, Cell};
use super::words;
use crate::snapshot::{FileError, SnapshotFile, State};

/// A value that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is of: a vCPU, the console, the machine.
    pub place: String,
    /// Its name.
    pub name: String,
    /// In the first snapshot; none if it is not there.
    pub before: Option<String>,
    /// In the second.
    pub after: Option<String>,
}

impl Change {
    /// Whether `next` is the same change of what has the next number, as of an interrupt.
    fn continues_as(&self, next: &Self) -> bool {
        let numbered = |change: &Self| {
            let (kind, number) = change.name.rsplit_once(' ')?;
            Some((kind.to_owned(), number.parse::<u32>().ok()?))
        };
        let consecutive = match (numbered(self), numbered(next)) {
            (Some((kind, number)), Some((next, after))) => kind == next && number + 1 == after,
            _ => false,
        };
        consecutive
            && (&self.place, &self.before, &self.after) == (&next.place, &next.before, &next.after)
    }
}

/// Everything that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// Values of the records.
    pub changes: Vec<Change>,
    /// Pages of memory.
    pub pages: Vec<Cell>,
    base: u64,
}

/// A place, its position among the places, and a name, with the position among the names.
type Key = (usize, String, usize, String);
type Items = BTreeMap<Key, String>;

/// Compares two snapshots.
///
/// # Errors
///
/// If a page of one of them cannot be read.
pub fn compare(a: &SnapshotFile, b: &SnapshotFile) -> Result<Diff, FileError> {
    Ok(Diff {
        changes: changes(a.state(), b.state()),
        pages: map::differences(a, b)?,
        base: a.state().machine.ram_base,
    })
}

/// What differs between two machines, memory apart.
pub fn changes(a: &State, b: &State) -> Vec<Change> {
    // Said of both in the same way.
    let vcpus = a.vgic.vcpus.len().max(b.vgic.vcpus.len());
    let (before, after) = (items(a, vcpus), items(b, vcpus));
    let keys: std::collections::BTreeSet<&Key> = before.keys().chain(after.keys()).collect();
    let change = |key: &&Key| {
        let (_, place, _, name) = *key;
        Change {
            place: place.clone(),
            name: name.clone(),
            before: before.get(*key).cloned(),
            after: after.get(*key).cloned(),
        }
    };
    let differs = |change: &Change| change.before != change.after;
    keys.iter().map(change).filter(differs).collect()
}

impl Diff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && map::ranges(&self.pages).is_empty()
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut place = "";
        for run in self.changes.chunk_by(Change::continues_as) {
            let (Some(change), Some(last)) = (run.first(), run.last()) else {
                continue;
            };
            if change.place != place {
                place = &change.place;
                text += &format!("{place}\n");
            }
            let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "–".to_owned());
            let name = match (run.len(), last.name.rsplit_once(' ')) {
                (2.., Some((_, number))) => format!("{} to {number}", change.name),
                _ => change.name.clone(),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "  {name:<22} {} → {}",
                side(&change.before),
                side(&change.after)
            );
        }
        let changed = map::counts(&self.pages).used;
        let _ = writeln!(
            text,
            "memory: {changed} of {} pages differ",
            self.pages.len()
        );
        if changed > 0 {
            text += &map::picture(&self.pages, self.base);
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        serde_json::json!({
            "same": self.is_empty(),
            "changes": self.changes,
            "pages": map::ranges(&self.pages),
        })
    }
}

/// Every value of a machine, with the place that it is shown at, as of one of `vcpus` vCPUs.
fn items(state: &State, vcpus: usize) -> Items {
    let mut list = Collector::default();
    for (number, vcpu) in state.vcpus.vcpus.iter().enumerate() {
        list.place(number, &format!("vCPU {number}"));
        list.add("power", words::power(vcpu.power));
        list.add("waits for an interrupt", vcpu.waiting.to_string());
        list.add("pending exception", format!("{:?}", vcpu.pending_exception));
        list.registers(&vcpu.registers);
    }
    list.place(100, "console");
    let record = &state.vcpus.console;
    let console = &record.device;
    let registers = [
        ("UARTCR", u32::from(console.control)),
        ("UARTLCR_H", console.line_control.into()),
        ("UARTIBRD", console.integer_baud_rate.into()),
        ("UARTFBRD", console.fractional_baud_rate.into()),
        ("UARTIFLS", console.fifo_levels.into()),
        ("UARTIMSC", console.interrupt_mask.into()),
        ("UARTRIS", console.raw_interrupts.into()),
        ("UARTDMACR", console.dma_control.into()),
        ("UARTILPR", console.low_power.into()),
        ("UARTRSR", console.receive_status.into()),
    ];
    for (name, value) in registers {
        list.add(name, format!("{value:#x}"));
    }
    list.add("received", format!("{:x?}", console.received));
    list.add("unsent", record.unsent.escape_ascii().to_string());
    list.add("waiting", record.waiting.escape_ascii().to_string());
    list.place(101, "clock");
    let clock = &state.vcpus.clock;
    list.add("ahead", clock.ahead.to_string());
    list.add("RTCMR", clock.matching.to_string());
    list.add("RTCLR", clock.loaded.to_string());
    list.add("due", format!("{:?}", clock.due));
    list.add("RTCIMSC", u8::from(clock.unmasked).to_string());
    list.add("RTCRIS", u8::from(clock.raised).to_string());
    interrupts(&mut list, state, vcpus);
    timers(&mut list, state);
    machine(&mut list, state);
    list.items
}

fn interrupts(list: &mut Collector, state: &State, vcpus: usize) {
    for (vcpu, banked) in state.vgic.vcpus.iter().enumerate() {
        list.place(200 + vcpu, &format!("interrupts of vCPU {vcpu}"));
        list.add("CPU interface", words::interface(banked));
        for number in 0..banked.private.len() {
            let state = words::private_interrupt(banked, number);
            list.add(&words::interrupt_name(number), state);
        }
        list.add("acknowledged", format!("{:08x?}", banked.acknowledged));
    }
    list.place(300, "shared interrupts");
    list.add("GICD_CTLR", words::distributor(state.vgic.control));
    for (number, interrupt) in (32..).zip(&state.vgic.shared) {
        let name = words::interrupt_name(number);
        list.add(&name, words::shared_interrupt(interrupt, vcpus));
    }
}

fn timers(list: &mut Collector, state: &State) {
    let timer = &state.timer;
    list.place(400, "time");
    list.add("frequency", timer.frequency.to_string());
    list.add("count", timer.count.to_string());
    for (number, vcpu) in timer.vcpus.iter().enumerate() {
        let value = format!(
            "{}, at {}, CNTKCTL_EL1 {:#x}",
            words::timer(vcpu),
            vcpu.compare,
            vcpu.kernel_control
        );
        list.add(&format!("vCPU {number}"), value);
    }
}

fn machine(list: &mut Collector, state: &State) {
    let machine = &state.machine;
    list.place(500, "machine");
    list.add("board", machine.board.to_string());
    list.add(
        "RAM",
        format!("{:#x} at {:#x}", machine.ram_size, machine.ram_base),
    );
    list.add("vCPUs", machine.vcpus.to_string());
    list.add("GIC", machine.gic_version.to_string());
    list.add("shared interrupts", machine.shared_interrupts.to_string());
    list.registers(&machine.baseline.constants);
}

/// Collects values in the order in which they are to be shown.
#[derive(Default)]
struct Collector {
    items: Items,
    /// The place's own number, the same in every snapshot.
    number: usize,
    place: String,
    names: usize,
}

impl Collector {
    fn place(&mut self, number: usize, place: &str) {
        self.number = number;
        self.place = place.to_owned();
        self.names = 0;
    }

    fn add(&mut self, name: &str, value: String) {
        self.names += 1;
        self.put(self.names, name, value);
    }

    /// Registers have the same place among the names whether others are there or not.
    fn registers(&mut self, file: &RegisterFile) {
        for (register, value) in file.iter() {
            let position = 1000 + Register::index(register);
            self.put(
                position,
                register.name(),
                words::hexadecimal(register, value),
            );
        }
    }

    fn put(&mut self, position: usize, name: &str, value: String) {
        self.items.insert(
            (self.number, self.place.clone(), position, name.to_owned()),
            value,
        );
    }
}
