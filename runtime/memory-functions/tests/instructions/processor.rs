// SPDX-License-Identifier: BSD-2-Clause
//! As much of an AArch64 processor as the functions use, so that they are tested on any host; Arm ARM, C6.2.
//!
//! Responsible for: running the assembler's text as it is, with each access held against what the function may touch. Must
//! never: know more instructions than it does right; it panics at any other.

use std::collections::HashMap;
use std::ops::Range;

/// What an address is made of besides its base register.
#[derive(Clone, Copy)]
enum Index {
    Offset,
    Before,
    After,
}

#[derive(Clone, Copy)]
enum Operand {
    Register(usize),
    Immediate(u64),
}

#[derive(Clone, Copy)]
enum Operation {
    Add,
    Subtract,
    And,
    Multiply,
}

#[derive(Clone)]
enum Instruction {
    /// Into the first from the second register; flags, where it is `subs` or `cmp`.
    Compute(Operation, Option<usize>, usize, Operand, bool),
    Move(usize, Operand),
    Access {
        load: bool,
        width: usize,
        registers: Vec<usize>,
        base: usize,
        offset: u64,
        index: Index,
    },
    BranchIfCarry(bool, usize),
    BranchIfBitClear(usize, u64, usize),
    Return,
}

/// The functions' instructions, and where each function begins.
pub(crate) struct Program {
    instructions: Vec<Instruction>,
    entries: HashMap<String, usize>,
}

/// Memory, and which of its bytes may be read and written.
pub(crate) struct Memory {
    pub(crate) bytes: Vec<u8>,
    pub(crate) readable: Range<usize>,
    pub(crate) writable: Range<usize>,
}

impl Program {
    /// Reads the assembler's text.
    pub(crate) fn read(text: &str) -> Self {
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with("//") && !line.starts_with("/*"))
            .filter(|line| !line.starts_with('.') || line.ends_with(':'))
            .collect();
        let (mut labels, mut code) = (Vec::new(), Vec::new());
        for line in lines {
            match line.strip_suffix(':') {
                Some(label) => labels.push((label, code.len())),
                None => code.push(line),
            }
        }
        let decoded = |(at, line): (usize, &&str)| decode(line, at, &labels);
        Self {
            instructions: code.iter().enumerate().map(decoded).collect(),
            entries: labels
                .iter()
                .map(|&(name, at)| (name.to_owned(), at))
                .collect(),
        }
    }

    /// Calls a function as AAPCS64 has it; what it returns.
    pub(crate) fn call(&self, name: &str, arguments: [u64; 3], memory: &mut Memory) -> u64 {
        // What nobody has set holds anything.
        let mut x: [u64; 31] = std::array::from_fn(|number| 0xa5a5_0000_dead_0000 | number as u64);
        x[..3].copy_from_slice(&arguments);
        let before = x;
        let (mut at, mut carry) = (self.entries[name], false);
        loop {
            let mut next = at + 1;
            match &self.instructions[at] {
                &Instruction::Compute(operation, into, first, second, flags) => {
                    let (a, b) = (x[first], value(&x, second));
                    if let Some(into) = into {
                        x[into] = match operation {
                            Operation::Add => a.wrapping_add(b),
                            Operation::Subtract => a.wrapping_sub(b),
                            Operation::And => a & b,
                            Operation::Multiply => a.wrapping_mul(b),
                        };
                    }
                    carry = if flags { a >= b } else { carry };
                }
                &Instruction::Move(into, from) => x[into] = value(&x, from),
                Instruction::Access { .. } => access(&self.instructions[at], &mut x, memory),
                &Instruction::BranchIfCarry(set, to) if carry == set => next = to,
                &Instruction::BranchIfBitClear(register, bit, to)
                    if x[register] >> bit & 1 == 0 =>
                {
                    next = to;
                }
                Instruction::BranchIfCarry(..) | Instruction::BranchIfBitClear(..) => {}
                Instruction::Return => break,
            }
            at = next;
        }
        assert_eq!(
            x[18..],
            before[18..],
            "{name} leaves its caller's registers alone"
        );
        x[0]
    }
}

fn value(x: &[u64; 31], operand: Operand) -> u64 {
    match operand {
        Operand::Register(number) => x[number],
        Operand::Immediate(value) => value,
    }
}

