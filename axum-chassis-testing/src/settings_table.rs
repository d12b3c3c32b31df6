//! The settings of a service as a Markdown table for its README.

use std::fmt;

use axum_chassis::{ChassisSettings, settings};
use serde_json::Value;

const BEGIN: &str = "<!-- settings: begin -->";
const END: &str = "<!-- settings: end -->";

/// The settings of a service as a Markdown table. Each setting has a row with its key, its default, and its doc
/// comment.
///
/// A test can keep the table up to date with the schema that the binary prints:
///
/// ```no_run
/// # macro_rules! env { ($name:literal) => { "orders" } }
/// use axum_chassis_testing::{Program, SettingsTable};
///
/// let printed = Program::new(env!("CARGO_BIN_EXE_orders"))
///     .argument("--config-schema")
///     .output();
/// let schema = serde_json::from_str(&printed.stdout).expect("a JSON schema");
///
/// let readme = std::fs::read_to_string("README.md").expect("text");
/// if let Some(current) = SettingsTable::new(&schema).own().fill(&readme) {
///     std::fs::write("README.md", current).expect("a README");
/// }
/// ```
#[derive(Clone, Debug)]
pub struct SettingsTable {
    /// The rows, in the order of the schema.
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    key: String,
    default: Value,
    description: String,
}

// === impl SettingsTable ===

impl SettingsTable {
    /// The table of all settings in a JSON Schema that `--config-schema` has printed.
    #[must_use]
    pub fn new(schema: &Value) -> Self {
        let mut rows = Vec::new();
        gather(schema, "", &mut rows);
        Self { rows }
    }

    /// Removes the settings of the chassis, so that only the service's own remain.
    #[must_use]
    pub fn own(mut self) -> Self {
        let brought = Self::new(&settings::schema::<ChassisSettings, ()>()).rows;
        self.rows
            .retain(|row| brought.iter().all(|brought| brought.key != row.key));
        self
    }

    /// Removes the settings of a section, such as `auth`, which are described elsewhere.
    #[must_use]
    pub fn without(mut self, section: &str) -> Self {
        let is_inside = |key: &str| {
            key.strip_prefix(section)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        self.rows.retain(|row| !is_inside(&row.key));
        self
    }

    /// Returns `text` with this table between the lines `<!-- settings: begin -->` and `<!-- settings: end -->`.
    /// Returns `None` if the text does not have these lines.
    #[must_use]
    pub fn fill(&self, text: &str) -> Option<String> {
        let (before, rest) = text.split_once(BEGIN)?;
        let (_, after) = rest.split_once(END)?;
        Some(format!("{before}{BEGIN}\n{self}{END}{after}"))
    }
}

impl fmt::Display for SettingsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return writeln!(f, "None.");
        }
        writeln!(f, "| key | default | |\n|---|---|---|")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

// === impl Row ===

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = match &self.default {
            Value::Null => "unset".to_owned(),
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        // A line break would end the row, and a vertical bar would end the cell.
        let [default, description] =
            [&default, &self.description].map(|cell| cell.replace('\n', " ").replace('|', r"\|"));
        write!(f, "| `{}` | {default} | {description} |", self.key)
    }
}

/// Collects the rows of a section and of the sections inside it, whose keys contain a dot.
fn gather(schema: &Value, section: &str, rows: &mut Vec<Row>) {
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let key = match section {
            "" => name.clone(),
            section => format!("{section}.{name}"),
        };
        if schema["properties"].is_object() {
            gather(schema, &key, rows);
        } else {
            let description = schema["description"].as_str().unwrap_or_default();
            rows.push(Row {
                key,
                default: schema["default"].clone(),
                description: description.to_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({ "properties": {
            "greeting": { "default": "hi|ho", "description": "What it\nsays." },
            "server": { "properties": { "port": { "default": 8080 } } },
            "store": { "properties": {
                "pool": { "properties": { "size": { "default": 5 } } },
                "url": { "description": "Where it is." },
            }},
        }})
    }

    #[test]
    fn a_key_is_a_row_with_its_default_and_its_doc() {
        let table = SettingsTable::new(&schema()).to_string();
        let rows: Vec<&str> = table.lines().collect();
        let expected = [
            "| key | default | |",
            "|---|---|---|",
            r"| `greeting` | `hi\|ho` | What it says. |",
            "| `server.port` | `8080` |  |",
            "| `store.pool.size` | `5` |  |",
            "| `store.url` | unset | Where it is. |",
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn own_keys_are_those_that_the_chassis_does_not_have() {
        let own = SettingsTable::new(&schema()).own();
        let keys: Vec<&str> = own.rows.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(keys, ["greeting", "store.pool.size", "store.url"]);

        let brought = settings::schema::<ChassisSettings, ()>();
        assert_eq!(SettingsTable::new(&brought).own().to_string(), "None.\n");
    }

    #[test]
    fn a_section_that_is_left_out_takes_the_sections_inside_it_along() {
        let rest = SettingsTable::new(&schema()).own().without("store");
        let keys: Vec<&str> = rest.rows.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(keys, ["greeting"]);
        assert_eq!(rest.without("greet").rows.len(), 1);
    }

    #[test]
    fn the_text_between_the_markers_is_replaced() {
        let table = SettingsTable::new(&json!({ "properties": { "a": {} } }));
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let filled = table.fill(&text).expect("both markers");
        assert_eq!(
            filled,
            format!("before\n{BEGIN}\n{table}{END}\nafter\n"),
            "and nothing else"
        );
        assert_eq!(table.fill(&filled).as_ref(), Some(&filled));
        assert_eq!(table.fill("no table is wanted"), None);
    }
}
