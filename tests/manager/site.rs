//! A site in a directory of its own: a configuration, the program by its own name and by that of ssl-mgr, and
//! commands that say what they were called with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use reseed::manager::report::Report;
use reseed::manager::run::World;
use reseed::manager::status::{self, Status};
use reseed::manager::{renew, roll, tend};
use reseed::system::root::Root;
use tempfile::TempDir;
use time::OffsetDateTime;

use crate::support::{self, RESEED, Ran, Snapshot, checked};

pub struct Site {
    directory: TempDir,
    root: Root,
    _model: Option<Arc<TempDir>>,
}

/// Two runs take a second, so what they make is copied for as long as somebody has it.
static MODEL: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());

fn model() -> Arc<TempDir> {
    let mut kept = MODEL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(model) = kept.upgrade() {
        return model;
    }
    let site = Site::small();
    site.sslm("-renew").exits(0);
    site.sslm("-roll").exits(0);
    let model = Arc::new(site.directory);
    *kept = Arc::downgrade(&model);
    model
}

/// When which command last ran.
const RUNS: &str = ".reseed/runs.toml";

/// The commands of a site; each is a link to `tell`.
const COMMANDS: [&str; 5] = ["smtp", "imap", "web", "zone", "copied"];

/// A root that signs `example.com/web` and `example.com/mail` itself, on keys that are made quickly; two sorts
/// of server and the zone are told.
const SMALL: &str = "[globals]\nprod_cert_dir = 'prod'\nmin_roll_mins = 0\n\
    [[groups]]\nactive = true\ndomain = 'ca'\nservices = ['root']\n\
    [[groups]]\nactive = true\ndomain = 'example.com'\nservices = ['web', 'mail']\n\
    [dns]\nrestart_cmd = 'TOP/zone'\ntlsa_dirs = ['zones']\ndepends = ['dns']\n\
    [smtp]\nservers = ['localhost']\nrestart_cmd = 'TOP/smtp reload'\nsvc_depends = [['example.com', ['mail']]]\n\
    [web]\nservers = ['localhost']\nrestart_cmd = ['TOP/web check', 'TOP/web reload']\nsvc_depends = [['any', ['web']]]\n";

impl Site {
    fn empty() -> Self {
        let directory = support::scratch();
        for command in COMMANDS {
            symlink(support::here().join("manager/tell"), directory.path().join(command)).unwrap();
        }
        symlink(RESEED, directory.path().join("sslm-mgr")).unwrap();
        fs::create_dir(directory.path().join("zones")).unwrap();
        Self { directory, root: Root::open(Path::new("/")).unwrap(), _model: None }
    }

    /// The layout of ssl-mgr's own-CA example, as it is.
    pub fn own_ca() -> Self {
        let site = Self::empty();
        checked(
            Command::new("cp").arg("-r").arg(support::here().join("manager/own-ca/conf.d")).arg(site.top()),
        );
        site
    }

    pub fn small() -> Self {
        let site = Self::empty();
        site.write("conf.d/ssl-mgr.conf", &SMALL.replace("TOP", &site.top().display().to_string()));
        site.write("conf.d/ca-info.conf", "[root]\nca_type = 'self'\n");
        site.service("ca", "root", "self", "[CA]\nsign_end_days = 1000\n");
        site.service("example.com", "web", "root", "");
        site.service("example.com", "mail", "root", "");
        site
    }

    /// The small one with current versions of everything; nobody has been told of anything since.
    pub fn running() -> Self {
        let model = model();
        let mut site = Self::small();
        for part in [".reseed", "certs", "prod"] {
            checked(Command::new("cp").arg("-a").arg(model.path().join(part)).arg(site.top()));
        }
        site._model = Some(model);
        site
    }

    /// The same, with TLSA records of `mail`.
    pub fn with_dane(entries: &str) -> Self {
        let site = Self::running();
        site.dane(entries);
        site.sslm("-renew").exits(0);
        site.told();
        site
    }

