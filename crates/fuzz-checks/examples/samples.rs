//! Writes the samples of every target to a folder, one folder each: what a fuzzer begins from.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use duskevm_fuzz_checks::TARGETS;

fn write(root: &Path) -> io::Result<()> {
    for target in TARGETS {
        let folder = root.join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, sample) in (target.samples)().iter().enumerate() {
            fs::write(folder.join(format!("sample-{number:02}")), sample)?;
        }
        println!("{}", target.name);
    }
    Ok(())
}

fn main() -> ExitCode {
    let Some(root) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: samples FOLDER");
        return ExitCode::FAILURE;
    };
    match write(&root) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", root.display());
            ExitCode::FAILURE
        }
    }
}
