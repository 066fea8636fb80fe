"""What needs litellm runs where litellm is (make test-remote)."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("litellm") else ["test_remote_backend.py"]
