//! `table`: one Markdown table of all that was measured, from the files that Criterion and `compare` have written.

use crate::args::TableArgs;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Criterion's benches by their full name, in nanoseconds for one round.
type Benches = BTreeMap<String, f64>;

/// A row of the table.
type Row = [String; 4];

/// What is compared: the row's name, this node's bench, the one beside it and its name.
type Pair = (&'static str, &'static str, &'static str, &'static str);

const BLOCKS: [Pair; 3] = [
    ("block of 10,000 native transfers", "block-of-10000/native/whole", "block-of-10000/native/bare", "bare op-revm"),
    (
        "block of 10,000 native transfers to new accounts",
        "block-of-10000/native-to-new-accounts/whole",
        "block-of-10000/native-to-new-accounts/bare",
        "bare op-revm",
    ),
    ("block of 10,000 ERC-20 transfers", "block-of-10000/erc20/whole", "block-of-10000/erc20/bare", "bare op-revm"),
];

const MESSAGES: [Pair; 4] = [
    (
        "message through a reference, one after the other",
        "one_after_the_other/ref",
        "one_after_the_other/bare_addr",
        "bare actix address",
    ),
    (
        "message through a port, one after the other",
        "one_after_the_other/port",
        "one_after_the_other/bare_addr",
        "bare actix address",
    ),
    (
        "128 messages in flight through a reference",
        "in_flight_together/ref",
        "in_flight_together/bare_addr",
        "bare actix address",
    ),
    (
        "128 messages in flight through a port",
        "in_flight_together/port",
        "in_flight_together/bare_addr",
        "bare actix address",
    ),
];

const DEATH: (&str, &str) = ("from the death of an actor to its first answer", "death_to_first_handled_message");

pub(crate) fn command(args: &TableArgs) -> Result<bool> {
    let mut rows = Vec::new();
    if args.blocks || args.supervision {
        let folder = args.criterion.as_deref().context("--blocks and --supervision need --criterion DIR")?;
        let mut benches = Benches::new();
        read_benches(folder, &mut benches)?;
        if args.blocks {
            pairs(&BLOCKS, &benches, &mut rows)?;
        }
        if args.supervision {
            pairs(&MESSAGES, &benches, &mut rows)?;
            let (name, bench) = DEATH;
            rows.push([name.into(), time(find(&benches, bench)?), "-".into(), "-".into()]);
        }
    }
    for file in &args.compare {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let report = serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
        load_rows(&report, &mut rows).with_context(|| format!("{} is no report of `compare`", file.display()))?;
    }
    ensure!(!rows.is_empty(), "nothing to show: give --blocks, --supervision or --compare FILE");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| cpu_name(&text));
    println!("{}", table(&args.date, cores, cpu.as_deref().unwrap_or("unknown CPU"), &rows));
    Ok(true)
}

/// Collects the newest result of each bench under Criterion's folder.
fn read_benches(folder: &Path, benches: &mut Benches) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path: PathBuf = entry?.path();
        if !path.is_dir() {
            continue;
        }
        if path.file_name().is_some_and(|name| name == "new") && path.join("estimates.json").is_file() {
            let json = |name: &str| -> Result<Value> {
                let file = path.join(name);
                let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
                serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))
            };
            let (about, estimates) = (json("benchmark.json")?, json("estimates.json")?);
            // The slope where Criterion has one, as in its own output.
            let estimate = ["slope", "mean"].iter().find_map(|kind| estimates[kind]["point_estimate"].as_f64());
            if let (Some(name), Some(estimate)) = (about["full_id"].as_str(), estimate) {
                benches.insert(name.to_owned(), estimate);
            }
        } else {
            read_benches(&path, benches)?;
        }
    }
    Ok(())
}

fn find(benches: &Benches, name: &str) -> Result<f64> {
    benches.get(name).copied().with_context(|| format!("the bench {name} was not run"))
}

fn pairs(pairs: &[Pair], benches: &Benches, rows: &mut Vec<Row>) -> Result<()> {
    for (name, ours, theirs, beside) in pairs {
        let (ours, theirs) = (find(benches, ours)?, find(benches, theirs)?);
        let share = format!("{:.0} % of its speed", 100.0 * theirs / ours);
        rows.push([(*name).into(), time(ours), format!("{beside} {}", time(theirs)), share]);
    }
    Ok(())
}

