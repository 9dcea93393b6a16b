// SPDX-License-Identifier: BSD-2-Clause
//! The stage for the demonstration: two boards that differ in what a guest must not notice.
//!
//! Responsible for: the options, and the images and QEMU machines that follow from them. Never: moves anything.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::DemoError;
use crate::qemu::Core;
use crate::session::SessionOptions;
use image::guest::{Guest, Program};
use image::prepare::LinuxGuest;
use image::{Board, Config, Image, ImageRequest, Kernel, Placement, Sel4Crates, workspace};
use state::admission::OtherCore;

/// Where the guest's RAM lies on the second board.
const PLACEMENT_OF_B: &str = "high";
/// MiB that the workload rewrites where a serial line has to carry them while the guest is paused: some ten seconds
/// at 921,600 bits a second, instead of a minute and a half.
const REWRITTEN_OVER_A_LINE: u32 = 1;

/// A board of the demonstration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where the guest is started.
    A,
    /// Where it goes.
    B,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The board's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    pub(super) const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

/// What to demonstrate.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// What the domains run on.
    pub kernel: Kernel,
    /// The crates that the domains speak to the kernel with.
    pub sel4_crates: Sel4Crates,
    /// The guest's vCPUs, 1 to 4.
    pub vcpus: u32,
    /// The guest's RAM in MiB, an even number.
    pub ram_mib: u64,
    /// Moves the guest there and back again so often, instead of once there.
    pub ping_pong: Option<u32>,
    /// For how long its console is shown before and after a move.
    pub watch: Duration,
    /// Seeds the workload's patterns and the moments of the moves; without one, the guest moves after [`Self::watch`].
    pub seed: Option<u64>,
    /// How long the guest may take to boot.
    pub boot_timeout: Duration,
    /// The boards.
    pub boards: [BoardOptions; 2],
    /// How the moves are done.
    pub moves: crate::relay::Options,
    /// How much memory the workload rewrites without a pause, in MiB; its own amount if absent.
    pub rewritten_mib: Option<u32>,
    /// Whether the consoles' logs stay when all is well; when it is not, they always do.
    pub keep: bool,
    /// Set by somebody else when it is to end early.
    pub stop: Arc<AtomicBool>,
}

/// A board of the demonstration.
#[derive(Clone, Debug)]
pub struct BoardOptions {
    /// Which board, as under `board/`.
    pub board: String,
    /// Bytes of its own RAM; more if the guest needs more.
    pub ram: u64,
    /// Where the guest's RAM lies in it: a placement that the board names.
    pub placement: String,
    /// Another processor than the board's own.
    pub core: Core,
}

impl BoardOptions {
    /// Its RAM, as QEMU takes it.
    #[must_use]
    pub fn ram_text(&self) -> String {
        format!("{}G", self.ram >> 30)
    }
}

impl Default for DemoOptions {
    fn default() -> Self {
        let board = |ram: u64, placement: &str| BoardOptions {
            board: "qemu_virt_aarch64".to_owned(),
            ram,
            placement: placement.to_owned(),
            core: Core::default(),
        };
        Self {
            kernel: Kernel::Embedded,
            sel4_crates: Sel4Crates::Ours,
            vcpus: 1,
            ram_mib: 128,
            ping_pong: None,
            watch: Duration::from_secs(4),
            seed: None,
            boot_timeout: Duration::from_secs(180),
            boards: [board(2 << 30, "low"), board(3 << 30, PLACEMENT_OF_B)],
            moves: crate::relay::Options::default(),
            rewritten_mib: None,
            keep: false,
            stop: Arc::default(),
        }
    }
}

impl DemoOptions {
    /// Moves the guest to a board of this kind, as under `board/`.
    ///
    /// Over a serial line the workload rewrites less memory: all of that is sent while the guest is paused.
    ///
    /// # Errors
    ///
    /// There is no such board, or it is not one that QEMU emulates.
    pub fn move_to(&mut self, name: &str) -> Result<(), DemoError> {
        let root = workspace().map_err(|source| DemoError::System {
            what: "looking for the sources",
            source,
        })?;
        let wrong = |source| DemoError::Image {
            side: Side::B,
            source: Box::new(source),
        };
        let board = Board::load(&root, name).map_err(wrong)?;
        board.check_kernel(self.kernel).map_err(wrong)?;
        board.placement(PLACEMENT_OF_B).map_err(wrong)?;
        let Some(qemu) = &board.qemu else {
            return Err(DemoError::NotEmulated { board: board.name });
        };
        self.rewritten_mib = board.link_is_serial().then_some(REWRITTEN_OVER_A_LINE);
        // A board of the same kind as the first still has another amount.
        if name != self.boards[0].board {
            self.boards[1].ram = qemu.ram_bytes().map_err(wrong)?;
        }
        self.boards[1].board = board.name;
        Ok(())
    }

