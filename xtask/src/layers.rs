// SPDX-License-Identifier: BSD-2-Clause
//! Which rooms of the project may use which: a rule for [`cargo metadata`](https://doc.rust-lang.org/cargo/commands/cargo-metadata.html).

use std::collections::BTreeMap;

use crate::workspace::root;

/// A room, and what its crates may depend on besides crates of their own room.
///
/// Arrows point one way: what people and tests run uses what crosses a boundary; domains use that and what a domain is
/// built on; nobody uses a domain for its types.
const RULE: [(&str, &[&str]); 13] = [
    // Formats that cross a boundary and have a version.
    ("wire", &[]),
    // The embedded kernel, its image format, and the numbers of seL4's interface that it speaks.
    ("kernel", &["wire", "runtime/sel4-sys", "board/el2-stage"]),
    // What a domain is built on.
    ("runtime", &["wire"]),
    // Drivers, counters and firmware stages.
    ("board", &["runtime"]),
    // The domains that own a machine's state.
    ("vmm-pd", &["wire", "runtime", "board/counter"]),
    ("vgic-pd", &["wire", "runtime"]),
    ("timer-pd", &["wire", "runtime", "board"]),
    ("migration-pd", &["wire", "runtime", "board/counter"]),
    // The other domains.
    ("pds", &["wire", "runtime", "board"]),
    // What an operator runs, and what builds and reviews images.
    ("host", &["wire", "kernel/image", "runtime/sel4-sys"]),
    // Bare-metal and Linux programs that run in a guest.
    ("guest", &["wire"]),
    // What tests have in the place of a domain, and around a board.
    ("tests", &["wire", "runtime", "board", "host"]),
    // The developer's program.
    ("xtask", &["wire", "host", "runtime/channel", "tests"]),
];

/// Every dependency of one of our crates on another that the rule does not allow; dev-dependencies are free.
fn violations(metadata: &serde_json::Value) -> Vec<String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let packages = list(&metadata["packages"]);
    let folders: BTreeMap<String, String> = packages
        .iter()
        .map(|package| {
            let manifest = text(&package["manifest_path"]);
            let base = text(&metadata["workspace_root"]);
            let folder = manifest.trim_start_matches(&base);
            let folder = folder.trim_end_matches("Cargo.toml").trim_matches('/');
            (text(&package["name"]), folder.to_owned())
        })
        .collect();
    let within = |folder: &str, room: &str| {
        let rest = folder.strip_prefix(room);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut found = Vec::new();
    for package in &packages {
        let name = text(&package["name"]);
        let folder = &folders[&name];
        let Some((room, allowed)) = RULE.iter().find(|(room, _)| within(folder, room)) else {
            found.push(format!("{folder} is in no room"));
            continue;
        };
        for dependency in list(&package["dependencies"]) {
            let used = text(&dependency["name"]);
            let Some(used) = folders.get(&used).filter(|_| dependency["kind"] != "dev") else {
                continue;
            };
            if !within(used, room) && !allowed.iter().any(|allowed| within(used, allowed)) {
                found.push(format!("{folder} uses {used}"));
            }
        }
    }
    found
}

#[test]
fn arrows_between_rooms_point_one_way() {
    let mut metadata = cargo_metadata();
    assert_eq!(violations(&metadata), Vec::<String>::new());
    // The rule would see a domain used for its types.
    for package in metadata["packages"].as_array_mut().unwrap() {
        if package["name"] == "godwit" {
            let domain = serde_json::json!({ "name": "migration-pd", "kind": null });
            package["dependencies"].as_array_mut().unwrap().push(domain);
        }
    }
    assert_eq!(violations(&metadata), ["host/godwit uses migration-pd"]);
}

fn cargo_metadata() -> serde_json::Value {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}
