//! Reminders of local certificates, by SMTP and by a program: what is recorded is what was really taken.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test looks at files from outside, and fails by panicking"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::JoinHandle;

use reseed::manager::inventory::files::Files;
use reseed::manager::inventory::model::{Algorithms, Certificate, Kind, Name, Object, SubjectType};
use reseed::manager::inventory::schedule::Reason;
use reseed::manager::inventory::store::{Change, Inventory};
use reseed::manager::load;
use reseed::manager::operate::remind::remind;
use reseed::manager::operate::{Operation, Outcome, Report};
use reseed::manager::run::World;
use reseed::system::root::Root;
use tempfile::TempDir;
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-06-01 0:00 UTC);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

struct Site {
    top: TempDir,
    root: Root,
}

impl Site {
    /// Two local certificates, of which the second is disabled.
    fn new() -> Self {
        let site = Self { top: tempfile::tempdir().unwrap(), root: Root::open(Path::new("/")).unwrap() };
        fs::create_dir(site.top.path().join("conf.d")).unwrap();
        let certificate = |disabled| {
            let certificate = Certificate::new(SubjectType::Server, Kind::Local, Algorithms::Rsa);
            Box::new(Certificate { disabled, ..certificate })
        };
        let change = |(text, disabled)| Change::Add(Object::Certificate(name(text), certificate(disabled)));
        site.files().change(&[("a.example", false), ("b.example", true)].map(change)).unwrap();
        site
    }

    fn files(&self) -> Files<'_> {
        Files::of_top(&self.root, self.top.path())
    }

    /// Reminds of both, with these keys in `[inventory]`.
    fn remind(&self, keys: &str) -> Report {
        let top = self.top.path();
        fs::write(top.join("conf.d/ssl-mgr.conf"), format!("[inventory]\n{keys}")).unwrap();
        let config = load::load(&self.root, top).unwrap();
        assert!(config.faults.is_empty(), "{:?}", config.faults);
        let (host, tell) = ("manager.example".to_owned(), |_: &str| {});
        let world = World { root: &self.root, top: top.to_owned(), now: NOW, host, tell, config: None };
        let mut op = Operation::new(world, config, Box::new(self.files()));
        let names = ["a.example", "b.example"].map(name);
        assert_eq!(op.inventory.claim(&names, 9).unwrap(), names);
        let ends = Reason::Ends { instance: 3, at: Some(datetime!(2026-06-20 12:00 UTC)) };
        remind(&mut op, &names.map(|name| (name, ends.clone()))).unwrap();
        op.report
    }

    /// Whether both are said to be.
    fn reminded(&self) -> [bool; 2] {
        let objects = self.files().objects().unwrap();
        ["a.example", "b.example"]
            .map(|text| objects.certificates[&name(text)].reminded.is_some_and(|at| at >= NOW))
    }

    /// A program that stands for sendmail.
    fn program(&self, script: &str) -> String {
        let path = self.top.path().join("sendmail");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        format!("mail_to = 'ops@example.com'\nmail_command = '{} -t'\n", path.display())
    }
}

/// A relay for one message, that answers to `DATA` and what is in it with these lines; what it was told comes back.
fn relay(answers: [&'static str; 2]) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move || {
        let (stream, _) = listener.accept().unwrap();
        let mut told = Vec::new();
        let say = |mut stream: &TcpStream, line: &str| stream.write_all(format!("{line}\r\n").as_bytes());
        say(&stream, "220 relay.example ESMTP").unwrap();
        let mut is_in_data = false;
        for line in BufReader::new(&stream).lines() {
            let Ok(line) = line else { break };
            let answer = match line.split(' ').next().unwrap_or_default() {
                "." if is_in_data => {
                    is_in_data = false;
                    answers[1]
                }
                _ if is_in_data => {
                    told.push(line);
                    continue;
                }
                "EHLO" => "250-relay.example\r\n250 8BITMIME",
                "DATA" => {
                    is_in_data = answers[0].starts_with('3');
                    answers[0]
                }
                "QUIT" => "221 bye",
                _ => "250 ok",
            };
            told.push(line.clone());
            if say(&stream, answer).is_err() || line == "QUIT" {
                break;
            }
        }
        told
    };
    (port, std::thread::spawn(serve))
}

