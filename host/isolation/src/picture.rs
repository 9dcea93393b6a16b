// SPDX-License-Identifier: BSD-2-Clause
//! The picture: domains, the memory between them, channels and devices.
//!
//! Responsible for: an SVG whose content is computed; only where each box stands comes from the policy's `[picture]`.
//! Never: shows a right that the description does not grant, or hides one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Review;
use super::facts::{Fact, Facts};

/// Distance of columns and of rows.
const PITCH: (f64, f64) = (350.0, 176.0);
/// Half the size of a box.
const HALF: (f64, f64) = (96.0, 46.0);
const MARGIN: (f64, f64) = (130.0, 128.0);
/// Distance of the lines of a label.
const LINE: f64 = 15.0;
/// Room for a character of a label.
const LETTER: f64 = 6.3;

const STYLE: &str = "\
text { font-family: 'DejaVu Sans', Verdana, sans-serif; fill: #1d2733 }
.title { font-size: 22px; font-weight: bold }
.name { font-size: 15px; font-weight: bold; text-anchor: middle }
.note { font-size: 10.5px; text-anchor: middle; fill: #46525f }
.label { font-size: 11px; font-family: 'DejaVu Sans Mono', monospace }
.legend { font-size: 12px }
.box { stroke-width: 1.6 }
.domain { fill: #e8f1fb; stroke: #2f6db0 }
.machine { fill: #fdf0dc; stroke: #c07d15 }
.memory { fill: #f2eafa; stroke: #7b4fb0 }
.device { fill: #eceff1; stroke: #5f6d78 }
.panel { fill: #ffffff; fill-opacity: 0.94; stroke: #c6cfd8 }
.edge { fill: none; stroke: #5b6b7b; stroke-width: 1.6 }
.kernel { fill: #26323d }
.white { fill: #ffffff; font-size: 13px; text-anchor: middle }
";

/// Draws the review's description.
#[must_use]
pub fn draw(review: &Review<'_>) -> String {
    let mut picture = Picture {
        review,
        places: review.policy.picture.clone(),
        body: String::new(),
    };
    if let Some(facts) = review.sources.first() {
        picture.places.retain(|name, _| {
            let subject = review.policy.subject.contains_key(name);
            subject || is_device(facts, name) || facts.holders(name).count() > 1
        });
        picture.edges(facts);
        picture.boxes(facts);
    }
    picture.finish()
}

struct Picture<'a> {
    review: &'a Review<'a>,
    /// Column and row of each box.
    places: BTreeMap<String, (f64, f64)>,
    body: String,
}

fn is_device(facts: &Facts, name: &str) -> bool {
    let device = |fact: &Fact| matches!(fact, Fact::Device { region, .. } if region == name);
    facts.iter().any(device)
}

/// Regions that nobody else has and that are no devices: they stand in their owner's box.
fn private<'a>(facts: &'a Facts, name: &str) -> Vec<&'a str> {
    let mine = facts.iter().filter_map(|fact| match fact {
        Fact::Memory {
            subject, region, ..
        } if subject == name => Some(region.as_str()),
        _ => None,
    });
    mine.filter(|region| facts.holders(region).count() == 1 && !is_device(facts, region))
        .collect()
}

fn at((column, row): (f64, f64)) -> (f64, f64) {
    (MARGIN.0 + column * PITCH.0, MARGIN.1 + row * PITCH.1)
}

impl Picture<'_> {
    fn place(&self, name: &str) -> Option<(f64, f64)> {
        self.places.get(name).copied()
    }

    fn boxes(&mut self, facts: &Facts) {
        for (name, place) in self.places.clone() {
            let (class, notes) = self.notes(facts, &name);
            let (x, y) = at(place);
            let (left, top) = (x - HALF.0, y - HALF.1);
            let round = if class == "memory" { 22 } else { 7 };
            let _ = writeln!(
                self.body,
                "<rect class=\"box {class}\" x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{}\" rx=\"{round}\"/>",
                HALF.0 * 2.0,
                HALF.1 * 2.0
            );
            let _ = writeln!(
                self.body,
                "<text class=\"name\" x=\"{x}\" y=\"{}\">{name}</text>",
                top + 22.0
            );
            let mut line = top + 40.0;
            for note in notes {
                let _ = writeln!(
                    self.body,
                    "<text class=\"note\" x=\"{x}\" y=\"{line}\">{}</text>",
                    escaped(&note)
                );
                line += 14.0;
            }
        }
    }

    /// What a box is, and what stands in it below its name.
    fn notes(&self, facts: &Facts, name: &str) -> (&'static str, Vec<String>) {
        let Some(subject) = self.review.policy.subject.get(name) else {
            let device = facts.iter().find_map(|fact| match fact {
                Fact::Device {
                    region, physical, ..
                } if region == name => Some(*physical),
                _ => None,
            });
            return match device {
                Some(physical) => {
                    let mut notes = vec!["device".to_owned(), format!("at {physical:#x}")];
                    if self.by_dma(name) {
                        notes.push("DMA, no IOMMU: all memory".to_owned());
                    }
                    ("device", notes)
                }
                None => ("memory", self.size(name)),
            };
        };
        let role = subject.is.split([':', ';']).next().unwrap_or_default();
        let mut notes = wrapped(role, 32);
        notes.truncate(2);
        let interrupts: Vec<String> = facts
            .iter()
            .filter_map(|fact| match fact {
                Fact::Interrupt { subject, intid, .. } if subject == name => {
                    Some(format!("IRQ {intid}"))
                }
                _ => None,
            })
            .collect();
        notes.push(format!(
            "priority {}{}",
            subject.priority,
            interrupts
                .iter()
                .fold(String::new(), |all, one| all + " · " + one)
        ));
        let private = private(facts, name);
        if !private.is_empty() {
            notes.push(format!("alone: {}", private.join(", ")));
        }
        let class = if self.review.policy.owner_of_machine(name).is_some() {
            "machine"
        } else {
            "domain"
        };
        (class, notes)
    }

    fn by_dma(&self, region: &str) -> bool {
        let policy = self.review.policy;
        let link = policy.device.get("link");
        link.is_some_and(|link| link.region == region)
            && policy.dma.contains_key(&self.review.board.link.kind)
    }

    fn size(&self, name: &str) -> Vec<String> {
        let system = self.review.system.as_ref();
        let region = system.and_then(|system| system.region(name));
        region
            .map(|region| {
                vec![
                    "memory of the guest".to_owned(),
                    format!("{} MiB", region.size >> 20),
                ]
            })
            .unwrap_or_default()
    }

    /// What joins two boxes, by the names of both in the order in which they are drawn.
    fn labels(&self, facts: &Facts) -> BTreeMap<(String, String), Vec<String>> {
        let mut labels: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        let mut regions: BTreeMap<&str, Vec<(&str, &'static str)>> = BTreeMap::new();
        for fact in facts.iter() {
            let (one, other, label) = match fact {
                Fact::Memory {
                    subject,
                    region,
                    access,
                } => {
                    regions
                        .entry(region)
                        .or_default()
                        .push((subject, access.letters()));
                    continue;
                }
                Fact::Call { subject, peer, .. } => (subject, peer, "call"),
                Fact::Notify { subject, peer, .. } => (subject, peer, "notify"),
                Fact::Vcpu {
                    subject,
                    machine,
                    vcpu: 0,
                } => (subject, machine, "controls vCPUs"),
                _ => continue,
            };
            self.label(&mut labels, one, other, label);
        }
        for (region, holders) in regions {
            if self.place(region).is_some() {
                for (holder, access) in holders {
                    let pair = self.ordered(holder, region);
                    labels.entry(pair).or_default().push(access.to_owned());
                }
                continue;
            }
            for (writer, _) in holders.iter().filter(|(_, access)| access.contains('w')) {
                for (reader, access) in holders.iter().filter(|(reader, _)| reader != writer) {
                    let both = access.contains('w') && writer > reader;
                    if !both {
                        self.label(&mut labels, writer, reader, region);
                    }
                }
            }
        }
        labels
    }

    fn label(
        &self,
        labels: &mut BTreeMap<(String, String), Vec<String>>,
        from: &str,
        to: &str,
        label: &str,
    ) {
        let pair = self.ordered(from, to);
        let (Some(start), Some(end)) = (self.place(from), self.place(to)) else {
            return;
        };
        let arrow = match (end.0 - start.0, end.1 - start.1) {
            (right, _) if right > 0.0 => "→",
            (right, _) if right < 0.0 => "←",
            (_, down) if down > 0.0 => "↓",
            _ => "↑",
        };
        labels
            .entry(pair)
            .or_default()
            .push(format!("{arrow} {label}"));
    }

    /// The one nearer to the busiest column first.
    fn ordered(&self, one: &str, other: &str) -> (String, String) {
        let distance = |name: &str| {
            self.place(name)
                .map_or(0.0, |(column, _)| (column - 1.0).abs())
        };
        if (distance(one), one) <= (distance(other), other) {
            (one.to_owned(), other.to_owned())
        } else {
            (other.to_owned(), one.to_owned())
        }
    }

    fn edges(&mut self, facts: &Facts) {
        let mut panels = String::new();
        for ((one, other), mut lines) in self.labels(facts) {
            let (Some(start), Some(end)) = (self.place(&one), self.place(&other)) else {
                continue;
            };
            lines.sort_by_key(|line| (!line.starts_with('→'), line.clone()));
            lines.dedup();
            let (points, middle) = self.route(start, end);
            let path: Vec<String> = points.iter().map(|(x, y)| format!("{x},{y}")).collect();
            let _ = writeln!(
                self.body,
                "<polyline class=\"edge\" points=\"{}\"/>",
                path.join(" ")
            );
            panel(&mut panels, middle, &lines);
        }
        self.body.push_str(&panels);
    }

    /// Straight where both share a row or a column; else one corner, where no box is in the way. Also where the label
    /// goes.
    fn route(&self, start: (f64, f64), end: (f64, f64)) -> (Vec<(f64, f64)>, (f64, f64)) {
        let (from, to) = (at(start), at(end));
        let middle = |one: (f64, f64), other: (f64, f64)| {
            (f64::midpoint(one.0, other.0), f64::midpoint(one.1, other.1))
        };
        let same = |one: f64, other: f64| (one - other).abs() < 0.01;
        if same(start.0, end.0) || same(start.1, end.1) {
            return (vec![from, to], middle(from, to));
        }
        // Lines to the left and right of a box must not lie on each other.
        let columns = (end.0 - start.0).abs();
        let down = if end.1 > start.1 { 1.0 } else { -1.0 };
        let shift = down * if columns < 1.5 { 18.0 } else { -18.0 };
        if self.free([start, (end.0, start.1), end]) {
            let corner = (to.0, from.1 + shift);
            return (
                vec![(from.0, from.1 + shift), corner, to],
                middle(corner, (to.0, to.1 - down * HALF.1)),
            );
        }
        let aside = if end.0 > start.0 { 60.0 } else { -60.0 };
        let corner = (from.0 + aside, to.1);
        let label = middle(corner, (to.0 - aside.signum() * HALF.0, to.1));
        (vec![(from.0 + aside, from.1), corner, to], label)
    }

    /// Whether no box but those at the ends lies on a way of straight pieces.
    fn free(&self, way: [(f64, f64); 3]) -> bool {
        let [start, corner, end] = way;
        let within =
            |value: f64, a: f64, b: f64| value >= a.min(b) - 0.3 && value <= a.max(b) + 0.3;
        let near =
            |a: (f64, f64), b: (f64, f64)| (a.0 - b.0).abs() < 0.01 && (a.1 - b.1).abs() < 0.01;
        !self.places.values().any(|&place| {
            let on = |a: (f64, f64), b: (f64, f64)| {
                within(place.0, a.0, b.0) && within(place.1, a.1, b.1)
            };
            (on(start, corner) || on(corner, end)) && !near(place, start) && !near(place, end)
        })
    }

    fn finish(self) -> String {
        let (columns, rows) = self
            .places
            .values()
            .fold((0.0_f64, 0.0_f64), |(columns, rows), &(column, row)| {
                (columns.max(column), rows.max(row))
            });
        let (width, bottom) = (at((columns, 0.0)).0 + MARGIN.0, at((0.0, rows)).1 + 80.0);
        let height = bottom + 96.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\">\n<!-- Drawn by `godwit isolation - -update` from system.xml. -->\n<style>\n{STYLE}</style>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
        );
        let _ = writeln!(
            svg,
            "<text class=\"title\" x=\"34\" y=\"44\">Who may touch what</text>"
        );
        let legend = [
            ("domain", "protection domain"),
            ("machine", "virtual machine"),
            ("memory", "memory"),
            ("device", "device"),
        ];
        let mut x = 330.0;
        for (class, name) in legend {
            let _ = writeln!(
                svg,
                "<rect class=\"box {class}\" x=\"{x}\" y=\"31\" width=\"20\" height=\"14\" rx=\"3\"/>"
            );
            let _ = writeln!(
                svg,
                "<text class=\"legend\" x=\"{}\" y=\"43\">{name}</text>",
                x + 27.0
            );
            x += 60.0 + 7.5 * f64::from(u8::try_from(name.len()).unwrap_or(u8::MAX));
        }
        let _ = writeln!(
            svg,
            "<text class=\"legend\" x=\"{x}\" y=\"43\">arrows: from who writes, calls or notifies</text>"
        );
        svg.push_str(&self.body);
        let kernel = "seL4, unmodified — or the embedded kernel, unverified. What rights permit is drawn; what hardware permits besides is in isolation.md";
        let _ = writeln!(
            svg,
            "<rect class=\"kernel\" x=\"34\" y=\"{bottom}\" width=\"{}\" height=\"40\" rx=\"5\"/>\n\
             <text class=\"white\" x=\"{}\" y=\"{}\">{kernel}</text>\n</svg>",
            width - 68.0,
            width / 2.0,
            bottom + 25.0
        );
        svg
    }
}

fn panel(body: &mut String, (x, y): (f64, f64), lines: &[String]) {
    let count = |number: usize| f64::from(u16::try_from(number).unwrap_or(u16::MAX));
    let letters = lines
        .iter()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0);
    let (width, height) = (
        count(letters).mul_add(LETTER + 0.5, 14.0),
        count(lines.len()).mul_add(LINE, 8.0),
    );
    let (left, top) = (x - width / 2.0, y - height / 2.0);
    let _ = writeln!(
        body,
        "<rect class=\"panel\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"4\"/>"
    );
    for (index, line) in lines.iter().enumerate() {
        let _ = writeln!(
            body,
            "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            left + 7.0,
            count(index).mul_add(LINE, top + 15.0),
            escaped(line)
        );
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let full = lines
            .last()
            .is_some_and(|line| line.len() + word.len() >= width);
        match lines.last_mut() {
            Some(line) if !full => {
                line.push_str(if line.is_empty() { "" } else { " " });
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