/// The first run of a report is this node, the others are beside it.
fn load_rows(report: &Value, rows: &mut Vec<Row>) -> Result<()> {
    let runs = report["runs"].as_array().context("it has no runs")?;
    let (first, others) = runs.split_first().context("it has no runs")?;
    let number = |run: &Value, key: &str| run[key].as_f64().with_context(|| format!("a run has no {key}"));
    let text = |run: &Value, key: &str| run[key].as_str().unwrap_or("?").to_owned();
    let load = format!(
        "{} {} transfers over JSON-RPC, {} connections, {} in a request",
        thousands(number(first, "transactions")?),
        text(first, "kind"),
        number(first, "connections")?,
        number(first, "batch")?
    );
    let rate = |run: &Value| number(run, "included_per_second");
    let memory = |run: &Value| {
        let both = run["memory_mib"].as_array()?;
        Some(format!("{:.0} / {:.0} MiB", both.first()?.as_f64()?, both.get(1)?.as_f64()?))
    };
    // What was accepted and is in no block is part of the truth about a rate.
    let shown = |run: &Value| -> Result<String> {
        let lost = number(run, "accepted")? - number(run, "included")?;
        let lost = if lost > 0.0 { format!(", {} not included", thousands(lost)) } else { String::new() };
        Ok(format!("{} included tx/s{lost}", thousands(rate(run)?)))
    };
    let ours = rate(first)?;
    if others.is_empty() {
        rows.push([load.clone(), shown(first)?, "-".into(), "-".into()]);
    }
    for other in others {
        let theirs = rate(other)?;
        let ratio = if theirs > 0.0 { format!("ratio {:.2}", ours / theirs) } else { "-".into() };
        rows.push([load.clone(), shown(first)?, format!("{} {}", text(other, "target"), shown(other)?), ratio]);
    }
    let beside: Vec<String> =
        others.iter().filter_map(|run| Some(format!("{} {}", text(run, "target"), memory(run)?))).collect();
    if let Some(ours) = memory(first) {
        let beside = if beside.is_empty() { "-".into() } else { beside.join(", ") };
        rows.push(["resident memory, idle / after that load".into(), ours, beside, "-".into()]);
    }
    Ok(())
}

fn table(date: &str, cores: usize, cpu: &str, rows: &[Row]) -> String {
    let mut text = format!("Measured on {date}, {cores} cores ({cpu}), release build.\n\n");
    text.push_str("| what | duskevm | beside it | compared |\n|---|---|---|---|");
    for row in rows {
        text.push_str(&format!("\n| {} |", row.join(" | ")));
    }
    text
}

/// The name of the first CPU in the text of `/proc/cpuinfo`.
fn cpu_name(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Nanoseconds with a unit, as precise as a bench is.
fn time(nanoseconds: f64) -> String {
    let (value, unit) = match nanoseconds {
        n if n < 1e3 => (n, "ns"),
        n if n < 1e6 => (n / 1e3, "µs"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bench(folder: &Path, name: &str, estimates: Value) {
        let new = folder.join(name.replace('/', "_")).join("new");
        fs::create_dir_all(&new).unwrap();
        fs::write(new.join("benchmark.json"), json!({ "full_id": name }).to_string()).unwrap();
        fs::write(new.join("estimates.json"), estimates.to_string()).unwrap();
    }

    #[test]
    fn benches_are_read_and_compared() {
        let folder = tempfile::tempdir().unwrap();
        for (at, (_, ours, theirs, _)) in BLOCKS.iter().enumerate() {
            bench(folder.path(), ours, json!({ "mean": { "point_estimate": 50e6 }, "slope": null }));
            let slope = json!({ "point_estimate": 20e6 + at as f64 });
            bench(folder.path(), theirs, json!({ "mean": { "point_estimate": 1.0 }, "slope": slope }));
        }
        let (mut benches, mut rows) = (Benches::new(), Vec::new());
        read_benches(folder.path(), &mut benches).unwrap();
        pairs(&BLOCKS, &benches, &mut rows).unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0][1..], ["50 ms".to_owned(), "bare op-revm 20 ms".into(), "40 % of its speed".into()]);
        let error = pairs(&MESSAGES, &benches, &mut rows).unwrap_err().to_string();
        assert!(error.contains("one_after_the_other/ref"), "{error}");
    }

    #[test]
    fn loads_are_compared_with_their_losses_and_memory() {
        let run = |target: &str, rate: f64, included: u64, memory: Value| {
            json!({
                "target": target, "kind": "native", "transactions": 200_000, "connections": 32, "batch": 50,
                "accepted": 200_000, "included": included, "included_per_second": rate, "memory_mib": memory,
            })
        };
        let runs = [
            run("duskevm", 9_000.4, 200_000, json!([79.2, 247.0])),
            run("anvil (2 s blocks)", 6_000.0, 199_000, Value::Null),
        ];
        let mut rows = Vec::new();
        load_rows(&json!({ "runs": runs }), &mut rows).unwrap();
        assert_eq!(rows[0][0], "200,000 native transfers over JSON-RPC, 32 connections, 50 in a request");
        assert_eq!(rows[0][1], "9,000 included tx/s");
        assert_eq!(rows[0][2], "anvil (2 s blocks) 6,000 included tx/s, 1,000 not included");
        assert_eq!(rows[0][3], "ratio 1.50");
        assert_eq!(rows[1][1..3], ["79 / 247 MiB".to_owned(), "-".into()]);
        assert!(load_rows(&json!({ "runs": [] }), &mut rows).is_err());
        let text = table("2026-11-22", 2, "Some CPU", &rows);
        assert!(text.starts_with("Measured on 2026-11-22, 2 cores (Some CPU)"), "{text}");
        assert!(text.lines().skip(2).all(|line| line.matches('|').count() == 5), "{text}");
    }

    #[test]
    fn figures_are_readable() {
        assert_eq!(["9.9 ns", "1.2 µs", "345 ms", "12 s"].map(str::to_owned), [9.94, 1_234.0, 345e6, 12e9].map(time));
        assert_eq!([0.0, 999.0, 1_000.0, 1_234_567.0].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        let text = "processor: 0\nmodel name\t: Intel(R) Xeon(R) CPU @ 2.60GHz\nmodel name\t: other\n";
        assert_eq!(cpu_name(text).as_deref(), Some("Intel(R) Xeon(R) CPU @ 2.60GHz"));
    }
}
