//! Called by the names of ssl-mgr's programs, through links as the package `reseed-sslm` has them. What each
//! option means is tested in `src/manager/legacy`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test looks at files from outside, and fails by panicking"
)]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const NAMES: [&str; 5] = ["sslm-mgr", "sslm-info", "sslm-verify", "sslm-dhparm", "sslm-tlsa-hash"];

struct Links(TempDir);

impl Links {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in NAMES {
            symlink(support::RESEED, directory.path().join(name)).unwrap();
        }
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn call<S: AsRef<OsStr>>(&self, name: &str, arguments: &[S]) -> Output {
        let mut call = Command::new(self.path().join(name));
        call.current_dir(self.path()).args(arguments).output().unwrap()
    }

    /// Exit status, standard output, standard error.
    fn says(&self, name: &str, arguments: &[&str]) -> (i32, String, String) {
        let output = self.call(name, arguments);
        let text = |octets| String::from_utf8(octets).unwrap();
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }
}

/// ssl-mgr's, by its documented cron line, ends with an IndexError after the first directory.
#[test]
fn the_default_run_of_dhparm_serves_every_directory() {
    let links = Links::new();
    for directory in ["prod/a.example", "prod/b.example", "prod/ca"] {
        fs::create_dir_all(links.path().join(directory)).unwrap();
    }
    let (status, _, err) = links.says("sslm-dhparm", &["-s", "prod"]);
    assert_eq!((status, err.as_str()), (0, ""));
    for group in ["a.example", "b.example"] {
        let dh = links.path().join("prod").join(group).join("dh");
        assert_eq!(fs::read_link(dh.join("dhparam.pem")).unwrap(), Path::new("dh-ffdhe8192.pem"));
        if support::has("openssl") {
            let mut openssl = Command::new("openssl");
            openssl.args(["pkeyparam", "-text", "-noout", "-in"]).arg(dh.join("dhparam.pem"));
            let text = support::checked(&mut openssl);
            assert!(text.contains("ffdhe8192") || text.contains("8192 bit"), "{text}");
        }
    }
    assert!(!links.path().join("prod/ca/dh").exists());
    let (status, out, _) = links.says("sslm-dhparm", &["-k", "ffdhe3072", "--sub", "prod"]);
    assert!(status == 0 && out.contains("dh-ffdhe3072.pem"), "{out}");
}

/// ssl-mgr's programs end with 0 on nearly every failure, and cron never notices.
#[test]
fn the_exit_status_tells() {
    let links = Links::new();
    // name, program, arguments, status, what is said
    let cases: [(&str, &str, &[&str], i32, &str); 6] = [
        ("a misspelt option", "sslm-mgr", &["-renwe"], 2, "sslm-mgr: unexpected argument '--renwe'"),
        ("the nearest one", "sslm-mgr", &["-renwe"], 2, "'--renew'"),
        ("an ambiguous one", "sslm-mgr", &["--re"], 2, "may be --renew or --reuse"),
        ("no number", "sslm-mgr", &["-roll-mins", "x"], 2, "invalid value 'x'"),
        ("no directory named", "sslm-dhparm", &[], 2, "<DIR>"),
        ("no such directory", "sslm-dhparm", &["nowhere"], 1, "nowhere"),
    ];
    for (name, program, arguments, status, told) in cases {
        let (code, out, err) = links.says(program, arguments);
        assert_eq!((code, out.as_str()), (status, ""), "{name}: {err}");
        assert!(err.contains(told), "{name}: {err}");
    }
    let odd = links.call("sslm-dhparm", &[OsStr::from_bytes(b"\xff")]);
    assert_eq!(odd.status.code(), Some(2), "{odd:?}");
}

#[test]
fn each_has_its_own_help() {
    let links = Links::new();
    for name in NAMES {
        let (status, out, err) = links.says(name, &["-h"]);
        assert_eq!((status, err.as_str()), (0, ""), "{name}");
        assert!(out.contains(&format!("Usage: {name} ")), "{out}");
    }
}
