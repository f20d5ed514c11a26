"""The service as Anaconda sees it on D-Bus: what every module has, and nothing more."""

from dasbus.server.interface import dbus_interface
from pyanaconda.modules.common.base import KickstartModuleInterface

from org_reseed.constants import RESEED


@dbus_interface(RESEED.interface_name)
class ReseedInterface(KickstartModuleInterface):
    """No property of its own: the section is set in the Kickstart file only."""
