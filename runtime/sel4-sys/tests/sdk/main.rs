// SPDX-License-Identifier: BSD-2-Clause
//! Compares every number of this crate with what an installed Microkit SDK says of each board and configuration.
//!
//! The boards are those under `board/` that run seL4, the configurations all that the SDK has for them. The SDK is
//! `$MICROKIT_SDK`, or else `microkit-sdk-2.3.0` in the home directory. Without one there is nothing to compare with:
//! `cargo xtask test` says so, and these tests pass; that a wrong number is found is tested with headers of our own.
//!
//! Not in any of the SDK's files: the slots 1 to 4, which `godwit isolation` holds against the account of an image that
//! Microkit's tool gives, and badges, without which no system test passes on seL4.

mod header;
mod interface;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::mem::offset_of;
use std::path::{Path, PathBuf};

use sel4_sys::{
    FAST_MESSAGE_REGISTERS, FaultLabel, InvocationLabels, IpcBuffer, MESSAGE_EXTRA_CAPABILITIES,
    MESSAGE_REGISTERS, MessageInfo, PAGE_SIZE, Syscall, SyscallError, USER_TOP, VCpuRegister, Word,
    context, fault, microkit, parameters,
};

use header::Header;
use interface::Interface;

/// The board and configuration whose labels are the defaults.
const DEFAULT: &str = "qemu_virt_aarch64/release";

/// What every board has at least.
const CONFIGURATIONS: [&str; 2] = ["debug", "release"];

/// What the SDK has for a board and a configuration.
struct Configuration {
    /// Both names.
    name: String,
    path: PathBuf,
    /// The macros that its headers are compiled with.
    defined: BTreeSet<String>,
}

impl Configuration {
    fn new(board: &str, path: PathBuf) -> Self {
        let last = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{board}/{last}");
        let options: BTreeMap<String, serde_json::Value> =
            json(&path.join("include/kernel/gen_config.json"));
        let on = |value: &serde_json::Value| *value != serde_json::Value::Bool(false);
        let options = options.into_iter().filter(|(_, value)| on(value));
        let defined = options
            .map(|(option, _)| format!("CONFIG_{option}"))
            .collect();
        Self {
            name,
            path,
            defined,
        }
    }

    fn header(&self, name: &str) -> Header {
        let text = read(&self.path.join("include").join(name));
        Header::new(&text, &self.defined)
    }

    fn interface(&self) -> Interface {
        let files = ["", "-arch", "-sel4-arch"];
        let files = files.map(|part| format!("include/interfaces/object-api{part}.xml"));
        Interface::new(files.map(|file| read(&self.path.join(file))))
    }
}

/// Runs a comparison for every board and configuration that images are built for, if there is an SDK.
fn everywhere(compare: impl Fn(&Configuration, &mut Differences)) {
    let sdk = env::var_os("MICROKIT_SDK")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join("microkit-sdk-2.3.0")));
    let Some(boards) = sdk
        .map(|sdk| sdk.join("board"))
        .filter(|boards| boards.is_dir())
    else {
        eprintln!("nothing compared: no Microkit SDK (set MICROKIT_SDK to its folder)");
        return;
    };
    let mut differences = Differences::default();
    for board in our_boards() {
        let mut seen = BTreeSet::new();
        let directory = boards.join(&board);
        for entry in fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        {
            let configuration = Configuration::new(&board, entry.expect("an entry").path());
            differences.place.clone_from(&configuration.name);
            compare(&configuration, &mut differences);
            seen.insert(configuration.name);
        }
        for configuration in CONFIGURATIONS {
            let name = format!("{board}/{configuration}");
            assert!(seen.contains(&name), "the SDK lacks {name}");
        }
    }
    assert!(differences.found.is_empty(), "{:#?}", differences.found);
}

/// The boards that we build images with seL4 for.
fn our_boards() -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../board");
    let entries = fs::read_dir(directory).expect("the boards are there");
    let boards = entries.filter_map(|entry| {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(path.join("board.toml")).ok()?;
        let table: toml::Table = text.parse().expect("TOML");
        let kernels = table["kernels"].as_array().expect("a list of kernels");
        let on_sel4 = kernels.iter().any(|kernel| kernel.as_str() == Some("sel4"));
        on_sel4.then(|| table["name"].as_str().expect("a name").to_owned())
    });
    let boards: Vec<_> = boards.collect();
    assert!(boards.len() >= 4, "{boards:?}");
    boards
}

