//! Shows the node's JSON answers to people.
//!
//! It follows the shape of the answer instead of a fixed list of fields, so that an older program still shows what a newer
//! node tells.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Fields that say less than the space they take in a table; `--json` has them.
const NOT_IN_TABLES: [&str; 2] = ["path", "mailbox_capacity"];

/// The answer as it is.
pub(crate) fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The answer of `admin_actors`.
pub(crate) fn actors(value: &Value) -> String {
    match value {
        Value::Array(rows) if !rows.is_empty() => table(rows),
        Value::Array(_) => "no actors\n".to_owned(),
        other => json(other),
    }
}

/// The answer of `admin_status`: single values first, then one block for each group.
pub(crate) fn status(value: &Value) -> String {
    let Value::Object(fields) = value else { return json(value) };
    let mut text = pairs(fields);
    for (name, value) in fields {
        let block = match value {
            Value::Object(inner) if !inner.is_empty() => pairs_deep(inner),
            Value::Array(rows) if rows.iter().any(Value::is_object) => table(rows),
            Value::Array(items) if !items.is_empty() => items.iter().map(|item| format!("{}\n", short(item))).collect(),
            _ => continue,
        };
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "{}", title(name));
        for line in block.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// The fields that hold single values, aligned.
fn pairs(fields: &Map<String, Value>) -> String {
    let single: Vec<(String, String)> =
        fields.iter().filter(|(_, value)| is_single(value)).map(|(name, value)| (title(name), short(value))).collect();
    align(&single)
}

/// All fields, each on one line.
fn pairs_deep(fields: &Map<String, Value>) -> String {
    let all: Vec<(String, String)> = fields.iter().map(|(name, value)| (title(name), short(value))).collect();
    align(&all)
}

fn align(pairs: &[(String, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    pairs.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect()
}

/// Rows of objects as a table; its columns are the fields in the order in which they first appear.
fn table(rows: &[Value]) -> String {
    let mut columns: Vec<&str> = Vec::new();
    for field in rows.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        if !columns.contains(&field.as_str()) && !NOT_IN_TABLES.contains(&snake(field).as_str()) {
            columns.push(field);
        }
    }
    // Names first, long explanations last: a narrow terminal then cuts off what matters least.
    columns.sort_by_key(|column| match *column {
        "name" | "actor" => 0,
        "lease" | "why" | "done" | "waiting" => 2,
        _ => 1,
    });
    let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|column| title(column)).collect()];
    for row in rows {
        lines.push(match row.as_object() {
            Some(fields) => columns.iter().map(|column| fields.get(*column).map(short).unwrap_or_default()).collect(),
            None => vec![short(row)],
        });
    }
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(row, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", row.trim_end());
    }
    text
}

fn is_single(value: &Value) -> bool {
    !matches!(value, Value::Object(_) | Value::Array(_))
}

/// Any value on one line.
fn short(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        // Whoever is shown must not be able to move the cursor or colour the terminal.
        Value::String(text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => items.iter().map(short).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| format!("{} {}", title(name), short(value)))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// `lastCause` and `last_cause` are both "last cause".
fn title(name: &str) -> String {
    snake(name).replace('_', " ")
}

fn snake(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() && !text.ends_with('_') {
            text.push('_');
        }
        text.push(if c.is_control() { ' ' } else { c.to_ascii_lowercase() });
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn actors_as_a_table() {
        let text = actors(&json!([
            {"restarts": 0, "name": "executor", "state": "running", "lastCause": null, "mailbox_capacity": 9},
            {"restarts": 12, "name": "rpc", "state": "restarting (attempt 2)", "lastCause": "panic: no"},
        ]));
        assert_eq!(
            text,
            "name      last cause  restarts  state\n\
             executor  -           0         running\n\
             rpc       panic: no   12        restarting (attempt 2)\n"
        );
        assert_eq!(actors(&json!([])), "no actors\n");
    }

    #[test]
    fn a_status_of_any_shape() {
        let text = status(&json!({
            "chainId": 31310,
            "ready": false,
            "heads": {"l2Unsafe": {"number": 7, "hash": "0xab"}, "l1_tip": 3},
            "why": ["head stuck", "executor down"],
            "peers": [],
        }));
        for part in [
            "chain id  31310\n",
            "ready     no\n",
            "\nheads\n",
            "  l2 unsafe  hash 0xab, number 7\n",
            "\nwhy\n  head stuck\n  executor down\n",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
        assert_eq!(status(&json!("odd")), "\"odd\"\n");
    }

    #[test]
    fn a_node_cannot_play_with_the_terminal() {
        assert!(!actors(&json!([{"name": "\u{1b}[2Jx", "\u{7}": 1}])).contains(['\u{1b}', '\u{7}']));
    }
}
