"""What Anaconda would bring: the classes that the add-on builds on, with what Anaconda calls of them.

Anaconda is no Python package and runs only as an installer. These stand-ins have its names and the
shape of its calls, and nothing of its work; `import_all` puts them where the add-on looks for them.
pykickstart is the real one.
"""

import sys
from types import ModuleType, SimpleNamespace

from pykickstart.errors import KickstartParseError
from pykickstart.ko import KickstartObject
from pykickstart.parser import KickstartParser
from pykickstart.sections import Section
from pykickstart.version import makeVersion

VERSION = makeVersion("F44").version
#: Programs that a task has run, and the status that each is to end with.
ran = []
status = 0


class AddonData(KickstartObject):
    def handle_end(self):
        pass


class KickstartSpecification:
    pass


class KickstartService:
    def run(self):
        pass


class Task:
    pass


class KickstartModuleInterface:
    def __init__(self, implementation):
        self.implementation = implementation


class DBusServiceIdentifier:
    def __init__(self, namespace, message_bus):
        self.namespace = namespace
        self.message_bus = message_bus
        self.service_name = ".".join(namespace)
        self.interface_name = self.service_name
        self.object_path = "/" + "/".join(namespace)


class Bus:
    """Notes what appears on it."""

    def __init__(self):
        self.names = []

    def publish_object(self, path, interface):
        self.names.append(path)

    def register_service(self, name):
        self.names.append(name)


def run_program(program, arguments):
    ran.append([program, *arguments])
    return status


class AddonSection(Section):
    """Hands a section to the data of its name, with line numbers of the file."""

    sectionOpen = "%addon"
    allLines = True

    def handleHeader(self, lineno, args):
        super().handleHeader(lineno, args)
        self.line_number = lineno
        self.data = getattr(self.handler.addons, args[1], None)
        if self.data is None:
            raise KickstartParseError(f"there is no add-on {args[1]}", lineno=lineno)
        self.data.handle_header(args[2:], lineno)

    def handleLine(self, line):
        self.line_number += 1
        self.data.handle_line(line, self.line_number)

    def finalize(self):
        super().finalize()
        self.data.handle_end()


def parse(text, specification):
    """Reads a whole Kickstart file as the service would; returns the handler with its add-ons."""
    handler = makeVersion("F44")
    handler.addons = SimpleNamespace(**{name: data() for name, data in specification.addons.items()})

    class Parser(KickstartParser):
        def setupSections(self):
            super().setupSections()
            self.registerSection(AddonSection(self.handler))

    Parser(handler, missingIncludeIsFatal=False).readKickstartFromString(text)
    return handler


def import_all():
    """Puts the stand-ins into place."""
    names = {
        "dasbus.identifier": {"DBusServiceIdentifier": DBusServiceIdentifier},
        "dasbus.server.interface": {"dbus_interface": lambda name: lambda interface: interface},
        "pyanaconda.anaconda_loggers": {
            "get_module_logger": lambda name: __import__("logging").getLogger(name)
        },
        "pyanaconda.core.configuration.anaconda": {
            "conf": SimpleNamespace(target=SimpleNamespace(system_root="/mnt/sysroot"))
        },
        "pyanaconda.core.dbus": {"DBus": Bus()},
        "pyanaconda.core.kickstart": {
            "VERSION": VERSION,
            "KickstartSpecification": KickstartSpecification,
        },
        "pyanaconda.core.kickstart.addon": {"AddonData": AddonData},
        "pyanaconda.core.util": {"execWithRedirect": run_program},
        "pyanaconda.modules.common": {"init": lambda: None},
        "pyanaconda.modules.common.base": {
            "KickstartService": KickstartService,
            "KickstartModuleInterface": KickstartModuleInterface,
        },
        "pyanaconda.modules.common.constants.namespaces": {
            "ADDONS_NAMESPACE": ("org", "fedoraproject", "Anaconda", "Addons")
        },
        "pyanaconda.modules.common.containers": {
            "TaskContainer": SimpleNamespace(set_namespace=lambda namespace: None)
        },
        "pyanaconda.modules.common.task": {"Task": Task},
    }
    for name, content in names.items():
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            path = ".".join(parts[:end])
            if path not in sys.modules:
                sys.modules[path] = ModuleType(path)
                sys.modules[path].__path__ = []
            if end > 1:
                setattr(sys.modules[".".join(parts[: end - 1])], parts[end - 1], sys.modules[path])
        for key, value in content.items():
            setattr(sys.modules[name], key, value)
