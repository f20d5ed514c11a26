//! Hooks that are programs, for their authors: the sample keeps to the protocol, and whoever does not is
//! told each rule that is violated. What runs do with them is tested in `src/reseed/programs.rs`.
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

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const SAMPLE: &str = "../seed/examples/hook/server-name";

/// Exit status, and what was said.
fn check(path: &Path) -> (i32, String) {
    let output = Command::new(support::RESEED).args(["hook", "check"]).arg(path).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8(said).unwrap())
}

#[test]
fn the_sample_keeps_to_the_protocol() {
    let sample = support::here().join(SAMPLE);
    let (status, said) = check(&sample);
    assert_eq!(status, 0, "{said}");
    let text = fs::read_to_string(&sample).unwrap();
    assert!(text.contains("`reseed hook check --help`"), "it says where the protocol stands");
    if support::has("shellcheck") {
        support::checked(Command::new("shellcheck").arg(&sample));
    }
}

#[test]
fn whoever_violates_a_rule_is_told() {
    let sample = fs::read_to_string(support::here().join(SAMPLE)).unwrap();
    // name, a part of the sample, what stands there instead, what is told
    let cases = [
        ("no TOML", "version = 1", "version", "expected"),
        ("another version", "version = 1", "version = 2", ":1:11: version 2 is not known here"),
        ("a misspelt key", "limit-seconds", "limit", ":10:1: unknown field"),
        (
            "no program",
            "[executable]\nmakes = [\"/etc/demo/server-name\"]\nlimit-seconds = 5\n",
            "",
            "no [executable]",
        ),
        ("nothing made", "makes = [\"/etc/demo/server-name\"]", "makes = []", "is to make something"),
        ("a relative path", "makes = [\"/etc", "makes = [\"etc", "absolute path"),
        ("no limit", "limit-seconds = 5", "limit-seconds = 0", "1 to 240 seconds"),
        (
            "both kinds",
            "[[unit]]",
            "[[secret]]\npath = \"/x\"\ncontent = \"{uuid}\"\n[[unit]]",
            "makes its files itself",
        ),
        ("never the same", "demo: the name", "demo: $(date +%N)", "second time"),
        ("describe fails", "HOOK\n    ;;", "HOOK\n    exit 1\n    ;;", "failed"),
        ("no answer", "echo \"stale: it", "echo \"maybe: it", "is to end with \"fresh\""),
        ("a check that fails", "check)", "check)\n    exit 3", "`check`: "),
        (
            "more made",
            "umask 022",
            "mkdir -p \"$2/etc/demo\"; touch \"$2/etc/demo/more\"",
            "which it does not declare",
        ),
        ("nothing made", "fact \"$3\" fqdn >", "fact \"$3\" fqdn >/dev/null; : ", "did not make"),
        ("make fails", "umask 022", "echo no luck; exit 1", "no luck"),
        ("every call is known", "exit 2", "exit 0", "a call that it does not know is to fail"),
    ];
    let dir = support::scratch();
    let path = dir.path().join("demo");
    for (case, from, to, told) in cases {
        assert!(sample.contains(from), "{case}: the case changes nothing");
        let text = sample.replacen(from, to, 1);
        let text = if case == "never the same" { text.replacen("<<'HOOK'", "<<HOOK", 1) } else { text };
        write(&path, &text, 0o755);
        let (status, said) = check(&path);
        assert!(status == 2 && said.contains(told), "{case}: {status}: {said}");
        assert!(said.starts_with(&path.display().to_string()), "{case}: the file is named: {said}");
    }
    write(&path, &sample, 0o777);
    assert!(check(&path).1.contains("others may write to it"));
    write(&path, &sample, 0o644);
    assert!(check(&path).1.contains("cannot be started"), "it is to be executable");
    let left = fs::read_dir("/tmp").unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.filter(|name| name.to_string_lossy().starts_with("reseed-hook-check-")).count(), 0);
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
