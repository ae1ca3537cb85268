//! Makes test vectors from the published Dusk crates.
//!
//! `cargo run` writes them to `crates/dusk-l1/tests/vectors`, `cargo run -- --check` compares instead. Nothing in them is
//! random: two runs give the same bytes.

mod attestations;
mod blocks;
mod committees;
mod faults;
mod messages;
mod network;
mod transactions;

use std::path::Path;
use std::process::ExitCode;

use dusk_node_data::hard_fork;
use serde_json::Value;

/// A file's name and what makes its contents.
type Chapter = (&'static str, fn() -> Value);

const CHAPTERS: [Chapter; 9] = [
    ("sortition", committees::sortition),
    ("committee", committees::committees),
    ("attestation", attestations::attestations),
    ("votes", messages::votes),
    ("messages", messages::messages),
    ("header", blocks::headers),
    ("merkle", blocks::merkle),
    ("faults", faults::faults),
    ("moonlight", transactions::moonlight),
];

fn main() -> ExitCode {
    // Process-wide cells: until they are set, everything is signed and encoded as before the first hard fork.
    hard_fork::set_aegis_activation_height(1);
    hard_fork::set_boreas_activation_height(1);
    let check = std::env::args().nth(1).as_deref() == Some("--check");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/dusk-l1/tests/vectors");
    let mut different = 0;
    for (name, make) in CHAPTERS {
        let path = folder.join(format!("{name}.json"));
        let text = render(&make());
        if check {
            let same = std::fs::read_to_string(&path).is_ok_and(|have| have == text);
            println!("{name}: {}", if same { "equal" } else { "DIFFERENT" });
            different += u32::from(!same);
        } else {
            let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, &text));
            match written {
                Ok(()) => println!("{name}: {} bytes", text.len()),
                Err(error) => {
                    eprintln!("{}: {error}", path.display());
                    different += 1;
                }
            }
        }
    }
    if different == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One line for each entry of the outermost list or object, so that a change shows where it is.
fn render(value: &Value) -> String {
    let (open, lines, close): (_, Vec<_>, _) = match value {
        Value::Array(items) => ('[', items.iter().map(Value::to_string).collect(), ']'),
        Value::Object(fields) => {
            ('{', fields.iter().map(|(k, v)| format!("{}:{v}", Value::from(k.as_str()))).collect(), '}')
        }
        other => return format!("{other}\n"),
    };
    format!("{open}\n{}\n{close}\n", lines.join(",\n"))
}
