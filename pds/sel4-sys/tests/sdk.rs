//! Compares every number of this crate with the headers of an installed Microkit SDK.
//!
//! The SDK is `$MICROKIT_SDK`, or else `microkit-sdk-2.3.0` in the home folder. Without one there
//! is nothing to compare with: the tests say so and pass.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use sel4_sys::{
    FaultLabel, IPC_BUFFER_ADDRESS, InvocationLabels, MESSAGE_EXTRA_CAPABILITIES,
    MESSAGE_REGISTERS, Syscall, SyscallError, USER_TOP, VCpuRegister, context, fault, microkit,
};

/// The board and configuration whose labels are the defaults.
const DEFAULT: &str = "qemu_virt_aarch64/release";

/// The boards of the SDK, if there is one.
fn boards() -> Option<PathBuf> {
    let sdk = env::var_os("MICROKIT_SDK")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join("microkit-sdk-2.3.0")));
    let boards = sdk
        .map(|sdk| sdk.join("board"))
        .filter(|boards| boards.is_dir());
    if boards.is_none() {
        eprintln!("nothing compared: no Microkit SDK (set MICROKIT_SDK to its folder)");
    }
    boards
}

/// A file of the default board and configuration, if there is an SDK.
fn file(path: &str) -> Option<String> {
    Some(read(&boards()?.join(DEFAULT).join(path)))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// C without comments and preprocessor lines.
fn strip(text: &str) -> String {
    let mut stripped = String::new();
    let mut rest = text;
    while let Some((code, comment)) = rest.split_once("/*") {
        stripped.push_str(code);
        rest = comment.split_once("*/").expect("the comment ends").1;
    }
    stripped.push_str(rest);
    let lines = stripped
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    lines
        .map(|line| line.split("//").next().unwrap_or(""))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The enumerators of all enumerations of a header, but those that are expressions.
fn enumerators(text: &str) -> HashMap<String, i64> {
    let text = strip(text);
    let mut values = HashMap::new();
    for body in text
        .split("enum ")
        .skip(1)
        .filter_map(|text| Some(text.split_once('{')?.1))
    {
        let mut next = 0;
        for item in body
            .split('}')
            .next()
            .unwrap_or("")
            .split(',')
            .map(str::trim)
        {
            let (name, value) = item.split_once('=').unwrap_or((item, ""));
            let value = match value.trim() {
                "" => Some(next),
                value => value.parse().ok().or_else(|| values.get(value).copied()),
            };
            if let Some(value) = value.filter(|_| !name.contains('(')) {
                values.insert(name.trim().to_owned(), value);
                next = value + 1;
            }
        }
    }
    values
}

/// Compares values with the enumerators of the same names.
fn compare<T: TryInto<i64> + Copy>(header: &str, prefix: &str, expected: &[(&str, T)]) {
    let Some(text) = file(header) else { return };
    let values = enumerators(&text);
    for &(name, value) in expected {
        let name = format!("{prefix}{name}");
        assert_eq!(
            value.try_into().ok(),
            values.get(&name).copied(),
            "{name} of {header}"
        );
    }
}

#[test]
fn labels_of_invocations() {
    let Some(boards) = boards() else { return };
    let mut compared = 0;
    let folders = |path: &Path| {
        let entries = fs::read_dir(path).expect("the folder is readable");
        entries
            .map(|entry| entry.expect("the entry is readable").path())
            .collect::<Vec<_>>()
    };
    for configuration in folders(&boards).iter().flat_map(|board| folders(board)) {
        let file = configuration.join("invocations_all.json");
        let json: serde_json::Value = serde_json::from_str(&read(&file)).expect("JSON");
        let labels = InvocationLabels::from_names(|name| json[name].as_u64());
        if configuration.ends_with(DEFAULT) {
            assert_eq!(labels, Ok(InvocationLabels::DEFAULT));
            compared += 1;
        } else {
            labels.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }
    assert_eq!(compared, 1, "the SDK lacks {DEFAULT}");
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
        ("DebugPutChar", Syscall::DebugPutChar),
    ];
    let calls = calls.map(|(name, call)| (name, call as i64));
    compare("include/sel4/syscall.h", "seL4_Sys", &calls);
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
    compare("include/sel4/sel4_arch/types_gen.h", "seL4_Fault_", &labels);
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
    compare("include/sel4/sel4_arch/constants.h", "seL4_", &words);
    let words = [
        ("IP", fault::cap_fault::IP),
        ("Addr", fault::cap_fault::ADDR),
        ("InRecvPhase", fault::cap_fault::IN_RECV_PHASE),
        ("LookupFailureType", fault::cap_fault::LOOKUP_FAILURE_TYPE),
    ];
    compare("include/sel4/shared_types.h", "seL4_CapFault_", &words);
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
    compare("include/sel4/errors.h", "seL4_", &errors);
}

#[test]
fn numbers_of_vcpu_registers() {
    let registers = VCpuRegister::ALL.map(|register| (format!("{register:?}"), register.number()));
    let registers: Vec<_> = registers
        .iter()
        .map(|(name, number)| (name.as_str(), *number))
        .collect();
    compare(
        "include/sel4/sel4_arch/constants.h",
        "seL4_VCPUReg_",
        &registers,
    );
    let count = [("Num", VCpuRegister::COUNT)];
    compare(
        "include/sel4/sel4_arch/constants.h",
        "seL4_VCPUReg_",
        &count,
    );
}

#[test]
fn order_of_a_thread_context() {
    let Some(text) = file("include/sel4/sel4_arch/types.h") else {
        return;
    };
    let text = strip(&text);
    let (_, body) = text
        .split_once("struct seL4_UserContext_ {")
        .expect("the structure is there");
    let (body, _) = body.split_once('}').expect("the structure ends");
    let fields = body
        .split([' ', ',', ';', '\n'])
        .filter(|word| !word.is_empty());
    let fields: Vec<_> = fields.filter(|word| *word != "seL4_Word").collect();
    assert_eq!(fields.len(), context::COUNT);
    assert_eq!(fields[context::PC], "pc");
    assert_eq!(fields[context::SP], "sp");
    assert_eq!(fields[context::SPSR], "spsr");
    assert_eq!(fields[context::TPIDR_EL0], "tpidr_el0");
    assert_eq!(fields[context::TPIDRRO_EL0], "tpidrro_el0");
    for (number, index) in context::GENERAL.into_iter().enumerate() {
        assert_eq!(fields[index], format!("x{number}"));
    }
}

#[test]
fn limits_of_messages_and_of_user_memory() {
    compare(
        "include/sel4/constants.h",
        "seL4_Msg",
        &[("MaxLength", MESSAGE_REGISTERS)],
    );
    let Some(text) = file("include/sel4/constants.h") else {
        return;
    };
    let bits = enumerators(&text)["seL4_MsgExtraCapBits"];
    assert_eq!(
        i64::try_from(MESSAGE_EXTRA_CAPABILITIES),
        Ok((1 << bits) - 1)
    );

    let Some(text) = file("address_space_constants.json") else {
        return;
    };
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["vspace_user_top"].as_u64(), Some(USER_TOP));
    assert_eq!(IPC_BUFFER_ADDRESS, 0xff_ffff_f000);
}

#[test]
fn slots_of_microkit() {
    let Some(text) = file("include/microkit.h") else {
        return;
    };
    let define = |name: &str| -> Option<u64> {
        let mut lines = text
            .lines()
            .filter_map(|line| line.strip_prefix("#define "));
        lines.find_map(|line| {
            line.strip_prefix(name)?
                .strip_prefix(' ')?
                .trim()
                .parse()
                .ok()
        })
    };
    let slots = [
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
    for (name, slot) in slots {
        assert_eq!(define(name), Some(slot), "{name}");
    }
}
