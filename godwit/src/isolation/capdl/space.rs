//! Address spaces, from the root of a thread's page tables down to the frames, and what the frames are.
//!
//! Responsible for: a fact for each frame that somebody can reach, under the name of its region. Never: takes memory for a
//! device's or a device's for memory.

use std::collections::BTreeSet;

use super::Reader;
use super::spec::{Cap, Object};
use crate::isolation::facts::{Access, Fact, MONITOR, OWN_MEMORY};

impl Reader<'_> {
    /// Follows page tables down to the frames.
    pub(super) fn space(&mut self, subject: &str, root: usize) {
        let mut tables = vec![root];
        let mut seen = BTreeSet::from([root]);
        while let Some(table) = tables.pop() {
            let owner = self
                .owned
                .entry(table)
                .or_insert_with(|| subject.to_owned());
            if owner != subject {
                let what = format!(
                    "shares the page table {} with {owner}",
                    self.spec.name(table)
                );
                self.other(subject, self.spec.name(table), what);
            }
            let Object::PageTable(object) = self.spec.object(table) else {
                continue;
            };
            for entry in &object.slots {
                match &entry.cap {
                    Cap::PageTable { object } => {
                        if seen.insert(*object) {
                            tables.push(*object);
                        }
                    }
                    Cap::Frame {
                        object,
                        rights,
                        cached,
                        executable,
                    } => {
                        self.frame(subject, *object, rights.write, *executable, *cached);
                    }
                    other => {
                        let what = format!("has {} in a page table", other.kind());
                        self.other(subject, self.spec.name(table), what);
                    }
                }
            }
        }
    }

    fn frame(&mut self, subject: &str, frame: usize, write: bool, execute: bool, cached: bool) {
        let access = self
            .mapped
            .entry((frame, subject.to_owned()))
            .or_insert(Access {
                write: false,
                execute: false,
                cached,
            });
        access.write |= write;
        access.execute |= execute;
        access.cached &= cached;
    }

    pub(super) fn memory(&mut self) {
        for ((frame, subject), access) in std::mem::take(&mut self.mapped) {
            let name = self.name(frame);
            let sharers = self
                .owned
                .entry(frame)
                .or_insert_with(|| subject.clone())
                .clone();
            let region = match self.region(name) {
                Some(region) => {
                    self.device(frame, &region);
                    region
                }
                None if sharers == subject => OWN_MEMORY.to_owned(),
                None => format!("{name} of {sharers}"),
            };
            // The monitor is Microkit's own; what it has of ours would be wrong.
            if subject == MONITOR && region == OWN_MEMORY {
                continue;
            }
            self.facts.add_from(
                Fact::Memory {
                    subject,
                    region,
                    access,
                },
                name,
            );
        }
    }

    /// The region of the description that a frame is part of (`frame_mr_<region>_<index>`).
    fn region(&self, frame: &str) -> Option<String> {
        let (region, index) = frame.strip_prefix("frame_mr_")?.rsplit_once('_')?;
        let index = index.bytes().all(|byte| byte.is_ascii_digit());
        (index && self.regions.contains(region)).then(|| region.to_owned())
    }

    fn device(&mut self, frame: usize, region: &str) {
        let Object::Frame(object) = self.spec.object(frame) else {
            return;
        };
        let Some(physical) = object
            .paddr
            .filter(|start| !self.memory.iter().any(|memory| memory.contains(start)))
        else {
            return;
        };
        // The first frame says where the device is; the rest follow it.
        let index: u64 = self
            .name(frame)
            .rsplit_once('_')
            .and_then(|(_, index)| index.parse().ok())
            .unwrap_or(0);
        let physical = physical.wrapping_sub(index << object.size_bits);
        let fact = Fact::Device {
            region: region.to_owned(),
            physical,
        };
        self.facts.add_from(fact, self.name(frame));
    }
}
