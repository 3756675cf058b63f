"""Guards the vendored files: they are what their hashes say and, where npm has installed the packages, what those hold."""

import hashlib
import json
import runpy
from pathlib import Path

import pytest

import Human_Experiment_Setup

STATIC = Path(Human_Experiment_Setup.__file__).parent / "static"
ROOT = STATIC.parents[1]


def test_vendored_files_have_their_hash_version_and_licence():
    about = json.loads((STATIC / "vendor" / "vendor.json").read_text())
    lock = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    licences = (STATIC / "vendor" / "LICENSES.txt").read_text()
    for name, each in about["files"].items():
        assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == each["sha256"]
        locked = lock[f"node_modules/{each['package']}"]
        assert (each["version"], each["integrity"]) == (locked["version"], locked["integrity"])
    for package in ["jspsych", *about["bundled"]]:
        assert f"{package}\n\n" in licences


def test_vendored_files_are_what_npm_installs():
    if not (ROOT / "node_modules" / "jspsych").is_dir():
        pytest.skip("jsPsych is not installed (npm ci)")
    made = runpy.run_path(str(STATIC / "vendor.py"))["vendored"](ROOT / "node_modules")
    assert {name: (STATIC / "vendor" / name).read_bytes() for name in made} == made


def test_nothing_is_loaded_from_elsewhere():
    for path in [*STATIC.glob("*.js"), *STATIC.glob("*.css"), *STATIC.glob("trials/*.js")]:
        text = path.read_text(encoding="utf-8")
        assert "http://" not in text.replace("http://www.w3.org", ""), path
        assert "https://" not in text, path