    /// Gives the board that it is moved to another processor, by QEMU's name, and takes it upon itself that the guest does
    /// not know of it.
    ///
    /// # Errors
    ///
    /// The board or its QEMU has no such processor.
    pub fn move_to_core(&mut self, model: &str) -> Result<(), DemoError> {
        let core = Core {
            model: Some(model.to_owned()),
            counter_frequency: None,
        };
        let unusable = |error: Box<dyn std::error::Error + Send + Sync>| DemoError::Core {
            model: model.to_owned(),
            reason: error.to_string(),
        };
        let root = workspace().map_err(|error| unusable(error.into()))?;
        let board = Board::load(&root, &self.boards[1].board);
        let board = board.map_err(|error| unusable(error.into()))?;
        core.arguments(&board)
            .map_err(|error| unusable(error.into()))?;
        self.boards[1].core = core;
        self.moves.other_core = OtherCore::Accepted;
        Ok(())
    }

    /// Whether the boards have different processors, of which the guest is then asked.
    pub(super) fn cores_differ(&self) -> bool {
        self.boards[0].core != self.boards[1].core
    }

    /// What a person should know of a board's link before a move: nothing, unless it is a line.
    pub(super) fn describe_line(&self, side: Side, root: &Path) -> Option<String> {
        let board = Board::load(root, &self.board(side).board).ok()?;
        let baud = board.link.baud?;
        Some(format!(
            "board {}'s link is a serial line of {baud} bits a second: a move takes minutes, and at its end the guest \
             is paused until the line has carried what it had just changed",
            side.name()
        ))
    }

    pub(super) const fn board(&self, side: Side) -> &BoardOptions {
        match side {
            Side::A => &self.boards[0],
            Side::B => &self.boards[1],
        }
    }

    /// The image of a board: the guest is on A.
    pub(super) fn request(&self, side: Side, files: &LinuxGuest) -> ImageRequest {
        let board = self.board(side);
        // Guest RAM that is larger than the space between two placements lies where there is room.
        let known = workspace()
            .ok()
            .and_then(|root| Board::load(&root, &board.board).ok());
        let fits = known.is_some_and(|known| {
            known.placement_holds(&board.placement, self.ram_mib.saturating_mul(1 << 20))
        });
        ImageRequest {
            name: self.image_name(side),
            transient: true,
            kernel: self.kernel,
            board: board.board.clone(),
            config: Config::Release,
            sel4_crates: self.sel4_crates,
            guest: (side == Side::A).then(|| self.guest(files)),
            ram_mib: self.ram_mib,
            placement: match fits {
                true => Placement::Named(board.placement.clone()),
                false => Placement::Anywhere,
            },
            board_ram: fits.then_some(board.ram),
            guest_debug: false,
            promise: None,
            hardware: false,
            domain_overrides: BTreeMap::new(),
        }
    }

    /// The same for equal contents only.
    fn image_name(&self, side: Side) -> String {
        let seed = self
            .seed
            .map_or_else(String::new, |seed| format!("-{seed}"));
        let guest = match side {
            Side::A => {
                let rewritten = self
                    .rewritten_mib
                    .map_or_else(String::new, |mib| format!("-{mib}M"));
                format!("-{}{seed}{rewritten}", self.vcpus)
            }
            Side::B => String::new(),
        };
        let (name, kernel) = (side.name().to_lowercase(), self.kernel);
        let crates = self.sel4_crates.suffix();
        let board = &self.board(side).board;
        format!(
            "demo-{name}-{board}-{kernel}{crates}-{}{guest}",
            self.ram_mib
        )
    }

    fn guest(&self, files: &LinuxGuest) -> Guest {
        let mut arguments = "console=ttyAMA0 quiet godwit.mode=workload".to_owned();
        if let Some(seed) = self.seed {
            arguments += &format!(" godwit.seed={seed}");
        }
        if let Some(mib) = self.rewritten_mib {
            arguments += &format!(" godwit.writer_mib={mib}");
        }
        Guest {
            program: Program::Linux {
                kernel: files.kernel.clone(),
                initramfs: Some(files.initramfs.clone()),
            },
            vcpus: self.vcpus,
            arguments,
            seeds: None,
        }
    }

    pub(super) fn session(&self, side: Side, image: Image) -> SessionOptions {
        // Whether there is such a processor was asked before.
        let extra = self.board(side).core.arguments(&image.board);
        SessionOptions {
            extra: extra.unwrap_or_default(),
            ..SessionOptions::new(side.name(), image)
        }
    }

