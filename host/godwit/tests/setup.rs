// SPDX-License-Identifier: BSD-2-Clause
//! `setup/bring` on machines that lack something, with programs of the test's own in place of apt, rustup and the rest.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use godwit::session::Scratch;
use image::workspace;

/// What every Debian has, besides what is tried here.
const ESSENTIAL: [&str; 18] = [
    "awk", "bash", "cat", "cut", "dirname", "env", "flock", "getent", "grep", "head", "mkdir",
    "mv", "rm", "sed", "sh", "sleep", "sort", "tail",
];

/// Logs that it was run, in which language; fails as the file `fails` beside the log says, so often as it has lines.
const LOG: &str = r#"#!/bin/sh
name=${0##*/}
echo "$name $*" >>"$FAKE/log"
if [ -s "$FAKE/$name.fails" ]; then
    head -n 1 "$FAKE/$name.fails" >&2
    sed -i 1d "$FAKE/$name.fails"
    exit 100
fi
"#;

/// Programs and what they do after logging. A machine that lacks one has it in `store`, from where packages bring it.
const PROGRAMS: [(&str, &str); 11] = [
    ("df", r#"echo "x x x $(cat "$FAKE/free") x""#),
    (
        "id",
        r#"[ "$1" = -u ] && cat "$FAKE/user" || echo somebody"#,
    ),
    ("cc", ""),
    ("dpkg-deb", ""),
    ("apt-cache", r#"cat "$FAKE/policy""#),
    (
        "apt-get",
        r#"[ "$LC_ALL" = C ] || { echo "E: Konnte Sperre nicht bekommen" >&2; exit 100; }
        sleep "$(cat "$FAKE/slow" 2>/dev/null || echo 0)"
        bring() { [ ! -e "$FAKE/store/$1" ] || mv "$FAKE/store/$1" "$FAKE/bin/"; }
        case " $* " in *" install "*) for package; do case $package in
            gcc) bring cc ;;
            qemu-system-arm) bring qemu-system-aarch64 ;;
            rustup) bring rustup; bring rustc; bring cargo ;;
            *) bring "$package" ;;
        esac; done ;; esac"#,
    ),
    (
        "qemu-system-aarch64",
        r#"echo "QEMU emulator version $(cat "$FAKE/qemu") (Debian 1:7)""#,
    ),
    (
        "rustup",
        r#"case $1 in
            target) mkdir -p "$FAKE/sysroot/lib/rustlib/$3/lib" ;;
            component) echo >"$FAKE/has-${3#rust}" ;;
            toolchain) echo "$5" >"$FAKE/rust" ;;
        esac"#,
    ),
    (
        "rustc",
        r#"case "$*" in
            --version) echo "rustc $(cat "$FAKE/rust") (of a test)" ;;
            *sysroot) echo "$FAKE/sysroot" ;;
            *) echo "$FAKE/sysroot/lib/rustlib/$4/lib" ;;
        esac"#,
    ),
    ("cargo", r#"[ "$2" != --version ] || [ -e "$FAKE/has-$1" ]"#),
    (
        "curl",
        r#"echo 'mv "$FAKE"/store/* "$FAKE/bin/"'; sed -n "s/^rust-version = .\(.*\).$/\1/p" Cargo.toml >"$FAKE/rust""#,
    ),
];

/// The oldest Rust that works.
const RUST: &str = env!("CARGO_PKG_RUST_VERSION");
/// Targets and components of a machine that lacks nothing.
const TARGETS: [&str; 2] = [
    "aarch64-unknown-none-softfloat",
    "aarch64-unknown-linux-musl",
];
const COMPONENTS: [&str; 2] = ["has-clippy", "has-fmt"];

/// A machine of the test's own, that of root unless it says otherwise.
struct Machine(Scratch);

