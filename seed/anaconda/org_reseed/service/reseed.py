"""The service: takes the section from the Kickstart file, and gives Anaconda the task to carry it out."""

from pyanaconda.core.configuration.anaconda import conf
from pyanaconda.core.dbus import DBus
from pyanaconda.modules.common.base import KickstartService
from pyanaconda.modules.common.containers import TaskContainer

from org_reseed.constants import RESEED
from org_reseed.service.installation import SeedTask
from org_reseed.service.kickstart import ReseedData, ReseedSpecification
from org_reseed.service.reseed_interface import ReseedInterface


class Reseed(KickstartService):
    """Holds the section from its reading to the end of the installation."""

    def __init__(self):
        super().__init__()
        self._section = ReseedData()

    def publish(self):
        """Appears on the bus."""
        TaskContainer.set_namespace(RESEED.namespace)
        DBus.publish_object(RESEED.object_path, ReseedInterface(self))
        DBus.register_service(RESEED.service_name)

    @property
    def kickstart_specification(self):
        """What this service reads of a Kickstart file."""
        return ReseedSpecification

    def process_kickstart(self, data):
        """Takes the section that was read."""
        self._section = data.addons.org_reseed

    def setup_kickstart(self, data):
        """Gives the section back, for the Kickstart file that is left in /root."""
        data.addons.org_reseed = self._section

    def install_with_tasks(self):
        """What is done after packages, network and users; nothing without a section."""
        if not self._section.seen:
            return []
        return [SeedTask(conf.target.system_root, self._section.seed, self._section.apply)]
