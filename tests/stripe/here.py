"""Runs localstripe for the tests: on this machine alone, and without the file that it would keep in /tmp.

Takes the port that it listens on as its argument.
"""

import sys

from aiohttp import web
from localstripe import resources, server

resources.Store.dump_to_disk = lambda self: None
web.run_app(server.app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
