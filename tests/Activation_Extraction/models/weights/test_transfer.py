"""Guards downloads: whole or not at all, resumed whatever a server does, from and to places that were asked for."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from Activation_Extraction.base.errors import DownloadError, InputError, OutputError
from Activation_Extraction.models.weights import cache as weights
from Activation_Extraction.models.weights import transfer
from Activation_Extraction.models.weights.cache import cache_path, download, expected_sha256, find_weights, how_to_get
from Activation_Extraction.models.weights.known import WeightsFile
from tests.Activation_Extraction.local_server import serving

CONTENT = bytes(range(256)) * 4000  # about 1 MB, so that a cut leaves a real half
HALF = len(CONTENT) // 2
QUICK = {"timeout": 2.0, "waits": (0.0, 0.0)}


def sha(data):
    return hashlib.sha256(data).hexdigest()


@dataclass
class Shop:
    """A real server of one file. `behaviour(handler, asked_from)` may answer a request in its own way."""

    content: bytes = CONTENT
    etag: str | None = '"v1"'
    behaviours: list = field(default_factory=list)
    ranges: list = field(default_factory=list)
    sent: int = 0
    url: str = ""

    def answer(self, handler):
        asked = handler.headers.get("Range")
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        behaviour = self.behaviours.pop(0) if self.behaviours else honest()
        behaviour(self, handler, start)

    def send(self, handler, data):
        try:
            for at in range(0, len(data), 1 << 16):
                handler.wfile.write(data[at : at + (1 << 16)])
                self.sent += len(data[at : at + (1 << 16)])
        except OSError:
            pass  # the client has gone


def head(shop, handler, status, length, **headers):
    handler.send_response(status)
    if shop.etag:
        handler.send_header("ETag", shop.etag)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()


def honest(cut=None, lie=0, ranges=True, stall=0.0, says_length=True):
    """Serve the file; `cut` ends the connection at that byte, `lie` is added to the length that is announced."""

    def behaviour(shop, handler, start):
        total = len(shop.content)
        same = handler.headers.get("If-Range") in (None, shop.etag)
        start = start if ranges and same else 0
        body = shop.content[start:cut]
        if start and start >= total:
            head(shop, handler, 416, 0, Content_Range=f"bytes */{total}")
        elif start:
            head(shop, handler, 206, total - start, Content_Range=f"bytes {start}-{total - 1}/{total}")
        else:
            head(shop, handler, 200, total + lie if says_length else None)
        shop.send(handler, body if start < total else b"")
        time.sleep(stall)

    return behaviour


def status(code, **headers):
    def behaviour(shop, handler, start):
        head(shop, handler, code, 0, **headers)

    return behaviour


@pytest.fixture
def open_shop():
    """Start servers; each ends with the test."""
    servers = ExitStack()

    def start(**options):
        shop = Shop(**options)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                shop.answer(self)

            def log_message(self, *_):
                pass

        shop.url = f"{servers.enter_context(serving(Handler))}/net.bin"
        return shop

    with servers:
        yield start


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own; proxies do not stand between it and its server."""
    monkeypatch.setenv("INTERPSCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "cache" / "weights"


def wanted(*urls, content=CONTENT, **changes):
    return WeightsFile(
        **{
            "name": "net.bin",
            "urls": urls,
            "sha256": sha(content),
            "bytes": None,
            "kind": "safetensors",
            "about": "a test",
            **changes,
        }
    )


def refused(file, **options):
    """Download in vain: the message, one line, and nothing but what may be gone on with is left."""
    with pytest.raises(DownloadError) as caught:
        download(file, **{**QUICK, **options})
    assert not cache_path(file).exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_download_leaves_the_whole_file_and_nothing_half(open_shop, cache):
    shop = open_shop()
    file = wanted(shop.url)
    path = download(file, **QUICK)
    assert path == cache_path(file) == find_weights(file)
    assert path.read_bytes() == CONTENT
    assert left(cache) == [path.name, f"{path.name}.json"]


def test_what_is_there_is_not_fetched_again(open_shop):
    shop = open_shop()
    download(wanted(shop.url), **QUICK)
    download(wanted(shop.url), **QUICK)
    assert len(shop.ranges) == 1


@pytest.mark.parametrize("etag", ['"v1"', 'W/"weak"', None])
def test_cut_off_download_goes_on_where_it_ended(open_shop, etag):
    shop = open_shop(etag=etag, behaviours=[honest(cut=HALF)])
    assert download(wanted(shop.url), **QUICK).read_bytes() == CONTENT
    assert shop.ranges == [None, f"bytes={HALF}-"]
    assert shop.sent == len(CONTENT)


def test_a_later_run_goes_on_with_what_an_earlier_one_left(open_shop, cache):
    shop = open_shop(behaviours=[honest(cut=HALF), *[status(503)] * 3])
    file = wanted(shop.url)
    assert "answered 503" in refused(file)
    assert (cache / f"{cache_path(file).name}.part").stat().st_size == HALF
    assert download(file, **QUICK).read_bytes() == CONTENT
    assert shop.sent == len(CONTENT)


def test_a_mirror_goes_on_with_what_the_first_server_gave(open_shop):
    first, second = open_shop(behaviours=[honest(cut=HALF), *[status(500)] * 3]), open_shop(etag='"other"')
    assert download(wanted(first.url, second.url), **QUICK).read_bytes() == CONTENT
    assert second.ranges == [f"bytes={HALF}-"]


def test_server_that_ignores_ranges_is_read_from_the_start(open_shop):
    shop = open_shop(behaviours=[honest(cut=HALF), honest(ranges=False)])
    assert download(wanted(shop.url), **QUICK).read_bytes() == CONTENT


def test_server_that_ignores_ranges_and_always_cuts_off_is_given_up(open_shop):
    shop = open_shop(behaviours=[honest(cut=HALF, ranges=False)] * 50)
    message = refused(wanted(shop.url))
    assert f"the connection ended after {HALF:,} of {len(CONTENT):,} bytes" in message
    assert len(shop.ranges) == 3


def test_content_that_changes_between_the_halves_is_fetched_anew(open_shop):
    new = CONTENT[::-1]

    def change(shop, handler, start):
        honest(cut=HALF)(shop, handler, start)
        shop.content, shop.etag = new, '"v2"'

    shop = open_shop(behaviours=[change])
    assert download(wanted(shop.url, content=new), **QUICK).read_bytes() == new
    assert shop.ranges == [None, f"bytes={HALF}-"]  # the server told by the tag, not the hash at the end


def test_content_that_changes_under_one_tag_is_fetched_anew_once_the_hash_tells(open_shop):
    new = CONTENT[::-1]

    def change(shop, handler, start):
        honest(cut=HALF)(shop, handler, start)
        shop.content = new

    shop = open_shop(behaviours=[change])
    assert download(wanted(shop.url, content=new), **QUICK).read_bytes() == new
    assert shop.ranges == [None, f"bytes={HALF}-", None]


def test_without_a_known_hash_halves_of_unknown_versions_are_not_joined(open_shop):
    new = CONTENT[::-1]

    def change(shop, handler, start):
        honest(cut=HALF)(shop, handler, start)
        shop.content = new

    shop = open_shop(etag=None, behaviours=[change])
    file = wanted(shop.url, sha256=None, kind="frozen_graph")
    assert download(file, **QUICK).read_bytes() == new
    assert shop.ranges == [None, None]


def test_wrong_file_is_refused_with_both_hashes_and_not_kept(open_shop, cache):
    shop = open_shop(content=b"something else")
    file = wanted(shop.url)
    message = refused(file)
    assert f"SHA-256 {sha(b'something else')}; expected {sha(CONTENT)}" in message
    assert not any(name.endswith((".part", ".part.json")) for name in left(cache))
    assert len(shop.ranges) == 1


def test_wrong_file_on_one_server_is_taken_from_the_next(open_shop):
    bad, good = open_shop(content=b"something else"), open_shop()
    assert download(wanted(bad.url, good.url), **QUICK).read_bytes() == CONTENT


def test_part_of_another_file_is_fetched_anew(open_shop):
    shop = open_shop()
    file = wanted(shop.url)
    cache_path(file).parent.mkdir(parents=True)
    Path(f"{cache_path(file)}.part").write_bytes(b"x" * 1000)
    Path(f"{cache_path(file)}.part.json").write_text(json.dumps({"url": shop.url, "sha256": file.sha256}))
    assert download(file, **QUICK).read_bytes() == CONTENT
    assert shop.ranges == ["bytes=1000-", None]


@pytest.mark.parametrize("garbage", ["", "{", "[]", '{"url": 3}'])
def test_part_of_unknown_origin_is_dropped(open_shop, garbage):
    shop = open_shop()
    file = wanted(shop.url)
    cache_path(file).parent.mkdir(parents=True)
    Path(f"{cache_path(file)}.part").write_bytes(CONTENT[:HALF])
    Path(f"{cache_path(file)}.part.json").write_text(garbage)
    assert download(file, **QUICK).read_bytes() == CONTENT
    assert shop.ranges == [None]


@pytest.mark.parametrize("lie", [1, 5000])
def test_too_long_a_length_does_not_hide_that_the_file_is_whole(open_shop, lie):
    shop = open_shop(behaviours=[honest(lie=lie, ranges=False)] * 9)
    assert download(wanted(shop.url), **QUICK).read_bytes() == CONTENT
    assert len(shop.ranges) == 1


def test_too_short_a_length_is_found_out(open_shop):
    shop = open_shop(behaviours=[honest(lie=-10)] * 9)
    assert f"expected {sha(CONTENT)}" in refused(wanted(shop.url))


def test_length_other_than_the_known_one_is_refused_before_any_byte_is_taken(open_shop):
    shop = open_shop()
    message = refused(wanted(shop.url, bytes=12))
    assert f"offers {len(CONTENT):,} bytes; expected 12" in message


def test_without_a_length_the_known_size_tells_a_cut(open_shop):
    shop = open_shop(behaviours=[honest(cut=HALF, says_length=False)])
    assert download(wanted(shop.url, bytes=len(CONTENT)), **QUICK).read_bytes() == CONTENT
    assert shop.sent == len(CONTENT)


def test_without_a_length_more_bytes_than_the_file_has_are_not_taken(open_shop):
    shop = open_shop(content=CONTENT * 40, behaviours=[honest(says_length=False)])
    assert f"gave more than {len(CONTENT):,} bytes" in refused(wanted(shop.url, bytes=len(CONTENT)))


def test_part_that_is_whole_already_only_needs_its_hash_checked(open_shop):
    shop = open_shop()
    file = wanted(shop.url)
    cache_path(file).parent.mkdir(parents=True)
    Path(f"{cache_path(file)}.part").write_bytes(CONTENT)
    Path(f"{cache_path(file)}.part.json").write_text(json.dumps({"url": shop.url, "sha256": file.sha256}))
    assert download(file, **QUICK).read_bytes() == CONTENT
    assert shop.sent == 0


def test_416_for_a_part_that_is_too_long_starts_over(open_shop):
    shop = open_shop()
    file = wanted(shop.url)
    cache_path(file).parent.mkdir(parents=True)
    Path(f"{cache_path(file)}.part").write_bytes(CONTENT + b"more")
    Path(f"{cache_path(file)}.part.json").write_text(json.dumps({"url": shop.url, "sha256": file.sha256}))
    assert download(file, **QUICK).read_bytes() == CONTENT
    assert shop.ranges == [f"bytes={len(CONTENT) + 4}-", None]


def test_server_that_answers_416_to_everything_is_given_up(open_shop):
    shop = open_shop(behaviours=[honest(cut=HALF), *[status(416)] * 20])
    assert "answered that the rest does not exist" in refused(wanted(shop.url))
    assert len(shop.ranges) <= 5


def test_another_range_than_was_asked_for_is_not_appended(open_shop):
    def other_range(shop, handler, start):
        head(shop, handler, 206, 10, Content_Range=f"bytes {start + 7}-{start + 16}/{len(shop.content)}")
        shop.send(handler, shop.content[start + 7 : start + 17])

    shop = open_shop(behaviours=[honest(cut=HALF), other_range])
    assert download(wanted(shop.url), **QUICK).read_bytes() == CONTENT
    assert shop.ranges == [None, f"bytes={HALF}-", None]


@pytest.mark.parametrize("code", [500, 502, 503, 429, 408])
def test_passing_trouble_is_tried_again(open_shop, code):
    shop = open_shop(behaviours=[status(code, Retry_After="0"), status(code)])
    assert download(wanted(shop.url), **QUICK).read_bytes() == CONTENT


@pytest.mark.parametrize("code", [401, 403, 404, 410, 304, 204])
def test_refusal_is_not_asked_again(open_shop, code):
    shop = open_shop(behaviours=[status(code)] * 9)
    assert f"answered {code}" in refused(wanted(shop.url))
    assert len(shop.ranges) == 1


def test_link_that_runs_out_on_the_way_is_asked_for_again(open_shop):
    shop = open_shop(behaviours=[honest(cut=HALF), status(403)])
    assert download(wanted(shop.url), **QUICK).read_bytes() == CONTENT
    assert shop.sent == len(CONTENT)


def test_server_that_stalls_is_left_and_asked_for_the_rest(open_shop):
    shop = open_shop(behaviours=[honest(cut=HALF, stall=6.0)])
    start = time.monotonic()
    assert download(wanted(shop.url), timeout=0.2, waits=(0.0,)).read_bytes() == CONTENT
    assert time.monotonic() - start < 2.5
    assert shop.sent == len(CONTENT)


def test_server_that_never_answers_is_given_up(open_shop):
    def silent(shop, handler, start):
        time.sleep(1.0)

    shop = open_shop(behaviours=[silent] * 9)
    assert "no answer within 0.1 seconds" in refused(wanted(shop.url), timeout=0.1, waits=(0.0,))


def drip(handler, data):
    """A byte at a time until the client goes."""
    with suppress(OSError):
        for byte in data:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(0.02)


def drips_body(shop, handler, start):
    head(shop, handler, 200 if not start else 206, len(shop.content) - start, **(
        {"Content_Range": f"bytes {start}-{len(shop.content) - 1}/{len(shop.content)}"} if start else {}
    ))  # fmt: skip
    drip(handler, shop.content[start:])


def drips_without_a_length(shop, handler, start):
    head(shop, handler, 200, None)
    drip(handler, shop.content)


def drips_head(shop, handler, start):
    drip(handler, b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1000)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (drips_body, "bytes a second; expected 1,000"),
        (drips_without_a_length, "bytes a second; expected 1,000"),
        (drips_head, "no answer within 0.15 seconds"),
    ],
)
def test_server_that_drips_is_given_up(open_shop, behaviour, reason):
    shop = open_shop(behaviours=[behaviour] * 9)
    assert reason in refused(wanted(shop.url), timeout=0.15, waits=(0.0,))
    assert len(shop.ranges) == 2


