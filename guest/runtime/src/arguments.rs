// SPDX-License-Identifier: BSD-2-Clause
//! The command line: words of the form `name=value`.

/// `bootargs` of the device tree.
#[derive(Debug, Clone, Copy)]
pub struct Arguments<'a>(&'a str);

impl<'a> Arguments<'a> {
    /// The words of `line`.
    #[must_use]
    pub const fn new(line: &'a str) -> Self {
        Self(line)
    }

    /// The value of the last word that begins with `name=`.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.0
            .split_ascii_whitespace()
            .filter_map(|word| word.split_once('='))
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value)
            .next_back()
    }

    /// Likewise as a number, decimal or after `0x` hexadecimal; `default` if it is absent or no number.
    #[must_use]
    pub fn number(&self, name: &str, default: u64) -> u64 {
        self.text(name)
            .and_then(|value| match value.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).ok(),
                None => value.parse().ok(),
            })
            .unwrap_or(default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_name_and_the_last_one_counts() {
        let arguments = Arguments::new("mode=registers seed=7 empty= seed=0x10 quiet");
        assert_eq!(arguments.text("mode"), Some("registers"));
        assert_eq!(arguments.text("empty"), Some(""));
        assert_eq!(arguments.text("quiet"), None);
        assert_eq!(arguments.number("seed", 1), 16);
        assert_eq!(arguments.number("mode", 1), 1);
        assert_eq!(arguments.number("rounds", 5), 5);
    }
}
