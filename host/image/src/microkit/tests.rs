// SPDX-License-Identifier: BSD-2-Clause
//! SDKs that can be used and that cannot.

use super::*;

/// A made-up SDK of one board.
struct Fake(PathBuf);

impl Fake {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("godwit-sdk-{name}-{}", std::process::id()));
        let fake = Self(path);
        std::fs::create_dir_all(fake.0.join("board/b/release/include/kernel")).unwrap();
        fake.put("VERSION", "2.3.0\n");
        let needs = remains::NEEDS.iter().map(|need| (need.option, need.on));
        let options: BTreeMap<_, _> = OPTIONS
            .map(|(option, needed, _)| (option, needed))
            .into_iter()
            .chain(needs)
            .collect();
        let options: Vec<_> = options
            .iter()
            .map(|(option, on)| format!("\"{option}\": {on}"))
            .collect();
        let options = options.join(", ");
        fake.put(
            "board/b/release/include/kernel/gen_config.json",
            &format!("{{\"PRINTING\": true, \"MAX_NUM_NODES\": \"1\", {options}}}"),
        );
        let labels: Vec<_> = sel4_sys::INVOCATIONS
            .iter()
            .zip(40..)
            .map(|(name, label)| format!("\"{name}\": {label}"))
            .collect();
        fake.put(
            "board/b/release/invocations_all.json",
            &format!("{{{}}}", labels.join(", ")),
        );
        fake.put(
            "board/b/release/address_space_constants.json",
            "{\"vspace_user_top\": 17592186044415}",
        );
        fake
    }

    fn put(&self, name: &str, content: &str) {
        std::fs::write(self.0.join(name), content).unwrap();
    }

    fn change(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.0.join(name)).unwrap();
        assert!(text.contains(from));
        self.put(name, &text.replace(from, to));
    }

    fn open(&self) -> Result<Sdk, SdkError> {
        Sdk::at(self.0.clone(), "b", Config::Release)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn facts_about_the_kernel_come_from_the_sdk() {
    let sdk = Fake::new("labels").open().unwrap();
    assert_eq!(sdk.facts.labels.label(sel4_sys::Invocation::ALL[0]), 40);
    assert_eq!(sdk.facts.user_top, (1 << 44) - 1);
    assert!(sdk.facts.printing);
}

#[test]
fn without_an_sdk_the_message_says_what_to_do() {
    let error = Sdk::at("/nonexistent".into(), "b", Config::Release)
        .unwrap_err()
        .to_string();
    for part in ["/nonexistent", "2.3.0", "MICROKIT_SDK", "embedded kernel"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn other_versions_and_boards_are_refused() {
    let fake = Fake::new("version");
    let error = Sdk::at(fake.0.clone(), "c", Config::Release).unwrap_err();
    assert!(matches!(error, SdkError::Board { .. }));
    assert!(matches!(
        Sdk::at(fake.0.clone(), "b", Config::Debug),
        Err(SdkError::Board { .. })
    ));
    fake.put("VERSION", "2.2.0\n");
    assert!(matches!(fake.open(), Err(SdkError::Version { found, .. }) if found == "2.2.0"));
}

// Pitfall: The kernel moved the counter's offset by itself.
#[test]
fn a_kernel_with_a_wrong_option_is_refused_by_its_name() {
    let needs = remains::NEEDS.iter().map(|need| (need.option, need.on));
    let options = OPTIONS.map(|(option, needed, _)| (option, needed));
    for (option, needed) in options.into_iter().chain(needs) {
        let fake = Fake::new(option);
        let file = "board/b/release/include/kernel/gen_config.json";
        fake.change(
            file,
            &format!("\"{option}\": {needed}"),
            &format!("\"{option}\": {}", !needed),
        );
        let error = fake.open().unwrap_err().to_string();
        assert!(error.contains(option), "{error}");
    }
}

#[test]
fn a_kernel_for_more_cores_than_the_stage_runs_on_is_refused() {
    let file = "board/b/release/include/kernel/gen_config.json";
    for (number, other) in ["\"4\"", "1"].into_iter().enumerate() {
        let fake = Fake::new(&format!("cores-{number}"));
        fake.change(
            file,
            "\"MAX_NUM_NODES\": \"1\"",
            &format!("\"MAX_NUM_NODES\": {other}"),
        );
        assert!(
            matches!(fake.open(), Err(SdkError::Cores { .. })),
            "{other}"
        );
    }
}

#[test]
fn a_kernel_that_lacks_an_option_or_an_invocation_is_refused() {
    let fake = Fake::new("lacks");
    assert!(matches!(
        fake.open().unwrap().require(PHYSICAL_TIMER),
        Err(SdkError::Option {
            option: "EXPORT_PTMR_USER",
            ..
        })
    ));
    fake.change(
        "board/b/release/invocations_all.json",
        "TCBResume",
        "TCBOther",
    );
    assert!(matches!(fake.open(), Err(SdkError::Invocation { .. })));
    fake.change(
        "board/b/release/invocations_all.json",
        "TCBOther",
        "TCBResume",
    );
    fake.change(
        "board/b/release/include/kernel/gen_config.json",
        "KERNEL_MCS",
        "KERNEL_OTHER",
    );
    assert!(matches!(
        fake.open(),
        Err(SdkError::Option {
            option: "KERNEL_MCS",
            ..
        })
    ));
}
