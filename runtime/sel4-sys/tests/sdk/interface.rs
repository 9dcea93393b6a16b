// SPDX-License-Identifier: BSD-2-Clause
//! The descriptions of invocations that come with seL4, and where they put each parameter.
//!
//! Responsible for: the rule by which seL4's stubs pack parameters. Parameters smaller than a word share one, each
//! aligned to its own size, as long as it has room; a capability does not count, it travels beside the words. Must
//! never: know what our crates do.

/// Bits of a word.
const WORD: u32 = u64::BITS;

/// The descriptions of all objects.
pub(crate) struct Interface {
    files: [String; 3],
}

impl Interface {
    pub(crate) fn new(files: [String; 3]) -> Self {
        Self { files }
    }

    /// The word, and its bit, at which an input begins.
    pub(crate) fn position(&self, method: &str, parameter: &str) -> Option<(usize, u32)> {
        let mut next = 0;
        for (name, width) in self.inputs(method)? {
            // Into the next word if it does not fit, else aligned to its size.
            next = u32::next_multiple_of(next, width.min(WORD));
            if name == parameter {
                return Some(((next / WORD) as usize, next % WORD));
            }
            next += width;
        }
        None
    }

    /// How many inputs there are.
    pub(crate) fn parameters(&self, method: &str) -> Option<usize> {
        Some(self.inputs(method)?.len())
    }

    /// The inputs of a method and their bits.
    fn inputs(&self, method: &str) -> Option<Vec<(String, u32)>> {
        self.files.iter().find_map(|file| {
            let options = roxmltree::ParsingOptions {
                allow_dtd: true,
                ..Default::default()
            };
            let document = roxmltree::Document::parse_with_options(file, options).expect("XML");
            let node = document
                .descendants()
                .find(|node| node.has_tag_name("method") && node.attribute("id") == Some(method))?;
            let inputs = node.children().filter(|child| {
                child.has_tag_name("param") && child.attribute("dir") == Some("in")
            });
            let inputs = inputs.map(|child| {
                let name = child.attribute("name").unwrap_or_default();
                let width = bits(child.attribute("type").unwrap_or_default());
                (name.to_owned(), width)
            });
            Some(inputs.collect())
        })
    }
}

/// Bits of a type.
fn bits(name: &str) -> u32 {
    match name {
        "seL4_Bool" => 1,
        "seL4_Uint8" => 8,
        "seL4_Uint16" => 16,
        "seL4_Word" | "seL4_VCPUReg" => WORD,
        "seL4_UserContext" => 36 * WORD,
        other => panic!("no width known of {other}"),
    }
}

#[test]
fn small_parameters_share_a_word_as_long_as_there_is_room() {
    let description = "<api><interface><method id=\"M\">\
        <param dir=\"in\" name=\"flag\" type=\"seL4_Bool\"/><param dir=\"in\" name=\"small\" type=\"seL4_Uint8\"/>\
        <param dir=\"out\" name=\"answer\" type=\"seL4_Word\"/>\
        <param dir=\"in\" name=\"word\" type=\"seL4_Word\"/><param dir=\"in\" name=\"last\" type=\"seL4_Uint16\"/>\
        </method></interface></api>";
    let empty = || "<api/>".to_owned();
    let interface = Interface::new([empty(), description.to_owned(), empty()]);
    let position = |name| interface.position("M", name);
    assert_eq!(position("flag"), Some((0, 0)));
    assert_eq!(position("small"), Some((0, 8)));
    assert_eq!(position("word"), Some((1, 0)));
    assert_eq!(position("last"), Some((2, 0)));
    assert_eq!(position("answer"), None);
    assert_eq!(interface.parameters("M"), Some(4));
    assert_eq!(interface.parameters("N"), None);
}
