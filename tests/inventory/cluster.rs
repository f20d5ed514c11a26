//! A PostgreSQL of the test's own: in a directory of its own, at a socket and a port of its own, run by somebody
//! without rights.

#![allow(dead_code, reason = "tests and the benchmark each use their part of this")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use reseed::manager::inventory::postgres::{Connector, Postgres, Surroundings, schema};
use reseed::manager::inventory::store::InventoryError;
use reseed::system::root::Root;
use tempfile::TempDir;

/// A running server, gone when it is dropped.
pub struct Cluster {
    directory: TempDir,
    programs: PathBuf,
    pub port: u16,
}

/// What TCP wants to hear; sockets are trusted.
pub const PASSWORD: &str = "only for this test";

impl Cluster {
    /// Starts one; nothing where PostgreSQL is not installed.
    pub fn start() -> Option<Self> {
        let all = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let programs =
            all.map(|entry| entry.path().join("bin")).filter(|it| it.join("initdb").exists()).max();
        let Some(programs) = programs else {
            assert!(
                std::env::var_os("RESEED_TESTS_REQUIRE_ALL").is_none(),
                "PostgreSQL is needed: apt-get install postgresql"
            );
            println!("skipped: PostgreSQL is not installed");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let cluster = Self { directory, programs, port };
        let (data, sockets) = (cluster.path("data"), cluster.path("sockets"));
        let password = cluster.path("password");
        fs::write(&password, PASSWORD).unwrap();
        for made in [&data, &sockets] {
            fs::create_dir(made).unwrap();
        }
        if nix::unistd::geteuid().is_root() {
            let owner = nix::unistd::User::from_name("postgres").unwrap().expect("the user postgres");
            for given in [&data, &sockets, &password] {
                chown(given, Some(owner.uid.as_raw()), Some(owner.gid.as_raw())).unwrap();
            }
        }
        let pwfile = format!("--pwfile={}", password.display());
        let data = data.display().to_string();
        cluster.program(
            "initdb",
            &[
                "-D",
                &data,
                "-U",
                "manager",
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
                &pwfile,
                "-N",
                "-E",
                "UTF8",
            ],
        );
        let settings = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nfsync = off\n\
             max_connections = 40\nshared_buffers = 64MB\n",
            sockets.display()
        );
        let path = cluster.path("data").join("postgresql.conf");
        let before = fs::read_to_string(&path).unwrap();
        fs::write(&path, before + &settings).unwrap();
        cluster.control("start");
        Some(cluster)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `start`, `restart` as after a crash, `stop`.
    pub fn control(&self, what: &str) {
        let (data, log) = (self.path("data"), self.path("data").join("log"));
        let (data, log) = (data.display().to_string(), log.display().to_string());
        let mut arguments = vec!["-D", &data, "-l", &log, "-w", "-t", "60", what];
        if what != "start" {
            arguments.extend(["-m", "immediate"]);
        }
        self.program("pg_ctl", &arguments);
    }

    fn program(&self, name: &str, arguments: &[&str]) {
        let done = self.run(name, arguments);
        assert!(done.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn run(&self, name: &str, arguments: &[&str]) -> Output {
        let program = self.programs.join(name);
        let mut command = if nix::unistd::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        // A server that inherits a pipe keeps it open.
        let out = self.path("out");
        let file = fs::File::create(&out).unwrap();
        command.current_dir("/").args(arguments).stdin(Stdio::null());
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let status = command.status().unwrap();
        Output { status, stdout: Vec::new(), stderr: fs::read(out).unwrap() }
    }

    /// A new database, and how it is reached.
    pub fn database(&self, name: &str) -> String {
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.connection(name)
    }

    pub fn connection(&self, name: &str) -> String {
        format!("host={} port={} user=manager dbname={name}", self.path("sockets").display(), self.port)
    }

    /// What psql says.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let path = self.path("script.sql");
        fs::write(&path, sql).unwrap();
        let done = Command::new(self.programs.join("psql"))
            .args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-h"])
            .arg(self.path("sockets"))
            .args(["-p", &self.port.to_string(), "-U", "manager", "-d", database, "-f"])
            .arg(&path)
            .output()
            .unwrap();
        match done.status.success() {
            true => Ok(String::from_utf8(done.stdout).unwrap().trim_end().to_owned()),
            false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
        }
    }

    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.psql(database, sql).unwrap_or_else(|error| panic!("{error}"))
    }

    /// An inventory in a new database.
    pub fn inventory(&self, name: &str) -> Postgres {
        let mut opened = unchecked(&self.database(name), "maker").unwrap();
        schema::migrate(opened.client().unwrap()).unwrap();
        opened
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.path("data").display().to_string();
        self.run("pg_ctl", &["-D", &data, "-w", "-m", "immediate", "stop"]);
    }
}

fn connector(text: &str) -> Result<Connector, InventoryError> {
    Connector::new(&Root::open(Path::new("/")).unwrap(), &Surroundings::default(), text)
}

pub fn unchecked(text: &str, manager: &str) -> Result<Postgres, InventoryError> {
    Postgres::unchecked(connector(text)?, manager)
}

pub fn open(text: &str, manager: &str) -> Result<Postgres, InventoryError> {
    Postgres::open(connector(text)?, manager)
}
