//! Shows the node's answers about the L1 to people, with amounts in DUSK.

use serde_json::{Map, Value};

use super::amount::Dusk;
use crate::cli::{CliError, OK, print, view};

/// Columns of the list of stakes: field, title, whether it is an amount. The keys come last: they are long.
const COLUMNS: [(&str, &str, bool); 7] = [
    ("stake", "stake", true),
    ("locked", "locked", true),
    ("eligibility", "from block", false),
    ("reward", "rewards", true),
    ("faults", "faults", false),
    ("hardFaults", "hard", false),
    ("account", "account", false),
];

/// The answer of `admin_duskProvisioners`.
pub(super) fn provisioners(answer: &Value, as_json: bool) -> Result<u8, CliError> {
    let text = match answer {
        Value::Array(rows) if !as_json => table(rows),
        other => view::json(other),
    };
    print(&text)?;
    Ok(OK)
}

/// The answer of `admin_duskAccount`.
pub(super) fn account(answer: &Value, as_json: bool) -> Result<u8, CliError> {
    let text = match answer {
        Value::Object(fields) if !as_json => format!(
            "account  {}\nbalance  {} DUSK\nstaked   {} DUSK\nrewards  {} DUSK\nnonce    {}\n",
            cell(fields, "account", false),
            cell(fields, "balance", true),
            cell(fields, "stake", true),
            cell(fields, "reward", true),
            cell(fields, "nonce", false),
        ),
        other => view::json(other),
    };
    print(&text)?;
    Ok(OK)
}

/// The answer of `admin_duskTransaction`.
pub(super) fn transaction(answer: &Value, as_json: bool) -> Result<u8, CliError> {
    let text = match answer {
        Value::Object(fields) if !as_json => sentence(fields),
        other => view::json(other),
    };
    print(&text)?;
    Ok(OK)
}

fn sentence(fields: &Map<String, Value>) -> String {
    if fields.get("state").and_then(Value::as_str) != Some("included") {
        return format!("{}\n", cell(fields, "state", false));
    }
    let last = if fields.get("final").and_then(Value::as_bool) == Some(true) { "final" } else { "not final yet" };
    let outcome = match fields.get("error").and_then(Value::as_str) {
        Some(error) => format!("failed: {error}"),
        None => "succeeded".to_owned(),
    };
    let (height, gas) = (cell(fields, "height", false), cell(fields, "gasSpent", false));
    format!("in L1 block {height}, {last}; {outcome}; {gas} gas\n")
}

fn cell(fields: &Map<String, Value>, name: &str, is_amount: bool) -> String {
    match fields.get(name) {
        Some(Value::String(text)) if is_amount => {
            text.parse().map_or_else(|_| text.clone(), |lux| Dusk(lux).to_string())
        }
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "?".to_owned(),
    }
}

fn table(rows: &[Value]) -> String {
    let mut lines = vec![COLUMNS.map(|(_, title, _)| title.to_owned())];
    let rows = rows.iter().filter_map(Value::as_object);
    lines.extend(rows.map(|row| COLUMNS.map(|(name, _, is_amount)| cell(row, name, is_amount))));
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn stakes_are_listed_in_dusk() {
        let rows = [
            json!({
                "account": "abc", "stake": "1000000000000", "locked": "500000000", "eligibility": 4320, "reward": "1",
                "faults": 0, "hardFaults": 1,
            }),
            json!({ "account": "d", "stake": "x" }),
        ];
        assert_eq!(
            table(&rows),
            "stake  locked  from block  rewards      faults  hard  account\n\
             1000   0.5     4320        0.000000001  0       1     abc\n\
             x      ?       ?           ?            ?       ?     d\n"
        );
    }

    #[test]
    fn a_transaction_is_told_in_a_sentence() {
        let say = |value: Value| sentence(value.as_object().unwrap());
        assert_eq!(say(json!({ "state": "waiting" })), "waiting\n");
        let included =
            json!({ "state": "included", "height": 7, "index": 0, "gasSpent": 5, "error": null, "final": true });
        assert_eq!(say(included), "in L1 block 7, final; succeeded; 5 gas\n");
        let failed = json!({ "state": "included", "height": 7, "gasSpent": 5, "error": "no", "final": false });
        assert_eq!(say(failed), "in L1 block 7, not final yet; failed: no; 5 gas\n");
    }
}
