"""Where the add-on's service is found on the installer's D-Bus; data/ says the same to the bus."""

from dasbus.identifier import DBusServiceIdentifier
from pyanaconda.core.dbus import DBus
from pyanaconda.modules.common.constants.namespaces import ADDONS_NAMESPACE

RESEED = DBusServiceIdentifier(namespace=(*ADDONS_NAMESPACE, "Reseed"), message_bus=DBus)
