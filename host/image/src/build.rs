// SPDX-License-Identifier: BSD-2-Clause
//! Building an image: programs with cargo, guest, description, and the rest of this module in order.
//!
//! Responsible for: one function that goes from a request to a file under `target/images/<name>/`, and for doing no
//! step twice in one process. Never: installs anything ([`crate::prepare`] does).

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::board::{Board, Parameters};
use super::cargo::{Features, PROFILE, TARGET, Workspace, build_guest, target_directory};
use super::elf::Program;
use super::microkit::Sdk;
use super::system::{LARGE_PAGE, Prefill, System};
use super::{
    Config, ImageError, Kernel, Sel4Crates, capacity, embedded, stage, symbols, transient,
    upstream, workspace,
};
use crate::files;
use crate::guest::{self, Guest};
use crate::io::{read, write};

/// The package of the embedded kernel, and the feature that makes it one.
const KERNEL: (&str, &str) = ("kernel", "bare");
/// The feature that has it leave a guest its debug registers, and give each vCPU its own.
const GUEST_DEBUG: &str = "guest-debug";
/// The feature for a kernel that prints, and the packages that have it: what domains say through our crates is on its console,
/// and `vmm-pd` does not let it complain.
const PRINTING: &str = "printing";
const MICROKIT: &str = "sel4-microkit";
const VMM: &str = "vmm-pd";
/// The file that the description prefills a region from.
const BUNDLE: &str = "guest.bundle";

/// What to build.
#[derive(Clone, Debug)]
pub struct ImageRequest {
    /// Directory under `target/images`, one for each image that exists at the same time.
    pub name: String,
    /// Whether only this process needs the image: its directory is this process' own, and goes with the next that builds
    /// such an image after it.
    pub transient: bool,
    /// What the domains run on.
    pub kernel: Kernel,
    /// The board.
    pub board: String,
    /// The kernel's configuration; the embedded kernel has one only.
    pub config: Config,
    /// The crates that the domains speak to the kernel with.
    pub sel4_crates: Sel4Crates,
    /// What to boot; without one, the board waits for a guest to arrive.
    pub guest: Option<Guest>,
    /// RAM of the guest in MiB, an even number.
    pub ram_mib: u64,
    /// Where guest RAM lies physically.
    pub placement: Placement,
    /// Bytes of the board's own RAM where QEMU emulates it; as much as it needs if absent.
    pub board_ram: Option<u64>,
    /// Leaves the guest, which is trusted, its processor's debug registers and performance monitor.
    pub guest_debug: bool,
    /// The record of what its guest may rely on of processors ([`crate::processor::promise`]); what the board has if absent.
    pub promise: Option<Vec<u8>>,
    /// For the board itself, not for QEMU's model of it ([`Board::on_hardware`]).
    pub hardware: bool,
    /// Programs to use in place of our own, by the domain's name in the description; `kernel` for the embedded kernel.
    pub domain_overrides: BTreeMap<String, PathBuf>,
}

impl Default for ImageRequest {
    /// A board without a guest, as `cargo demo` has it.
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            transient: false,
            kernel: Kernel::Embedded,
            board: "qemu_virt_aarch64".to_owned(),
            config: Config::Release,
            sel4_crates: Sel4Crates::Ours,
            guest: None,
            ram_mib: 128,
            placement: Placement::Anywhere,
            board_ram: None,
            guest_debug: false,
            promise: None,
            hardware: false,
            domain_overrides: BTreeMap::new(),
        }
    }
}

/// Where guest RAM lies physically.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Where the builder likes.
    Anywhere,
    /// At one of the board's named placements.
    Named(String),
    /// At an address.
    At(u64),
}

