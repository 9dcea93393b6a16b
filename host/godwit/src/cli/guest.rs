// SPDX-License-Identifier: BSD-2-Clause
//! Arguments that say what a board boots, for every command that builds an image.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use state::Register;

use crate::guest_output;
use crate::qemu::Core;
use image::guest::{Guest, Program};
use image::prepare::{self, Need};
use image::processor::promise::{self, Promise};
use image::processor::{Cores, Named};
use image::{self, Board, Config, ImageRequest, Kernel, Placement, Sel4Crates};

use super::style::notice;

/// What a Linux guest's console is, and nothing else: what it then does is up to its initramfs.
const COMMAND_LINE: &str = "console=ttyAMA0";

/// The kernel and board that an image is for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Board")]
pub(super) struct BoardArguments {
    /// What the domains run on: `embedded`, our own kernel for development and tests, or `sel4` from the Microkit SDK.
    #[arg(long, default_value = "embedded", value_parser = kernel())]
    pub(super) kernel: Kernel,
    /// The kernel's configuration; the embedded kernel has one only.
    #[arg(long, default_value = "release", value_parser = config())]
    pub(super) config: Config,
    /// The crates that the domains speak to the kernel with: `ours`, or `upstream` for rust-sel4's own.
    #[arg(long, value_name = "CRATES", default_value = "ours", value_parser = sel4_crates())]
    pub(super) sel4_crates: Sel4Crates,
    /// The board, a directory under board/.
    #[arg(long, value_name = "BOARD", default_value = "qemu_virt_aarch64")]
    pub(super) board: String,
    /// Leaves the guest, which has to be trusted, its processor's debug registers and performance monitor: single steps,
    /// hardware breakpoints and watchpoints work, and counters count. With the embedded kernel only. Such a guest moves
    /// to boards made in the same way only.
    #[arg(long)]
    pub(super) guest_debug: bool,
}

impl BoardArguments {
    /// Whether the guest can reach its processor's debug registers. In seL4's debug configuration it can: with
    /// `HARDWARE_DEBUG_API` the kernel clears the traps of `MDCR_EL2` for them whenever a vCPU runs.
    fn leaves_debug_registers(&self) -> bool {
        self.guest_debug || (self.kernel, self.config) == (Kernel::Sel4, Config::Debug)
    }
}

/// The processor that QEMU emulates.
#[derive(Debug, Args)]
#[command(next_help_heading = "Processor (the board's own unless given)")]
pub(super) struct CoreArguments {
    /// QEMU's name of the board's processor: cortex-a72, cortex-a76 and what else the installed QEMU has.
    #[arg(long, value_name = "CPU")]
    board_cpu: Option<String>,
    /// How often the processor's counter counts a second, in Hz. A guest moves only between boards where that is the same.
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u32).range(1_000_000..=1_000_000_000))]
    counter_frequency: Option<u32>,
}

impl CoreArguments {
    /// What QEMU has to hear of it.
    pub(super) fn extra(&self, board: &str) -> anyhow::Result<Vec<String>> {
        let core = Core {
            model: self.board_cpu.clone(),
            counter_frequency: self.counter_frequency,
        };
        let board = Board::load(&image::workspace()?, board)?;
        Ok(core.arguments(&board)?)
    }
}

impl CoreArguments {
    /// The processor, as far as it can be known before it runs.
    fn processor(&self, cores: &Cores, board: &Board) -> anyhow::Result<Named> {
        let frequency = self.counter_frequency.unwrap_or(board.counter_frequency());
        let Some(model) = &self.board_cpu else {
            let mut board = board.clone();
            board.processor.counter_frequency = frequency;
            if let Some(qemu) = &mut board.qemu {
                qemu.counter_frequency = Some(frequency);
            }
            return Ok(cores.of_board(&board)?);
        };
        Ok(Named {
            name: format!("{} with {model}", board.name),
            baseline: cores.core(model, frequency)?,
        })
    }
}