@pytest.mark.parametrize("says_length", [True, False])
def test_file_of_unknown_size_has_a_limit(open_shop, monkeypatch, says_length):
    monkeypatch.setattr(transfer.fetch, "__kwdefaults__", {**transfer.fetch.__kwdefaults__, "most": HALF})
    shop = open_shop(behaviours=[honest(says_length=says_length)] * 9)
    found = f"offers {len(CONTENT):,} bytes; expected at most" if says_length else "gave more than"
    assert f"{found} {HALF:,}" in refused(wanted(shop.url, sha256=None))
    assert len(shop.ranges) == 1


@pytest.mark.parametrize("suffix", [".part", ".part.json", ".part.lock"])
@pytest.mark.parametrize("planted", ["folder", "pipe", "link", "link to nothing"])
def test_what_lies_at_the_names_of_the_part_is_refused_in_one_line(open_shop, tmp_path, suffix, planted):
    mine, shop = tmp_path / "mine", open_shop()
    mine.write_text("precious")
    place = tmp_path / f"net.bin{suffix}"
    {
        "folder": place.mkdir, "pipe": lambda: os.mkfifo(place), "link": lambda: place.symlink_to(mine),
        "link to nothing": lambda: place.symlink_to(tmp_path / "nothing"),
    }[planted]()  # fmt: skip
    with pytest.raises(OutputError, match=f"net.bin{suffix}: .*expected the part of a download, or nothing"):
        download(wanted(shop.url), to=tmp_path / "net.bin", **QUICK)
    assert (mine.read_text(), shop.ranges, (tmp_path / "nothing").exists()) == ("precious", [], False)


