// SPDX-License-Identifier: BSD-2-Clause
//! As much of C as seL4's headers are written in: conditions on the kernel's options, enumerations, fields of
//! structures, numbers.
//!
//! Responsible for: what a compiler for one configuration would see. Must never: guess; what it cannot evaluate is left
//! out, and whoever looks for it finds nothing.

use std::collections::{BTreeSet, HashMap};

/// A header as one configuration sees it: without comments, directives, and what is not compiled.
pub(crate) struct Header {
    text: String,
    defines: HashMap<String, i64>,
}

impl Header {
    /// Reads a header for a configuration in which `defined` macros are defined.
    pub(crate) fn new(text: &str, defined: &BTreeSet<String>) -> Self {
        let mut header = Self {
            text: String::new(),
            defines: HashMap::new(),
        };
        // For each open condition: whether it holds now, and whether a branch of it has held.
        let mut conditions: Vec<(bool, bool)> = Vec::new();
        for line in without_comments(text).replace("\\\n", " ").lines() {
            let Some(directive) = line.trim().strip_prefix('#') else {
                if conditions.iter().all(|(holds, _)| *holds) {
                    header.text.push_str(line);
                    header.text.push('\n');
                }
                continue;
            };
            let (name, rest) = directive
                .trim()
                .split_once(|character: char| character.is_whitespace())
                .unwrap_or((directive.trim(), ""));
            match name {
                "if" => {
                    let holds = Condition::evaluate(rest, defined);
                    conditions.push((holds, holds));
                }
                "ifdef" | "ifndef" => {
                    let holds = defined.contains(rest.trim()) == (name == "ifdef");
                    conditions.push((holds, holds));
                }
                "elif" | "else" => {
                    let (now, held) = conditions.last_mut().expect("a condition is open");
                    *now = !*held && (name == "else" || Condition::evaluate(rest, defined));
                    *held |= *now;
                }
                "endif" => drop(conditions.pop().expect("a condition is open")),
                "define" if conditions.iter().all(|(holds, _)| *holds) => header.define(rest),
                _ => {}
            }
        }
        assert!(conditions.is_empty(), "a condition does not end");
        header
    }

    fn define(&mut self, definition: &str) {
        if let Some((name, value)) = definition.trim().split_once(' ')
            && let Ok(value) = value.trim().parse()
        {
            self.defines.insert(name.to_owned(), value);
        }
    }

    /// The value of a macro or of an enumerator.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        let enumerators = self.enumerators();
        self.defines
            .get(name)
            .or_else(|| enumerators.get(name))
            .copied()
    }

    /// All enumerators but those that are expressions.
    pub(crate) fn enumerators(&self) -> HashMap<String, i64> {
        let mut values = HashMap::new();
        let bodies = self.text.split("enum ").skip(1);
        for body in bodies.filter_map(|text| Some(text.split_once('{')?.1)) {
            let mut next = 0;
            for item in body.split('}').next().unwrap_or("").split(',') {
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

    /// The fields of a structure in order, each with what stands in its brackets, if it is an array.
    pub(crate) fn fields(&self, structure: &str) -> Vec<(String, Option<String>)> {
        let opening = format!("struct {structure} {{");
        let (_, body) = self
            .text
            .split_once(&opening)
            .expect("the structure is there");
        let (body, _) = body.split_once('}').expect("the structure ends");
        let declarations = body.split(';').map(str::trim);
        let mut fields = Vec::new();
        for declaration in declarations.filter(|declaration| !declaration.is_empty()) {
            let (_, names) = declaration.split_once(' ').expect("type and names");
            for name in names.split(',').map(str::trim) {
                let (name, length) = match name.split_once('[') {
                    Some((name, length)) => (name, Some(length.trim_end_matches(']').to_owned())),
                    None => (name, None),
                };
                fields.push((name.to_owned(), length));
            }
        }
        fields
    }
}

fn without_comments(text: &str) -> String {
    let mut stripped = String::new();
    let mut rest = text;
    while let Some((code, comment)) = rest.split_once("/*") {
        stripped.push_str(code);
        rest = comment.split_once("*/").expect("the comment ends").1;
    }
    stripped.push_str(rest);
    let lines = stripped
        .lines()
        .map(|line| line.split("//").next().unwrap_or(""));
    lines.collect::<Vec<_>>().join("\n")
}

/// A condition of `#if`: `defined`, `!`, `&&`, `||` and parentheses.
struct Condition<'a> {
    tokens: Vec<&'a str>,
    next: usize,
    defined: &'a BTreeSet<String>,
}

impl<'a> Condition<'a> {
    fn evaluate(text: &'a str, defined: &'a BTreeSet<String>) -> bool {
        let mut tokens = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let word = rest
                .find(|character: char| !character.is_alphanumeric() && character != '_')
                .unwrap_or(rest.len());
            let length = match word {
                0 if rest.starts_with("&&") || rest.starts_with("||") => 2,
                0 => 1,
                word => word,
            };
            let (token, after) = rest.split_at(length);
            tokens.push(token);
            rest = after.trim_start();
        }
        let mut condition = Self {
            tokens,
            next: 0,
            defined,
        };
        let holds = condition.or();
        assert_eq!(condition.next, condition.tokens.len(), "in #if {text}");
        holds
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.tokens.get(self.next) == Some(&token);
        self.next += usize::from(found);
        found
    }

    fn or(&mut self) -> bool {
        let mut holds = self.and();
        while self.take("||") {
            holds |= self.and();
        }
        holds
    }

    fn and(&mut self) -> bool {
        let mut holds = self.not();
        while self.take("&&") {
            holds &= self.not();
        }
        holds
    }

    fn not(&mut self) -> bool {
        if self.take("!") {
            return !self.not();
        }
        if self.take("(") {
            let holds = self.or();
            assert!(self.take(")"), "a parenthesis does not close");
            return holds;
        }
        assert!(self.take("defined"), "only `defined` is understood");
        let parenthesis = self.take("(");
        let name = *self.tokens.get(self.next).expect("a name follows");
        self.next += 1;
        assert!(
            !parenthesis || self.take(")"),
            "a parenthesis does not close"
        );
        self.defined.contains(name)
    }
}

#[test]
fn only_what_a_configuration_compiles_counts() {
    let text = "#define A 1 /* one */\n\
                #if defined(X) && !(defined(Y) || defined Z)\n#define B 2\nenum e { P, Q = 7, R };\n\
                #elif defined(Y)\n#define B 3\n#else\n#define B 4\n#endif\n\
                #ifndef X\nenum f { S = 5 };\n#endif\n";
    let seen = |defined: &[&str]| {
        let defined = defined.iter().map(|&name| name.to_owned()).collect();
        let header = Header::new(text, &defined);
        ["A", "B", "R", "S"].map(|name| header.number(name))
    };
    assert_eq!(seen(&["X"]), [Some(1), Some(2), Some(8), None]);
    assert_eq!(seen(&["X", "Y"]), [Some(1), Some(3), None, None]);
    assert_eq!(seen(&["Z"]), [Some(1), Some(4), None, Some(5)]);
}

#[test]
fn fields_of_a_structure_are_in_its_order() {
    let text = "typedef struct s_ {\n  /* three */ seL4_Word a, b;\n  seL4_Word c[seL4_N];\n} s;";
    let fields = Header::new(text, &BTreeSet::new()).fields("s_");
    let field = |name: &str, length: Option<&str>| (name.to_owned(), length.map(str::to_owned));
    assert_eq!(
        fields,
        [
            field("a", None),
            field("b", None),
            field("c", Some("seL4_N"))
        ]
    );
}
