// SPDX-License-Identifier: BSD-2-Clause
//! The review reviewed: what it must accept, and what it must find, with the right element to blame.

mod capdl_mutations;
mod capdl_of;
mod embedded_image;
mod mutations;

use super::build;
use super::policy::Policy;
use super::*;
use image::{Board, Kernel, workspace};

const BOARD: &str = "qemu_virt_aarch64";

fn policy() -> Policy {
    build::policy(&workspace().unwrap()).unwrap()
}

fn board(name: &str) -> Board {
    Board::load(&workspace().unwrap(), name).unwrap()
}

/// Every board, and QEMU's model of it where that is another.
fn boards() -> Vec<Board> {
    let names = Board::names(&workspace().unwrap());
    assert!(!names.is_empty());
    names
        .iter()
        .flat_map(|name| [board(name), board(name).on_hardware()])
        .collect()
}

fn description(board: &Board) -> String {
    build::description(&workspace().unwrap(), board).unwrap()
}

/// What a review finds in a description, and in the image for seL4 if its capDL is given.
fn findings(xml: &str, capdl: Option<&str>) -> Vec<Finding> {
    let (policy, board) = (policy(), board(BOARD));
    let mut review = Review::of_description("system.xml", xml, &board, &policy).unwrap();
    if let Some(json) = capdl {
        let system = review.system.clone().unwrap();
        review.add(capdl::facts(json, &system, &[board.ram.range()]).unwrap());
    }
    review.findings
}

/// Whether a finding blames the element that contains `element`, at its line.
fn blames(finding: &Finding, xml: &str, element: &str) -> bool {
    let line = xml.lines().position(|line| line.contains(element));
    let line = line.unwrap_or_else(|| panic!("no line has {element}")) + 1;
    finding.culprit.element.contains(element) && usize::try_from(finding.culprit.line) == Ok(line)
}

#[test]
fn the_description_keeps_the_policy_on_every_board() {
    let policy = policy();
    for board in boards() {
        let xml = description(&board);
        let review = Review::of_description("system.xml", &xml, &board, &policy).unwrap();
        assert!(review.holds(), "{}: {:#?}", board.name, review.findings);
    }
}

#[test]
fn an_image_for_sel4_that_is_as_described_keeps_the_policy_on_every_board() {
    let policy = policy();
    for board in boards() {
        let xml = description(&board);
        let mut review = Review::of_description("system.xml", &xml, &board, &policy).unwrap();
        let system = review.system.clone().unwrap();
        let json = capdl_of::capdl(&system).to_string();
        review.add(capdl::facts(&json, &system, &[board.ram.range()]).unwrap());
        assert!(review.holds(), "{}: {:#?}", board.name, review.findings);
        assert!(
            !review.accepted.is_empty(),
            "Microkit grants more than it is asked for"
        );
    }
}

#[test]
fn nobody_can_call_the_firmware_of_a_board_that_is_no_model() {
    let policy = policy();
    for board in boards() {
        let firmware = |fact: &Fact| matches!(fact, Fact::Firmware { .. });
        let permitted = policy.permitted(&board).keys().any(firmware);
        assert_eq!(permitted, board.name == "zcu102" && board.qemu.is_some());
    }
    // The description for QEMU's model is one right too wide for the board.
    let xml = description(&board("zcu102"));
    let real = board("zcu102").on_hardware();
    let review = Review::of_description("system.xml", &xml, &real, &policy).unwrap();
    let blamed = |domain: &str| {
        let finding = review.findings.iter().find(|finding| {
            finding.rule == Rule::Firmware && finding.culprit.element.contains(domain)
        });
        finding.is_some()
    };
    assert!(blamed("timer_pd") && blamed("migration_pd"));
}

#[test]
fn the_document_and_the_picture_are_current() {
    let root = workspace().unwrap();
    let (policy, board) = (policy(), board(BOARD));
    let xml = description(&board);
    let review = Review::of_description("system.xml", &xml, &board, &policy).unwrap();
    let text = build::read(&root.join(document::DOCUMENT)).unwrap();
    let hint = "run `godwit isolation --update`";
    assert!(document::filled(&review, &text).unwrap() == text, "{hint}");
    let drawn = build::read(&root.join(document::PICTURE)).unwrap();
    assert!(picture::draw(&review) == drawn, "{hint}");
}

