//! Shows the node's JSON answers to people.
//!
//! It follows the shape of the answer instead of a fixed list of fields, so that an older program still shows what a newer
//! node tells.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Fields that say less than the space they take in a table; `--json` has them.
const NOT_IN_TABLES: [&str; 2] = ["path", "mailbox_capacity"];

/// Columns that lead a table, in this order; the rest follows by name.
const FIRST: [&str; 6] = ["name", "actor", "state", "since_ms", "restarts", "generation"];
/// Columns that end a table.
const LAST: [&str; 4] = ["last_cause", "done", "waiting", "lease"];

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
    // What is wrong comes first, tables last: they are long.
    let mut groups: Vec<(&String, &Value)> = fields.iter().collect();
    groups.sort_by_key(|(name, value)| {
        let is_table = value.as_array().is_some_and(|rows| rows.iter().any(Value::is_object));
        (is_table, *name != "causes", name.as_str())
    });
    for (name, value) in groups {
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
    let single: Vec<(String, String)> = fields
        .iter()
        .filter(|(_, value)| is_single(value))
        .map(|(name, value)| (title(name), field(name, value)))
        .collect();
    align(&single)
}

/// All fields, each on one line.
fn pairs_deep(fields: &Map<String, Value>) -> String {
    let all: Vec<(String, String)> = fields.iter().map(|(name, value)| (title(name), field(name, value))).collect();
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
    // Long explanations come last: a narrow terminal then cuts off what matters least.
    let rank = |column: &str| {
        let column = snake(column);
        FIRST
            .iter()
            .position(|first| *first == column)
            .or_else(|| LAST.iter().position(|last| *last == column).map(|position| FIRST.len() + 1 + position))
    };
    columns.sort_by_key(|column| (rank(column).unwrap_or(FIRST.len()), *column));
    let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|column| title(column)).collect()];
    for row in rows {
        lines.push(match row.as_object() {
            Some(fields) => columns
                .iter()
                .map(|column| fields.get(*column).map(|value| field(column, value)).unwrap_or_default())
                .collect(),
            None => vec![short(row)],
        });
    }
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| {
            lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
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
        Value::Object(fields) => object(fields),
    }
}

/// A value whose field's name may say that it is a time.
fn field(name: &str, value: &Value) -> String {
    let per_second = match unit(name) {
        Some((_, per_second)) => per_second,
        None => return short(value),
    };
    value.as_u64().map_or_else(|| short(value), |time| age(time.saturating_mul(1_000 / per_second)))
}

/// The name without its unit of time, and how many of them make a second.
fn unit(name: &str) -> Option<(&str, u64)> {
    [("Ms", 1_000), ("_ms", 1_000), ("Seconds", 1), ("_seconds", 1)]
        .into_iter()
        .find_map(|(suffix, per_second)| name.strip_suffix(suffix).map(|rest| (rest, per_second)))
        .filter(|(rest, _)| !rest.is_empty())
}

/// Milliseconds as a person says them.
fn age(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

/// An object on one line. Blocks and statements have forms of their own, since a screen is full of them.
fn object(fields: &Map<String, Value>) -> String {
    if let (2, Some(number), Some(hash)) = (fields.len(), fields.get("number"), fields.get("hash")) {
        return format!("{}  {}", short(number), short(hash));
    }
    if let Some(text) = fields.get("text") {
        let ago = fields.get("agoMs").and_then(Value::as_u64);
        return ago.map_or_else(|| short(text), |ago| format!("{} ({} ago)", short(text), age(ago)));
    }
    fields
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| format!("{} {}", title(name), field(name, value)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// `lastCause` and `last_cause` are both "last cause"; the unit of a time stands with its value.
fn title(name: &str) -> String {
    snake(unit(name).map_or(name, |(rest, _)| rest)).replace('_', " ")
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
            {"name": "executor", "path": ["root", "l2"], "state": "running", "sinceMs": 61_000, "restarts": 0,
             "lastCause": null, "mailboxDepth": 3, "mailboxCapacity": 9,
             "lease": {"done": {"text": "head 7", "agoMs": 20}, "waitingFor": null}},
            {"name": "rpc", "path": ["root"], "state": "restarting (attempt 2)", "sinceMs": 5, "restarts": 12,
             "lastCause": {"kind": "panic", "text": "panic: no"}, "mailboxDepth": 0, "mailboxCapacity": 9,
             "lease": {"done": null}},
        ]));
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(lines[0], ["name", "state", "since", "restarts", "mailbox depth", "last cause", "lease"]);
        assert_eq!(lines[1], ["executor", "running", "61 s", "0", "3", "-", "done head 7 (20 ms ago)"]);
        assert_eq!(lines[2], ["rpc", "restarting (attempt 2)", "5 ms", "12", "0", "panic: no"]);
        let column = text.find("since").unwrap();
        assert!(text.lines().nth(1).unwrap()[column..].starts_with("61 s"), "cells stand under their titles: {text}");
        assert_eq!(actors(&json!([])), "no actors\n");
    }

    #[test]
    fn a_status_of_any_shape() {
        let text = status(&json!({
            "chainId": 31310,
            "uptimeSeconds": 125,
            "ready": false,
            "heads": {"unsafe": {"number": 7, "hash": "0xab"}, "l1_tip": 3},
            "why": ["head stuck", "executor down"],
            "peers": [],
        }));
        for part in [
            "chain id  31310\n",
            "uptime    2 min\n",
            "ready     no\n",
            "\nheads\n",
            "  unsafe  7  0xab\n",
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