@pytest.mark.parametrize(
    "line", [b"HTTP/1.1 404 \x1b[2J\xe2\x80\xae gone\r\n", b"\x1b]0;title\x07 \x9b2J\r\n", b"HTTP/1.1 \x1b[31m OK\r\n"]
)
def test_what_a_server_says_is_printable_and_short(open_shop, line):
    def babble(shop, handler, start):
        handler.wfile.write(line.rstrip() + b"x" * 5000 + b"\r\n\r\n")

    shop = open_shop(behaviours=[babble] * 9)
    message = refused(wanted(shop.url))
    assert message.isprintable()
    assert len(message) < 1500


def test_what_is_no_http_is_refused_in_one_line(open_shop):
    def babble(shop, handler, start):
        handler.wfile.write(b"SSH-2.0-OpenSSH_9\r\n\r\n")

    shop = open_shop(behaviours=[babble] * 9)
    assert "SSH" in refused(wanted(shop.url))


@pytest.mark.parametrize(
    "trouble", [[], [status(404)], [status(410)], [status(401)]], ids=["nobody", "404", "410", "401"]
)
def test_failed_download_leaves_no_lock(open_shop, cache, trouble):
    url = open_shop(behaviours=trouble).url if trouble else "http://127.0.0.1:9/x"
    refused(wanted(url))
    assert [name for name in left(cache) if name.endswith(".lock")] == []


