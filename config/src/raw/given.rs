//! What was given for one setting, in the shapes that settings take.

use std::borrow::Cow;
use std::path::Path;

use super::substitute::substitute;
use super::tree::{Node, Table, Value};
use crate::Environment;
use crate::problem::{Complaint, code};

/// A value on its way to its type, together with what it may refer to.
#[derive(Clone, Copy)]
pub(crate) struct Given<'n> {
    node: &'n Node,
    pub(crate) environment: &'n Environment,
}

impl<'n> Given<'n> {
    pub(crate) fn new(node: &'n Node, environment: &'n Environment) -> Self {
        Self { node, environment }
    }

    /// The text, with `${…}` replaced.
    pub(crate) fn text(&self) -> Result<Cow<'n, str>, Complaint> {
        match &self.node.value {
            Value::Text(text) => substitute(text, self.environment),
            _ => Err(self.wrong_type("text")),
        }
    }

    /// The number, if it is one.
    pub(crate) fn number(&self) -> Option<i64> {
        match self.node.value {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// The keys and values, if it is a table.
    pub(crate) fn table(&self) -> Option<&'n Table> {
        match &self.node.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The members, if it is a list.
    pub(crate) fn members(&self) -> Option<Vec<Given<'n>>> {
        match &self.node.value {
            Value::List(members) => {
                Some(members.iter().map(|node| Given::new(node, self.environment)).collect())
            }
            _ => None,
        }
    }

    /// The folder of the file that it was written in.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.node.place.file.parent()
    }

    pub(crate) fn wrong_type(&self, wanted: &str) -> Complaint {
        wrong_type(&self.node.value, wanted)
    }
}

/// The complaint that `value` should have been `wanted`.
pub(crate) fn wrong_type(value: &Value, wanted: &str) -> Complaint {
    Complaint::new(code::WRONG_TYPE, format!("is {}, but has to be {wanted}", value.kind()))
}