#[test]
fn what_guest_debug_gives_up_is_in_the_report() {
    let (policy, board) = (policy(), board(BOARD));
    let xml = description(&board);
    let mut review = Review::of_description("system.xml", &xml, &board, &policy).unwrap();
    assert!(!report::text(&review).contains(remains::GIVEN_UP[0]));
    review.guest_debug = true;
    let (text, json) = (report::text(&review), report::json(&review).unwrap());
    for line in remains::GIVEN_UP {
        assert!(text.contains(line) && json.contains(line), "{line}");
    }
    let sel4 = build::add_image(&mut review, &workspace().unwrap(), &xml, Kernel::Sel4);
    assert!(sel4.unwrap_err().to_string().contains("--guest-debug"));
}

#[test]
fn every_test_and_rule_that_the_document_cites_exists() {
    let root = workspace().unwrap();
    let tests = policy()
        .subject
        .into_values()
        .flat_map(|subject| subject.cannot);
    for (claim, test) in tests {
        let (path, name) = test.rsplit_once("::").unwrap();
        let text = build::read(&root.join(path)).unwrap();
        assert!(text.contains(&format!("fn {name}(")), "{claim}: {test}");
    }
    let document = build::read(&root.join(document::DOCUMENT)).unwrap();
    // What is written by hand links tests as `[`name`](../path)`.
    let mut linked = 0;
    for (name, path) in document.split("[`").skip(1).filter_map(|part| {
        let (name, rest) = part.split_once("`](../")?;
        let (path, _) = rest.split_once(')')?;
        let is_name = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (is_name && path.ends_with(".rs")).then_some((name, path))
    }) {
        let text = build::read(&root.join(path)).unwrap();
        assert!(text.contains(&format!("fn {name}(")), "{path}: {name}");
        linked += 1;
    }
    assert!(linked > 30, "only {linked} links to tests were found");
    for part in document.split("](#").skip(1) {
        let anchor = part.split(')').next().unwrap();
        assert!(document.contains(&format!("id=\"{anchor}\"")), "#{anchor}");
    }
}

#[test]
fn the_picture_is_well_formed_and_shows_every_subject() {
    let (policy, board) = (policy(), board(BOARD));
    let xml = description(&board);
    let review = Review::of_description("system.xml", &xml, &board, &policy).unwrap();
    let drawn = picture::draw(&review);
    roxmltree::Document::parse(&drawn).unwrap();
    for subject in report::subjects(&review) {
        assert!(drawn.contains(&format!(">{subject}</text>")), "{subject}");
    }
    // Every region is either a box or on a line, unless one subject only has it.
    let facts = &review.sources[0];
    for region in &review.system.as_ref().unwrap().regions {
        if facts.holders(&region.name).count() > 1 {
            assert!(drawn.contains(&region.name), "{}", region.name);
        }
    }
}

#[test]
fn the_report_for_programs_says_what_that_for_people_says() {
    let (policy, board) = (policy(), board(BOARD));
    let xml = description(&board).replace("<vcpu id=\"3\" />", "");
    let review = Review::of_description("system.xml", &xml, &board, &policy).unwrap();
    let json: serde_json::Value = serde_json::from_str(&report::json(&review).unwrap()).unwrap();
    assert_eq!(json["holds"], false);
    assert_eq!(
        json["violations"].as_array().unwrap().len(),
        review.findings.len()
    );
    assert!(report::text(&review).contains(&review.findings[0].what));
}

#[test]
fn a_policy_with_an_unknown_right_or_end_is_refused() {
    let text = build::read(&workspace().unwrap().join(build::POLICY)).unwrap();
    for (from, to, said) in [
        ("[\"rwx\",", "[\"rwz\",", "rwz"),
        ("\"vmm_pd:1\"", "\"vmm_pd\"", "domain:identifier"),
        ("calls = \"vmm_pd\"", "calls = \"link_pd\"", "link_pd"),
        ("[flows]", "[flow]", "flow"),
        ("to = [\"link_pd\"]", "to = [\"lnik_pd\"]", "lnik_pd"),
        ("through = [\"vmm_pd\"]", "through = [\"vmm\"]", "'vmm'"),
        (
            "serial_pd = [\"vmm_pd\"]",
            "seral_pd = [\"vmm_pd\"]",
            "seral_pd",
        ),
        ("\"guest_rom\"]", "\"guest_rum\"]", "guest_rum"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = Policy::parse("policy.toml", &text.replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}