def test_nobody_at_the_address_is_one_line():
    with serving(BaseHTTPRequestHandler) as closed:
        pass
    assert "Connection refused" in refused(wanted(f"{closed}/x"))


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirect_is_followed_and_keeps_the_range(open_shop, code):
    store = open_shop(behaviours=[honest(cut=HALF)])
    door = open_shop(behaviours=[status(code, Location=store.url)] * 2)
    assert download(wanted(door.url), **QUICK).read_bytes() == CONTENT
    assert store.ranges == [None, f"bytes={HALF}-"]


def test_redirect_loop_is_refused(open_shop):
    shop = open_shop()
    shop.behaviours = [status(302, Location=shop.url)] * 50
    assert "redirects without end" in refused(wanted(shop.url))
    assert len(shop.ranges) <= 11


@pytest.mark.parametrize("where", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,hello", "http://[broken/"])
def test_redirect_to_anything_but_http_is_refused(open_shop, where):
    shop = open_shop(behaviours=[status(302, Location=where)] * 9)
    refused(wanted(shop.url))
    assert len(shop.ranges) == 1


def test_redirect_never_leaves_https():
    from urllib.request import Request

    from Activation_Extraction.models.weights.connections import TransferError, _Redirects

    with pytest.raises(TransferError, match=r"redirects to 'http://a\.example/x', which is not followed"):
        _Redirects().redirect_request(Request("https://a.example/"), io.BytesIO(), 302, "", {}, "http://a.example/x")


def test_message_of_a_failed_download_tells_what_to_fetch_and_where_to_put_it(open_shop):
    shop = open_shop(behaviours=[status(404)])
    file = wanted(shop.url, bytes=len(CONTENT))
    message = refused(file)
    for part in (shop.url, f"{len(CONTENT):,} bytes", file.sha256, str(cache_path(file)), "answered 404"):
        assert part in message


def test_file_put_in_the_cache_by_hand_counts_once_its_hash_is_right():
    file = wanted("http://127.0.0.1:9/none")
    assert find_weights(file) is None
    path = Path(how_to_get(file).split("put it at ")[1].split(" or pass")[0])
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert find_weights(file) == path == download(file, **QUICK)


def test_progress_grows_to_the_whole_and_counts_what_was_there(open_shop):
    shop = open_shop(behaviours=[honest(cut=HALF)])
    seen = []
    download(wanted(shop.url), progress=lambda *step: seen.append(step), **QUICK)
    done = [step[1] for step in seen]
    assert done == sorted(done)
    assert seen[-1] == ("net.bin", len(CONTENT), len(CONTENT))


def test_interrupted_download_keeps_its_part(open_shop):
    shop = open_shop()
    file = wanted(shop.url)

    def interrupt(name, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(file, progress=interrupt, **QUICK)
    part = Path(f"{cache_path(file)}.part")
    assert 0 < part.stat().st_size < len(CONTENT)
    assert download(file, **QUICK).read_bytes() == CONTENT
    assert not part.exists()


def test_two_downloads_at_once_fetch_the_file_once(open_shop):
    shop = open_shop(behaviours=[honest(cut=HALF, stall=0.3)])
    paths, seen = [], []

    def run():
        paths.append(download(wanted(shop.url), progress=lambda *step: seen.append(step), timeout=5, waits=(0.0,)))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.read_bytes() == CONTENT for path in paths] == [True] * 3
    assert shop.sent == len(CONTENT)
    assert ("net.bin", HALF, None) in seen  # those that wait see how far the other is


DOWNLOAD = """
import json, sys
from Activation_Extraction.models.weights.cache import download
from Activation_Extraction.models.weights.known import WeightsFile
print(download(WeightsFile(**json.loads(sys.argv[1])), timeout=20, waits=(0, 0)))
"""


def elsewhere(file, before=""):
    """The same download in a process of its own."""
    told = json.dumps({key: getattr(file, key) for key in ("name", "urls", "sha256", "bytes", "kind", "about")})
    return subprocess.Popen(
        [sys.executable, "-c", before + DOWNLOAD, told],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(weights.__file__).parents[3],
    )


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


def test_second_process_waits_for_the_first_and_takes_its_file(open_shop):
    shop = open_shop(behaviours=[honest(cut=HALF, stall=0.3)])
    file = wanted(shop.url)
    part = Path(f"{cache_path(file)}.part")
    with elsewhere(file) as process:
        wait_for(part.exists)
        path = download(file, timeout=20, waits=(0.0,))
        out, _ = process.communicate(timeout=30)
    assert out.strip() == str(path)
    assert path.read_bytes() == CONTENT
    assert shop.sent == len(CONTENT)


def test_killed_download_goes_on_and_fetches_no_byte_twice(open_shop):
    shop = open_shop(behaviours=[honest(cut=HALF, stall=20.0)])
    file = wanted(shop.url)
    part = Path(f"{cache_path(file)}.part")
    with elsewhere(file) as process:
        wait_for(lambda: part.exists() and part.stat().st_size == HALF)
        process.send_signal(signal.SIGKILL)
    assert part.stat().st_size == HALF
    assert find_weights(file) is None
    assert download(file, **QUICK).read_bytes() == CONTENT
    assert (shop.ranges, shop.sent) == ([None, f"bytes={HALF}-"], len(CONTENT))


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX does")
def test_write_that_fails_is_one_line_and_keeps_the_part(open_shop):
    shop = open_shop()
    file = wanted(shop.url)
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({HALF}, {HALF}))\n"
    with elsewhere(file, before=limit) as process:
        _, errors = process.communicate(timeout=30)
    assert "OutputError" in errors.splitlines()[-1]
    assert f"cannot be written (File too large); the {HALF:,} bytes so far are kept" in errors
    assert download(file, **QUICK).read_bytes() == CONTENT


