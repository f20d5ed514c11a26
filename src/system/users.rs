//! Users and groups by the files of the root that is worked on, never by the host's.

use super::root::{PathError, Root};
use std::path::Path;

/// Finds the number of a user in the root's `/etc/passwd`; digits stand for themselves.
///
/// # Errors
/// [`PathError`] when the file cannot be read or names no such user.
pub fn user(root: &Root, name: &str) -> Result<u32, PathError> {
    number(root, Path::new("/etc/passwd"), "user", name, |name| {
        nix::unistd::User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
    })
}

/// Finds the number of a group in the root's `/etc/group`; digits stand for themselves.
///
/// # Errors
/// [`PathError`] when the file cannot be read or names no such group.
pub fn group(root: &Root, name: &str) -> Result<u32, PathError> {
    number(root, Path::new("/etc/group"), "group", name, |name| {
        nix::unistd::Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
    })
}

fn number(
    root: &Root,
    file: &Path,
    what: &str,
    name: &str,
    directory_service: fn(&str) -> Option<u32>,
) -> Result<u32, PathError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let text = root.read(file)?;
    if let Some(number) = in_file(&String::from_utf8_lossy(&text), name) {
        return Ok(number);
    }
    // LDAP and the like exist only on the running system, and are asked last.
    let found = if root.is_live() { directory_service(name) } else { None };
    found.ok_or_else(|| PathError::refused(file, format!("there is no {what} \"{name}\"")))
}

/// The third field of the line that begins with `name:`, in passwd(5) and group(5) alike.
fn in_file(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nmail:x:8:12::/var/mail:\nbroken\nnobody:x:no:1::/:\n";
        for (name, expected) in [("root", Some(0)), ("mail", Some(8)), ("ma", None), ("nobody", None)] {
            assert_eq!(in_file(passwd, name), expected, "{name}");
        }
        assert_eq!(in_file("ssl-cert:x:105:\n", "ssl-cert"), Some(105));
    }
}
