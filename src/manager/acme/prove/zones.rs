//! dns-01: all records of a run are published together, and then looked for at every name server; each proof is
//! seen when its own record is.

use super::{Seen, Tell};
use crate::manager::acme::Proof;
use crate::manager::dns::publish::Publisher;
use crate::manager::dns::{Data, Progress, Record};

/// Names of records in a line of progress; the others are counted.
const NAMED: usize = 3;

/// Publishes the records of the proofs, each with its number, and waits until they are seen.
pub fn prove(publisher: &Publisher<'_>, proofs: &[(usize, &Proof)], seen: &Seen<'_>, tell: &Tell<'_>) {
    let records: Vec<Record> = proofs.iter().map(|(_, proof)| record(proof)).collect();
    let publication = publisher.publish(&records);
    let by_number = |index: usize, result: Result<(), String>| {
        if let Some((number, _)) = proofs.get(index) {
            seen(*number, result);
        }
    };
    publisher.observe(&publication, &by_number, &|progress| tell(&line(&progress, &records)));
}

/// The record that proves it.
pub fn record(proof: &Proof) -> Record {
    Record { name: proof.dns_name().to_ascii_lowercase(), data: Data::Txt(proof.dns_value()) }
}

/// Which server still misses which record.
fn line(progress: &Progress, records: &[Record]) -> String {
    match progress {
        Progress::Note(note) => note.clone(),
        Progress::Misses { server, records: missing, instead } => {
            // A name and its wildcard have two texts at one place.
            let mut names: Vec<String> =
                missing.iter().filter_map(|index| records.get(*index)).map(ToString::to_string).collect();
            names.dedup();
            let more = names.len().saturating_sub(NAMED);
            names.truncate(NAMED);
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            format!("waiting for {server}, which {instead}: {}{more}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_progress() {
        let records: Vec<Record> = ["a", "a", "b", "c", "d", "e"]
            .iter()
            .map(|name| Record { name: (*name).to_owned(), data: Data::Txt(String::new()) })
            .collect();
        let misses = |records: &[usize]| Progress::Misses {
            server: "ns2.example.com (192.0.2.2)".into(),
            records: records.to_vec(),
            instead: "does not show it".into(),
        };
        let waiting = "waiting for ns2.example.com (192.0.2.2), which does not show it: TXT a";
        for (case, progress, expected) in [
            ("one", misses(&[0]), waiting.to_owned()),
            ("a name and its wildcard", misses(&[0, 1]), waiting.to_owned()),
            ("all", misses(&[0, 1, 2, 3, 4, 5]), format!("{waiting}, TXT b, TXT c, and 2 more")),
            ("a note", Progress::Note("left out".into()), "left out".into()),
        ] {
            assert_eq!(line(&progress, &records), expected, "{case}");
        }
    }
}
