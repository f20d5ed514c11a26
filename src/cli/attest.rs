//! `reseed attest`

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Failure, Status};
use crate::attest::{PACKAGE, Statement};
use crate::plan::Request;
use crate::reseed::{World, look};
use crate::system::process;
use crate::system::root::Root;
use crate::transaction;

/// Write the package that states this machine's identity to RPM
///
/// The package provides system-identity(permanent), which other packages can require, and has no files. It
/// is written, not installed. Exits with 4 while the identity is not proper.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where to write it
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// A package, or the spec that one can be built from
    ///
    /// Without this: a package where rpmbuild is installed, else the spec.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write it into this repository, instead of what it stated before, and bring the index up to date
    ///
    /// The index is made by createrepo_c.
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    repository: Option<PathBuf>,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// `PACKAGE-VERSION-1.noarch.rpm`
    Rpm,
    /// `PACKAGE.spec`
    Spec,
}

pub fn run(world: World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let seen = look(world, &Request::default())?;
    let name = match (&seen.plan.name, &seen.plan.put_off) {
        (Some(name), None) => name,
        (_, why) => {
            let why = why.as_ref().map(ToString::to_string).unwrap_or_default();
            writeln!(io::stderr(), "reseed: nothing is stated: {why}")?;
            return Ok(Status::Improper);
        }
    };
    let statement = Statement { name, now: world.now };
    let host = Root::open(Path::new("/"))?;
    let there = |program: &str| host.resolve(Path::new(program)).and_then(|real| host.status(&real));
    let can_build = there(RPMBUILD)?.is_some();
    let format = arguments.format.unwrap_or(if can_build { Format::Rpm } else { Format::Spec });
    if format == Format::Rpm && !can_build {
        return Err(Failure::Other("rpmbuild is not installed; `--format spec` does without".into()));
    }
    let out = std::path::absolute(arguments.repository.as_ref().unwrap_or(&arguments.out))?;
    if arguments.repository.is_some() {
        host.make_directory(&out, 0o755)?;
    }
    let out = Root::open(&out)?;
    if format == Format::Rpm && !is_plain(out.directory()) {
        let out = out.directory().display();
        return Err(Failure::Usage(format!(
            "\"{out}\": rpmbuild takes some of these characters for its own"
        )));
    }
    let file = write(&out, statement, format)?;
    let mut said = io::stdout().lock();
    writeln!(said, "{}", out.directory().join(&file).display())?;
    if arguments.repository.is_none() {
        if format == Format::Rpm {
            writeln!(
                io::stderr(),
                "reseed: to install it: rpm -U {}",
                out.directory().join(&file).display()
            )?;
        }
        return Ok(Status::Done);
    }
    remove_earlier(&out, &file)?;
    if there(CREATEREPO)?.is_none() {
        writeln!(io::stderr(), "reseed: createrepo_c is not installed; the repository has no index yet")?;
        return Ok(Status::Done);
    }
    run_program(&[CREATEREPO, "--quiet", &out.directory().display().to_string()])?;
    Ok(Status::Done)
}

/// Writes the spec and, where a package is wanted, builds that and takes the spec away again; returns the
/// name of what stays.
fn write(out: &Root, statement: Statement<'_>, format: Format) -> Result<String, Failure> {
    let spec = format!("{PACKAGE}.spec");
    let inside = Path::new("/").join(&spec);
    transaction::replace(out, &inside, statement.spec().as_bytes(), 0o644)?;
    if format == Format::Spec {
        return Ok(spec);
    }
    let directory = out.directory().display().to_string();
    // Nothing is compiled and nothing packed: where that would be done does not matter.
    let places = ["_topdir", "_builddir", "_buildrootdir", "_sourcedir", "_specdir", "_srcrpmdir", "_rpmdir"];
    let mut defines: Vec<String> = places.iter().map(|place| format!("{place} {directory}")).collect();
    defines.push("_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm".into());
    let spec = out.directory().join(&spec).display().to_string();
    let mut command = vec![RPMBUILD, "-bb", "--quiet"];
    for define in &defines {
        command.extend(["--define", define]);
    }
    command.push(&spec);
    let built = run_program(&command);
    out.remove(&inside)?;
    built.map(|()| statement.file_name())
}

/// In the name of a file that it is given, rpmbuild looks for macros, wildcards and quotes.
fn is_plain(directory: &Path) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "/._+-@:,=".contains(c);
    directory.to_str().is_some_and(|directory| directory.chars().all(plain))
}

/// A machine that has moved must not offer its former name any longer.
fn remove_earlier(out: &Root, file: &str) -> Result<(), Failure> {
    for name in out.names(Path::new("/"))? {
        let is_one = name.to_str().is_some_and(|name| name.starts_with(PACKAGE) && name != file);
        if is_one {
            out.remove(&Path::new("/").join(name))?;
        }
    }
    Ok(())
}

fn run_program(command: &[&str]) -> Result<(), Failure> {
    let command: Vec<String> = command.iter().map(ToString::to_string).collect();
    process::run(&command, LONGEST, process::KEPT).map(drop).map_err(Failure::Other)
}

/// Building a package without files takes less than a second.
const LONGEST: Duration = Duration::from_secs(60);
const RPMBUILD: &str = "/usr/bin/rpmbuild";
const CREATEREPO: &str = "/usr/bin/createrepo_c";