fn failed(report: &Report, words: &str) {
    assert!(report.has_failed());
    for name in ["a.example", "b.example"] {
        let [Outcome::Failed(says)] = report.certificates[name].as_slice() else { panic!("{report:?}") };
        assert!(says.contains("nobody could be reminded") && says.contains(words), "{says}");
    }
}

/// serverPKI marked a reminder as sent when the relay was down, and ended with a traceback.
#[test]
fn a_relay_that_is_down_leaves_the_reminder_to_the_next_run() {
    let site = Site::new();
    let keys = |port: u16| {
        format!("mail_to = ['ops@example.com', 'pki@example.com']\nmail_relay = '127.0.0.1:{port}'\n")
    };
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    failed(&site.remind(&keys(closed)), &format!("127.0.0.1 port {closed} cannot be spoken to"));
    assert_eq!(site.reminded(), [false, false]);

    for answers in [["451 try again later", ""], ["354 go on", "552 too much"]] {
        let (port, served) = relay(answers);
        failed(&site.remind(&keys(port)), "does not take it");
        served.join().unwrap();
        assert_eq!(site.reminded(), [false, false]);
    }

    let (port, served) = relay(["354 go on", "250 queued"]);
    let report = site.remind(&keys(port));
    assert!(!report.has_failed(), "{report:?}");
    assert_eq!(site.reminded(), [true, true]);
    let told = served.join().unwrap();
    for line in [
        "EHLO manager.example",
        "MAIL FROM:<reseed@manager.example>",
        "RCPT TO:<ops@example.com>",
        "RCPT TO:<pki@example.com>",
        "To: ops@example.com,",
        "Date: Mon, 01 Jun 2026 00:00:00 +0000",
        "  a.example  ends 2026-06-20 12:00",
        "  b.example  ends 2026-06-20 12:00  [disabled]",
    ] {
        assert!(told.iter().any(|told| told.starts_with(line)), "{line}: {told:?}");
    }
    assert_eq!(told.iter().filter(|line| *line == "DATA").count(), 1, "one message for both");
}

#[test]
fn a_program_that_fails_sends_nothing() {
    let site = Site::new();
    failed(
        &site.remind("mail_to = 'ops@example.com'\nmail_command = '/no/such/sendmail'\n"),
        "/no/such/sendmail",
    );
    failed(&site.remind(&site.program("cat >/dev/null; echo 'queue is full' >&2; exit 75")), "queue is full");
    assert_eq!(site.reminded(), [false, false]);

    let kept = site.top.path().join("kept");
    let keys = site.program(&format!("[ \"$*\" = -t ] && cat >{}", kept.display()));
    let report = site.remind(&format!("{keys}mail_from = 'pki@example.com'\nmail_subject = 'A subject'\n"));
    assert!(!report.has_failed(), "{report:?}");
    let text = fs::read_to_string(kept).unwrap();
    let head = "From: pki@example.com\nTo: ops@example.com\nSubject: A subject\n";
    assert!(text.starts_with(head) && !text.contains('\r'), "{text}");
    assert!(text.contains("\n\nThese local certificates are to be issued"), "{text}");
    assert_eq!(site.reminded(), [true, true]);
}

#[test]
fn a_site_that_wants_no_mail_is_told_in_the_report() {
    let site = Site::new();
    let report = site.remind("");
    let note = "2 local certificates want to be issued; mail_to in [inventory] would tell somebody";
    assert_eq!(report, Report { notes: vec![note.into()], ..Report::default() });
    assert_eq!(site.reminded(), [false, false]);
}
