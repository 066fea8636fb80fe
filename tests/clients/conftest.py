"""Clients run where they are installed: `make test-clients` names them in MUSTER_TEST_CLIENTS."""

import os

collect_ignore = [] if os.environ.get("MUSTER_TEST_CLIENTS") else ["test_clients.py"]
