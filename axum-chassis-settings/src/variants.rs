//! Lets a later layer choose another variant of an enum. `config` merges tables key by key, even if the keys belong to
//! different variants.

use config::{Value, ValueKind};

use crate::layer::Values;
use crate::shape::{Kind, Shape, Table};

/// Removes the values of a variant from `lower` if `upper` chooses another variant.
pub(crate) fn displace(lower: &mut Value, upper: &Value, shape: &Shape) {
    let (ValueKind::Table(lower), ValueKind::Table(upper), Some(table)) =
        (&mut lower.kind, &upper.kind, shape.table())
    else {
        return;
    };
    for variants in &table.enums {
        let (before, now) = (fitting(variants, lower), fitting(variants, upper));
        let chooses = (1..variants.len()).contains(&now.len());
        if chooses && !before.iter().any(|variant| now.contains(variant)) {
            lower.retain(|key, _| !is_of_any(variants, key));
        }
    }
    for (key, upper) in upper {
        if let (Some(shape), Some(lower)) = (table.get(key), lower.get_mut(key)) {
            displace(lower, upper, shape);
        }
    }
}

/// The variants to which these values may belong, according to their keys and to the words that tag variants.
fn fitting(variants: &[Table], values: &Values) -> Vec<usize> {
    let fits = |variant: &Table| {
        values.iter().all(|(key, value)| match variant.get(key) {
            Some(shape) => match (tag(shape), &value.kind) {
                (Some(tag), ValueKind::String(word)) => tag == word || !is_tag(variants, key, word),
                _ => true,
            },
            // A key of a struct in which the enum is flattened.
            None => !is_of_any(variants, key),
        })
    };
    let all = variants.iter().enumerate();
    all.filter(|(_, variant)| fits(variant))
        .map(|(at, _)| at)
        .collect()
}

/// The word that tags a variant, if this shape accepts nothing else.
fn tag(shape: &Shape) -> Option<&String> {
    match &shape.kinds[..] {
        [Kind::Choice(words)] if words.len() == 1 => words.first(),
        _ => None,
    }
}

/// Whether a word is the tag of a variant. Any other word is an alias, and the schema does not contain the variant that
/// it belongs to.
fn is_tag(variants: &[Table], key: &str, word: &str) -> bool {
    let mut tags = variants.iter().filter_map(|variant| tag(variant.get(key)?));
    tags.any(|tag| tag == word)
}

fn is_of_any(variants: &[Table], key: &str) -> bool {
    variants
        .iter()
        .any(|variant| variant.keys.contains_key(key))
}
