//! Extensions: what a certificate may be used for, who issued it, where more is to be found.

use x509_parser::extensions::{DistributionPointName, ExtendedKeyUsage, ParsedExtension, X509Extension};
use x509_parser::objects::{oid_registry, oid2sn};
use x509_parser::prelude::GeneralName;

use super::{Fields, colons, name};

/// The names of the SAN.
pub(super) fn alternative_names(extensions: &[ParsedExtension<'_>]) -> Vec<String> {
    let names = extensions.iter().filter_map(|extension| match extension {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    names.flatten().map(name::alternative).collect()
}

/// Every extension but the SAN.
pub(super) fn rare(fields: &mut Fields, extensions: &[X509Extension<'_>]) {
    for extension in extensions {
        one(fields, extension);
    }
}

fn one(fields: &mut Fields, extension: &X509Extension<'_>) {
    let critical = if extension.critical { ", critical" } else { "" };
    match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(_) => {}
        ParsedExtension::BasicConstraints(constraints) => {
            let text = match (constraints.ca, constraints.path_len_constraint) {
                (false, _) => "no CA".to_owned(),
                (true, None) => "CA".to_owned(),
                (true, Some(length)) => format!("CA, pathLen {length}"),
            };
            fields.rare("Constraints", format!("{text}{critical}"));
        }
        ParsedExtension::KeyUsage(usage) => fields.rare("Key usage", format!("{usage}{critical}")),
        ParsedExtension::ExtendedKeyUsage(usage) => {
            fields.rare("Ext. usage", format!("{}{critical}", extended(usage)));
        }
        ParsedExtension::SubjectKeyIdentifier(id) => fields.rare("Subject key", colons(id.0)),
        ParsedExtension::AuthorityKeyIdentifier(id) => {
            if let Some(id) = &id.key_identifier {
                fields.rare("Issuer key", colons(id.0));
            }
        }
        ParsedExtension::CertificatePolicies(policies) => {
            fields
                .rare_list("Policies", policies.iter().map(|policy| policy.policy_id.to_string()).collect());
        }
        ParsedExtension::AuthorityInfoAccess(access) => {
            let text = access.accessdescs.iter().map(|one| {
                format!("{}={}", short(&one.access_method), name::alternative(&one.access_location))
            });
            fields.rare_list("Issuer at", text.collect());
        }
        ParsedExtension::CRLDistributionPoints(points) => {
            let names = points.iter().filter_map(|point| match &point.distribution_point {
                Some(DistributionPointName::FullName(names)) => Some(names),
                _ => None,
            });
            fields.rare_list("CRL at", names.flatten().map(name::alternative).collect());
        }
        ParsedExtension::NameConstraints(constraints) => {
            let names = |sign: &str, trees: &Option<Vec<x509_parser::extensions::GeneralSubtree<'_>>>| {
                let trees = trees.iter().flatten();
                trees.map(|tree| format!("{sign}{}", subtree(&tree.base))).collect::<Vec<_>>()
            };
            let permitted = names("only ", &constraints.permitted_subtrees);
            let excluded = names("not ", &constraints.excluded_subtrees);
            fields.rare_list("Names", [permitted, excluded].concat());
        }
        ParsedExtension::SCT(stamps) => fields.rare("Logged", format!("{} time stamps", stamps.len())),
        ParsedExtension::CRLNumber(number) => fields.text("Number", number.to_string()),
        ParsedExtension::ParseError { .. } => {
            fields.rare("Extension", format!("{} cannot be read{critical}", short(&extension.oid)));
        }
        _ => fields.rare("Extension", format!("{}{critical}", short(&extension.oid))),
    }
}

fn subtree(base: &GeneralName<'_>) -> String {
    name::alternative(base)
}

/// RFC 5280 section 4.2.1.12, as it is written there.
fn extended(usage: &ExtendedKeyUsage<'_>) -> String {
    let known = [
        (usage.any, "anyExtendedKeyUsage"),
        (usage.server_auth, "serverAuth"),
        (usage.client_auth, "clientAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    let known = known.into_iter().filter(|(set, _)| *set).map(|(_, name)| name.to_owned());
    known.chain(usage.other.iter().map(ToString::to_string)).collect::<Vec<_>>().join(", ")
}

/// The short name of an object, else its numbers.
pub(super) fn short(oid: &x509_parser::der_parser::oid::Oid<'_>) -> String {
    oid2sn(oid, oid_registry()).map_or_else(|_| oid.to_id_string(), str::to_owned)
}