impl Machine {
    /// It has everything but these programs.
    fn without(missing: &[&str]) -> Self {
        let machine = Self(Scratch::new().unwrap());
        for directory in ["bin", "store", "home", "project/setup"] {
            fs::create_dir_all(machine.at(directory)).unwrap();
        }
        for name in ESSENTIAL {
            let found = ["/usr/bin", "/bin"].map(|directory| Path::new(directory).join(name));
            let found = found.iter().find(|path| path.exists()).expect(name);
            symlink(found, machine.at("bin").join(name)).unwrap();
        }
        for (name, does) in PROGRAMS {
            let place = if missing.contains(&name) {
                "store"
            } else {
                "bin"
            };
            let path = machine.at(place).join(name);
            fs::write(&path, format!("{LOG}{does}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for target in TARGETS {
            let library = machine.at("sysroot/lib/rustlib").join(target).join("lib");
            fs::create_dir_all(library).unwrap();
        }
        for (name, text) in [
            ("user", "0"),
            ("qemu", "7.2.22"),
            ("rust", RUST),
            ("policy", ""),
            ("free", "9000"),
        ] {
            machine.set(name, text);
        }
        for name in COMPONENTS {
            machine.set(name, "");
        }
        for name in ["setup/bring", "Cargo.toml"] {
            let ours = workspace().unwrap().join(name);
            fs::copy(ours, machine.at("project").join(name)).unwrap();
        }
        machine
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn set(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("FAKE", self.0.path())
            .env("LANG", "de_DE.UTF-8");
        command
            .env("PATH", self.at("bin"))
            .env("HOME", self.at("home"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn start(&self, need: &str) -> Child {
        let mut command = self.command(&self.at("project/setup/bring"));
        let then = ["--", "sh", "-c", "echo the command", ""];
        command.arg(need).args(then).spawn().unwrap()
    }

    fn bring(&self, need: &str) -> Brought {
        Brought::of(&self.start(need).wait_with_output().unwrap())
    }

    /// What was run that changes something or asks a network.
    fn installs(&self) -> Vec<String> {
        let log = fs::read_to_string(self.at("log")).unwrap_or_default();
        let installs = ["apt-get ", "rustup ", "curl "];
        let lines = log
            .lines()
            .filter(|line| installs.iter().any(|name| line.starts_with(name)));
        lines.map(str::to_owned).collect()
    }
}

/// What became of it.
#[derive(Debug)]
struct Brought {
    /// Whether the command was run.
    ran: bool,
    said: String,
}

impl Brought {
    fn of(output: &Output) -> Self {
        let ran = String::from_utf8_lossy(&output.stdout) == "the command\n";
        assert_eq!(ran, output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { ran, said }
    }

    /// It ended with these words.
    fn refused(&self, words: &[&str]) {
        assert!(!self.ran, "{self:?}");
        for word in words {
            assert!(self.said.contains(word), "no '{word}' in {self:?}");
        }
    }
}

const INSTALL: &str = "install --yes --no-install-recommends";

#[test]
fn where_nothing_is_missing_nothing_is_asked_of_a_network() {
    let machine = Machine::without(&["rustup", "curl"]);
    let brought = machine.bring("test");
    assert!(brought.ran && brought.said.is_empty(), "{brought:?}");
    assert_eq!(machine.installs(), [""; 0]);
}

#[test]
fn root_gets_what_is_missing() {
    let machine = Machine::without(&["cc", "qemu-system-aarch64"]);
    fs::remove_dir_all(machine.at("sysroot/lib/rustlib").join(TARGETS[1])).unwrap();
    fs::remove_file(machine.at("has-fmt")).unwrap();
    let brought = machine.bring("test");
    assert!(brought.ran, "{brought:?}");
    let expected = [
        "apt-get -q -o APT::Update::Error-Mode=any update".to_owned(),
        format!("apt-get -q {INSTALL} gcc qemu-system-arm"),
        format!("rustup target add {}", TARGETS[1]),
        "rustup component add rustfmt".to_owned(),
    ];
    assert_eq!(machine.installs(), expected);
    assert!(
        machine.bring("test").ran && machine.installs() == expected,
        "twice"
    );
}

#[test]
fn others_are_told_one_line_that_brings_what_only_root_can() {
    let machine = Machine::without(&["cc", "qemu-system-aarch64"]);
    machine.set("user", "1000");
    let brought = machine.bring("demo");
    let line = format!("apt-get update && apt-get {INSTALL} gcc qemu-system-arm");
    brought.refused(&["As root, type this line", &line]);
    assert_eq!(machine.installs(), [""; 0]);

    let line = brought.said.lines().last().unwrap().trim();
    let mut shell = machine.command(Path::new("/bin/sh"));
    let typed = shell
        .env("LC_ALL", "C")
        .args(["-c", line])
        .status()
        .unwrap();
    assert!(typed.success() && machine.bring("demo").ran);
}

#[test]
fn a_toolchain_that_belongs_to_root_is_in_the_line() {
    let machine = Machine::without(&["cc"]);
    machine.set("user", "1000");
    // Root may write anywhere, but not there.
    fs::remove_dir_all(machine.at("sysroot")).unwrap();
    let line = format!(
        " gcc && rustup target add {} && rustup target add {}",
        TARGETS[0], TARGETS[1]
    );
    machine.bring("demo").refused(&[&line]);
}

#[test]
fn a_version_that_is_too_old_is_named_with_the_one_that_is_needed() {
    let machine = Machine::without(&[]);
    for (version, works) in [
        ("6.2.0", false),
        ("7.1.9", false),
        ("7.2.0", true),
        ("10.0.2", true),
    ] {
        machine.set("qemu", version);
        let brought = machine.bring("demo");
        assert_eq!(brought.ran, works, "{brought:?}");
        if !works {
            brought.refused(&[version, "7.2", "too old"]);
        }
    }
    machine.set("qemu", "");
    machine.bring("run").refused(&["does not work"]);
}

#[test]
fn a_broken_mirror_is_told_with_apts_words_and_what_to_do() {
    let machine = Machine::without(&["cc"]);
    machine.set(
        "apt-get.fails",
        "E: Failed to fetch http://broken\nE: Unable to locate package gcc",
    );
    let words = [
        "cannot install gcc",
        "Look at the network",
        "Failed to fetch",
        "Unable to locate",
    ];
    machine.bring("demo").refused(&words);
    // One source that fails does no harm if the others have it.
    machine.set("apt-get.fails", "E: Failed to fetch http://broken");
    assert!(machine.bring("demo").ran);
}

#[test]
fn a_disk_without_room_is_told_before_apt_waits_for_it() {
    let machine = Machine::without(&["cc"]);
    machine.set("free", "5");
    machine
        .bring("demo")
        .refused(&["the disk is full", "5 MB", "/var", "Make room"]);
    assert_eq!(machine.installs(), [""; 0]);
}

#[test]
fn whoever_holds_apts_lock_is_waited_for() {
    let machine = Machine::without(&["cc"]);
    let lock = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt)\n";
    machine.set("apt-get.fails", &lock.repeat(2));
    let brought = machine.bring("demo");
    assert!(
        brought.ran && brought.said.matches("waiting for it").count() == 1,
        "{brought:?}"
    );
}

#[test]
fn two_at_once_install_once() {
    let machine = Machine::without(&["cc"]);
    machine.set("slow", "0.5");
    let both = [machine.start("demo"), machine.start("demo")];
    for child in both {
        let brought = Brought::of(&child.wait_with_output().unwrap());
        assert!(brought.ran, "{brought:?}");
    }
    assert_eq!(machine.installs().len(), 2, "{:?}", machine.installs());
}

/// Without any Rust, from Debian's rustup where there is one, else with rustup's own installer.
#[test]
fn rust_comes_from_debians_rustup_or_from_rustups_installer() {
    let debian = Machine::without(&["cargo", "rustc", "rustup", "curl"]);
    fs::remove_file(debian.at("rust")).unwrap();
    debian.set("policy", "rustup:\n  Candidate: 1.27.1-3\n");
    let brought = debian.bring("demo");
    assert!(brought.ran, "{brought:?}");
    let installs = debian.installs();
    assert_eq!(installs[1], format!("apt-get -q {INSTALL} rustup"));
    let toolchain = "rustup toolchain install --no-self-update --profile minimal";
    assert_eq!(installs[2], format!("{toolchain} {RUST}"));

    let bare = Machine::without(&["cargo", "rustc", "rustup", "curl"]);
    bare.set("policy", "rustup:\n  Candidate: (none)\n");
    let brought = bare.bring("demo");
    assert!(brought.ran, "{brought:?}");
    assert_eq!(bare.installs()[1], format!("apt-get -q {INSTALL} curl"));
    assert!(
        bare.installs()[2].contains("rustup-init.sh"),
        "{:?}",
        bare.installs()
    );
}

#[test]
fn an_installer_that_arrived_in_part_is_not_run() {
    let machine = Machine::without(&["cargo", "rustc", "rustup"]);
    let path = machine.at("bin/curl");
    let mut curl = fs::OpenOptions::new().append(true).open(path).unwrap();
    writeln!(curl, "echo 'curl: transfer closed' >&2; exit 18").unwrap();
    drop(curl);
    let brought = machine.bring("demo");
    brought.refused(&["cannot be fetched", "https://rustup.rs", "transfer closed"]);
    assert!(!machine.at("bin/rustup").exists());
}

#[test]
fn rust_that_is_too_old_gets_a_newer_one_beside_it() {
    let machine = Machine::without(&[]);
    machine.set("rust", "1.63.0");
    let brought = machine.bring("demo");
    assert!(brought.ran, "{brought:?}");
    assert_eq!(machine.installs()[1], format!("rustup override set {RUST}"));
    // One that stays too old, because the environment names it, is refused.
    let machine = Machine::without(&[]);
    machine.set("rust", "1.63.0");
    let rustup = fs::read_to_string(machine.at("bin/rustup")).unwrap();
    machine.set("bin/rustup", &rustup.replace(r#"echo "$5""#, "echo 1.63.0"));
    machine
        .bring("demo")
        .refused(&["1.63.0", RUST, "RUSTUP_TOOLCHAIN"]);
}
