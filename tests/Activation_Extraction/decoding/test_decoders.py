"""Guards decoding ahead of a network: right pixels in the right rows, whatever breaks, dies, vanishes or ends early."""

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from Activation_Extraction.base.errors import InputError, InterpScoreError
from Activation_Extraction.clip_helpers import CLIP_MEAN, CLIP_STD, ImageInput, network_input, read_images
from Activation_Extraction.decoding import process as decoding_process
from Activation_Extraction.decoding.decoders import Decoders, default_workers
from Activation_Extraction.images.places import FilePart, ImageError
from Activation_Extraction.images.reading import read_image
from Activation_Extraction.images.sets import image_set

CLIP = ImageInput((20, 24), CLIP_MEAN, CLIP_STD)
ROOT = Path(decoding_process.__file__).parents[2]


def picture(seed, file_format="PNG"):
    values = np.random.default_rng(seed).integers(0, 256, (30 + seed, 41, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, file_format)
    return buffer.getvalue()


WHOLE = {f"{seed}.png": picture(seed) for seed in range(4)} | {
    "4.jpg": picture(4, "JPEG"),
    "5.webp": picture(5, "WEBP"),
}
BROKEN = {"empty.png": b"", "text.jpg": b"text", "cut.png": WHOLE["0.png"][:-40]}
FILES = {**WHOLE, **BROKEN}


@pytest.fixture
def photos(tmp_path):
    return written(tmp_path / "photos", FILES)


def written(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def spans(images, size):
    return [range(start, min(start + size, len(images))) for start in range(0, len(images), size)]


def decoded(images, image_input=CLIP, preset=None, *, batch_size=4, workers=1, **options):
    """Rows of all batches: pixels, hash, error."""
    with Decoders(images, image_input, preset, batch_size=batch_size, workers=workers, **options) as decoders:
        return rows_of(decoders.batches(spans(images, batch_size)))


def rows_of(batches):
    return [
        (batch.pixels_NHWC[i], batch.sha256[i], batch.errors[i]) for batch in batches for i in range(len(batch.rows))
    ]


def check_row(row, data, name, image_input=CLIP, preset=None):
    pixels, sha256, error = row
    assert sha256 == hashlib.sha256(data).hexdigest()
    (expected,) = read_images(data, image_input, preset)
    if isinstance(expected, ImageError):
        assert error == str(ImageError(name, expected.found, expected.expected))
        assert not pixels.any()
    else:
        assert error == ""
        x_NHWC = torch.from_numpy(pixels[None])
        assert torch.equal((network_input(x_NHWC, image_input) if x_NHWC.dtype == torch.uint8 else x_NHWC)[0], expected)


def children(pid=None):
    """Processes that a process started and that are still there."""
    return {child.pid for child in psutil.Process(pid).children()}


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at processes in /proc")


# Pixels and rows ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("decoding_here")
@pytest.mark.parametrize("preset", [pytest.param("clip", marks=pytest.mark.decoding_processes), "published"])
def test_every_kind_of_source_shows_what_prepare_does(photos, tmp_path, preset):
    datasets = pytest.importorskip("datasets")
    records = [{"bytes": data, "path": name} for name, data in FILES.items()]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in FILES:
            tar.add(photos / name, name)
    pq.write_table(pa.table({"image": records}), tmp_path / "a.parquet", row_group_size=5)
    pd.DataFrame({"image": [f"photos/{name}" for name in FILES]}).to_csv(tmp_path / "a.csv", index=False)
    features = datasets.Features(image=datasets.Image())
    datasets.Dataset.from_dict({"image": records}, features=features).save_to_disk(tmp_path / "saved")
    images = image_set([photos, *(tmp_path / name for name in ("a.tar", "a.parquet", "a.csv", "saved"))])
    rows = decoded(images, preset=preset, workers=2)
    assert len(rows) == 5 * len(FILES)
    for row, name in zip(rows, images.table["image"].to_pylist(), strict=True):
        check_row(row, FILES[os.path.basename(name)], name, preset=preset)


@pytest.mark.usefixtures("decoding_here")
@pytest.mark.parametrize(
    "where", ["here", pytest.param("in processes", marks=[pytest.mark.slow, pytest.mark.decoding_processes])]
)
@settings(max_examples=8)
@given(st.data())
def test_rows_match_for_any_order_duplicates_batches_and_broken_images(tmp_path_factory, where, data):
    folder = written(tmp_path_factory.getbasetemp() / "photos", FILES)
    chosen = data.draw(st.lists(st.sampled_from([*FILES, "missing.png"]), min_size=1, max_size=20))
    pd.DataFrame({"image": chosen}).to_csv(folder / "t.csv", index=False)
    images = image_set(folder / "t.csv")
    size = data.draw(st.integers(1, 22))
    cut = sorted(data.draw(st.lists(st.integers(0, len(chosen)), max_size=3)))
    parts = [range(a, b) for a, b in zip([0, *cut], [*cut, len(chosen)], strict=True)]
    asked = [range(i, min(i + size, part.stop)) for part in parts for i in range(part.start, part.stop, size)]
    options = {"workers": data.draw(st.integers(1, 2)), "ahead": data.draw(st.integers(0, 4))}
    with Decoders(images, CLIP, batch_size=size, **options) as decoders:
        batches = list(decoders.batches(iter(asked)))
    assert [batch.rows for batch in batches] == asked
    for batch in batches:
        assert batch.pixels_NHWC.shape == (size, 20, 24, 3)
        assert not batch.pixels_NHWC[len(batch.rows) :].any()
        assert len(batch.errors) == len(batch.sha256) == len(batch.rows)
    for (pixels, sha256, error), name in zip(rows_of(batches), chosen, strict=True):
        if name in FILES:
            check_row((pixels, sha256, error), FILES[name], name)
        else:
            assert (sha256, error[:27], pixels.any()) == (None, "missing.png: no such file; ", False)


@pytest.mark.usefixtures("decoding_here")
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_networks_own_transform_gets_the_image_and_its_floats_pass_through(photos, layout):
    def transform(image):
        x_HWC = torch.tensor(np.asarray(image.resize((24, 20))), dtype=torch.float64) / 7
        return x_HWC.permute(2, 0, 1) if layout == "NCHW" else x_HWC

    own = ImageInput((20, 24), preset="own", layout=layout, transform=transform)
    images = image_set(photos)
    rows = decoded(images, own, workers=2)
    assert {row[0].dtype for row in rows} == {np.dtype("float32")}
    for row, name in zip(rows, images.table["image"].to_pylist(), strict=True):
        check_row(row, FILES[name], name, own)


@pytest.mark.usefixtures("decoding_here")
def test_own_transform_of_another_shape_breaks_rows_and_one_that_fails_the_run(photos):
    images = image_set(photos)
    wrong = ImageInput(5, preset="own", transform=lambda image: torch.zeros(3, 4, 4))
    assert "made the shape (3, 4, 4); expected (3, 5, 5)" in decoded(images, wrong)[0][2]

    def fails(image):
        raise ZeroDivisionError("in the transform")

    with pytest.raises(ZeroDivisionError, match="in the transform"):
        decoded(images, ImageInput(5, preset="own", transform=fails))


def test_wrong_options_are_refused_before_anything_starts(photos):
    with pytest.raises(InputError, match="did you mean 'clip'"):
        Decoders(image_set(photos), CLIP, "clips", batch_size=4)
    for option in ("workers", "batch_size"):
        with pytest.raises(InputError, match=f"{option}: found '0'; expected at least 1"):
            Decoders(image_set(photos), CLIP, **{"batch_size": 4, option: 0})


def test_larger_images_and_files_are_broken(photos, monkeypatch):
    with patched("places.MAX_BYTES = 100", monkeypatch):
        assert f"is a file of {len(WHOLE['0.png']):,} bytes; expected" in decoded(image_set(photos / "0.png"))[0][2]
    assert "expected at most 1,000 pixels" in decoded(image_set(photos / "0.png"), max_pixels=1000)[0][2]


@pytest.mark.usefixtures("decoding_here")
def test_names_that_are_no_text_and_pipes_are_read_or_refused(tmp_path):
    folder = os.fsencode(written(tmp_path / "odd", {}))
    with open(folder + b"/caf\xe9.png", "wb") as file:
        file.write(WHOLE["0.png"])
    os.mkfifo(folder + b"/pipe.png")
    coffee, pipe = decoded(image_set(tmp_path / "odd"))
    check_row(coffee, WHOLE["0.png"], "")
    assert pipe[1:] == (None, str(ImageError("pipe.png", "is a pipe, socket or device", AN_IMAGE)))


AN_IMAGE = "a JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, JPEG 2000 or AVIF image"


# What stops the run -------------------------------------------------------------------------------------------------


def test_folder_that_goes_away_stops_the_run_and_is_named(tmp_path):
    folder = written(tmp_path / "disk" / "photos", {f"{i:03d}.png": WHOLE["0.png"] for i in range(60)})
    written(tmp_path / "other", WHOLE)
    images = image_set(folder)
    with Decoders(images, CLIP, batch_size=4, workers=2) as decoders:
        batches = decoders.batches(spans(images, 4))
        for _ in range(3):
            assert next(batches).errors == [""] * 4
        shutil.rmtree(folder.parent)
        rest = rows_whole_so_far(batches)
        with pytest.raises(InputError, match=f"^{folder.parent}.*: is gone or empty, but was not"):
            list(rest)


def rows_whole_so_far(batches):
    for batch in batches:
        assert not any(batch.errors)
        yield batch


@pytest.mark.usefixtures("decoding_here")
def test_image_that_goes_away_alone_stops_the_run_where_a_folder_held_it(photos):
    images = image_set(photos)
    (photos / "1.png").unlink()
    with pytest.raises(InputError, match=r"1\.png: is gone or empty, but was not when the images were listed"):
        decoded(images)


@pytest.mark.usefixtures("decoding_here")
def test_image_of_a_list_that_is_not_there_is_a_broken_row(photos):
    images = image_set([photos / name for name in ("1.png", "2.png")])
    (photos / "1.png").unlink()
    errors = dict(zip(images.table["image"].to_pylist(), (row[2] for row in decoded(images)), strict=True))
    assert errors["1.png"].startswith("1.png: no such file")
    assert errors["2.png"] == ""


def test_tar_that_became_shorter_stops_the_run(photos, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in WHOLE:
            tar.add(photos / name, name)
    images = image_set(tmp_path / "a.tar")
    os.truncate(tmp_path / "a.tar", 5000)
    with pytest.raises(InputError, match=r"a\.tar: is shorter than when it was listed"):
        decoded(images)


class Elsewhere:
    """An image set whose places are others."""

    def __init__(self, images, where):
        self._images, self._where = images, where

    def __len__(self):
        return len(self._images)

    def __getattr__(self, name):
        return getattr(self._images, name)

    def where(self, row):
        return self._where(row) or self._images.where(row)


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs a file that answers with an I/O error")
def test_disk_that_fails_stops_the_run(photos):
    images = Elsewhere(image_set(photos), lambda row: FilePart("/proc/self/mem", 0, 10) if row == 5 else None)
    with pytest.raises(
        InputError, match=r"/proc/self/mem: cannot be read \(Input/output error\); expected working storage"
    ):
        decoded(images)


def test_permission_denied_is_a_broken_row(photos, monkeypatch):
    images = image_set(photos)
    with patched("def refused(*a): raise PermissionError(13, 'no')\nplaces.open_file = refused", monkeypatch):
        assert decoded(images)[0][1:] == (None, f"0.png: cannot be read (no); expected {AN_IMAGE}")


@pytest.mark.usefixtures("decoding_here")
def test_error_of_the_image_set_reaches_the_reader(photos):
    def fails(row):
        raise InputError("the dataset is gone")

    with pytest.raises(InputError, match="the dataset is gone"):
        decoded(Elsewhere(image_set(photos), fails), workers=3)


# Processes ----------------------------------------------------------------------------------------------------------


@contextmanager
def patched(code, monkeypatch):
    """Runs code in each decoding process before it begins; `worker` is its module."""
    before = "import Activation_Extraction.decoding.worker as worker, Activation_Extraction.images.places as places, os, time\nreal = worker.read_image\n"
    with monkeypatch.context() as context:
        run = decoding_process.WORKER_CODE.replace("main(settings)", f"{before}{code}\nmain(settings)")
        context.setattr(decoding_process, "WORKER_CODE", run)
        yield


DEADLY = """
def deadly(data, **options):
    if data.startswith(b"deadly"):
        os.kill(os.getpid(), 9)
    return real(data, **options)
worker.read_image = deadly
"""


def test_image_on_which_the_decoder_dies_is_broken_and_no_other(photos, monkeypatch):
    written(photos, {"2b.png": b"deadly", "4b.jpg": b"deadly too"})
    images = image_set(photos)
    with patched(DEADLY, monkeypatch):
        rows = decoded(images, workers=2)
    for row, name in zip(rows, images.table["image"].to_pylist(), strict=True):
        if name in FILES:
            check_row(row, FILES[name], name)
        else:
            error = f"{name}: decoding this image crashed twice (signal SIGKILL); expected {AN_IMAGE}"
            assert (row[0].any(), row[1:]) == (False, (None, error))


def test_decoders_that_die_on_everything_stop_the_run(tmp_path, monkeypatch):
    images = image_set(written(tmp_path, {f"{i}.png": b"deadly" for i in range(6)}))
    monkeypatch.setattr("Activation_Extraction.decoding.decoders.CRASH_LIMIT", 2)
    with (
        patched(DEADLY, monkeypatch),
        pytest.raises(InterpScoreError, match=r"crashed on 2 images in a row, the last one .* enough memory"),
    ):
        decoded(images, batch_size=1, ahead=0)


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("every", [60, pytest.param(30, marks=pytest.mark.slow)])
def test_decoders_killed_at_any_time_change_nothing(tmp_path, every):
    images = image_set(written(tmp_path, {f"{i:03d}.png": WHOLE[f"{i % 4}.png"] for i in range(60)}))
    before = children()
    with Decoders(images, CLIP, batch_size=6, workers=2) as decoders:
        for batch in decoders.batches(spans(images, 6)):
            for i, row in enumerate(batch.rows):
                check_row((batch.pixels_NHWC[i], batch.sha256[i], batch.errors[i]), WHOLE[f"{row % 4}.png"], "")
            # What is decoded now is at most three batches ahead, so no image is struck twice.
            for pid in sorted(children() - before) if batch.rows[0] % every == 0 else ():
                os.kill(pid, signal.SIGKILL)


def test_what_a_decoder_prints_gets_into_no_answer(photos, monkeypatch):
    images = image_set(photos / "0.png")
    code = "def loud(*a, **o):\n    os.write(1, b'x' * 99)\n    os.write(2, b'y' * 999)\n    return real(*a, **o)"
    with patched(f"{code}\nworker.read_image = loud", monkeypatch):
        check_row(decoded(images)[0], WHOLE["0.png"], "")


def test_process_that_does_not_start_is_one_line(photos, monkeypatch):
    images = image_set(photos)
    with (
        patched("raise ImportError('no such library')", monkeypatch),
        pytest.raises(InterpScoreError, match=r"^a decoding process does not start \(ImportError: no such library\)$"),
    ):
        decoded(images)


@needs_proc
@pytest.mark.parametrize("ending", ["finished", "abandoned", "failed", "never asked", "in the middle of an image"])
def test_no_process_is_left_however_reading_ends(photos, monkeypatch, ending):
    before = children()
    images = image_set(photos)
    slow = "def slow(*a, **o):\n    time.sleep(60)\nworker.read_image = slow" if ending.startswith("in") else ""
    began = time.monotonic()
    with patched(slow, monkeypatch):
        try:
            with Decoders(images, CLIP, batch_size=2, workers=1 + (ending == "abandoned")) as decoders:
                if ending != "never asked":
                    batches = decoders.batches(spans(images, 2))
                    if slow:
                        time.sleep(0.5)
                    else:
                        next(batches)
                if ending == "finished":
                    list(batches)
                if ending == "failed":
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
    assert children() == before
    assert time.monotonic() - began < 30


def test_interpreter_that_says_something_first_is_no_matter(photos, monkeypatch):
    images = image_set(photos / "0.png")
    with patched("os.write(1, b'welcome\\n' * 3)", monkeypatch):
        check_row(decoded(images)[0], WHOLE["0.png"], "")


@needs_proc
def test_processes_step_back_and_load_no_torch(photos):
    images = image_set(photos)
    before = children()
    with Decoders(images, CLIP, batch_size=2, workers=2, niceness=7) as decoders:
        next(decoders.batches(spans(images, 2)))
        next(decoders.batches(spans(images, 2)))  # all have started by now, or are at their first image
        own = os.getpriority(os.PRIO_PROCESS, 0)
        for pid in children() - before:
            deadline = time.monotonic() + 20
            while os.getpriority(os.PRIO_PROCESS, pid) == own and time.monotonic() < deadline:
                time.sleep(0.01)
            assert os.getpriority(os.PRIO_PROCESS, pid) == own + 7
            maps = Path(f"/proc/{pid}/maps").read_text()
            assert "_imaging" in maps
            assert "torch" not in maps
            assert "arrow" not in maps


def test_iteration_that_is_given_up_leaves_the_decoders_ready_for_the_next(photos):
    images = image_set([photos / name for name in WHOLE])
    with Decoders(images, CLIP, batch_size=2, workers=2) as decoders:
        for _ in range(3):
            batches = decoders.batches(spans(images, 2))
            next(batches)
            batches.close()
        rows = rows_of(decoders.batches(spans(images, 2)))
    for row, data in zip(rows, WHOLE.values(), strict=True):
        check_row(row, data, "")


@pytest.mark.usefixtures("decoding_here")
@pytest.mark.parametrize("ahead", [0, 3])
def test_no_more_is_read_ahead_than_was_asked_for(photos, ahead):
    asked = []
    images = image_set([photos / "0.png"] * 40)
    with Decoders(
        Elsewhere(images, lambda row: asked.append(row)), CLIP, batch_size=3, workers=2, ahead=ahead
    ) as decoders:
        for batch in decoders.batches(spans(images, 3)):
            time.sleep(0.02)
            assert len(asked) <= batch.rows.stop + 3 * ahead
    assert asked == list(range(40))


def test_number_of_processes_is_that_of_the_processors_within_reason():
    assert 1 <= default_workers() <= 8


# Programs -----------------------------------------------------------------------------------------------------------

PROGRAM = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.decoding.decoders import Decoders
from Activation_Extraction.images.sets import image_set
images = image_set(sys.argv[1])
with Decoders(images, ImageInput(20), batch_size=2, workers=2) as decoders:
    for batch in decoders.batches(range(i, i + 1) for i in range(len(images))):
        print(batch.errors, flush=True)
        time.sleep(60)
"""


@contextmanager
def program(script, photos, **options):
    """A program without a main guard that waits once it has its first image, and its decoding processes."""
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-W", "error", script, photos], text=True, **streams, **options) as process:
        try:
            if script == "-":
                process.stdin.write(PROGRAM)
            process.stdin.close()
            assert process.stdout.readline() == "['']\n"
            yield process, children(process.pid)
        finally:
            process.kill()


@pytest.mark.slow
@needs_proc
def test_program_needs_no_main_guard_and_its_processes_end_when_it_is_killed(photos, tmp_path):
    (tmp_path / "script.py").write_text(PROGRAM)
    with program(tmp_path / "script.py", photos, cwd=tmp_path) as (process, workers):
        assert len(workers) == 2
        process.kill()
        process.wait()
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert (process.stdout.read(), process.stderr.read()) == ("", "")


@pytest.mark.slow
@needs_proc
def test_ctrl_c_in_a_program_on_standard_input_leaves_one_traceback_and_no_process(photos):
    with program("-", photos, start_new_session=True) as (process, workers):
        assert len(workers) == 2
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        said = process.stderr.read()
        process.wait()
        assert process.stdout.read() == ""
        assert said.count("Traceback") == 1
        assert said.endswith("KeyboardInterrupt\n")
        assert not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers)


@pytest.mark.usefixtures("decoding_here")
def test_reading_and_decoding_agree_with_reading_alone(photos):
    """What `read_image` says of a file it says of its bytes."""
    rows = decoded(image_set([photos / name for name in BROKEN]))
    for name, (_, _, error) in zip(BROKEN, rows, strict=True):
        with pytest.raises(ImageError) as alone:
            read_image(photos / name, name=name)
        assert error == str(alone.value)


def test_thread_that_waits_for_a_batch_ends_when_the_decoders_do(photos, monkeypatch):
    images = image_set([photos / name for name in WHOLE])
    slow = "def slow(*a, **o):\n    time.sleep(60)\nworker.read_image = slow"
    with patched(slow, monkeypatch), ThreadPoolExecutor(1) as other:
        with Decoders(images, CLIP, batch_size=2, workers=1) as decoders:
            waiting = other.submit(list, decoders.batches(spans(images, 2)))
            time.sleep(0.5)
        assert waiting.exception(timeout=20) is not None
