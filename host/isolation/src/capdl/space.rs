// SPDX-License-Identifier: BSD-2-Clause
//! Address spaces, from the root of a thread's page tables down to the frames, and what the frames are.
//!
//! Responsible for: a fact for each frame that somebody can reach, under the name of its region. Never: takes memory for a
//! device's or a device's for memory.

use std::collections::BTreeMap;

use super::spec::{Cap, Object};
use super::{Mapped, Owner, Reader};
use crate::facts::{Access, Fact, MONITOR, OWN_MEMORY};

impl Reader<'_> {
    /// Follows page tables down to the frames.
    pub(super) fn space(&mut self, subject: &str, root: usize) {
        let mut tables = vec![root];
        while let Some(table) = tables.pop() {
            // All threads of a machine have the same one.
            if !self.walked.insert((table, subject.to_owned())) {
                continue;
            }
            let owner = Owner {
                subject: subject.to_owned(),
                thread: None,
            };
            self.claim(table, &owner, self.spec.name(table));
            let Object::PageTable(object) = self.spec.object(table) else {
                continue;
            };
            for entry in &object.slots {
                match &entry.cap {
                    Cap::PageTable { object } => tables.push(*object),
                    frame @ Cap::Frame { .. } => self.frame(subject, frame, 1),
                    other => {
                        let what = format!("has {} in a page table", other.kind());
                        self.other(subject, self.spec.name(table), what);
                    }
                }
            }
        }
    }

    /// A frame that a subject reaches at so many addresses more.
    pub(super) fn frame(&mut self, subject: &str, cap: &Cap, places: usize) {
        let Cap::Frame {
            object,
            rights,
            cached,
            executable,
        } = cap
        else {
            return;
        };
        let mapped = self
            .mapped
            .entry((*object, subject.to_owned()))
            .or_insert(Mapped {
                access: Access {
                    write: false,
                    execute: false,
                    cached: *cached,
                },
                places: 0,
            });
        mapped.access.write |= rights.write;
        mapped.access.execute |= executable;
        mapped.access.cached &= cached;
        mapped.places += places;
    }

    pub(super) fn memory(&mut self) {
        let mut devices: BTreeMap<(String, u64), u64> = BTreeMap::new();
        let mapped = std::mem::take(&mut self.mapped);
        for ((frame, subject), Mapped { access, places }) in &mapped {
            let (name, subject) = (self.name(*frame), subject.clone());
            let region = match self.region(name) {
                Some(region) => {
                    if *places > 1 {
                        let (subject, region) = (subject.clone(), region.clone());
                        self.facts.add_from(Fact::Again { subject, region }, name);
                    }
                    if let Some((base, end)) = self.device(*frame) {
                        let size = devices.entry((region.clone(), base)).or_default();
                        *size = end.max(*size);
                    }
                    region
                }
                None => self.own(*frame, &subject, &mapped),
            };
            // The monitor is Microkit's own; what it has of ours would be wrong.
            if subject == MONITOR && region == OWN_MEMORY {
                continue;
            }
            let access = *access;
            self.facts.add_from(
                Fact::Memory {
                    subject,
                    region,
                    access,
                },
                name,
            );
        }
        for ((region, physical), size) in devices {
            self.facts.add(Fact::Device {
                region,
                physical,
                size,
            });
        }
        self.aliases(&mapped);
    }

    /// What a frame of no region is to a subject: its own, or something that it shares with others who do not say so.
    fn own(
        &mut self,
        frame: usize,
        subject: &str,
        mapped: &BTreeMap<(usize, String), Mapped>,
    ) -> String {
        let name = self.name(frame);
        if self.device(frame).is_some() {
            let what =
                format!("has the device at the physical address of {name} as its own memory");
            self.other(subject, name, what);
        }
        let sharers: Vec<&str> = mapped
            .range((frame, String::new())..(frame + 1, String::new()))
            .map(|((_, subject), _)| subject.as_str())
            .collect();
        match sharers.as_slice() {
            [_] => OWN_MEMORY.to_owned(),
            sharers => format!("{name} of {}", sharers.join(" and ")),
        }
    }

    /// No two frames are the same memory under two names.
    fn aliases(&mut self, mapped: &BTreeMap<(usize, String), Mapped>) {
        let mut placed: Vec<(usize, u64, u64)> = self.spec.placed().collect();
        placed.sort_unstable_by_key(|(_, start, size)| (*start, *size));
        let mut furthest: Option<(usize, u64)> = None;
        for (frame, start, size) in placed {
            if let Some((other, end)) = furthest
                && start < end
            {
                for (one, other) in [(frame, other), (other, frame)] {
                    let what = format!(
                        "{} and {} are the same memory",
                        self.name(one),
                        self.name(other)
                    );
                    let user = || mapped.keys().find(|(object, _)| *object == one);
                    let subject = self
                        .region(self.name(one))
                        .or_else(|| user().map(|(_, subject)| subject.clone()))
                        .unwrap_or_else(|| "system".to_owned());
                    self.other(&subject, self.name(one), what);
                }
            }
            let end = start.saturating_add(size);
            if furthest.is_none_or(|(_, furthest)| furthest < end) {
                furthest = Some((frame, end));
            }
        }
    }

    /// The region of the description that a frame is part of (`frame_mr_<region>_<index>`).
    fn region(&self, frame: &str) -> Option<String> {
        let (region, index) = frame.strip_prefix("frame_mr_")?.rsplit_once('_')?;
        let index = index.bytes().all(|byte| byte.is_ascii_digit());
        (index && self.regions.contains(region)).then(|| region.to_owned())
    }

    /// Where the device begins that a frame is a part of, and where the frame ends in it; none if it is memory.
    fn device(&self, frame: usize) -> Option<(u64, u64)> {
        let Object::Frame(object) = self.spec.object(frame) else {
            return None;
        };
        let physical = object
            .paddr
            .filter(|start| !self.memory.iter().any(|memory| memory.contains(start)))?;
        // The first frame says where the device is; the rest follow it.
        let index: u64 = self
            .name(frame)
            .rsplit_once('_')
            .and_then(|(_, index)| index.parse().ok())
            .unwrap_or(0);
        let offset = index << object.size_bits;
        Some((
            physical.wrapping_sub(offset),
            offset + (1 << object.size_bits),
        ))
    }
}