/// An image on disk.
#[derive(Clone, Debug)]
pub struct Image {
    /// The file.
    pub path: PathBuf,
    /// Where the board's boot loader must put it and enter it.
    pub load_address: u64,
    /// The board that it is for.
    pub board: Board,
    /// What the domains run on.
    pub kernel: Kernel,
    /// Bytes of guest RAM.
    pub guest_ram: u64,
    /// Bytes of the board's own RAM under QEMU.
    pub board_ram: Option<u64>,
    /// A text that says what lies where and who may reach it.
    pub report: PathBuf,
    /// A program that runs before it under QEMU, if the board needs one there.
    pub firmware: Option<PathBuf>,
}

/// Builds an image.
///
/// # Errors
///
/// Whatever step fails, with what it says.
pub fn build_image(request: &ImageRequest) -> Result<Image, ImageError> {
    let root = workspace()?;
    let mut board = Board::load(&root, &request.board)?;
    if request.hardware {
        board = board.on_hardware();
    }
    board.check_kernel(request.kernel)?;
    if request.guest_debug && request.kernel == Kernel::Sel4 {
        return Err(ImageError::GuestDebug);
    }
    // Before anything takes long: whoever lacks the SDK should hear of it at once.
    let sdk = match request.kernel {
        Kernel::Embedded => None,
        Kernel::Sel4 => Some(Sdk::find(&board, request.config)?),
    };
    let wanted = parameters(request, &board)?;
    let mut parameters = capacity::describable(&wanted);
    let (board, board_ram) = capacity::emulated(
        board,
        request.kernel,
        parameters.guest_ram,
        request.board_ram,
    )?;
    let bundle = padded(guest::bundle(request.guest.as_ref(), parameters.guest_ram)?);
    let prefill = Prefill::from([(BUNDLE.to_owned(), bundle)]);
    let path = root.join("system.xml");
    let xml = std::fs::read_to_string(&path).map_err(|source| ImageError::Read { path, source })?;
    let memory = match &sdk {
        Some(sdk) => sdk.memory()?,
        None => vec![board.ram.range()],
    };
    let describe = |parameters: &Parameters| {
        let xml = board.substitute(&xml, parameters)?;
        let system = System::parse("system.xml", &xml, &prefill)?;
        Ok::<_, ImageError>((xml, system))
    };
    let (_, system) = describe(&parameters)?;
    parameters.bundle_room = capacity::bundle_room_beside(&system, &board, &memory, &parameters);
    let (xml, system) = describe(&parameters)?;
    capacity::check(&system, &board, &memory, &wanted)?;
    let guest_ram = parameters.guest_ram;

    // The embedded kernel knows no calls to the firmware.
    if request.kernel == Kernel::Embedded && system.domains.iter().any(|domain| domain.firmware) {
        return Err(ImageError::NoSuchKernel {
            board: board.name,
            kernel: request.kernel,
            known: vec![Kernel::Sel4.to_string()],
        });
    }
    let (directory, _lock) = match request.transient {
        true => own_directory(&root, &request.name)?,
        false => directory(&root, &request.name)?,
    };
    let (programs, kernel) = programs(&root, &system, &board, request)?;
    let (path, report) = match (sdk, kernel) {
        (Some(sdk), _) => {
            let (image, report) = sdk.build(&directory, &xml, &prefill, &programs)?;
            stage::put_before(&image, &el2_stage(&root)?)?;
            (image, report)
        }
        (None, Some(kernel)) => {
            let assembled = embedded::assemble(&system, &programs, &kernel, board.ram.range())?;
            let (image, report) = (directory.join("loader.img"), directory.join("report.txt"));
            write(&image, &assembled.bytes)?;
            write(&report, assembled.layout.to_string().as_bytes())?;
            write(&directory.join("system.xml"), xml.as_bytes())?;
            (image, report)
        }
        (None, None) => {
            return Err(ImageError::NotBuilt {
                package: KERNEL.0.to_owned(),
            });
        }
    };
    let firmware = firmware(&root, &board, &directory)?;
    let load_address = board.load_address;
    Ok(Image {
        path,
        load_address,
        board,
        kernel: request.kernel,
        guest_ram,
        board_ram,
        report,
        firmware,
    })
}