/// What was found to be different.
#[derive(Default)]
struct Differences {
    /// Where is being compared.
    place: String,
    found: Vec<String>,
}

impl Differences {
    fn check<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, ours: T, theirs: Option<T>) {
        if theirs.as_ref() != Some(&ours) {
            let theirs = theirs.map_or_else(|| "missing".to_owned(), |it| format!("{it:?}"));
            self.found.push(format!(
                "{}: {what} is {theirs}, ours is {ours:?}",
                self.place
            ));
        }
    }

    /// Compares numbers with a header's of the same names.
    fn numbers<N: AsRef<str>, T: TryInto<i64> + Copy>(
        &mut self,
        header: &Header,
        prefix: &str,
        ours: impl IntoIterator<Item = (N, T)>,
    ) {
        for (name, number) in ours {
            let name = format!("{prefix}{}", name.as_ref());
            let number = number.try_into().ok();
            self.check(&name, number, Some(header.number(&name)));
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_str(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn labels_of_invocations() {
    everywhere(|configuration, differences| {
        let labels: BTreeMap<String, Word> = json(&configuration.path.join("invocations_all.json"));
        let labels = InvocationLabels::from_names(|name| labels.get(name).copied());
        match labels {
            Ok(labels) if configuration.name == DEFAULT => {
                differences.check("the table", InvocationLabels::DEFAULT, Some(labels));
            }
            Ok(_) => {}
            Err(error) => differences
                .found
                .push(format!("{}: {error}", configuration.name)),
        }
    });
}

#[test]
fn parts_of_invocations() {
    everywhere(|configuration, differences| {
        let interface = configuration.interface();
        for (method, parameter, word, bit) in [
            ("TCBReadRegisters", "suspend_source", parameters::FLAGS, 0),
            ("TCBReadRegisters", "count", parameters::COUNT, 0),
            ("TCBWriteRegisters", "resume_target", parameters::FLAGS, 0),
            ("TCBWriteRegisters", "count", parameters::COUNT, 0),
            ("TCBWriteRegisters", "regs", parameters::REGISTERS, 0),
            ("ARMVCPUInjectIRQ", "virq", 0, parameters::INJECT_INTID),
            (
                "ARMVCPUInjectIRQ",
                "priority",
                0,
                parameters::INJECT_PRIORITY,
            ),
            ("ARMVCPUInjectIRQ", "group", 0, parameters::INJECT_GROUP),
            ("ARMVCPUInjectIRQ", "index", 0, parameters::INJECT_INDEX),
            ("ARMVCPUReadReg", "field", 0, 0),
            ("ARMVCPUWriteReg", "field", 0, 0),
            ("ARMVCPUWriteReg", "value", 1, 0),
            ("ARMVCPUAckVPPI", "irq", 0, 0),
        ] {
            let what = format!("word and bit of {parameter} of {method}");
            differences.check(&what, (word, bit), interface.position(method, parameter));
        }
        for method in ["TCBSuspend", "TCBResume", "IRQAckIRQ"] {
            let what = format!("number of parameters of {method}");
            differences.check(&what, 0, interface.parameters(method));
        }
    });
}

#[test]
fn numbers_of_system_calls() {
    let calls = [
        ("Call", Syscall::Call),
        ("ReplyRecv", Syscall::ReplyRecv),
        ("NBSendRecv", Syscall::NBSendRecv),
        ("NBSendWait", Syscall::NBSendWait),
        ("Send", Syscall::Send),
        ("NBSend", Syscall::NBSend),
        ("Recv", Syscall::Recv),
        ("NBRecv", Syscall::NBRecv),
        ("Wait", Syscall::Wait),
        ("NBWait", Syscall::NBWait),
        ("Yield", Syscall::Yield),
    ];
    let calls = calls.map(|(name, call)| (name, call as i64));
    everywhere(|configuration, differences| {
        let header = configuration.header("sel4/syscall.h");
        differences.numbers(&header, "seL4_Sys", calls);
        // Only a kernel that prints has it; what domains are told of that comes from the same option.
        let prints = configuration.defined.contains("CONFIG_PRINTING");
        let expected = prints.then_some(Syscall::DebugPutChar as i64);
        let number = header.number("seL4_SysDebugPutChar");
        differences.check("seL4_SysDebugPutChar", expected, Some(number));
    });
}

#[test]
fn labels_of_faults() {
    let labels = [
        ("NullFault", FaultLabel::NullFault),
        ("CapFault", FaultLabel::CapFault),
        ("UnknownSyscall", FaultLabel::UnknownSyscall),
        ("UserException", FaultLabel::UserException),
        ("Timeout", FaultLabel::Timeout),
        ("VMFault", FaultLabel::VmFault),
        ("VGICMaintenance", FaultLabel::VgicMaintenance),
        ("VCPUFault", FaultLabel::VcpuFault),
        ("VPPIEvent", FaultLabel::VppiEvent),
    ];
    let labels = labels.map(|(name, label)| (name, label.label()));
    everywhere(|configuration, differences| {
        let header = configuration.header("sel4/sel4_arch/types_gen.h");
        differences.numbers(&header, "seL4_Fault_", labels);
    });
}

#[test]
fn words_of_fault_messages() {
    let words = [
        ("UnknownSyscall_X0", fault::unknown_syscall::X0),
        ("UnknownSyscall_X7", fault::unknown_syscall::X0 + 7),
        ("UnknownSyscall_FaultIP", fault::unknown_syscall::FAULT_IP),
        ("UnknownSyscall_SP", fault::unknown_syscall::SP),
        ("UnknownSyscall_LR", fault::unknown_syscall::LR),
        ("UnknownSyscall_SPSR", fault::unknown_syscall::SPSR),
        ("UnknownSyscall_Syscall", fault::unknown_syscall::SYSCALL),
        ("UnknownSyscall_Length", fault::unknown_syscall::LENGTH),
        ("UserException_FaultIP", fault::user_exception::FAULT_IP),
        ("UserException_SP", fault::user_exception::SP),
        ("UserException_SPSR", fault::user_exception::SPSR),
        ("UserException_Number", fault::user_exception::NUMBER),
        ("UserException_Code", fault::user_exception::CODE),
        ("UserException_Length", fault::user_exception::LENGTH),
        ("Timeout_Data", fault::timeout::DATA),
        ("Timeout_Consumed", fault::timeout::CONSUMED),
        ("Timeout_Length", fault::timeout::LENGTH),
        ("VMFault_IP", fault::vm_fault::IP),
        ("VMFault_Addr", fault::vm_fault::ADDR),
        ("VMFault_PrefetchFault", fault::vm_fault::PREFETCH_FAULT),
        ("VMFault_FSR", fault::vm_fault::FSR),
        ("VMFault_Length", fault::vm_fault::LENGTH),
        ("VGICMaintenance_IDX", fault::vgic_maintenance::IDX),
        ("VGICMaintenance_Length", fault::vgic_maintenance::LENGTH),
        ("VCPUFault_HSR", fault::vcpu_fault::HSR),
        ("VCPUFault_Length", fault::vcpu_fault::LENGTH),
        ("VPPIEvent_IRQ", fault::vppi_event::IRQ),
        ("VPPIEvent_Length", fault::vppi_event::LENGTH),
    ];
    let of_capabilities = [
        ("IP", fault::cap_fault::IP),
        ("Addr", fault::cap_fault::ADDR),
        ("InRecvPhase", fault::cap_fault::IN_RECV_PHASE),
        ("LookupFailureType", fault::cap_fault::LOOKUP_FAILURE_TYPE),
    ];
    everywhere(|configuration, differences| {
        let header = configuration.header("sel4/sel4_arch/constants.h");
        differences.numbers(&header, "seL4_", words);
        let header = configuration.header("sel4/shared_types.h");
        differences.numbers(&header, "seL4_CapFault_", of_capabilities);
    });
}

#[test]
fn numbers_of_errors() {
    let errors = [
        ("InvalidArgument", SyscallError::InvalidArgument),
        ("InvalidCapability", SyscallError::InvalidCapability),
        ("IllegalOperation", SyscallError::IllegalOperation),
        ("RangeError", SyscallError::RangeError),
        ("AlignmentError", SyscallError::AlignmentError),
        ("FailedLookup", SyscallError::FailedLookup),
        ("TruncatedMessage", SyscallError::TruncatedMessage),
        ("DeleteFirst", SyscallError::DeleteFirst),
        ("RevokeFirst", SyscallError::RevokeFirst),
        ("NotEnoughMemory", SyscallError::NotEnoughMemory),
    ];
    let errors = errors.map(|(name, error)| (name, error.label()));
    everywhere(|configuration, differences| {
        let header = configuration.header("sel4/errors.h");
        differences.numbers(&header, "seL4_", errors);
    });
}

#[test]
fn numbers_of_vcpu_registers() {
    everywhere(|configuration, differences| {
        let header = configuration.header("sel4/sel4_arch/constants.h");
        let registers = VCpuRegister::ALL.map(|it| (format!("{it:?}"), it.number()));
        differences.numbers(&header, "seL4_VCPUReg_", registers);
        let count = [("Num", VCpuRegister::COUNT)];
        differences.numbers(&header, "seL4_VCPUReg_", count);
    });
}

#[test]
fn order_of_a_thread_context() {
    let mut ours = vec![String::new(); context::COUNT];
    ours[context::PC] = "pc".to_owned();
    ours[context::SP] = "sp".to_owned();
    ours[context::SPSR] = "spsr".to_owned();
    ours[context::TPIDR_EL0] = "tpidr_el0".to_owned();
    ours[context::TPIDRRO_EL0] = "tpidrro_el0".to_owned();
    for (number, index) in context::GENERAL.into_iter().enumerate() {
        ours[index] = format!("x{number}");
    }
    everywhere(|configuration, differences| {
        let header = configuration.header("sel4/sel4_arch/types.h");
        let fields = header.fields("seL4_UserContext_").into_iter();
        let theirs = fields.map(|(name, _)| name).collect();
        differences.check("seL4_UserContext", ours.clone(), Some(theirs));
    });
}

#[test]
fn places_in_the_ipc_buffer() {
    let ours = [
        ("tag", offset_of!(IpcBuffer, tag)),
        ("msg", offset_of!(IpcBuffer, msg)),
        ("userData", offset_of!(IpcBuffer, user_data)),
        ("caps_or_badges", offset_of!(IpcBuffer, caps_or_badges)),
        ("receiveCNode", offset_of!(IpcBuffer, receive_cnode)),
        ("receiveIndex", offset_of!(IpcBuffer, receive_index)),
        ("receiveDepth", offset_of!(IpcBuffer, receive_depth)),
    ];
    everywhere(|configuration, differences| {
        let constants = configuration.header("sel4/constants.h");
        let capabilities = constants
            .number("seL4_MsgExtraCapBits")
            .map(|bits| (1 << bits) - 1);
        let length = |name: Option<String>| match name.as_deref() {
            None => Some(1),
            Some("seL4_MsgMaxExtraCaps") => capabilities,
            Some(name) => constants.number(name),
        };
        let mut theirs = BTreeMap::new();
        let mut offset = 0;
        let fields = configuration
            .header("sel4/shared_types.h")
            .fields("seL4_IPCBuffer_");
        for (name, array) in fields {
            theirs.insert(name, offset);
            let words = length(array).and_then(|words| usize::try_from(words).ok());
            offset += words.expect("the length is known") * size_of::<Word>();
        }
        for (name, at) in ours {
            differences.check(name, at, theirs.remove(name));
        }
        differences.check("other fields", BTreeMap::new(), Some(theirs));
        differences.check("size", size_of::<IpcBuffer>(), Some(offset));
    });
}

#[test]
fn bits_of_a_message_info() {
    // From the highest bit down, as they stand in the file.
    let ours = [
        ("label", MessageInfo::new(Word::MAX, 0, 0, 0)),
        ("capsUnwrapped", MessageInfo::new(0, Word::MAX, 0, 0)),
        ("extraCaps", MessageInfo::new(0, 0, Word::MAX, 0)),
        ("length", MessageInfo::new(0, 0, 0, Word::MAX)),
    ];
    everywhere(|configuration, differences| {
        let text = read(&configuration.path.join("include/sel4/shared_types.pbf"));
        let (_, block) = text
            .split_once("block seL4_MessageInfo {")
            .expect("the block is there");
        let (block, _) = block.split_once('}').expect("the block ends");
        let mut high = Word::BITS;
        let mut theirs = BTreeMap::new();
        let mut words = block.split_whitespace();
        while let (Some("field"), Some(name), Some(width)) =
            (words.next(), words.next(), words.next())
        {
            let width: u32 = width.parse().expect("a width");
            high -= width;
            theirs.insert(name, (Word::MAX >> (Word::BITS - width)) << high);
        }
        for (name, info) in ours {
            differences.check(name, info.word(), theirs.get(name).copied());
        }
    });
}

#[test]
fn limits_of_messages_and_of_user_memory() {
    everywhere(|configuration, differences| {
        let header = configuration.header("sel4/constants.h");
        differences.numbers(&header, "seL4_Msg", [("MaxLength", MESSAGE_REGISTERS)]);
        let capabilities = header
            .number("seL4_MsgExtraCapBits")
            .map(|bits| (1 << bits) - 1);
        differences.check("capabilities", MESSAGE_EXTRA_CAPABILITIES, capabilities);
        let header = configuration.header("sel4/sel4_arch/constants.h");
        let fast = [("FastMessageRegisters", FAST_MESSAGE_REGISTERS)];
        differences.numbers(&header, "seL4_", fast);
        let page = header.number("seL4_PageBits").map(|bits| 1 << bits);
        differences.check("a page", PAGE_SIZE, page);

        let file = configuration.path.join("address_space_constants.json");
        let memory: BTreeMap<String, Word> = json(&file);
        let top = memory.get("vspace_user_top").copied();
        // The image builder takes it from here; where it does not, domains have what most boards have.
        let wide = configuration.defined.contains("CONFIG_ARM_PA_SIZE_BITS_44");
        let ours = if wide { (1 << 44) - 1 } else { USER_TOP };
        differences.check("vspace_user_top", ours, top);
    });
}

#[test]
fn slots_of_microkit() {
    let ours = [
        ("MONITOR_EP", microkit::MONITOR_ENDPOINT_SLOT),
        ("ARM_SMC_CAP", microkit::SMC_SLOT),
        (
            "BASE_OUTPUT_NOTIFICATION_CAP",
            microkit::NOTIFICATION_BASE_SLOT,
        ),
        ("BASE_ENDPOINT_CAP", microkit::ENDPOINT_BASE_SLOT),
        ("BASE_IRQ_CAP", microkit::IRQ_BASE_SLOT),
        ("BASE_TCB_CAP", microkit::TCB_BASE_SLOT),
        ("BASE_VM_TCB_CAP", microkit::VM_TCB_BASE_SLOT),
        ("BASE_VCPU_CAP", microkit::VCPU_BASE_SLOT),
        ("BASE_USER_CAPS", microkit::USER_BASE_SLOT),
        ("MICROKIT_MAX_CHANNELS", microkit::MAX_CHANNELS as u64),
        ("MICROKIT_PD_NAME_LENGTH", microkit::NAME_LENGTH as u64),
    ];
    everywhere(|configuration, differences| {
        let header = configuration.header("microkit.h");
        differences.numbers(&header, "", ours);
    });
}

#[test]
fn a_wrong_number_is_found_and_named() {
    let header = Header::new("enum e { seL4_A, seL4_B };", &BTreeSet::new());
    let mut differences = Differences::default();
    differences.numbers(&header, "seL4_", [("A", 0), ("B", 1)]);
    assert!(differences.found.is_empty());
    differences.place = "board/release".to_owned();
    differences.numbers(&header, "seL4_", [("B", 2), ("C", 3)]);
    assert_eq!(differences.found.len(), 2, "{:?}", differences.found);
    for part in ["board/release", "seL4_B", "1", "2"] {
        assert!(
            differences.found[0].contains(part),
            "{:?}",
            differences.found
        );
    }
    assert!(
        differences.found[1].contains("seL4_C"),
        "{:?}",
        differences.found
    );
}

/// With the SDK's own headers: each number of ours, when it is off by one, differs in every configuration.
#[test]
fn a_number_that_is_off_by_one_is_found_in_every_configuration() {
    everywhere(|configuration, differences| {
        let header = configuration.header("sel4/sel4_arch/constants.h");
        for register in VCpuRegister::ALL {
            let mut planted = Differences::default();
            let wrong = [(format!("{register:?}"), register.number() + 1)];
            planted.numbers(&header, "seL4_VCPUReg_", wrong);
            let what = format!("a wrong number of {register:?}");
            differences.check(&what, 1, Some(planted.found.len()));
        }
    });
}