/// What the board boots: Debian's Linux with a BusyBox shell, unless something else is given.
#[derive(Debug, Args)]
#[command(next_help_heading = "Guest (Debian's Linux and BusyBox unless given)")]
pub(super) struct GuestArguments {
    /// An arm64 Linux Image, plain or compressed with gzip.
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["flat", "empty"])]
    linux: Option<PathBuf>,
    /// Its initramfs.
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Linux's command line.
    #[arg(long, value_name = "STRING", default_value = COMMAND_LINE, conflicts_with_all = ["flat", "empty"])]
    cmdline: String,
    /// A file that is loaded as it is and entered at its first byte, with x0 pointing to a device tree.
    #[arg(long, value_name = "FILE", conflicts_with = "empty")]
    flat: Option<PathBuf>,
    /// Firmware such as U-Boot or EDK2, at most 2 MiB: it is entered at address 0, with the device tree at 0x40000000. What
    /// --linux and --initrd name waits for it at 0x40400000 and 0x44000000, or behind the kernel if that is larger.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["flat", "empty"])]
    firmware: Option<PathBuf>,
    /// Where the flat file's device tree goes; at the end of RAM unless given.
    #[arg(long, value_name = "ADDRESS", value_parser = address, requires = "flat")]
    dtb_at: Option<u64>,
    /// Where the flat file goes, as the guest sees its memory (RAM begins at 0x40000000).
    #[arg(long, value_name = "ADDRESS", default_value = "0x44000000", value_parser = address, requires = "flat")]
    load: u64,
    /// What the flat file finds as `bootargs` in the device tree.
    #[arg(long, value_name = "STRING", default_value = "", requires = "flat")]
    args: String,
    /// Nothing: the board waits for a guest to be moved to it.
    #[arg(long)]
    empty: bool,
    /// Where the guest is to go later, the board that it starts on or not: boards, cores (cortex-a72), or files with registers
    /// such as `ID_AA64ISAR0_EL1 = 0x11120`. It is promised what all of them have, told not to use the rest, and learns of their
    /// cores if it asks.
    #[arg(
        long,
        value_name = "BOARD,…",
        value_delimiter = ',',
        conflicts_with = "empty"
    )]
    baseline: Vec<String>,
    /// Takes your word that neither the guest's kernel nor its programs use what it was not promised, where nothing keeps them
    /// from it.
    #[arg(long, requires = "baseline")]
    promise: bool,
    /// The guest's CPUs.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4))]
    vcpus: u32,
    /// The guest's RAM in MiB, an even number. Guests move between boards with the same amount.
    #[arg(long, value_name = "MIB", default_value_t = 128)]
    ram: u64,
}

/// A guest that was asked for.
pub(super) struct Chosen {
    /// What it is; nothing for an empty board.
    pub(super) guest: Option<Guest>,
    /// What people call it.
    pub(super) name: String,
    /// What it says once it listens to its console, if that is known.
    pub(super) listens: Option<&'static str>,
}

impl GuestArguments {
    /// The guest, fetched and built if it is ours.
    pub(super) fn choose(&self) -> anyhow::Result<Chosen> {
        let mut listens = None;
        if self.initrd.is_some() && self.linux.is_none() && self.firmware.is_none() {
            anyhow::bail!("--initrd goes with --linux or --firmware");
        }
        let (program, name, arguments) = if self.empty {
            return Ok(Chosen {
                guest: None,
                name: "no guest".to_owned(),
                listens,
            });
        } else if let Some(file) = &self.flat {
            let program = Program::Flat {
                file: file.clone(),
                load: self.load,
                tree: self.dtb_at,
            };
            (program, file_name(file), &self.args)
        } else if let Some(file) = &self.firmware {
            let program = Program::Firmware {
                file: file.clone(),
                kernel: self.linux.clone(),
                initramfs: self.initrd.clone(),
            };
            (program, file_name(file), &self.cmdline)
        } else if let Some(kernel) = &self.linux {
            let program = Program::Linux {
                kernel: kernel.clone(),
                initramfs: self.initrd.clone(),
            };
            (program, file_name(kernel), &self.cmdline)
        } else {
            let program = debian()?;
            listens = Some(guest_output::READY);
            (
                program,
                "Debian's Linux with BusyBox".to_owned(),
                &self.cmdline,
            )
        };
        Ok(Chosen {
            guest: Some(Guest {
                program,
                vcpus: self.vcpus,
                arguments: arguments.clone(),
                seeds: None,
            }),
            name,
            listens,
        })
    }

    /// What the guest is promised, on this board with this processor, and says so; its command line tells it what not to
    /// use. Nothing unless that was asked for.
    pub(super) fn promise(
        &self,
        board: &Board,
        core: Option<&CoreArguments>,
        image: &BoardArguments,
        guest: Option<&mut Guest>,
    ) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(guest) = guest.filter(|_| !self.baseline.is_empty()) else {
            return Ok(None);
        };
        let root = image::workspace()?;
        let cores = Cores::load(&root)?;
        let own = match core {
            Some(core) => core.processor(&cores, board)?,
            None => cores.of_board(board)?,
        };
        let frequency = own.baseline.constants.word(Register::CNTFRQ_EL0);
        let frequency = frequency.and_then(|frequency| u32::try_from(frequency).ok());
        let others = self.baseline.iter();
        let others = others
            .map(|name| cores.named(&root, name, frequency.unwrap_or(0)))
            .collect::<Result<Vec<_>, _>>()?;
        let traits = promise::Guest {
            linux: matches!(guest.program, Program::Linux { .. }),
            debug: image.leaves_debug_registers(),
            answered_for: self.promise,
        };
        let promise = promise::promise(&own, &others, traits)?;
        guest.arguments = with_options(&promise.options(), &guest.arguments);
        notice(&promised(&own.name, &self.baseline, &promise));
        Ok(Some(promise.record()?))
    }

    /// The image of a board that boots `guest`.
    pub(super) fn request(
        &self,
        board: &BoardArguments,
        name: &str,
        guest: Option<Guest>,
    ) -> anyhow::Result<ImageRequest> {
        prepare::prerequisites(&image::workspace()?, &[Need::Image], &notice)?;
        Ok(ImageRequest {
            name: name.to_owned(),
            transient: false,
            kernel: board.kernel,
            board: board.board.clone(),
            config: board.config,
            sel4_crates: board.sel4_crates,
            guest,
            ram_mib: self.ram,
            placement: Placement::Anywhere,
            board_ram: None,
            guest_debug: board.guest_debug,
            promise: None,
            hardware: false,
            domain_overrides: BTreeMap::new(),
        })
    }
}