fn access(instruction: &Instruction, x: &mut [u64; 31], memory: &mut Memory) {
    let Instruction::Access {
        load,
        width,
        registers,
        base,
        offset,
        index,
    } = instruction
    else {
        unreachable!()
    };
    let moved = x[*base].wrapping_add(*offset);
    let address = if matches!(index, Index::After) {
        x[*base]
    } else {
        moved
    };
    let mut place = usize::try_from(address).unwrap();
    for &register in registers {
        let range = place..place + width;
        let allowed = if *load {
            &memory.readable
        } else {
            &memory.writable
        };
        assert!(
            allowed.start <= range.start && range.end <= allowed.end,
            "{range:?} is not in {allowed:?}"
        );
        if *load {
            let mut bytes = [0; 8];
            bytes[..*width].copy_from_slice(&memory.bytes[range]);
            x[register] = u64::from_le_bytes(bytes);
        } else {
            memory.bytes[range].copy_from_slice(&x[register].to_le_bytes()[..*width]);
        }
        place += width;
    }
    if !matches!(index, Index::Offset) {
        x[*base] = moved;
    }
}

fn decode(line: &str, at: usize, labels: &[(&str, usize)]) -> Instruction {
    let (mnemonic, rest) = line.split_once(' ').unwrap_or((line, ""));
    let operands: Vec<&str> = rest.split(", ").collect();
    let register = |index: usize| number(operands[index]);
    let operand = |index: usize| match operands[index].strip_prefix('#') {
        Some(_) => Operand::Immediate(immediate(operands[index])),
        None => Operand::Register(register(index)),
    };
    let label = |index: usize| label(operands[index], at, labels);
    let compute = |operation, flags| {
        Instruction::Compute(operation, Some(register(0)), register(1), operand(2), flags)
    };
    match mnemonic {
        "add" => compute(Operation::Add, false),
        "sub" => compute(Operation::Subtract, false),
        "subs" => compute(Operation::Subtract, true),
        "and" => compute(Operation::And, false),
        "mul" => compute(Operation::Multiply, false),
        "cmp" => Instruction::Compute(Operation::Subtract, None, register(0), operand(1), true),
        "mov" => Instruction::Move(register(0), operand(1)),
        "b.lo" => Instruction::BranchIfCarry(false, label(0)),
        "b.hs" => Instruction::BranchIfCarry(true, label(0)),
        "tbz" => Instruction::BranchIfBitClear(register(0), immediate(operands[1]), label(2)),
        "ret" => Instruction::Return,
        _ => decode_access(mnemonic, rest),
    }
}

fn decode_access(mnemonic: &str, rest: &str) -> Instruction {
    let (registers, address) = rest.split_once(", [").unwrap();
    let word = registers.starts_with('w');
    let (load, width) = match mnemonic {
        "ldp" | "ldr" => (true, if word { 4 } else { 8 }),
        "stp" | "str" => (false, if word { 4 } else { 8 }),
        "ldrh" => (true, 2),
        "strh" => (false, 2),
        "ldrb" => (true, 1),
        "strb" => (false, 1),
        _ => panic!("{mnemonic} is not known"),
    };
    let (inside, behind) = address.split_once(']').unwrap();
    let (base, offset) = inside.split_once(", ").unwrap_or((inside, "#0"));
    let (offset, index) = match behind {
        "" => (offset, Index::Offset),
        "!" => (offset, Index::Before),
        _ => (behind.strip_prefix(", ").unwrap(), Index::After),
    };
    Instruction::Access {
        load,
        width,
        registers: registers.split(", ").map(number).collect(),
        base: number(base),
        offset: immediate(offset),
        index,
    }
}

fn number(register: &str) -> usize {
    register[1..].parse().unwrap()
}

fn immediate(text: &str) -> u64 {
    let text = text.strip_prefix('#').unwrap();
    match (text.strip_prefix("0x"), text.strip_prefix('-')) {
        (Some(digits), _) => u64::from_str_radix(digits, 16).unwrap(),
        (_, Some(digits)) => digits.parse::<u64>().unwrap().wrapping_neg(),
        _ => text.parse().unwrap(),
    }
}

/// Where a label is; `1b` and `1f` are the nearest one before and behind.
fn label(text: &str, at: usize, labels: &[(&str, usize)]) -> usize {
    let named = |name: &str| {
        labels
            .iter()
            .filter(move |label| label.0 == name)
            .map(|label| label.1)
            .collect::<Vec<_>>()
    };
    let local = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    match (
        text.strip_suffix('b').filter(|name| local(name)),
        text.strip_suffix('f').filter(|name| local(name)),
    ) {
        (Some(name), _) => named(name).into_iter().rfind(|&place| place <= at).unwrap(),
        (_, Some(name)) => named(name).into_iter().find(|&place| place > at).unwrap(),
        _ => named(text)[0],
    }
}
