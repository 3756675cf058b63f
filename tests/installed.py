"""A package of others for tests: a folder on the path that looks installed."""

import sys
from contextlib import contextmanager


@contextmanager
def installed(site, module, code, group, name, value):
    """`module` with this code can be imported, and has one entry point, `name = value` of a group."""
    record = site / f"{module}-1.0.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    (site / f"{module}.py").write_text(code)
    sys.path.insert(0, str(site))
    try:
        yield
    finally:
        sys.path.remove(str(site))
        sys.modules.pop(module, None)
