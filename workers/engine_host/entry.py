"""What the child's interpreter runs. It may be one of another environment, which knows nothing of Muster:
the packages that an engine needs are found in the folders named on the command line, and nothing
else of this environment is.
"""

import importlib.util
import sys


def adopt(name: str, folder: str) -> None:
    """Make the package in `folder` importable as `name`; its modules follow from its path."""
    spec = importlib.util.spec_from_file_location(
        name, f"{folder}/__init__.py", submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    # The folder of this script would let its modules hide others.
    sys.path.pop(0)
    _, orchestrator_folder, workers_folder, *arguments = sys.argv
    adopt("orchestrator", orchestrator_folder)
    adopt("workers", workers_folder)
    from workers.engine_host.child import main

    main(arguments)