/// The directory of an image, which another process may want to make as well: nobody else does while the lock is held.
///
/// # Errors
///
/// The directory cannot be made, or not locked.
pub fn directory(root: &Path, name: &str) -> Result<(PathBuf, File), ImageError> {
    locked(images(root)?.join(name))
}

/// The same of an image that only this process makes.
fn own_directory(root: &Path, name: &str) -> Result<(PathBuf, File), ImageError> {
    let images = images(root)?;
    let own = transient::directory(&images).map_err(|source| ImageError::Write {
        path: images,
        source,
    })?;
    locked(own.join(name))
}

fn images(root: &Path) -> Result<PathBuf, ImageError> {
    Ok(target_directory(root)?.join("images"))
}

fn locked(directory: PathBuf) -> Result<(PathBuf, File), ImageError> {
    let lock = std::fs::create_dir_all(&directory)
        .and_then(|()| files::lock(&directory.join("lock")))
        .map_err(|source| ImageError::Write {
            path: directory.clone(),
            source,
        })?;
    Ok((directory, lock))
}

/// Builds what runs first of an image with seL4.
fn el2_stage(root: &Path) -> Result<Vec<u8>, ImageError> {
    let package = Features::from([(stage::PACKAGE.to_owned(), vec!["bare".to_owned()])]);
    file(&compile(&Workspace::at(root), &package)?, stage::PACKAGE)
}

/// Builds what runs before the image under QEMU, and keeps it beside the image.
fn firmware(root: &Path, board: &Board, directory: &Path) -> Result<Option<PathBuf>, ImageError> {
    let template = board.qemu.as_ref();
    let Some(package) = template.and_then(|template| template.firmware.as_deref()) else {
        return Ok(None);
    };
    let built = build_guest(root, package)?;
    let path = directory.join("firmware.elf");
    write(&path, &read(&built)?)?;
    Ok(Some(path))
}

fn parameters(request: &ImageRequest, board: &Board) -> Result<Parameters, ImageError> {
    let guest_ram = request.ram_mib.saturating_mul(1 << 20);
    let guest_ram_at = match &request.placement {
        Placement::Anywhere => None,
        Placement::Named(name) => Some(board.placement(name)?),
        Placement::At(address) => Some(*address),
    };
    if guest_ram == 0 || !guest_ram.is_multiple_of(LARGE_PAGE) {
        return Err(ImageError::GuestRamSize {
            mib: request.ram_mib,
        });
    }
    if let Some(address) = guest_ram_at.filter(|address| !address.is_multiple_of(LARGE_PAGE)) {
        return Err(ImageError::GuestRamPlace { address });
    }
    Ok(Parameters {
        guest_ram,
        guest_ram_at,
        bundle_room: capacity::bundle_room(guest_ram),
    })
}

/// A bundle of a size that lets its region have large pages, if it is not small: mapping tens of megabytes in small
/// ones takes seconds at every boot.
fn padded(mut bundle: Vec<u8>) -> Vec<u8> {
    let large = usize::try_from(LARGE_PAGE).unwrap_or(usize::MAX);
    if bundle.len() > large / 2 {
        bundle.resize(bundle.len().next_multiple_of(large), 0);
    }
    bundle
}

/// Whether the domains of this image use the console of a kernel that prints. Those with rust-sel4's own crates do anyway.
fn prints(request: &ImageRequest) -> bool {
    let kernel_prints = request.kernel == Kernel::Sel4 && request.config == Config::Debug;
    kernel_prints && request.sel4_crates == Sel4Crates::Ours
}

