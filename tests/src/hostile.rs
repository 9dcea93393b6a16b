// SPDX-License-Identifier: BSD-2-Clause
//! Boards with hostile domains: what each attacks, and the image with them in place of the real ones.
//!
//! Responsible for: finding in the system description what a domain must not touch, writing attacks into the hostile
//! program, and what the kernel says of one that it stopped. Never: judges.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context as _, ensure};
use hostile_pd::{
    ARGUMENT_SYMBOL, AT_START_SYMBOL, ATTACK_SYMBOL, Granted, VCPUS_SYMBOL, confession,
};
pub use hostile_pd::{Attack, CONFESSION, messages};
use image::elf::Program;
use image::system::{Domain, PAGE, Prefill, Region, System, USER_TOP};
use image::{
    Config, Image, ImageRequest, Kernel, TARGET, build_program, target_directory, workspace,
};

use crate::guests::{self, TestGuest};

/// What the description prefills a region from; its content is of no interest here.
const BUNDLE: &str = "guest.bundle";

/// A domain of the system description that is to be replaced, and what is known of it.
#[derive(Debug)]
pub struct Target {
    system: System,
    index: usize,
    program: Program,
}

impl Target {
    /// The domain of this name.
    ///
    /// # Errors
    ///
    /// There is none, or the hostile program cannot be built.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let path = workspace()?.join("system.xml");
        let prefill = Prefill::from([(BUNDLE.to_owned(), vec![0; 1])]);
        let system = System::parse("system.xml", &std::fs::read_to_string(path)?, &prefill)?;
        let index = system
            .domains
            .iter()
            .position(|domain| domain.name == name)
            .with_context(|| format!("no domain {name}"))?;
        Ok(Self {
            system,
            index,
            program: program()?,
        })
    }

    fn domain(&self) -> &Domain {
        &self.system.domains[self.index]
    }

    /// Whether the domain has anything at an address.
    fn has(&self, address: u64) -> bool {
        let domain = self.domain();
        let regions = domain.mappings.iter().map(|mapping| {
            let size = self.system.regions[mapping.region].size;
            mapping.vaddr..mapping.vaddr + size
        });
        let program = self
            .program
            .segments()
            .iter()
            .map(|segment| segment.pages(PAGE));
        let stack = domain.stack_bottom()..USER_TOP;
        regions
            .chain(program)
            .chain([stack])
            .any(|range| range.contains(&address))
    }

    /// Where another domain has a region and this one has nothing; the `number`th of them, counted around.
    ///
    /// # Errors
    ///
    /// There is no such place.
    pub fn peer_domains_region(&self, number: usize) -> anyhow::Result<u64> {
        let mut places: Vec<_> = (self.system.domains.iter())
            .filter(|other| other.name != self.domain().name)
            .flat_map(Domain::all_mappings)
            .map(|mapping| mapping.vaddr)
            .filter(|address| !self.has(*address))
            .collect();
        places.sort_unstable();
        places.dedup();
        choose(&places, number)
    }

    /// The physical address of a region that has one, such as a device's.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn device(&self, number: usize) -> anyhow::Result<u64> {
        let places: Vec<_> = (self.system.regions.iter())
            .filter_map(|region| region.phys_addr)
            .filter(|address| !self.has(*address))
            .collect();
        choose(&places, number)
    }

    /// A region of its own that it may only read.
    ///
    /// # Errors
    ///
    /// It has none.
    pub fn read_only_region(&self) -> anyhow::Result<u64> {
        self.own(|writable, _| !writable)
    }

    /// A region of its own that it may write: memory, in small pages.
    ///
    /// # Errors
    ///
    /// It has none.
    pub fn writable_region(&self) -> anyhow::Result<u64> {
        self.own(|writable, region| {
            writable && region.phys_addr.is_none() && region.page_size == PAGE
        })
    }

    fn own(&self, which: impl Fn(bool, &Region) -> bool) -> anyhow::Result<u64> {
        (self.domain().mappings.iter())
            .find(|mapping| which(mapping.rights.write, &self.system.regions[mapping.region]))
            .map(|mapping| mapping.vaddr)
            .with_context(|| format!("{} has no such region", self.domain().name))
    }

    /// Its code.
    #[must_use]
    pub const fn code(&self) -> u64 {
        self.program.entry()
    }

    /// The last word below its stack.
    #[must_use]
    pub fn below_stack(&self) -> u64 {
        self.domain().stack_bottom() - 8
    }

    /// What it ends with if no slot gives it anything.
    #[must_use]
    pub fn confession(&self) -> u64 {
        confession(self.granted().forbidden(), 0)
    }

    fn granted(&self) -> Granted {
        let (notifications, endpoints) = self.system.channel_masks(self.index);
        Granted {
            notifications,
            endpoints,
            interrupts: self.domain().interrupt_mask(),
            vcpus: self.vcpus(),
        }
    }

    fn vcpus(&self) -> u64 {
        let machine = self.domain().machine.iter();
        machine
            .flat_map(|machine| &machine.vcpus)
            .fold(0, |mask, vcpu| mask | 1 << vcpu)
    }
}

