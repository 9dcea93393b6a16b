// SPDX-License-Identifier: BSD-2-Clause
//! vCPU 1's console: takes orders, passes them to vCPU 0, and watches over it and itself meanwhile.

use guest_runtime::arguments::Arguments;
use guest_runtime::console::Console;
use guest_runtime::println;
use guest_runtime::timer;

use crate::orders::{
    COUNTS, DEADLY, DONE, KIND, LEVEL, ORDER, Order, PROGRESS, ROUNDS, SEED, TRANSLATED,
};
use crate::sibling::Sibling;

/// For how long vCPU 0 may get no further, in microseconds of the guest's clock, until it is taken for lost: where it
/// may be, and where it must not be.
const TIMEOUT_DEADLY: u64 = 3_000_000;
const TIMEOUT: u64 = 40_000_000;

/// The longest line.
const LONGEST: usize = 128;

/// Reads and carries out commands.
pub(crate) fn serve() -> ! {
    let mut sibling = Sibling::new();
    println!("attacker: ready");
    let mut line = [0; LONGEST];
    loop {
        let length = read_line(&mut line, &mut sibling);
        let text = core::str::from_utf8(line.get(..length).unwrap_or_default()).unwrap_or("?");
        obey(text, &mut sibling);
    }
}

/// Reads a line; looks after itself while there is none.
fn read_line(line: &mut [u8; LONGEST], sibling: &mut Sibling) -> usize {
    let mut length = 0;
    loop {
        match Console::receive() {
            Some(b'\n' | b'\r') if length > 0 => return length,
            Some(byte) => {
                if let Some(slot) = line.get_mut(length).filter(|_| byte >= b' ') {
                    *slot = byte;
                    length += 1;
                }
            }
            None => sibling.rest(),
        }
    }
}

fn obey(line: &str, sibling: &mut Sibling) {
    let arguments = Arguments::new(line);
    match line.split_ascii_whitespace().next() {
        Some("attack") => {
            let seed = arguments.number("seed", 1);
            SEED.set(seed);
            ROUNDS.set(arguments.number("rounds", 1_000));
            let deadly = arguments.number("deadly", 0);
            println!("attacker: begins seed={seed}");
            let (outcome, lost) = order(Order::Attack, &arguments, deadly, sibling);
            println!(
                "attacker: done seed={seed} rounds={} exceptions={} beats={} lost={} mismatches={}",
                PROGRESS.get(),
                outcome[0],
                sibling.beats(),
                u8::from(lost),
                sibling.mismatches(),
            );
        }
        Some("sweep") => {
            let ([values, undefined, other], _) = order(Order::Sweep, &arguments, 0, sibling);
            let level = LEVEL.get();
            println!(
                "attacker: swept level={level} values={values} undefined={undefined} other={other}"
            );
        }
        Some("touch") => {
            let ([accesses, aborts, other], _) = order(Order::Touch, &arguments, 0, sibling);
            println!("attacker: touched accesses={accesses} aborts={aborts} other={other}");
        }
        Some("echo") => println!("attacker: {line}"),
        _ => println!("attacker: FAILED, no such command: {line}"),
    }
}

/// Passes an order to vCPU 0 and waits until it is carried out; what was counted, and whether vCPU 0 was lost.
fn order(
    order: Order,
    arguments: &Arguments<'_>,
    deadly: u64,
    sibling: &mut Sibling,
) -> ([u64; 3], bool) {
    KIND.set(order as u64);
    LEVEL.set(arguments.number("level", 1));
    TRANSLATED.set(arguments.number("translated", 0));
    DEADLY.set(deadly);
    PROGRESS.set(0);
    COUNTS.iter().for_each(|count| count.set(0));
    sibling.begin();
    let number = ORDER.get() + 1;
    ORDER.set(number);
    let timeout = timer::ticks(if deadly == 0 { TIMEOUT } else { TIMEOUT_DEADLY });
    let (mut progress, mut since) = (0, timer::counter());
    while DONE.get() != number && timer::counter() - since < timeout {
        sibling.beat();
        if PROGRESS.get() != progress {
            (progress, since) = (PROGRESS.get(), timer::counter());
        }
    }
    // vCPU 0 may have changed what its sibling speaks through.
    sibling.take_back_the_console();
    sibling.report();
    let counted = [COUNTS[0].get(), COUNTS[1].get(), COUNTS[2].get()];
    (counted, DONE.get() != number)
}
