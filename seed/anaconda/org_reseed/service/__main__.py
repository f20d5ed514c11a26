"""Runs the service; started by `start-module org_reseed.service`."""

from pyanaconda.modules.common import init

# Logging and locale must be set up before anything of the service is imported.
init()

from org_reseed.service.reseed import Reseed  # noqa: E402

service = Reseed()
service.run()