fn choose(places: &[u64], number: usize) -> anyhow::Result<u64> {
    ensure!(!places.is_empty(), "there is nothing to attack");
    Ok(places[number % places.len()])
}

/// The hostile program, which is nobody's yet.
fn program() -> anyhow::Result<Program> {
    static BUILT: Mutex<Option<Program>> = Mutex::new(None);
    let mut built = BUILT
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(program) = &*built {
        return Ok(program.clone());
    }
    let root = workspace()?;
    let path = build_program(&root, "hostile-pd", &["domain"], "domain", TARGET)?;
    let program = Program::parse("hostile-pd.elf", std::fs::read(path)?)?;
    Ok(built.insert(program).clone())
}

/// What a hostile domain is to do.
#[derive(Debug, Clone, Copy)]
pub struct Orders {
    /// What.
    pub attack: Attack,
    /// To what.
    pub argument: u64,
    /// Before it does anything else, or once something reaches it.
    pub at_start: bool,
}

impl Orders {
    /// Shows that it lives.
    pub const WITNESS: Self = Self::of(Attack::Witness);

    /// An attack that is about nothing in particular, as soon as anything reaches the domain.
    #[must_use]
    pub const fn of(attack: Attack) -> Self {
        Self {
            attack,
            argument: 0,
            at_start: false,
        }
    }
}

/// An image, named `name`, in which hostile domains stand in for those named.
///
/// The kernel is one that prints what it stops, unless `config` says otherwise: seL4's release configuration does not.
///
/// # Errors
///
/// It cannot be built.
pub fn image(
    name: &str,
    kernel: Kernel,
    config: Config,
    guest: &TestGuest,
    hostile: &[(&str, Orders)],
) -> anyhow::Result<Image> {
    let name = format!("test-{kernel}-hostile-{name}");
    let directory = target_directory(&workspace()?)?.join("hostile").join(&name);
    std::fs::create_dir_all(&directory)?;
    let domain_overrides = (hostile.iter())
        .map(|(domain, orders)| {
            let path = directory.join(format!("{domain}.elf"));
            write(domain, *orders, &path)?;
            Ok(((*domain).to_owned(), path))
        })
        .collect::<anyhow::Result<BTreeMap<_, _>>>()?;
    guests::build(&ImageRequest {
        name,
        kernel,
        config: match kernel {
            Kernel::Embedded => Config::Release,
            Kernel::Sel4 => config,
        },
        guest: Some(guest.build()?),
        ram_mib: guest.ram_mib(),
        domain_overrides,
        ..ImageRequest::default()
    })
}

/// Writes the hostile program with its orders.
fn write(domain: &str, orders: Orders, path: &PathBuf) -> anyhow::Result<()> {
    let mut program = program()?;
    let words = [
        (ATTACK_SYMBOL, orders.attack as u64),
        (ARGUMENT_SYMBOL, orders.argument),
        (AT_START_SYMBOL, orders.at_start.into()),
        (VCPUS_SYMBOL, Target::new(domain)?.vcpus()),
    ];
    for (symbol, word) in words {
        program.write_file(symbol, &word.to_le_bytes())?;
    }
    std::fs::write(path, program.file())?;
    Ok(())
}

/// Why an access to memory is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// Nothing is there.
    NotMapped,
    /// What is there is not for this.
    NotPermitted,
    /// It is no address.
    NoAddress,
    /// It was no access to memory, or the kernel does not say.
    Unsaid,
}