def test_disk_that_is_too_full_is_told_before_the_download(open_shop, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(OutputError, match=f"too full; {len(CONTENT):,} more bytes"):
        download(wanted(open_shop().url), **QUICK)


def test_cache_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "plain").write_text("")
    monkeypatch.setenv("INTERPSCORE_CACHE", str(tmp_path / "plain"))
    with pytest.raises(OutputError, match="is INTERPSCORE_CACHE right"):
        download(wanted("http://127.0.0.1:9/"), **QUICK)


def test_download_to_a_place_of_ones_own(open_shop, tmp_path):
    shop = open_shop()
    file = wanted(shop.url)
    (tmp_path / "stick").mkdir()
    path = download(file, to=tmp_path / "stick", **QUICK)
    assert path == tmp_path / "stick" / "net.bin"
    assert left(path.parent) == ["net.bin"]
    assert download(file, to=path, **QUICK) == path
    assert len(shop.ranges) == 1


def test_another_file_at_a_place_of_ones_own_is_never_overwritten(open_shop, tmp_path):
    mine = tmp_path / "mine.bin"
    mine.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"mine\.bin: exists and is not net\.bin"):
        download(wanted(open_shop().url), to=mine, **QUICK)
    assert mine.read_bytes() == b"mine"


def test_folder_that_does_not_exist_is_refused(open_shop, tmp_path):
    with pytest.raises(OutputError, match=r"the folder .*nowhere does not exist"):
        download(wanted(open_shop().url), to=tmp_path / "nowhere" / "x.bin", **QUICK)


