"""Script of the child's interpreter. It may be one of another environment, which knows nothing of Muster:
the packages that an engine needs are those named on the command line (`name=path ... --`), and nothing
else of this environment is.
"""

import importlib.util
import sys


def adopt(name: str, path: str) -> None:
    """Make the package in the folder `path`, or the module of that file, importable as `name`."""
    is_file = path.endswith(".py")
    file, folders = (path, None) if is_file else (f"{path}/__init__.py", [path])
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=folders)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    # The folder of this script would let its modules hide others.
    sys.path.pop(0)
    end = sys.argv.index("--")
    for package in sys.argv[1:end]:
        adopt(*package.split("=", 1))
    from workers.engine_host.child import main

    main(sys.argv[end + 1 :])
