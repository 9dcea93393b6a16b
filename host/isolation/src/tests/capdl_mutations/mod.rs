// SPDX-License-Identifier: BSD-2-Clause
//! Mutations of the capDL description: what a faulty or malicious tool could put into an image behind the description's
//! back. Each must be found, and blamed on the element that it betrays.

mod authority;
mod memory;

use serde_json::{Value, json};

use super::capdl_of::{self, frame_cap};
use super::*;

/// A capDL description that is being tampered with.
struct Image(Value);

impl Image {
    fn index(&self, name: &str) -> usize {
        let objects = self.0["objects"].as_array().unwrap();
        let found = objects.iter().position(|object| object["name"] == name);
        found.unwrap_or_else(|| panic!("no object {name}"))
    }

    fn slots(&mut self, name: &str) -> &mut Vec<Value> {
        let index = self.index(name);
        let object = self.0["objects"][index]["object"].as_object_mut().unwrap();
        let (_, body) = object.iter_mut().next().unwrap();
        body["slots"].as_array_mut().unwrap()
    }

    /// The capability in a slot.
    fn cap(&mut self, name: &str, slot: u64) -> &mut Value {
        let slots = self.slots(name);
        let entry = slots.iter_mut().find(|entry| entry["slot"] == slot);
        &mut entry.unwrap_or_else(|| panic!("{name} has no slot {slot}"))["cap"]
    }

    fn put(&mut self, name: &str, slot: u64, cap: Value) {
        self.slots(name).retain(|entry| entry["slot"] != slot);
        self.slots(name).push(json!({ "slot": slot, "cap": cap }));
    }

    fn remove(&mut self, name: &str, slot: u64) {
        let slots = self.slots(name);
        let before = slots.len();
        slots.retain(|entry| entry["slot"] != slot);
        assert_eq!(slots.len() + 1, before);
    }

    /// Maps a frame at 512 GiB, where no domain has anything.
    fn map(&mut self, space: &str, frame: &str, write: bool, execute: bool) {
        let frame = self.index(frame);
        let objects = self.0["objects"].as_array_mut().unwrap();
        let first = objects.len();
        let table = |level: u8, cap: Value| json!({ "name": format!("added_{level}"), "object": { "PageTable": { "slots": [{ "slot": 0, "cap": cap }] } } });
        objects.push(table(3, frame_cap(frame, write, execute, true)));
        objects.push(table(2, json!({ "PageTable": { "object": first } })));
        self.put(
            &format!("pud_{space}"),
            512,
            json!({ "PageTable": { "object": first + 1 } }),
        );
    }

    fn place(&mut self, frame: &str, physical: u64) {
        let index = self.index(frame);
        self.0["objects"][index]["object"]["Frame"]["paddr"] = json!(physical);
    }

    /// Every mapping of a frame, wherever it is, with other rights.
    fn remap(&mut self, frame: &str, change: impl Fn(&mut Value)) {
        let index = self.index(frame);
        let mut changed = 0;
        for object in self.0["objects"].as_array_mut().unwrap() {
            let slots = object["object"]
                .get_mut("PageTable")
                .map(|table| &mut table["slots"]);
            for entry in slots
                .into_iter()
                .flat_map(|slots| slots.as_array_mut().unwrap())
            {
                if entry["cap"]["Frame"]["object"] == index {
                    change(&mut entry["cap"]["Frame"]);
                    changed += 1;
                }
            }
        }
        assert!(changed > 0, "{frame}");
    }
}

/// What to do, the rule that must notice, the element to blame, and words that the message must have.
type Mutation = (fn(&mut Image), Rule, &'static str, &'static str);

#[test]
fn every_mutation_of_the_image_is_found_and_blamed_on_its_element() {
    let xml = description(&board(BOARD));
    let system = System::parse("system.xml", &xml, &prefill(&xml)).unwrap();
    let original = capdl_of::capdl(&system);
    let mutations: Vec<&Mutation> = memory::MUTATIONS
        .iter()
        .chain(authority::MUTATIONS)
        .collect();
    assert!(mutations.len() >= 60, "{}", mutations.len());
    for (number, (change, rule, culprit, words)) in mutations.into_iter().enumerate() {
        let mut image = Image(original.clone());
        change(&mut image);
        let findings = findings(&xml, Some(&image.0.to_string()));
        let found = findings.iter().any(|finding| {
            finding.rule == *rule
                && finding.source == Source::Sel4Image
                && finding.culprit.element.contains(culprit)
                && finding.what.contains(words)
        });
        assert!(
            found,
            "mutation {number}: {rule} should blame {culprit} ({words}): {findings:#?}"
        );
    }
}

#[test]
fn an_object_or_capability_of_an_unknown_kind_is_refused_not_overlooked() {
    let xml = description(&board(BOARD));
    let board = board(BOARD);
    let system = System::parse("system.xml", &xml, &prefill(&xml)).unwrap();
    let original = capdl_of::capdl(&system);
    let refused =
        |image: Image| capdl::facts(&image.0.to_string(), &system, &[board.ram.range()]).is_err();
    let mut image = Image(original.clone());
    image.put("cnode_link_pd", 458, json!({ "IOSpace": { "object": 0 } }));
    assert!(refused(image));
    let mut image = Image(original.clone());
    image.0["objects"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "x", "object": "IOSpace" }));
    assert!(refused(image));
    assert!(!refused(Image(original)));
}
