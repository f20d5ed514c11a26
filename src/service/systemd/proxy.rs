//! The members of systemd's D-Bus interfaces that are used; org.freedesktop.systemd1(5) explains them.

use zbus::{ObjectPath, OwnedObjectPath, Result, Variant};

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub(super) trait Manager {
    fn subscribe(&self) -> Result<()>;
    fn reload(&self) -> Result<()>;
    fn list_units_by_names(&self, names: &[&str]) -> Result<Vec<Row>>;
    fn list_units_by_patterns(&self, states: &[&str], patterns: &[&str]) -> Result<Vec<Row>>;
    fn list_unit_files_by_patterns(
        &self,
        states: &[&str],
        patterns: &[&str],
    ) -> Result<Vec<(String, String)>>;
    fn get_unit_file_state(&self, file: &str) -> Result<String>;
    #[zbus(name = "GetUnitByPID")]
    fn get_unit_by_pid(&self, pid: u32) -> Result<OwnedObjectPath>;
    fn start_unit(&self, name: &str, mode: &str) -> Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> Result<OwnedObjectPath>;
    fn try_restart_unit(&self, name: &str, mode: &str) -> Result<OwnedObjectPath>;
    fn reload_or_try_restart_unit(&self, name: &str, mode: &str) -> Result<OwnedObjectPath>;
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: Vec<(&str, Variant<'_>)>,
        aux: Vec<(&str, Vec<(&str, Variant<'_>)>)>,
    ) -> Result<OwnedObjectPath>;
    fn disable_unit_files(&self, files: &[&str], runtime: bool) -> Result<Vec<Change>>;
    fn enable_unit_files(&self, files: &[&str], runtime: bool, force: bool) -> Result<(bool, Vec<Change>)>;
    fn link_unit_files(&self, files: &[&str], runtime: bool, force: bool) -> Result<Vec<Change>>;
    fn mask_unit_files(&self, files: &[&str], runtime: bool, force: bool) -> Result<Vec<Change>>;
    fn unmask_unit_files(&self, files: &[&str], runtime: bool) -> Result<Vec<Change>>;
    #[zbus(property)]
    fn system_state(&self) -> Result<String>;
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: ObjectPath<'_>, unit: &str, result: &str) -> Result<()>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Unit", default_service = "org.freedesktop.systemd1")]
pub(super) trait Unit {
    #[zbus(property)]
    fn job(&self) -> Result<(u32, OwnedObjectPath)>;
    #[zbus(property)]
    fn triggered_by(&self) -> Result<Vec<String>>;
    #[zbus(property)]
    fn wanted_by(&self) -> Result<Vec<String>>;
    #[zbus(property)]
    fn required_by(&self) -> Result<Vec<String>>;
    #[zbus(property)]
    fn upheld_by(&self) -> Result<Vec<String>>;
    #[zbus(property)]
    fn fragment_path(&self) -> Result<String>;
    #[zbus(property)]
    fn conditions(&self) -> Result<Vec<Condition>>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Service", default_service = "org.freedesktop.systemd1")]
pub(super) trait Service {
    #[zbus(property)]
    fn result(&self) -> Result<String>;
    #[zbus(property, name = "NRestarts")]
    fn n_restarts(&self) -> Result<u32>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Job", default_service = "org.freedesktop.systemd1")]
pub(super) trait Job {
    #[zbus(property)]
    fn state(&self) -> Result<String>;
}

/// One row of the manager's list: name, description, load state, active state, sub-state, unit
/// followed, path, number, type and path of the job.
pub(super) type Row =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// Its kind, whether it triggers, whether it is negated, its parameter, and how it was last found:
/// negative when it failed.
pub(super) type Condition = (String, bool, bool, String, i32);

/// What changed: `symlink` or `unlink`, the link, where it leads.
type Change = (String, String, String);
