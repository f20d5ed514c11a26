"""What is done at the end of the installation: the seed is written, and used if that was asked for."""

import os
import tempfile

from pyanaconda.anaconda_loggers import get_module_logger
from pyanaconda.core import util
from pyanaconda.modules.common.task import Task

log = get_module_logger(__name__)

SEED = "etc/reseed/seed.toml"
PROGRAM = "usr/sbin/reseed"


class SeedTask(Task):
    """Writes the seed into the new system."""

    def __init__(self, sysroot, seed, apply):
        super().__init__()
        self._sysroot = sysroot
        self._seed = seed
        self._apply = apply

    @property
    def name(self):
        """What the installer shows while this runs."""
        return "Writing the seed of reseed"

    def run(self):
        """Writes it, and with --apply has the new system put right."""
        write(os.path.join(self._sysroot, SEED), self._seed)
        if self._apply:
            self._put_right()

    def _put_right(self):
        """What fails is no failure of the installation: the first boot does the same."""
        program = os.path.join(self._sysroot, PROGRAM)
        if not os.access(program, os.X_OK):
            log.warning("reseed is not installed in the new system: add it to %%packages")
            return
        status = util.execWithRedirect(program, ["--root", self._sysroot, "apply"])
        if status != 0:
            log.warning("reseed ended with status %s; the first boot tries again", status)


def write(path, text):
    """Everybody may read it: all of it stands in certificates that are shown to everybody."""
    directory = os.path.dirname(path)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=directory, prefix=".seed.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o644)
        file.flush()
        os.fsync(file.fileno())
    os.rename(beside, path)