    /// What a person should know of a board.
    pub(super) fn describe(&self, side: Side, root: &Path) -> String {
        let options = self.board(side);
        let board = Board::load(root, &options.board).ok();
        let description = board
            .as_ref()
            .map_or(&*options.board, |board| &board.description);
        let place = board
            .as_ref()
            .and_then(|board| board.placement(&options.placement).ok());
        let place = place.map_or_else(
            || options.placement.clone(),
            |address| format!("{address:#x}"),
        );
        let core = (options.core.model.as_ref())
            .map_or_else(String::new, |model| format!(" with {model} instead"));
        format!(
            "board {}: {description}{core}, {} of RAM, the guest's at {place}",
            side.name(),
            options.ram_text()
        )
    }
}

/// The moments of the moves: those that were asked for, or drawn by a seed.
#[derive(Debug)]
pub(super) struct Moments {
    watch: Duration,
    state: Option<u64>,
}

impl Moments {
    pub(super) const fn new(options: &DemoOptions) -> Self {
        Self {
            watch: options.watch,
            state: options.seed,
        }
    }

    /// How long to wait before the next move.
    pub(super) fn next(&mut self) -> Duration {
        let Some(state) = &mut self.state else {
            return self.watch;
        };
        // SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let span = u64::try_from(self.watch.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(mixed % span.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boards_differ_in_what_a_guest_must_not_notice() {
        let options = DemoOptions::default();
        let [a, b] = &options.boards;
        assert_ne!(a.ram, b.ram);
        let root = image::workspace().unwrap();
        let place = |board: &BoardOptions| {
            let known = Board::load(&root, &board.board).unwrap();
            known.placement(&board.placement).unwrap()
        };
        assert_ne!(place(a), place(b));
        let text = options.describe(Side::B, &root);
        assert!(
            text.starts_with("board B: QEMU") && text.contains("3G"),
            "{text}"
        );
    }

    #[test]
    fn a_board_with_a_serial_line_gets_a_guest_that_it_can_take() {
        let mut options = on_sel4();
        options.move_to("zcu102").unwrap();
        let root = image::workspace().unwrap();
        assert_eq!(options.rewritten_mib, Some(1));
        let [a, b] = &options.boards;
        assert_eq!((&*a.board, &*b.board), ("qemu_virt_aarch64", "zcu102"));
        assert!(options.describe_line(Side::A, &root).is_none());
        let line = options.describe_line(Side::B, &root).unwrap();
        assert!(line.contains("921600 bits a second"), "{line}");
        options.move_to("qemu_virt_aarch64").unwrap();
        assert_eq!(options.rewritten_mib, None);
    }

    fn on_sel4() -> DemoOptions {
        DemoOptions {
            kernel: Kernel::Sel4,
            ..DemoOptions::default()
        }
    }

    #[test]
    fn a_kernel_that_the_board_does_not_run_is_refused_with_those_that_it_does() {
        let mut embedded = DemoOptions::default();
        let error = embedded.move_to("zcu102").unwrap_err().to_string();
        assert!(
            error.contains("zcu102") && error.contains("it runs: sel4"),
            "{error}"
        );
    }

    #[test]
    fn a_board_that_cannot_be_had_is_named() {
        let refused = |name| on_sel4().move_to(name).unwrap_err().to_string();
        assert!(refused("odroidc4").contains("odroidc4"));
        let unknown = refused("moon");
        assert!(
            unknown.contains("moon") && unknown.contains("zcu102"),
            "{unknown}"
        );
    }

    #[test]
    fn images_of_different_demonstrations_have_different_names() {
        let base = DemoOptions::default();
        let other = |change: fn(&mut DemoOptions)| {
            let mut options = base.clone();
            change(&mut options);
            options.image_name(Side::A)
        };
        let names = [
            base.image_name(Side::A),
            base.image_name(Side::B),
            other(|options| options.kernel = Kernel::Sel4),
            other(|options| options.sel4_crates = Sel4Crates::Upstream),
            other(|options| options.vcpus = 2),
            other(|options| options.ram_mib = 64),
            other(|options| options.seed = Some(1)),
            other(|options| options.rewritten_mib = Some(1)),
            other(|options| options.boards[0].board = "zcu102".to_owned()),
        ];
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
    }

    #[test]
    fn moments_are_those_of_their_seed() {
        let draw = |seed| {
            let options = DemoOptions {
                seed: Some(seed),
                ..DemoOptions::default()
            };
            let mut moments = Moments::new(&options);
            [(); 8].map(|()| moments.next())
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(
            draw(3)
                .iter()
                .all(|wait| *wait < DemoOptions::default().watch)
        );
        let mut steady = Moments::new(&DemoOptions::default());
        assert_eq!(steady.next(), DemoOptions::default().watch);
    }
}
