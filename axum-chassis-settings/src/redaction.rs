//! Redaction of values whose keys look like secrets. The crate `config` has no redaction.

use std::slice;

use crate::names::{below, dotted};
use crate::redact::Name;
use crate::shape::{Kind, Shape};

impl Shape {
    /// Whether the value at `path` is always redacted: it is declared as a secret, or its key has the name of one.
    pub(crate) fn hides(&self, path: &[String]) -> bool {
        let (mut shape, mut name) = (self, Name::Plain);
        for (at, key) in path.iter().enumerate() {
            shape = match shape.at(slice::from_ref(key)) {
                Some(inner) => inner,
                None => return true,
            };
            // An item of a list has the name of its list; its index is not a name.
            if at == 0 || key.parse::<usize>().is_err() {
                name = shape.named(key, name);
            }
        }
        shape.holds_secrets() || shape.is_hidden_as(name)
    }

    /// Whether the key's value may be a secret, judged by the key's name and the name of the table that holds it.
    fn named(&self, key: &str, holder: Name) -> Name {
        if self.public {
            return Name::Plain;
        }
        Name::of(key).max(holder.min(Name::MayBeSecret))
    }

    /// Whether a value with such a name is a secret. A text is, except for the words of an enum, durations, sizes and
    /// networks. A number is a secret only if the last word of its key names one: `max_tokens` and `key_count` are limits.
    fn is_hidden_as(&self, name: Name) -> bool {
        let shown = |kind: &Kind| match kind {
            Kind::Switch | Kind::Choice(_) | Kind::Duration | Kind::Size | Kind::Network => true,
            Kind::Whole { .. } | Kind::Number { .. } => name < Name::Secret,
            _ => false,
        };
        name > Name::Plain && !self.kinds.iter().all(shown)
    }

    /// The keys that are hidden because of their names alone.
    pub(crate) fn undeclared_secrets(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.find_undeclared(&[], Name::Plain, &mut found);
        found
    }

    fn find_undeclared(&self, path: &[String], name: Name, found: &mut Vec<String>) {
        if let Some(list) = self.list().filter(|list| list.rest.table().is_some()) {
            return list.rest.find_undeclared(path, name, found);
        }
        let Some(table) = self.table().filter(|table| !table.keys.is_empty()) else {
            if !self.holds_secrets() && self.is_hidden_as(name) {
                found.push(dotted(path));
            }
            return;
        };
        for (key, shape) in &table.keys {
            shape.find_undeclared(&below(path, key), shape.named(key, name), found);
        }
    }
}
