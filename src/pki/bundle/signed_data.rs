//! PKCS#7 as a bag of certificates (RFC 5652 section 5, without signers): the form of `.p7b` files.
//!
//! Only the bag is opened. Its parts stay octet for octet what they are, for signatures are over octets,
//! and a damaged one is no reason to refuse the others.

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};

/// What lies in the bag, each in DER.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    pub(super) certificates: Vec<&'a [u8]>,
    pub(super) lists: Vec<&'a [u8]>,
}

/// Opens the bag; nothing when it is something else.
///
/// # Errors
/// In words, when it is one and is damaged.
pub(super) fn read(der: &[u8]) -> Result<Option<Parts<'_>>, String> {
    let damaged = |error: der::Error| format!("is damaged PKCS#7: {error}");
    let Ok(outer) = parts(der) else { return Ok(None) };
    let Some(Ok(info)) = outer.first().map(|info| parts(info.value())) else { return Ok(None) };
    let [kind, content, ..] = info.as_slice() else { return Ok(None) };
    if kind.decode_as() != Ok(SIGNED_DATA) {
        return Ok(None);
    }
    let inner = parts(content.value()).map_err(damaged)?;
    let signed_data = inner.first().ok_or("is damaged PKCS#7: it is empty")?;
    let mut found = Parts::default();
    for field in parts(signed_data.value()).map_err(damaged)? {
        match field.tag() {
            Tag::ContextSpecific { number: TagNumber(0), .. } => {
                found.certificates = wholes(field.value()).map_err(damaged)?;
            }
            Tag::ContextSpecific { number: TagNumber(1), .. } => {
                found.lists = wholes(field.value()).map_err(damaged)?;
            }
            _ => {}
        }
    }
    Ok(Some(found))
}

/// The values in a row of DER.
pub(super) fn parts(der: &[u8]) -> der::Result<Vec<AnyRef<'_>>> {
    wholes(der)?.into_iter().map(AnyRef::from_der).collect()
}

fn wholes(der: &[u8]) -> der::Result<Vec<&[u8]>> {
    let mut reader = SliceReader::new(der)?;
    let mut all = Vec::new();
    while !reader.is_finished() {
        all.push(reader.tlv_bytes()?);
    }
    Ok(all)
}

/// RFC 5652 section 5.1.
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
