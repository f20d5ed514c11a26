//! A virtual machine without systemd, in which nothing runs but `lab/qemu-init`: another kernel, another disk,
//! and a power cut that is one.

use std::path::Path;
use std::process::Command;

use crate::machine::{checked, program, script};

/// A virtual machine; its files go when it is dropped.
pub struct Qemu {
    name: &'static str,
}

impl Qemu {
    /// Makes one with the program under test.
    pub fn new(name: &'static str) -> Self {
        let owner = std::process::id().to_string();
        let program = program();
        checked(script("qemu.sh").args(["make", name]).arg(program).arg(owner));
        Self { name }
    }

    /// Why none can run here; `None` when one can.
    pub fn missing() -> Option<String> {
        let reason = checked(script("qemu.sh").arg("missing")).trim_end().to_owned();
        (!reason.is_empty()).then_some(reason)
    }

    /// Boots it with this word for `qemu-init` until it ends by itself; returns its console.
    pub fn run(&self, word: &str) -> String {
        checked(&mut self.command(word))
    }

    /// Boots it and cuts its power, so many milliseconds after this text has come on its console.
    pub fn cut(&self, word: &str, marker: &str, milliseconds: u64) -> String {
        checked(self.command(word).args(["--kill", marker, &milliseconds.to_string()]))
    }

    fn command(&self, word: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(Path::new(script("qemu.sh").get_program()));
        command.envs(script("qemu.sh").get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.args(["run", self.name, SECONDS, word]);
        command
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = script("qemu.sh").args(["remove", self.name]).status();
    }
}

/// How long one boot may take.
const SECONDS: &str = "90";