def test_damaged_file_of_the_cache_is_named_and_replaced_by_a_download(open_shop):
    file = wanted(open_shop().url)
    path = download(file, **QUICK)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match=f"{path.name}: SHA-256 {sha(CONTENT[:-1])}; expected {file.sha256}"):
        find_weights(file)
    assert download(file, **QUICK).read_bytes() == CONTENT == find_weights(file).read_bytes()


def test_file_of_the_cache_is_hashed_once(open_shop, monkeypatch):
    file = wanted(open_shop().url)
    path = download(file, **QUICK)
    hashed = []
    monkeypatch.setattr(weights, "_sha256", lambda path: hashed.append(path) or file.sha256)
    assert find_weights(file) == path
    assert hashed == []
    os.utime(path, (1, 1))
    assert (find_weights(file), find_weights(file), hashed) == (path, path, [path])


def test_hash_that_nobody_publishes_is_noted_first_and_checked_ever_after(open_shop):
    shop = open_shop()
    file = wanted(shop.url, sha256=None, kind="frozen_graph")
    assert expected_sha256(file) is None
    path = download(file, **QUICK)
    assert expected_sha256(file) == sha(CONTENT)
    path.unlink()
    shop.content = b"another graph"
    assert f"SHA-256 {sha(b'another graph')}; expected {sha(CONTENT)}" in refused(file)


def test_stated_hash_guards_the_first_download(open_shop):
    shop = open_shop()
    file = wanted(shop.url, sha256=None, kind="frozen_graph")
    refused(file, sha256="0" * 64)
    assert download(file, sha256=sha(CONTENT).upper(), **QUICK).read_bytes() == CONTENT


def test_stated_hash_that_contradicts_the_known_one_is_refused():
    with pytest.raises(InputError, match="its publisher states"):
        download(wanted("http://127.0.0.1:9/"), sha256="0" * 64, **QUICK)
    with pytest.raises(InputError, match="expected 64 hexadecimal digits"):
        download(wanted("http://127.0.0.1:9/"), sha256="abc", **QUICK)


def test_garbled_note_of_a_first_hash_is_not_passed_over(open_shop):
    file = wanted(open_shop().url, sha256=None, kind="frozen_graph")
    path = download(file, **QUICK)
    Path(f"{path}.json").write_text("{}")
    for use in (find_weights, expected_sha256, lambda file: download(file, **QUICK)):
        with pytest.raises(InputError, match="remove it to trust the next download"):
            use(file)
