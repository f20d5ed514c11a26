//! An audit as SARIF 2.1.0 (OASIS standard), for code hosts and dashboards.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde_json::{Value, json};

use super::audit::{Audit, Finding};
use super::catalogue;
use super::content::RULES;

/// Where the schema lies that the log follows.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// Writes an audit as one run.
pub fn log(audit: &Audit) -> Value {
    let results: Vec<Value> = audit.findings.iter().map(result).collect();
    let unread: Vec<Value> = audit
        .unread
        .iter()
        .map(|one| json!({ "level": "error", "message": { "text": format!("{}: not looked into: {}", one.path, one.why) } }))
        .collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "reseed",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules(),
            } },
            "invocations": [{
                "executionSuccessful": audit.unread.is_empty(),
                "toolExecutionNotifications": unread,
            }],
            "originalUriBaseIds": { "IMAGE": { "description": { "text": "The root of the image" } } },
            "results": results,
        }],
    })
}

fn rules() -> Vec<Value> {
    let of_content = RULES.iter().map(|rule| {
        json!({
            "id": rule.id,
            "shortDescription": { "text": rule.title },
            "defaultConfiguration": { "level": "error" },
        })
    });
    let of_catalogue = catalogue::operations().filter(|operation| operation.reported).map(|operation| {
        json!({
            "id": operation.name,
            "shortDescription": { "text": operation.title },
            "fullDescription": { "text": operation.why },
            "help": { "text": format!("How it comes back: {}", operation.returns) },
            "defaultConfiguration": { "level": "warning" },
        })
    });
    of_content.chain(of_catalogue).collect()
}

fn result(finding: &Finding) -> Value {
    let is_secret = RULES.iter().any(|rule| rule.id == finding.rule);
    let mut result = json!({
        "ruleId": finding.rule,
        "level": if is_secret { "error" } else { "warning" },
        "message": { "text": format!("{}: {}. To do: {}", finding.what, finding.why, finding.remedy) },
        "locations": [{ "physicalLocation": { "artifactLocation": {
            "uri": uri(finding),
            "uriBaseId": "IMAGE",
        } } }],
    });
    if let (Some(fields), Some(fingerprint)) = (result.as_object_mut(), finding.fingerprints.first()) {
        fields.insert("partialFingerprints".into(), json!({ "publicKey/v1": fingerprint }));
    }
    result
}

/// A relative reference (RFC 3986 section 4.2), with the archives inside the image before it.
fn uri(finding: &Finding) -> String {
    let layers: String =
        finding.layers.iter().map(|layer| format!("{}!", escaped(layer.as_bytes()))).collect();
    let path = format!("{layers}{}", escaped(Path::new(&finding.path).as_os_str().as_bytes()));
    path.trim_start_matches('/').to_owned()
}

fn escaped(path: &[u8]) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    path.iter().map(|b| if plain(*b) { char::from(*b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(escaped(b"/etc/a b:c\n\xff"), "/etc/a%20b%3Ac%0A%FF");
    }
}