/// The programs of the description's domains in order, and the kernel if it is ours.
///
/// # Errors
///
/// Cargo cannot build them.
pub fn programs(
    root: &Path,
    system: &System,
    board: &Board,
    request: &ImageRequest,
) -> Result<(Vec<Program>, Option<Program>), ImageError> {
    let mut features = Features::new();
    for domain in &system.domains {
        if !request.domain_overrides.contains_key(&domain.name) {
            let package = package(&domain.program);
            let chosen = ["domain"]
                .into_iter()
                .chain(board.features(package))
                .map(str::to_owned);
            features.insert(package.to_owned(), chosen.collect());
        }
    }
    if prints(request) {
        let chosen = || vec![PRINTING.to_owned()];
        features.insert(MICROKIT.to_owned(), chosen());
        if let Some(features) = features.get_mut(VMM) {
            features.extend(chosen());
        }
    }
    let (files, kernel) = built(root, board, request, features)?;
    let mut programs = Vec::new();
    // Boards have no clock of the day: the guest's begins with what it is now, when the image is made.
    let time_of_day = match request.guest {
        Some(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        None => 0,
    };
    for domain in &system.domains {
        let bytes = match request.domain_overrides.get(&domain.name) {
            Some(path) => read(path)?,
            None => file(&files, package(&domain.program))?,
        };
        let mut program = Program::parse(&domain.program, bytes)?;
        for device in board.devices(package(&domain.program)) {
            symbols::patch_variables(&mut program, device.variables())?;
        }
        symbols::patch_variables(&mut program, [("link_baud", board.link_baud().into())])?;
        symbols::patch_variables(&mut program, [("time_of_day", time_of_day)])?;
        symbols::patch_board_name(&mut program, &board.name)?;
        if let Some(promise) = &request.promise {
            symbols::patch_promise(&mut program, promise)?;
        }
        programs.push(program);
    }
    let kernel = match request.kernel {
        Kernel::Embedded => {
            let bytes = match request.domain_overrides.get(KERNEL.0) {
                Some(path) => read(path)?,
                None => file(&kernel, KERNEL.0)?,
            };
            Some(Program::parse(KERNEL.0, bytes)?)
        }
        Kernel::Sel4 => None,
    };
    Ok((programs, kernel))
}

/// What the domains' packages and the kernel's, if it is ours, have become.
fn built(
    root: &Path,
    board: &Board,
    request: &ImageRequest,
    domains: Features,
) -> Result<(Files, Files), ImageError> {
    let ours = Workspace::at(root);
    // A program is where cargo puts it only until another process builds it for another board.
    let (_, _lock) = directory(root, "programs")?;
    let (config, kernel) = match request.kernel {
        // Its interface is that of the release configuration.
        Kernel::Embedded => (Config::Release, Some((KERNEL.0, KERNEL.1))),
        Kernel::Sel4 => (request.config, None),
    };
    let debug = request.guest_debug.then_some(GUEST_DEBUG);
    let kernel = kernel.map(|(package, feature)| {
        let features = [feature].into_iter().chain(debug);
        (package.to_owned(), features.map(str::to_owned).collect())
    });
    let workspace = match request.sel4_crates {
        Sel4Crates::Ours => ours.clone(),
        Sel4Crates::Upstream => upstream::workspace(root, &Sdk::find(board, config)?.headers())?,
    };
    // One after the other: what the kernel depends on switches on features of what both use, with which the domains would
    // be compiled once more than for seL4.
    let domains = compile(&workspace, &domains)?;
    Ok((domains, compile(&ours, &Features::from_iter(kernel))?))
}

fn file(files: &Files, package: &str) -> Result<Vec<u8>, ImageError> {
    let file = files.get(package).ok_or_else(|| ImageError::NotBuilt {
        package: package.to_owned(),
    });
    file.cloned()
}

/// The package that a program comes from: its file name without `.elf`.
fn package(program: &str) -> &str {
    program.strip_suffix(".elf").unwrap_or(program)
}

/// Programs' files by package.
type Files = Arc<BTreeMap<String, Vec<u8>>>;

/// What this process has compiled already, by where and what: several images share their programs.
static COMPILED: Mutex<BTreeMap<(Workspace, Features), Files>> = Mutex::new(BTreeMap::new());

fn compile(workspace: &Workspace, features: &Features) -> Result<Files, ImageError> {
    // Held while compiling and reading: whoever wants the same waits for it, and nobody replaces a file meanwhile.
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (workspace.clone(), features.clone());
    if let Some(files) = compiled.get(&key) {
        return Ok(Arc::clone(files));
    }
    let executables = match features.is_empty() {
        true => BTreeMap::new(),
        false => workspace.build(PROFILE, TARGET, features)?,
    };
    let mut files = BTreeMap::new();
    for (package, path) in executables {
        files.insert(package, read(&path)?);
    }
    let files = Arc::new(files);
    compiled.insert(key, Arc::clone(&files));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn qemu() -> Board {
        Board::load(&workspace().unwrap(), "qemu_virt_aarch64").unwrap()
    }

    #[test]
    fn guest_ram_is_whole_large_pages() {
        let parameters = |ram_mib, placement| {
            parameters(
                &ImageRequest {
                    ram_mib,
                    placement,
                    ..ImageRequest::default()
                },
                &qemu(),
            )
        };
        assert_eq!(
            parameters(64, Placement::Anywhere).unwrap().guest_ram,
            64 << 20
        );
        let placed = parameters(64, Placement::Named("high".to_owned())).unwrap();
        assert_eq!(placed.guest_ram_at, Some(0xa000_0000));
        assert!(matches!(
            parameters(63, Placement::Anywhere),
            Err(ImageError::GuestRamSize { mib: 63 })
        ));
        assert!(matches!(
            parameters(0, Placement::Anywhere),
            Err(ImageError::GuestRamSize { mib: 0 })
        ));
        assert!(matches!(
            parameters(64, Placement::At(0x8010_0000)),
            Err(ImageError::GuestRamPlace { .. })
        ));
        let unknown = parameters(64, Placement::Named("nowhere".to_owned()))
            .unwrap_err()
            .to_string();
        assert!(
            unknown.contains("high") && unknown.contains("low"),
            "{unknown}"
        );
    }

    #[test]
    fn large_bundles_fill_large_pages() {
        assert_eq!(padded(vec![1; 100]).len(), 100);
        let bundle = padded(vec![1; (2 << 20) + 1]);
        assert_eq!(
            (bundle.len(), bundle[2 << 20], bundle[(2 << 20) + 1]),
            (4 << 20, 1, 0)
        );
    }

    #[test]
    fn an_unknown_board_is_refused_before_anything_is_built() {
        let request = ImageRequest {
            board: "toaster".to_owned(),
            ..ImageRequest::default()
        };
        assert!(matches!(
            build_image(&request),
            Err(ImageError::NoBoard { .. })
        ));
    }

    #[test]
    fn no_image_with_sel4_leaves_a_guest_its_debug_registers() {
        let request = ImageRequest {
            kernel: Kernel::Sel4,
            guest_debug: true,
            ..ImageRequest::default()
        };
        let error = build_image(&request).unwrap_err();
        assert!(matches!(error, ImageError::GuestDebug));
        assert!(error.to_string().contains("--kernel embedded"), "{error}");
    }

    #[test]
    fn programs_are_named_after_their_packages() {
        assert_eq!(package("vmm-pd.elf"), "vmm-pd");
        let root = workspace().unwrap();
        let xml = std::fs::read_to_string(root.join("system.xml")).unwrap();
        let prefill = Prefill::from([(BUNDLE.to_owned(), vec![1])]);
        let system = System::parse("system.xml", &xml, &prefill).unwrap();
        for domain in &system.domains {
            let package = package(&domain.program);
            let manifest = |directory: &str| {
                root.join(directory)
                    .join(package)
                    .join("Cargo.toml")
                    .is_file()
            };
            assert!(manifest("") || manifest("pds"), "{package}");
        }
    }
}
