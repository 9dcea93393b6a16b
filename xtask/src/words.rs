// SPDX-License-Identifier: BSD-2-Clause
//! Words of our own that the field has terms for, which are not to come back.

use crate::workspace::root;

/// What not to write, as a regular expression of `git grep -E`, and what to write.
const RULE: &[(&str, &str)] = &[
    (
        "[Ss]tand(s|ing)? still|[Ss]tood still|[Ss]tandstill",
        "pause, paused, downtime",
    ),
    (
        r"\b[Gg]o(es)? on\b",
        "resume, continue; of time: run, advance",
    ),
    (r"\b[Ll]ets? go\b", "resume, release"),
    ("[Pp]ages left", "dirty pages"),
    ("[Nn]eighbour", "peer domain"),
    (r"\bBooks\b|[Oo]ccupant", "list-register shadow, entry"),
    ("[Cc]rowded", "list-register overflow"),
    ("TimeGoesOn", "run permit"),
    ("TakeOut|PutBack|take_out|put_back", "drain, refill"),
    (
        "[Gg]ive_?( )?way|bring_?( )?forward",
        "yield the vCPU, requeue at head",
    ),
    ("[Pp]atience", "timeout"),
    ("[Bb]ury|[Bb]uried", "resynchronise"),
    (
        "Testimony|Whereabouts|Scissors|[Ss]tranger",
        "report, location, cutter, mismatch",
    ),
    (
        "answer that is none|mute and deaf",
        "malformed reply, unusable",
    ),
    ("[Ss]ettle", "resolve"),
];

#[test]
fn the_fields_terms_are_used() {
    for (pattern, instead) in RULE {
        let output = std::process::Command::new("git")
            .args(["grep", "-nE", pattern, "--"])
            .args([
                "*.rs",
                "*.md",
                "*.toml",
                "*.xml",
                ":!xtask/src/words.rs",
                ":!CHANGELOG.md",
            ])
            .current_dir(root())
            .output()
            .unwrap();
        // 0: found; 1: nothing; anything else: it could not look.
        match output.status.code() {
            Some(1) => {}
            Some(0) => panic!(
                "write {instead}:\n{}",
                String::from_utf8_lossy(&output.stdout)
            ),
            // A copy without its history has nothing to ask; whoever changes words has one.
            _ => eprintln!(
                "not looked for: {}",
                String::from_utf8_lossy(&output.stderr)
            ),
        }
    }
}