/// What a kernel that prints says of a domain that it stopped: first this, and then in the same report each of these.
#[must_use]
pub fn report(
    kernel: Kernel,
    domain: &str,
    orders: &Orders,
    because: Because,
) -> (String, Vec<String>) {
    match kernel {
        Kernel::Embedded => (
            format!("godwit kernel: domain '{domain}' stopped: "),
            embedded_cause(orders, because),
        ),
        Kernel::Sel4 => (
            format!("MON|ERROR: faulting PD: {domain}\n"),
            sel4_cause(orders, because),
        ),
    }
}

/// Whom the kernel has stopped, if anybody: what it said.
#[must_use]
pub fn stopped(kernel: Kernel, said: &str) -> Option<&str> {
    let mark = match kernel {
        Kernel::Embedded => "godwit kernel: domain '",
        Kernel::Sel4 => "MON|ERROR: faulting PD: ",
    };
    said.lines().find(|line| line.contains(mark))
}

/// Where the report that begins at the start of `text` ends, if all of it has been said.
#[must_use]
pub fn report_end(kernel: Kernel, text: &str) -> Option<usize> {
    match kernel {
        Kernel::Embedded => text.find('\n'),
        // The monitor's next line that is not about an error, or is about another one.
        Kernel::Sel4 => ["MON|ERROR: received message", "MON|INFO: ", "probe: "]
            .iter()
            .filter_map(|next| text.find(next))
            .min(),
    }
}

/// In the words of `kernel/src/report.rs`.
fn embedded_cause(orders: &Orders, because: Because) -> Vec<String> {
    let argument = orders.argument;
    let what = match orders.attack {
        Attack::Witness | Attack::Answers | Attack::Flood | Attack::Silence => String::new(),
        Attack::Read | Attack::Capabilities => {
            format!("data abort, read from {argument:#x} at pc ")
        }
        Attack::Write | Attack::Nonsense => format!("data abort, write to {argument:#x} at pc "),
        Attack::Execute => format!("instruction abort, fetch from {argument:#x} at pc "),
        Attack::SystemCall => format!("system call {} at pc ", argument.cast_signed()),
        Attack::Call => format!("use of capability {argument:#x} at pc "),
        Attack::Receive => format!("receive from capability {argument:#x} at pc "),
        Attack::SystemRegister => "undefined instruction at pc ".to_owned(),
        Attack::FloatingPoint => "floating-point or SIMD instruction at pc ".to_owned(),
    };
    let why = match because {
        Because::NotMapped => "(not mapped)",
        Because::NotPermitted => "(not permitted)",
        Because::NoAddress => "(address size)",
        Because::Unsaid => "",
    };
    vec![what, why.to_owned()]
}

/// In the words of Microkit's monitor, which leaves some faults unexplained.
fn sel4_cause(orders: &Orders, because: Because) -> Vec<String> {
    let address = format!("fault_addr={:#018x}", orders.argument);
    let mut said = match orders.attack {
        Attack::Witness | Attack::Answers | Attack::Flood | Attack::Silence => Vec::new(),
        Attack::Read | Attack::Write | Attack::Nonsense | Attack::Capabilities => {
            vec!["VMFault: ".to_owned(), address, "(data fault)".to_owned()]
        }
        Attack::Execute => vec![
            "VMFault: ".to_owned(),
            address,
            "(instruction fault)".to_owned(),
        ],
        Attack::SystemCall => vec!["Unknown fault".to_owned()],
        Attack::Call => vec![
            "CapFault: ".to_owned(),
            address,
            "in_recv_phase=false".to_owned(),
        ],
        Attack::Receive => vec![
            "CapFault: ".to_owned(),
            address,
            "in_recv_phase=true".to_owned(),
        ],
        Attack::SystemRegister => vec!["UserException".to_owned()],
        // Exception class 0x07: access to SIMD or floating-point functionality.
        Attack::FloatingPoint => vec!["vCPU fault with ESR: 0x000000001fe00000".to_owned()],
    };
    if matches!(orders.attack, Attack::Write | Attack::Nonsense) {
        said.push("write not read".to_owned());
    }
    said.push(match because {
        Because::NotMapped => "dfsc = translation fault".to_owned(),
        // Permission fault at the level of small pages; the monitor does not say so in words.
        Because::NotPermitted if orders.attack == Attack::Execute => {
            "fsr=0x000000008200000f".to_owned()
        }
        Because::NotPermitted => "dfsc = permission fault".to_owned(),
        Because::NoAddress => "dfsc = address size fault".to_owned(),
        Because::Unsaid => String::new(),
    });
    said
}
