"""Copies jsPsych from node_modules (`npm ci`) to vendor/, with the licences of all that its file holds and hashes: `make vendor`."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from Activation_Extraction.base.files import as_json, read_bytes, write_together

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUNDLED = {"auto-bind": "license", "random-words": "LICENSE", "seedrandom": None}
"""Packages within jsPsych's file → their licence's file; seedrandom has it at the head of its README."""

JSPSYCH_LICENSE = "The MIT License (MIT)\n\nCopyright (c) 2014-2018 Joshua R. de Leeuw\n\n"
"""The head of jsPsych's license.txt, which its npm package leaves out; its terms are the MIT License's."""


def vendored(node_modules: Path) -> dict[str, bytes]:
    """The files of `vendor/` by name, made from installed packages."""
    script = read_bytes(node_modules / "jspsych" / "dist" / "index.browser.min.js")
    script = b"\n".join(line for line in script.splitlines() if not line.startswith(b"//# sourceMappingURL")) + b"\n"
    lock = json.loads(read_bytes(ROOT / "package-lock.json"))["packages"]
    mit = read_bytes(node_modules / "auto-bind" / "license").decode()
    licences = [f"jspsych\n\n{JSPSYCH_LICENSE}{mit[mit.index('Permission') :]}"]
    for name, file in BUNDLED.items():
        path = node_modules / name / (file or "README.md")
        text = read_bytes(path).decode()
        licences.append(f"{name}\n\n{text[text.index('LICENSE (MIT)') :] if file is None else text}".rstrip() + "\n")
    about = {
        "made_by": "make vendor",
        "files": {
            "jspsych.js": {
                "package": "jspsych", "version": lock["node_modules/jspsych"]["version"], "license": "MIT",
                "integrity": lock["node_modules/jspsych"]["integrity"], "sha256": hashlib.sha256(script).hexdigest(),
            }
        },
        "bundled": {name: lock[f"node_modules/{name}"]["version"] for name in BUNDLED},
    }  # fmt: skip
    return {
        "jspsych.js": script,
        "LICENSES.txt": ("\n" + "-" * 80 + "\n").join(licences).encode(),
        "vendor.json": as_json(about),
    }


if __name__ == "__main__":
    modules = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "node_modules"
    (HERE / "vendor").mkdir(exist_ok=True)
    write_together({HERE / "vendor" / name: content for name, content in vendored(modules).items()})
