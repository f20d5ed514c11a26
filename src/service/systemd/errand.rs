//! Other programs, each in a transient unit of its own: away from our sandbox and from everything
//! that they have not declared.
//!
//! Our own unit may write certificates and little else, and hands its limits on to its children; a
//! web server that checks its configuration under them would refuse what it accepts otherwise. A
//! unit of its own has its own limits, its own time, and leaves no process behind.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tracing::info;
use zbus::{Fd, Variant};

use super::bus::Bus;
use super::{Ended, Patience, unreachable, wait};
use crate::service::{Errand, ServiceError};
use crate::system::process;

/// For the last of the output to arrive after the program has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs a program to its end and returns the beginning of what it printed.
pub(super) fn run(bus: &mut Bus, patience: &Patience, errand: &Errand<'_>) -> Result<String, ServiceError> {
    let program = errand.command.first().map_or("", String::as_str);
    let failed = |what: String| ServiceError(format!("{program} {what}"));
    let (reader, writer) = std::io::pipe().map_err(|error| failed(format!("cannot be run: {error}")))?;
    let name = unit_name();
    let output = Fd::from(writer.as_fd());
    let job = bus.start_transient(&name, properties(errand, &output)).map_err(unreachable)?;
    drop(writer);
    let (sender, receiver) = mpsc::channel();
    let kept = errand.kept;
    std::thread::spawn(move || sender.send(process::beginning(reader, kept)));
    let patience = Patience { job: errand.limit + patience.begin, ..*patience };
    let mut ended = wait(bus, &patience, vec![(name.clone(), job)], |_| "run".into())?;
    let said = receiver.recv_timeout(LAST_WORDS).unwrap_or_default();
    let text = String::from_utf8_lossy(&said).into_owned();
    // An answer for a program is no message.
    if errand.kept <= process::KEPT {
        info!(unit = name, program, "{program} said: {}", text.trim_end());
    }
    match ended.remove(&name) {
        Some(Ok(Ended::Done)) => Ok(text),
        Some(Ok(Ended::Left)) => Err(failed("was not started by the service manager".into())),
        _ => Err(failed(format!("failed{}", process::last_words(&said)))),
    }
}

fn properties<'a>(errand: &'a Errand<'_>, output: &'a Fd<'_>) -> Vec<(&'static str, Variant<'a>)> {
    let arguments: Vec<&str> = errand.command.iter().map(String::as_str).collect();
    let program = arguments.first().copied().unwrap_or_default();
    let limit = u64::try_from(errand.limit.as_micros()).unwrap_or(u64::MAX);
    // What is not there need not be writable.
    let writes: Vec<String> = errand.writes.iter().map(|path| format!("-{}", path.display())).collect();
    let yes = |name| (name, Variant::from(true));
    let mut properties = vec![
        ("Description", format!("{program}, asked by reseed").into()),
        ("Type", "oneshot".into()),
        ("ExecStart", vec![(program, arguments.clone(), false)].into()),
        ("TimeoutStartUSec", limit.into()),
        ("TimeoutStopUSec", 5_000_000_u64.into()),
        // It goes with its end, whatever became of it, and with no other unit.
        ("CollectMode", "inactive-or-failed".into()),
        ("DefaultDependencies", false.into()),
        ("Environment", vec![ENVIRONMENT, "LC_ALL=C.UTF-8"].into()),
        ("StandardOutputFileDescriptor", Variant::Fd(Fd::from(output.as_fd()))),
        ("StandardErrorFileDescriptor", Variant::Fd(Fd::from(output.as_fd()))),
        ("ProtectSystem", "strict".into()),
        ("ProtectHome", "read-only".into()),
        ("ReadWritePaths", writes.into()),
        ("PrivateNetwork", (!errand.network).into()),
        yes("PrivateTmp"),
        yes("ProtectKernelModules"),
        yes("ProtectKernelLogs"),
        yes("ProtectKernelTunables"),
        yes("ProtectControlGroups"),
        yes("ProtectClock"),
    ];
    properties.extend(errand.capabilities.map(|set| ("CapabilityBoundingSet", set.into())));
    properties
}

const ENVIRONMENT: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One of a kind: several may run at once, in several of our processes.
fn unit_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("reseed-errand-{}-{number}.service", std::process::id())
}
