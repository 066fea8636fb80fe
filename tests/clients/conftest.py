"""Clients run where they are installed: `make test-clients` names them in MUSTER_TEST_CLIENTS."""

import os

WANTED = os.environ.get("MUSTER_TEST_CLIENTS", "").split()

collect_ignore = [] if WANTED else ["test_clients.py"]
if not {"all", "browser"} & set(WANTED):
    collect_ignore.append("test_browser.py")
