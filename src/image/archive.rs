//! A tar read as a stream: names and contents of its regular files, layers of container images among
//! them. Nothing in it can hurt: every length is bounded, nothing is unpacked, no link is followed.

use std::cell::Cell;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

/// Octets of the longest name that is read.
const MAX_NAME: u64 = 64 * 1024;
/// Files in one archive.
const MAX_FILES: u64 = 10_000_000;

/// Says whether a file is a tar, plain or compressed, by its first octets.
pub fn is_archive(head: &[u8]) -> bool {
    is_tar(head) || is_gzip(head) && inflate_head(head).is_some_and(|head| is_tar(&head))
}

/// Says whether a file is compressed in a way that is not read here (zstd, xz, bzip2).
pub fn is_unreadable(head: &[u8]) -> bool {
    [&b"\x28\xb5\x2f\xfd"[..], b"\xfd7zXZ\0", b"BZh"].iter().any(|magic| head.starts_with(magic))
}

/// Says whether a file may be a layer by its name: `layer.tar` of `docker save`, a blob of OCI.
pub fn may_be_layer(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let above = path.parent().and_then(Path::file_name).unwrap_or_default();
    name == b"layer.tar" || (above == "sha256" && name.len() == 64 && name.iter().all(u8::is_ascii_hexdigit))
}

fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b, 8])
}

fn inflate_head(head: &[u8]) -> Option<Vec<u8>> {
    let mut block = Vec::new();
    // The head may end in the middle of what was compressed.
    let _ = MultiGzDecoder::new(head).take(512).read_to_end(&mut block);
    (block.len() == 512).then_some(block)
}

/// Reads a tar and shows each regular file in it; every octet that comes out of it is taken from the
/// budget.
///
/// # Errors
/// When it is damaged, or larger than anything that is meant.
pub fn walk(
    reader: &mut dyn Read,
    budget: &Cell<u64>,
    visit: &mut dyn FnMut(&Path, u64, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(64 * 1024, reader);
    if is_gzip(reader.fill_buf()?) {
        return entries(&mut Measured { inner: MultiGzDecoder::new(reader), budget }, visit);
    }
    entries(&mut Measured { inner: reader, budget }, visit)
}

/// A reader that fails, and does not merely end, when the budget is used up.
struct Measured<'a, R> {
    inner: R,
    budget: &'a Cell<u64>,
}

impl<R: Read> Read for Measured<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let left = self.budget.get().checked_sub(count as u64);
        self.budget.set(left.ok_or_else(|| io::Error::other("it holds more than is looked at"))?);
        Ok(count)
    }
}

fn entries(
    reader: &mut dyn Read,
    visit: &mut dyn FnMut(&Path, u64, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    let mut archive = tar::Archive::new(reader);
    // Raw: the library would read a name of any length into memory.
    let entries = archive.entries()?.raw(true);
    let (mut long_name, mut count) = (None, 0_u64);
    for entry in entries {
        let mut entry = entry?;
        count += 1;
        if count > MAX_FILES {
            return Err(io::Error::other("more files than are looked at"));
        }
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() {
            long_name = Some(text(&mut entry)?.split(|b| *b == 0).next().unwrap_or_default().to_vec());
            continue;
        }
        if kind.is_pax_local_extensions() {
            long_name = pax_name(&text(&mut entry)?)?.or(long_name);
            continue;
        }
        if kind.is_gnu_sparse() {
            return Err(io::Error::other("sparse files in GNU's old format are not read; write it without"));
        }
        if kind.is_gnu_longlink() || kind.is_pax_global_extensions() {
            continue;
        }
        let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
        if kind.is_file() || kind.is_contiguous() {
            let size = entry.size();
            visit(&inside(&name), size, &mut entry)?;
        }
    }
    Ok(())
}

fn text(entry: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    entry.take(MAX_NAME + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_NAME {
        return Err(io::Error::other(format!("a name of more than {MAX_NAME} octets")));
    }
    Ok(text)
}

/// The path in a pax header (pax(1)); a size there means a file of more than 8 GiB.
fn pax_name(text: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut name = None;
    for extension in tar::PaxExtensions::new(text) {
        let extension = extension?;
        match extension.key_bytes() {
            b"path" => name = Some(extension.value_bytes().to_vec()),
            b"size" => return Err(io::Error::other("a file whose size only a pax header tells is not read")),
            _ => {}
        }
    }
    Ok(name)
}

/// Where a name lies in its root, whatever it begins with or climbs over.
fn inside(name: &[u8]) -> PathBuf {
    let mut path = PathBuf::from("/");
    for part in Path::new(OsStr::from_bytes(name)).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::ParentDir => {
                path.pop();
            }
            _ => {}
        }
    }
    path
}
