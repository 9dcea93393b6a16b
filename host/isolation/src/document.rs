// SPDX-License-Identifier: BSD-2-Clause
//! `docs/isolation.md`: the parts that are computed.
//!
//! Responsible for: what stands between `<!-- generated: NAME -->` and `<!-- end -->`, and the picture beside it. Never:
//! touches what people wrote around it.

use std::fmt::Write as _;
use std::path::Path;

use super::facts::{Fact, Facts};
use super::{IsolationError, Review, build, picture, remains, report};

/// The document, in the workspace.
pub const DOCUMENT: &str = "docs/isolation.md";
/// The picture, in the workspace.
pub const PICTURE: &str = "docs/isolation.svg";

const END: &str = "<!-- end -->";

/// Writes the document's generated parts and the picture.
///
/// # Errors
///
/// A file cannot be read or written, or the document lacks a part.
pub fn update(review: &Review<'_>, root: &Path) -> Result<(), IsolationError> {
    let path = root.join(DOCUMENT);
    let text = filled(review, &build::read(&path)?)?;
    build::write(&path, &text)?;
    build::write(&root.join(PICTURE), &picture::draw(review))
}

/// The document with every generated part as it should be.
///
/// # Errors
///
/// It lacks a part.
pub fn filled(review: &Review<'_>, document: &str) -> Result<String, IsolationError> {
    let parts = [
        ("memory", report::memory(review).markdown()),
        ("control", report::control(review).markdown()),
        ("flows", report::flows(review).markdown()),
        ("domains", domains(review)),
        ("hardware", hardware(review)),
        ("accepted", accepted(review)),
        ("remains", remains::document()),
    ];
    let mut text = document.to_owned();
    for (name, content) in parts {
        let start = format!("<!-- generated: {name} -->\n");
        let missing = || IsolationError::NoPart(name.to_owned());
        let begin = text.find(&start).ok_or_else(missing)? + start.len();
        let length = text[begin..].find(END).ok_or_else(missing)?;
        text.replace_range(begin..begin + length, &content);
    }
    Ok(text)
}

/// For each subject: if it is compromised, what then?
fn domains(review: &Review<'_>) -> String {
    let mut text = String::new();
    let Some(facts) = review.sources.first() else {
        return text;
    };
    for subject in report::subjects(review) {
        let Some(policy) = review.policy.subject.get(&subject) else {
            continue;
        };
        let _ = writeln!(text, "### {subject}\n\n{}.\n", sentence(&policy.is));
        let _ = writeln!(text, "If it is compromised, the attacker **can**\n");
        for line in grouped(&report::abilities(review, &subject)) {
            let _ = writeln!(text, "* {line};");
        }
        for line in &policy.can {
            let _ = writeln!(text, "* {line};");
        }
        let _ = writeln!(text, "\nand **cannot**\n");
        for (claim, shown) in inabilities(review, facts, &subject) {
            let _ = writeln!(text, "* {claim} ({shown});");
        }
        text.push('\n');
    }
    text
}

/// Whether a subject owns a device that does DMA on some board.
fn drives_dma(review: &Review<'_>, subject: &str) -> bool {
    let link = review.policy.device.get("link");
    link.is_some_and(|link| link.owner == subject) && !review.policy.dma.is_empty()
}

/// What a subject cannot do, each with what shows it.
fn inabilities(review: &Review<'_>, facts: &Facts, subject: &str) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for (asset, regions) in &review.policy.assets {
        let access: Vec<bool> = regions
            .iter()
            .flat_map(|region| facts.holders(region))
            .filter(|(holder, _)| *holder == subject)
            .map(|(_, access)| access.write)
            .collect();
        // Where nothing stands between a device and memory, what the processor may not do proves half of it.
        let by_dma = if drives_dma(review, subject) {
            ", except by DMA"
        } else {
            ""
        };
        if access.is_empty() {
            lines.push((format!("read or write {asset}{by_dma}"), rule("memory")));
        } else if !access.contains(&true) {
            lines.push((format!("write {asset}{by_dma}"), rule("memory")));
        }
    }
    let controls = facts
        .iter()
        .any(|fact| matches!(fact, Fact::Vcpu { subject: owner, .. } if owner == subject));
    if !controls {
        lines.push((
            "itself stop, start, read or change a vCPU, or inject an interrupt".to_owned(),
            rule("vcpu"),
        ));
    }
    for barrier in review
        .policy
        .barrier
        .iter()
        .filter(|barrier| barrier.from == subject)
    {
        let claim = format!(
            "reach {} but through {}: {}",
            barrier.to.join(", "),
            barrier.through.join(" or "),
            barrier.why
        );
        lines.push((claim, rule("barrier")));
    }
    if review.policy.owner_of_machine(subject).is_none() {
        lines.push((
            "run code that it has written".to_owned(),
            rule("write-execute"),
        ));
        lines.push((
            "gain a capability: it holds no node to receive one in, no memory to make one from, nobody else's thread"
                .to_owned(),
            rule("capability"),
        ));
    }
    for (claim, test) in &review.policy.subject[subject].cannot {
        lines.push((claim.clone(), link(test)));
    }
    lines
}

fn rule(name: &str) -> String {
    format!("[{name}](#{name})")
}

/// A test, `path::name`, as a link to its file.
fn link(test: &str) -> String {
    let (path, name) = test.rsplit_once("::").unwrap_or((test, test));
    format!("[`{name}`](../{path})")
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Lines that differ in what comes after their first words only, joined: a list of forty is not read.
fn grouped(lines: &[String]) -> Vec<String> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for line in lines {
        let split = line
            .find('`')
            .or_else(|| line.rfind(' ').map(|space| space + 1));
        let (verb, object) = line.split_at(split.unwrap_or(line.len()));
        match groups.iter_mut().find(|(known, _)| known == verb) {
            Some((_, objects)) => objects.push(object.to_owned()),
            None => groups.push((verb.to_owned(), vec![object.to_owned()])),
        }
    }
    groups
        .into_iter()
        .map(|(verb, objects)| format!("{verb}{}", objects.join(", ")))
        .collect()
}

fn hardware(review: &Review<'_>) -> String {
    let mut text = String::new();
    for flow in &review.policy.hardware_flow {
        let boards = flow.boards.join(", ");
        let _ = writeln!(
            text,
            "* {} → {} on {boards}: {}.",
            flow.from, flow.to, flow.why
        );
    }
    for firmware in &review.policy.firmware {
        let (subjects, boards) = (
            firmware.subjects.join(", "),
            firmware.qemu_boards.join(", "),
        );
        let _ = writeln!(
            text,
            "* {subjects} may call the firmware (SMC) in QEMU's {boards}, and on no board itself: {}.",
            firmware.why
        );
    }
    for (kind, why) in &review.policy.dma {
        let _ = writeln!(text, "* DMA, on boards whose link is a {kind}: {why}.");
    }
    text
}

fn accepted(review: &Review<'_>) -> String {
    let granted = &review.policy.granted_by_microkit;
    let mut text = String::new();
    for why in granted
        .monitor_endpoint
        .iter()
        .chain(&granted.callee_endpoint)
    {
        let _ = writeln!(text, "* {}.", sentence(why));
    }
    text
}