/// A command line with Linux's options in front: what follows ` -- ` is init's and not the kernel's.
fn with_options(options: &[&str], arguments: &str) -> String {
    let words: Vec<_> = (options.iter().copied())
        .chain((!arguments.is_empty()).then_some(arguments))
        .collect();
    words.join(" ")
}

/// What a guest is promised, for whoever starts it.
fn promised(own: &str, others: &[String], promise: &Promise) -> String {
    let count = promise.baseline.implementations.len();
    let mut text = format!(
        "the guest is promised what {own} and {} have in common, and learns of {count} cores if it asks",
        others.join(", ")
    );
    if promise.costs.is_empty() {
        text += "; this board has nothing besides";
    } else {
        text += "; besides, this board has";
    }
    for cost in &promise.costs {
        text += &format!("\n   {cost}");
    }
    text
}

/// Debian's kernel with our initramfs, fetched and built if need be.
fn debian() -> anyhow::Result<Program> {
    let root = image::workspace()?;
    prepare::prerequisites(&root, &[Need::Debian], &notice)?;
    let files = prepare::linux_guest(&root, &notice)?;
    Ok(Program::Linux {
        kernel: files.kernel,
        initramfs: Some(files.initramfs),
    })
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

pub(super) fn kernel() -> impl TypedValueParser<Value = Kernel> {
    PossibleValuesParser::new(["embedded", "sel4"]).map(|name| match name.as_str() {
        "sel4" => Kernel::Sel4,
        _ => Kernel::Embedded,
    })
}

fn config() -> impl TypedValueParser<Value = Config> {
    PossibleValuesParser::new(["release", "debug"]).map(|name| match name.as_str() {
        "debug" => Config::Debug,
        _ => Config::Release,
    })
}

pub(super) fn sel4_crates() -> impl TypedValueParser<Value = Sel4Crates> {
    PossibleValuesParser::new(["ours", "upstream"]).map(|name| match name.as_str() {
        "upstream" => Sel4Crates::Upstream,
        _ => Sel4Crates::Ours,
    })
}

/// An address in decimal or, with `0x` in front, hexadecimal.
fn address(text: &str) -> Result<u64, std::num::ParseIntError> {
    text.strip_prefix("0x").map_or_else(
        || text.parse(),
        |digits| u64::from_str_radix(&digits.replace('_', ""), 16),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        board: BoardArguments,
    }

    #[test]
    fn a_guest_of_a_debug_kernel_can_reach_its_debug_registers() {
        let leaves = |arguments: &str| {
            let line = Line::parse_from(arguments.split_whitespace());
            line.board.leaves_debug_registers()
        };
        assert!(leaves("godwit --guest-debug"));
        assert!(leaves("godwit --kernel sel4 --config debug"));
        assert!(!leaves("godwit --kernel sel4"));
        assert!(!leaves("godwit --config debug"));
        assert!(!leaves("godwit"));
    }

    // Pitfall: options behind ` -- ` were init's, and Linux used what the guest was not promised.
    #[test]
    fn options_are_the_kernels_whatever_is_inits() {
        let options = ["arm64.nosve", "arm64.nomte"];
        assert_eq!(
            with_options(&options, "console=ttyAMA0 -- single"),
            "arm64.nosve arm64.nomte console=ttyAMA0 -- single"
        );
        assert_eq!(with_options(&options, ""), "arm64.nosve arm64.nomte");
        assert_eq!(with_options(&[], "quiet"), "quiet");
    }

    #[test]
    fn addresses_are_read_in_either_base() {
        assert_eq!(address("0x4400_0000"), Ok(0x4400_0000));
        assert_eq!(address("4096"), Ok(4096));
        assert!(address("44000000h").is_err() && address("0x").is_err());
    }
}
