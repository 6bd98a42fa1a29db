//! `make bench-operator`: measures the operator beside a peer on controller-runtime. BOTS="200 1000" chooses the numbers
//! of bots, and then only prints; a run with all numbers also writes the tables in docs/performance.md. CONTENDER=ours
//! leaves the peer out, to look for what costs.

use anyhow::{Context, Result};
use tests::bench::{Contender, Machine, Report, run, write_docs};
use tests::repository;

const ALL: [usize; 3] = [200, 1000, 5000];

fn main() -> Result<()> {
    let chosen = std::env::var("BOTS").ok().filter(|bots| !bots.trim().is_empty());
    let bots = match &chosen {
        None => ALL.to_vec(),
        Some(text) => text
            .split([' ', ','])
            .filter(|word| !word.is_empty())
            .map(|word| {
                word.parse().with_context(|| format!("BOTS has {word:?}: numbers, such as \"200 1000\""))
            })
            .collect::<Result<_>>()?,
    };
    let only = std::env::var("CONTENDER").ok().filter(|name| !name.is_empty());
    let all = [Contender::Ours, Contender::Peer];
    if let Some(name) = only.as_ref().filter(|only| all.iter().all(|contender| contender.name() != **only)) {
        anyhow::bail!("CONTENDER has {name:?}: ours or peer, or nothing for both");
    }
    let machine = Machine::here();
    let date = jiff::Zoned::now().date().to_string();
    let folder = repository("build/bench");
    std::fs::create_dir_all(&folder)?;
    let mut runs = Vec::new();
    for (turn, bots) in bots.into_iter().enumerate() {
        // Who comes first alternates too.
        let mut contenders = all;
        contenders.rotate_left(turn % 2);
        for contender in contenders {
            if only.as_ref().is_some_and(|only| contender.name() != only) {
                continue;
            }
            eprintln!("{} with {bots} bots", contender.name());
            runs.push(run(contender, bots, &machine)?);
            // After each run, so that a long one that is ended early is not for nothing.
            let report = Report::new(date.clone(), machine.clone(), runs.clone());
            std::fs::write(folder.join("operator.json"), serde_json::to_vec_pretty(&report)?)?;
        }
    }
    let report = Report::new(date, machine, runs);
    println!("{}", report.markdown());
    if chosen.is_none() && only.is_none() {
        let path = repository("docs/performance.md");
        std::fs::write(&path, write_docs(&std::fs::read_to_string(&path)?, &report.markdown())?)?;
    }
    Ok(())
}