    pub fn dane(&self, entries: &str) {
        let path = "conf.d/example.com/mail";
        let text = self.text(path);
        let others = text.lines().filter(|line| !line.starts_with("dane_tls"));
        let others: String = others.map(|line| format!("{line}\n")).collect();
        self.write(path, &format!("dane_tls = {entries}\ndane_tls_ttl = 300\n{others}"));
    }

    /// Writes a service's file; `more` is what follows.
    pub fn service(&self, group: &str, name: &str, signer: &str, more: &str) {
        let sans = match group {
            "ca" => String::new(),
            group => format!("'{group}', '{name}.{group}'"),
        };
        let common = if group == "ca" { name } else { group };
        self.write(
            &format!("conf.d/{group}/{name}"),
            &format!(
                "name = '{name}'\ngroup = '{group}'\nservice = '{name}'\nsigning_ca = '{signer}'\n\
                 [KeyOpts]\nec_algo = 'secp256r1'\n[X509]\nCN = '{common}'\nO = 'Example Limited'\nC = 'US'\n\
                 OU = ''\nL = ''\nST = ''\nemail = 'hostmaster@example.com'\nsans = [{sans}]\n{more}"
            ),
        );
    }

    /// Replaces a part of a file.
    #[track_caller]
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.text(path);
        assert!(text.contains(from), "{path} does not hold {from:?}:\n{text}");
        self.write(path, &text.replace(from, to));
    }

    // ---- running ---------------------------------------------------------------------------------

    /// `sslm-mgr` with these arguments, in the top directory; with the umask of a hardened unit, which the modes
    /// of the tree do not depend on.
    pub fn sslm(&self, arguments: &str) -> Ran {
        let mut command = Command::new("sh");
        command.args(["-c", "umask 077; exec \"$0\" \"$@\""]).arg(self.path("sslm-mgr"));
        command.args(arguments.split_whitespace()).current_dir(self.top()).env_remove("SSL_MGR_TOPDIR");
        Ran::of(&format!("sslm-mgr {arguments}"), command.stdin(Stdio::null()))
    }

    /// `reseed manager` with these arguments, from elsewhere.
    pub fn manager(&self, arguments: &str) -> Ran {
        Ran::of(&format!("reseed manager {arguments}"), &mut self.command(self.top(), arguments))
    }

    pub fn command(&self, top: &Path, arguments: &str) -> Command {
        let mut command = Command::new(RESEED);
        command.args(["manager", "--topdir"]).arg(top).args(arguments.split_whitespace());
        command.stdin(Stdio::null()).env_remove("SSL_MGR_TOPDIR");
        command
    }

    fn world(&self, now: OffsetDateTime) -> World<'_> {
        World {
            root: &self.root,
            top: self.top().to_owned(),
            config: None,
            now,
            host: "host.example.org".into(),
            tell: |_| {},
        }
    }

    /// Renews at a time of the test's choice.
    pub fn renew_at(&self, now: OffsetDateTime, request: &renew::Request) -> Report {
        renew::renew(self.world(now), request).unwrap()
    }

    /// Rolls at a time of the test's choice.
    pub fn roll_at(&self, now: OffsetDateTime, request: &roll::Request) -> Report {
        roll::roll(self.world(now), request).unwrap()
    }

    /// Tends at a time of the test's choice.
    pub fn tend_at(&self, now: OffsetDateTime) -> Report {
        tend::tend(self.world(now), &tend::Request::default()).unwrap()
    }

    /// Looks at a time of the test's choice.
    pub fn status_at(&self, now: OffsetDateTime) -> Status {
        status::status(&self.world(now), &[]).unwrap()
    }

    // ---- looking -----------------------------------------------------------------------------------

    pub fn top(&self) -> &Path {
        self.directory.path()
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.top().join(path)
    }

    #[track_caller]
    pub fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn has(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap();
    }

    #[track_caller]
    pub fn link(&self, path: &str) -> String {
        let target = fs::read_link(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        target.display().to_string()
    }

    pub fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.path(path)).unwrap().permissions().mode() & 0o7777
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self.top())
    }

    /// The paths that have changed since, but for the record of when which command last ran.
    #[track_caller]
    pub fn changed(&self, before: &Snapshot) -> BTreeSet<String> {
        let mut changed = before.changed(&self.snapshot());
        changed.retain(|path| path.trim_start_matches('/') != RUNS);
        changed
    }

    /// What the commands were called with since the last question.
    pub fn told(&self) -> Vec<String> {
        let path = self.path("told");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        text.lines().map(str::to_owned).collect()
    }

    /// From here on a command fails, or does its work again.
    pub fn refuses(&self, command: &str, refuses: bool) {
        let path = self.path(&format!("refuse-{command}"));
        if refuses { fs::write(path, "").unwrap() } else { fs::remove_file(path).unwrap() }
    }

    /// The records of a file of TLSA records, in one line each, without comments.
    pub fn records(&self, path: &str) -> Vec<String> {
        let text = self.text(path);
        let mut records: Vec<String> = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with(";;") && !line.trim().is_empty()) {
            match (records.last_mut(), line.starts_with(' ')) {
                (Some(last), true) => last.push_str(line.trim()),
                _ => records.push(line.to_owned()),
            }
        }
        records.sort();
        records
    }

    /// BIND takes the file into the zone.
    #[track_caller]
    pub fn zone_loads(&self, path: &str) {
        if !support::has("named-checkzone") {
            return;
        }
        let head = "$TTL 600\n@ IN SOA ns hostmaster 1 3600 600 86400 60\n@ IN NS ns\nns IN A 127.0.0.1\n\
            $INCLUDE tlsa\n";
        let directory = support::scratch();
        fs::write(directory.path().join("zone"), head).unwrap();
        fs::copy(self.path(path), directory.path().join("tlsa")).unwrap();
        checked(Command::new("named-checkzone").args(["example.com", "zone"]).current_dir(directory.path()));
    }

    /// Key and certificate of a directory belong together, by OpenSSL.
    #[track_caller]
    pub fn is_pair(&self, directory: &str) {
        let key = checked(openssl("pkey -pubout -in").arg(self.path(directory).join("privkey.pem")));
        let public = checked(openssl("x509 -noout -pubkey -in").arg(self.path(directory).join("cert.pem")));
        assert_eq!(key, public, "{directory}");
    }

    /// The path of the chain of a directory to a root, by OpenSSL as strictly as it can, and by GnuTLS.
    #[track_caller]
    pub fn verifies(&self, directory: &str, root: &str) {
        let (directory, root) = (self.path(directory), self.path(root));
        for strict in [&[][..], &["-x509_strict"]] {
            let mut verify = openssl("verify -CAfile");
            verify.arg(&root).arg("-untrusted").arg(directory.join("chain.pem")).args(strict);
            checked(verify.arg(directory.join("cert.pem")));
        }
        let mut verify = Command::new("certtool");
        verify.args(["--verify", "--load-ca-certificate"]).arg(&root);
        checked(verify.arg("--infile").arg(directory.join("fullchain.pem")));
    }

    /// What OpenSSL writes of a certificate.
    pub fn certificate(&self, path: &str) -> String {
        checked(openssl("x509 -noout -text -in").arg(self.path(path)))
    }

    /// The answer to one question about a certificate, such as `-enddate`.
    pub fn field(&self, path: &str, option: &str) -> String {
        let said = checked(openssl("x509 -noout").arg(option).arg("-in").arg(self.path(path)));
        said.trim().to_owned()
    }

    /// How much an authority has signed.
    pub fn issued(&self, authority: &str) -> usize {
        self.text(&format!("certs/ca/{authority}/issued.jsonl")).lines().count()
    }

    /// Every file below a directory.
    pub fn files(&self, top: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = walkdir::WalkDir::new(self.path(top)).into_iter().map(Result::unwrap);
        files
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| (entry.path().to_owned(), fs::read(entry.path()).unwrap()))
            .collect()
    }
}

/// OpenSSL with arguments that hold no blanks themselves.
pub fn openssl(arguments: &str) -> Command {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' '));
    command
}
