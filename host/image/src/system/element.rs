// SPDX-License-Identifier: BSD-2-Clause
//! An element of a description, with what it takes to say where it stands.
//!
//! Responsible for: attributes and children, their values and ranges, and errors that name the element. Never: knows
//! which elements there are.

use roxmltree::{Document, Node};

use super::{
    DEFAULT_BUDGET, MAX_ID, MAX_PRIORITY, Position, Region, Scheduling, SystemError,
    SystemErrorKind, Value, Variable,
};

type Result<T, E = SystemError> = std::result::Result<T, E>;

/// An element, with what it takes to say where it stands.
pub(super) struct Element<'a, 'input> {
    pub(super) file: &'a str,
    pub(super) document: &'a Document<'input>,
    pub(super) node: Node<'a, 'input>,
}

impl<'a, 'input> Element<'a, 'input> {
    pub(super) fn name(&self) -> &'a str {
        self.node.tag_name().name()
    }

    pub(super) fn position(&self) -> Position {
        let at = self.document.text_pos_at(self.node.range().start);
        Position {
            line: at.row,
            column: at.col,
        }
    }

    pub(super) fn error(&self, kind: SystemErrorKind) -> SystemError {
        SystemError {
            file: self.file.to_owned(),
            position: self.position(),
            element: self.name().to_owned(),
            kind: Box::new(kind),
        }
    }

    /// Its children, which must be elements or comments.
    pub(super) fn children(&self) -> Result<Vec<Self>> {
        let mut children = Vec::new();
        for node in self.node.children() {
            if node.is_element() {
                children.push(Self {
                    file: self.file,
                    document: self.document,
                    node,
                });
            } else if node
                .text()
                .is_some_and(|text| node.is_text() && !text.trim().is_empty())
            {
                return Err(self.error(SystemErrorKind::Text));
            }
        }
        Ok(children)
    }

    /// Refuses children.
    pub(super) fn leaf(&self) -> Result<()> {
        match self.children()?.first() {
            Some(child) => Err(child.error(SystemErrorKind::UnknownElement)),
            None => Ok(()),
        }
    }

    /// Refuses attributes other than these.
    pub(super) fn allow(&self, attributes: &[&str]) -> Result<()> {
        match self
            .node
            .attributes()
            .find(|attribute| !attributes.contains(&attribute.name()))
        {
            Some(other) => {
                Err(self.error(SystemErrorKind::UnknownAttribute(other.name().to_owned())))
            }
            None => Ok(()),
        }
    }

    pub(super) fn optional(&self, attribute: &'static str) -> Option<&'a str> {
        self.node.attribute(attribute)
    }

    pub(super) fn required(&self, attribute: &'static str) -> Result<&'a str> {
        self.optional(attribute)
            .ok_or_else(|| self.error(SystemErrorKind::MissingAttribute(attribute)))
    }

    /// Its name, which images and reports build other names from: whatever they put between must not be in it.
    pub(super) fn given_name(&self) -> Result<String> {
        let name = self.required("name")?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if !name.is_empty() && name.bytes().all(plain) {
            Ok(name.to_owned())
        } else {
            Err(self.bad("name", name, "letters, digits, '_' and '-'"))
        }
    }

    pub(super) fn bad(
        &self,
        attribute: &'static str,
        value: &str,
        expected: &'static str,
    ) -> SystemError {
        self.error(SystemErrorKind::Value {
            attribute,
            value: value.to_owned(),
            expected,
        })
    }

    /// A number, decimal or with `0x`, with underscores anywhere.
    pub(super) fn number(&self, attribute: &'static str) -> Result<Option<u64>> {
        let Some(value) = self.optional(attribute) else {
            return Ok(None);
        };
        let digits = value.replace('_', "");
        let number = match digits.strip_prefix("0x") {
            Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16),
            None => digits.parse(),
        };
        number
            .map(Some)
            .map_err(|_| self.bad(attribute, value, "a number"))
    }

    pub(super) fn required_number(&self, attribute: &'static str) -> Result<u64> {
        self.number(attribute)?
            .ok_or_else(|| self.error(SystemErrorKind::MissingAttribute(attribute)))
    }

    /// A number where Microkit's tool reads decimal only.
    pub(super) fn decimal(&self, attribute: &'static str) -> Result<u64> {
        let value = self.required(attribute)?;
        value
            .parse()
            .map_err(|_| self.bad(attribute, value, "a decimal number"))
    }

    pub(super) fn identifier(&self) -> Result<u8> {
        let id = self.decimal("id")?;
        self.within("id", id, 0, MAX_ID)
    }

    pub(super) fn within<T: TryFrom<u64>>(
        &self,
        attribute: &'static str,
        value: u64,
        low: u64,
        high: u64,
    ) -> Result<T> {
        let error = || {
            self.error(SystemErrorKind::Range {
                attribute,
                value,
                low,
                high,
            })
        };
        if !(low..=high).contains(&value) {
            return Err(error());
        }
        T::try_from(value).map_err(|_| error())
    }

    pub(super) fn aligned(&self, attribute: &'static str, value: u64, unit: u64) -> Result<u64> {
        if value.is_multiple_of(unit) {
            Ok(value)
        } else {
            Err(self.error(SystemErrorKind::Alignment {
                attribute,
                value,
                unit,
            }))
        }
    }

    pub(super) fn flag(&self, attribute: &'static str, default: bool) -> Result<bool> {
        match self.optional(attribute) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(self.bad(attribute, other, "'true' or 'false'")),
        }
    }

    pub(super) fn scheduling(&self) -> Result<Scheduling> {
        let priority = self.number("priority")?.unwrap_or(0);
        let budget = self.number("budget")?.unwrap_or(DEFAULT_BUDGET);
        let period = self.number("period")?.unwrap_or(budget);
        if budget > period {
            return Err(self.error(SystemErrorKind::Budget { budget, period }));
        }
        Ok(Scheduling {
            priority: self.within("priority", priority, 0, MAX_PRIORITY)?,
            budget,
            period,
        })
    }

    pub(super) fn region(&self, attribute: &'static str, regions: &[Region]) -> Result<usize> {
        let name = self.required(attribute)?;
        regions
            .iter()
            .position(|region| region.name == name)
            .ok_or_else(|| {
                self.error(SystemErrorKind::Unknown {
                    what: "memory region",
                    name: name.to_owned(),
                })
            })
    }

    /// Adds a variable; a symbol can be written once only.
    pub(super) fn set(
        &self,
        variables: &mut Vec<Variable>,
        symbol: &str,
        value: Value,
    ) -> Result<()> {
        if variables.iter().any(|variable| variable.symbol == symbol) {
            return Err(self.error(SystemErrorKind::Duplicate {
                what: "symbol",
                name: symbol.to_owned(),
            }));
        }
        variables.push(Variable {
            symbol: symbol.to_owned(),
            value,
        });
        Ok(())
    }
}
