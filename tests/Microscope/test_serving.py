"""Guards what a server of a bundle hands out: files below the bundle, cached by their names, and nothing else."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from Activation_Extraction.base.commands import app, run
from Activation_Extraction.base.errors import InputError, OutputError
from Microscope.serving.opening import open_bundle
from Microscope.serving.site import export_site
from tests.Microscope.made_bundle import make_bundle

pytest.importorskip("starlette", reason="starlette is not installed")
from starlette.applications import Starlette
from starlette.testclient import TestClient

from Microscope.serving.files import PAGES, routes_of

LAYER = "layer4.5"


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "bundle", units=3, images=200, tile=8, distinct=1)


@pytest.fixture
def client(bundle):
    with TestClient(Starlette(routes=routes_of(str(bundle)))) as found:
        yield found


# Over HTTP ------------------------------------------------------------------------------------------------------------


def test_names_with_a_hash_are_immutable_and_others_are_asked_for_again(client, bundle):
    sprite = next((bundle / LAYER / "sprites").iterdir()).name
    kept = client.get(f"/microscope/bundle/{LAYER}/sprites/{sprite}")
    assert (kept.status_code, kept.headers["content-type"]) == (200, "image/webp")
    assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
    again = client.get("/microscope/bundle/bundle.json")
    assert again.headers["cache-control"] == "no-cache"
    for first, path in ((kept, f"{LAYER}/sprites/{sprite}"), (again, "bundle.json")):
        same = client.get(f"/microscope/bundle/{path}", headers={"If-None-Match": first.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")
        assert same.headers["cache-control"] == first.headers["cache-control"]


def test_documents_are_sent_compressed_and_a_changed_one_is_sent_again(client, bundle):
    for name in ("bundle.json", f"{LAYER}/layer.json", next((bundle / LAYER).glob("index.*")).relative_to(bundle)):
        found = client.get(f"/microscope/bundle/{name}")
        assert found.headers["content-encoding"] == "gzip"
        assert found.content == (bundle / name).read_bytes()
        plain = client.get(f"/microscope/bundle/{name}", headers={"Accept-Encoding": "identity"})
        assert ("content-encoding" in plain.headers, plain.content) == (False, found.content)
    spoil(bundle, "bundle.json", title="A longer title than before")
    assert client.get("/microscope/bundle/bundle.json").json()["title"] == "A longer title than before"


def test_pages_are_beside_the_bundle_also_below_a_path(bundle):
    for prefix in ("", "below/a/path", "/below/a/path/"):
        root = f"/{prefix.strip('/')}".rstrip("/")
        with TestClient(Starlette(routes=routes_of(str(bundle), prefix))) as client:
            assert client.get(f"{root}/microscope/microscope.js").status_code == 200
            assert "<main" in client.get(f"{root}/microscope/").text
            assert client.get(f"{root}/microscope/bundle/bundle.json").json()["title"] == "Made bundle"


def test_a_bundle_on_the_web_is_not_served_from_here():
    with TestClient(Starlette(routes=routes_of("https://example.org/bundle/"))) as client:
        assert client.get("/microscope/microscope.js").status_code == 200
        assert client.get("/microscope/bundle/bundle.json").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt", "..%2fsecret.txt", "%2e%2e/secret.txt", "layer4.5/../../secret.txt", "..%5csecret.txt", ".records/part.json",
        ".lock", "layer4.5/.hidden.json", "%2fetc%2fpasswd", "/etc/passwd", "link.json", "linked/secret.txt", "layer4.5", "layer4.5/",
        "", "pipe", "bundle.json%00.webp", "nothing.json", "a" * 5000,
    ],
)  # fmt: skip
def test_nothing_but_regular_files_of_the_bundle_is_served(client, bundle, path):
    (bundle.parent / "secret.txt").write_text("secret")
    (bundle / ".records").mkdir()
    for name in (".records/part.json", ".lock", f"{LAYER}/.hidden.json"):
        (bundle / name).write_text("secret")
    (bundle / "link.json").symlink_to(bundle.parent / "secret.txt")
    (bundle / "linked").symlink_to(bundle.parent)
    os.mkfifo(bundle / "pipe")
    found = client.get(f"/microscope/bundle/{path}")
    assert found.status_code in (404, 400)
    assert "secret" not in found.text


def test_a_page_that_lies_in_a_bundle_runs_nowhere(client, bundle):
    (bundle / "downloads" / "x.html").write_text("<script>alert(1)</script>")
    headers = client.get("/microscope/bundle/downloads/x.html").headers
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert headers["x-content-type-options"] == "nosniff"


# A site ---------------------------------------------------------------------------------------------------------------


def test_a_site_has_the_pages_and_the_files_of_the_bundle_alone(bundle, tmp_path):
    (bundle / ".records").mkdir()
    (bundle / ".records" / "part.json").write_text("{}")
    (bundle / ".lock").touch()
    site = tmp_path / "site"
    count = export_site(bundle, site)
    files = {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()}
    of_bundle = {
        str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file() and ".records" not in path.parts
    }
    assert {name.removeprefix("bundle/") for name in files if name.startswith("bundle/")} == of_bundle - {".lock"}
    assert {"index.html", "style.css", "microscope.js", "unit.js"} <= files
    assert (count, "streamlit.js" in files) == (len(files), False)
    asked = re.findall(r'preload" href="bundle/([^"]+)" as="fetch"', (site / "index.html").read_text())
    index = next((bundle / LAYER).glob("index.*")).name
    assert asked == ["bundle.json", f"{LAYER}/layer.json", f"{LAYER}/{index}"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_site_is_replaced_by_a_newer_one_and_other_folders_are_left_alone(bundle, tmp_path):
    site = tmp_path / "site"
    export_site(bundle, site)
    newer = make_bundle(tmp_path / "newer", units=2, images=100, tile=8, distinct=1, seed=5)
    export_site(newer, site)
    assert len(list((site / "bundle" / LAYER / "units").iterdir())) == 2
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.tex").write_text("years of work")
    for place, error, says in (
        (other, OutputError, "has other files in it"), (bundle / "site", InputError, "inside it"), (tmp_path, InputError, "around it"),
        (other / "chapter.tex", OutputError, "is a file"),
    ):  # fmt: skip
        with pytest.raises(error, match=says):
            export_site(bundle, place)
    assert (other / "chapter.tex").read_text() == "years of work"


def test_a_site_that_cannot_be_written_leaves_the_old_one(bundle, tmp_path, monkeypatch):
    site = tmp_path / "site"
    export_site(bundle, site)
    before = sorted(site.rglob("*"))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("Microscope.serving.site.shutil.copyfile", full)
    with pytest.raises(OutputError, match="No space left on device"):
        export_site(bundle, site)
    assert sorted(site.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("kind", ["file", "folder", "away"])
def test_a_bundle_with_links_makes_no_site(bundle, tmp_path, kind):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x.json").write_text("{}")
    place = bundle / LAYER / "link.json"
    place.symlink_to(tmp_path / "secret" / {"file": "x.json", "folder": "", "away": "nothing"}[kind])
    with pytest.raises(InputError, match=r"link\.json: "):
        export_site(bundle, tmp_path / "site")
    assert not (tmp_path / "site").exists()


# What is no bundle ----------------------------------------------------------------------------------------------------


def spoil(bundle, name, **changes):
    content = json.loads((bundle / name).read_bytes())
    (bundle / name).write_text(json.dumps(content | changes))


@pytest.mark.parametrize(
    ("spoiled", "says"),
    [
        (lambda b: (b / "bundle.json").unlink(), "no bundle.json in it; expected a bundle of `interpscore microscope build`"),
        (lambda b: (b / "bundle.json").write_text("[1]"), "expected a bundle"),
        (lambda b: spoil(b, "bundle.json", format="interpscore-microscope/9"), "found format 'interpscore-microscope/9'"),
        (lambda b: spoil(b, "bundle.json", layers=[{"key": "../x", "model": "m", "layer": "l", "units": 1, "images": 1}]), "found key '../x'"),
        (lambda b: spoil(b, "bundle.json", more=1), "more"),
        (lambda b: (b / LAYER / "layer.json").unlink(), r"layer4.5/layer.json: there is no such file"),
        (lambda b: spoil(b, f"{LAYER}/layer.json", units="many"), "layer.json, units: found 'many'"),
        (lambda b: next((b / LAYER).glob("index.*")).unlink(), "since layer.json names it"),
    ],
)  # fmt: skip
def test_what_is_no_bundle_is_refused_in_one_line(bundle, spoiled, says):
    spoiled(bundle)
    with pytest.raises(InputError, match=says.replace("(", r"\(")) as error:
        open_bundle(bundle)
    assert len(error.value.problems) == 1


def test_a_bundle_without_layers_is_one(tmp_path):
    assert open_bundle(make_bundle(tmp_path / "empty", layers=())).layers == []


PARSE = """
const { readFileSync } = require("fs"), { SourceTextModule } = require("vm");
for (const name of process.argv.slice(1)) new SourceTextModule(readFileSync(name, "utf8"), { identifier: name });
"""


def test_scripts_of_the_pages_parse():
    scripts = [str(path) for path in PAGES.glob("*.js")]
    assert len(scripts) > 10
    if not shutil.which("node"):
        pytest.skip("Node.js is not installed; the tests in Chromium run the scripts")
    command = ["node", "--no-warnings", "--experimental-vm-modules", "-e", PARSE, "--", *scripts]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def imported(name, found=()):
    """A script and those that it needs before it runs."""
    found = {*found, name}
    for other in re.findall(r'^import .* from "./([\w.]+)";', (PAGES / name).read_text(encoding="utf-8"), re.MULTILINE):
        found |= imported(other, found) if other not in found else set()
    return found


def test_the_page_asks_for_all_scripts_at_once():
    page = (PAGES / "index.html").read_text(encoding="utf-8")
    assert sorted(re.findall(r'modulepreload" href="([\w.]+)"', page)) == sorted(imported("microscope.js"))


def test_no_script_parses_markup_or_leaves_the_bundle():
    found = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://(?!www\.w3\.org)"
    )
    for path in PAGES.iterdir():
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if found.search(line)]
        assert lines == [], path


def test_importing_the_serving_code_needs_no_streamlit():
    code = "import sys, Microscope.serving.site, Microscope.cli.serve, Microscope.cli.export; print('streamlit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# Commands -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def called(capsys):
    """Calls `interpscore microscope`; gives the exit code, standard output and standard error."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stopped:
            run(app, ["microscope", *map(str, arguments)])
        return (stopped.value.code, *capsys.readouterr())

    return call


def test_export_says_how_to_look_at_the_site(called, bundle, tmp_path):
    site = tmp_path / "my site"
    code, out, _ = called("export", bundle, "-o", site)
    assert (code, out.splitlines()[1]) == (
        0, f"To look at it: python -m http.server --directory '{site}' 8000, then http://localhost:8000",
    )  # fmt: skip
    assert called("export", bundle, "-o", site, "--quiet") == (0, "", "")


def test_serve_starts_streamlit_with_the_bundle_and_asks_for_nothing(called, bundle, monkeypatch):
    pytest.importorskip("streamlit", reason="Streamlit is not installed")
    started = []
    monkeypatch.setattr("Microscope.cli.serve.os.execv", lambda program, command: started.append(command))
    for place in (str(bundle), "https://example.org/bundle/"):
        assert called("serve", place, "--port", 8600)[:2] == (0, "Open http://localhost:8600\n")
        command = started.pop()
        assert command[1:4] == ["-m", "streamlit", "run"]
        assert command[-2:] == ["--", place]
        assert {"--server.port=8600", "--server.headless=true", "--browser.gatherUsageStats=false"} <= set(command)


def test_serve_without_streamlit_says_what_to_type(called, bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "streamlit", None)
    code, _, err = called("serve", bundle)
    assert (code, "streamlit is not installed; type: pip install" in err) == (2, True)
    assert "[microscope]" in err
