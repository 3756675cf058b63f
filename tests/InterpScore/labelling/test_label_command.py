"""Guards `interpscore label`: from stores and concepts to labels, a map, and a table of images that did not choose it."""

import contextlib
import io
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from Activation_Extraction.base.commands import run
from Activation_Extraction.base.run_folder import RunFolder
from InterpScore.cli.label import label_app
from InterpScore.cli.score import score_app
from InterpScore.labelling import chance
from InterpScore.labelling.parts import PermutationFolder
from tests.Activation_Extraction import small_stores
from tests.InterpScore.labelling.planted import planted

IMAGES, UNITS = 240, 6
CONCEPTS = [f"c{i % 6}" for i in range(IMAGES)]


def command(app, *arguments, code=0):
    """Runs a command in this process; gives what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stopped:
        run(app, [str(argument) for argument in arguments])
    assert stopped.value.code == code, err.getvalue()
    return out.getvalue() if code in (0, 1) else err.getvalue()


def activations():
    """Unit u fires for concept u, but for the last, which is noise; and a copy of another size for a second layer."""
    a = np.random.default_rng(1).normal(size=(IMAGES, UNITS)).astype(np.float32)
    for unit in range(UNITS - 1):
        a[unit::6, unit] += 3
    return {"layer4": a, "fc": a[:, :3].copy()}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("label")
    images = small_stores.image_set(IMAGES, concept=CONCEPTS)
    small_stores.write(folder / "acts.zarr", activations(), images=images, shard_rows=100)
    names = [f"{i}.png" for i in range(IMAGES)]
    pd.DataFrame({"image": names, "concept": CONCEPTS}).to_csv(folder / "images.csv", index=False)
    return folder


QUICK = ("--resamples", 20)


@pytest.mark.parametrize("source", ["table", "store"])
def test_labels_map_and_table_lead_to_scores_of_images_that_did_not_choose(home, tmp_path, source):
    concepts = ("--concepts", home / "images.csv") if source == "table" else ()
    out = command(
        label_app, home / "acts.zarr", *concepts, "--layer", "layer4", "-o", tmp_path / "labels.parquet", "--map-out",
        tmp_path / "map.json", "--export", f"milan={tmp_path / 'milan.csv'}", *QUICK,
    )  # fmt: skip
    table = pd.read_parquet(tmp_path / "labels.parquet")
    assert table["concept"].tolist()[:5] == [f"c{unit}" for unit in range(5)]
    assert pd.isna(table["concept"][5])
    assert json.loads((tmp_path / "map.json").read_text()) == {str(unit): f"c{unit}" for unit in range(5)}
    document = json.loads((tmp_path / "labels.json").read_text())
    evaluated = pd.read_csv(tmp_path / "map.evaluation.csv")
    assert set(evaluated["image_filename"]) == set(document["signature"]["images"]["tested_on"])
    assert len(evaluated) == IMAGES / 2
    assert "/" not in json.dumps(document["signature"]["inputs"]["stores"][0]["name"])
    assert len(pd.read_csv(tmp_path / "milan.csv")) == 5
    assert "5 of 6 units have a label" in out
    if source == "store":
        return
    said = out.split("not chosen on: interpscore score ")[1].split()
    said[2] = str(tmp_path / "results.csv")
    command(score_app, *said, "--resamples", 0)
    assert len(pd.read_csv(tmp_path / "results.csv")) == 5


def test_units_of_several_layers_are_named_and_adjusted_together(home, tmp_path):
    command(label_app, home / "acts.zarr", "-o", tmp_path / "l.parquet", "--map-out", tmp_path / "m.json", "--map", "all", "--quiet", *QUICK)  # fmt: skip
    table = pd.read_parquet(tmp_path / "l.parquet")
    assert table.groupby("layer", sort=False)["unit"].count().to_dict() == {"layer4": 6, "fc": 3}
    neuron_map = json.loads((tmp_path / "m.json").read_text())
    assert set(neuron_map) == {*(f"layer4:{unit}" for unit in range(5)), *(f"fc:{unit}" for unit in range(3))}


def test_an_image_may_show_several_concepts_in_rows_or_in_a_cell(home, tmp_path):
    rows = pd.read_csv(home / "images.csv")
    more = rows[::6].assign(concept="also")
    pd.concat([rows, more]).to_csv(tmp_path / "rows.csv", index=False)
    rows["concept"] = [f"{c}|also" if i % 6 == 0 else c for i, c in enumerate(rows["concept"])]
    rows.to_csv(tmp_path / "cells.csv", index=False)
    options = ("--images-root", home, "--layer", "layer4", "--quiet", *QUICK)
    command(label_app, home / "acts.zarr", "--concepts", tmp_path / "rows.csv", "-o", tmp_path / "a.parquet", *options)
    command(label_app, home / "acts.zarr", "--concepts", tmp_path / "cells.csv", "--separator", "|", "-o", tmp_path / "b.parquet", *options)  # fmt: skip
    one, other = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in "ab")
    pd.testing.assert_frame_equal(one, other)
    assert {one["concept"][0], one["runners_up"][0][0]["concept"]} == {"c0", "also"}


def with_columns(home, path, **columns):
    pd.read_csv(home / "images.csv").assign(**columns).to_csv(path, index=False)
    return path


def test_levels_and_groups_are_those_of_the_table(home, tmp_path):
    """Images of other levels take no part, but those of sources of the evaluation half are in its table."""
    clean = [f"{i - i % 12 + i % 6}.png" if i % 12 > 5 else "" for i in range(IMAGES)]
    table = with_columns(home, tmp_path / "t.csv", level=[5 if not c else 1 for c in clean], clean_image=clean)
    options = ("--images-root", home, "--layer", "layer4", "--map-out", tmp_path / "m.json", *QUICK)
    out = command(label_app, home / "acts.zarr", "--concepts", table, "-o", tmp_path / "l.parquet", *options)
    assert "120 images of other levels than level 5 take no part" in out
    document = json.loads((tmp_path / "l.json").read_text())
    tested = set(document["signature"]["images"]["tested_on"])
    assert document["signature"]["n"]["images"] == 120
    evaluated = pd.read_csv(tmp_path / "m.evaluation.csv")
    assert tested < set(evaluated["image_filename"])
    assert set(evaluated["clean_image"].dropna()) == tested
    assert sorted(set(evaluated["level"])) == [1, 5]


def test_levels_together_are_grouped_by_source(home, tmp_path, monkeypatch):
    monkeypatch.setattr(chance, "MOST", 2500)
    clean = [f"{i - i % 12 + i % 6}.png" if i % 12 > 5 else "" for i in range(IMAGES)]
    table = with_columns(home, tmp_path / "t.csv", level=[5 if not c else 1 for c in clean], clean_image=clean)
    out = command(label_app, home / "acts.zarr", "--concepts", table, "--levels", "5 1", "--images-root", home, "--layer", "layer4", "-o", tmp_path / "l.parquet", *QUICK)  # fmt: skip
    assert "permutations among groups of equal size" in out
    assert pd.read_parquet(tmp_path / "l.parquet")["permutations"].max() == 2500
    assert not (tmp_path / "l.parquet.parts").exists()


def test_permutations_resume_where_they_were_stopped(home, tmp_path, monkeypatch):
    monkeypatch.setattr(chance, "MOST", 3500)
    study = planted(8, 6, 300, 0.1, 4, shift=3.0)
    groups = np.repeat(np.arange(150), 2)
    from InterpScore.labelling.labels import Study, label_study
    from InterpScore.labelling.options import labelling_options

    whole = Study(np.ascontiguousarray(study.a_IU.T), study.presence, groups, pd.DataFrame({"unit": range(8)}))
    options = labelling_options(resamples=0)
    expected = label_study(whole, options).table
    folder = PermutationFolder(tmp_path / "l.parquet", {"seed": 0})
    keep, kept = RunFolder.keep, []

    def stop(self, part, contents, **more):
        if len(kept) == 5:
            raise KeyboardInterrupt
        kept.append(part)
        keep(self, part, contents, **more)

    monkeypatch.setattr(RunFolder, "keep", stop)
    with pytest.raises(KeyboardInterrupt):
        label_study(whole, options, None, folder)
    computed = []
    monkeypatch.setattr(RunFolder, "keep", lambda self, part, *rest, **more: (computed.append(part), keep(self, part, *rest, **more)))  # fmt: skip
    resumed = label_study(whole, options, None, folder).table
    pd.testing.assert_frame_equal(resumed, expected)
    assert len(computed) == 7 - 5
    with pytest.raises(Exception, match="holds seed '0'; asked for '1'"):
        label_study(whole, options, None, PermutationFolder(tmp_path / "l.parquet", {"seed": 1}))


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 3])
def test_killed_in_the_middle_of_long_permutations_the_command_ends_with_the_same_table(tmp_path, kills):
    """Planted units of grouped images: 100,000 permutations, killed between two of their parts."""
    images = 8_000
    study = planted(64, 20, images, 0.05, 60, shift=2.0)
    shown = [[] for _ in range(images)]
    for c, name in enumerate(study.presence.concepts):
        for image in study.presence.images_of(c):
            shown[image].append(name)
    columns = {"concept": ["|".join(names) for names in shown], "group": [str(i // 2) for i in range(images)]}
    small_stores.write(
        tmp_path / "a.zarr", {"fc": study.a_IU}, images=small_stores.image_set(images, **columns), shard_rows=images
    )
    start = "from Activation_Extraction.base.start import main; main()"

    def begin(name):
        arguments = ["label", "a.zarr", "--separator", "|", "--resamples", "0", "-o", name]
        return subprocess.Popen([sys.executable, "-c", start, *arguments], cwd=tmp_path, stdout=subprocess.DEVNULL)

    assert begin("undisturbed.parquet").wait() == 0
    parts, done = tmp_path / "killed.parquet.parts", 4
    for _ in range(kills):
        run = begin("killed.parquet")
        while len(list(parts.glob("*.npy"))) < done + 3:
            assert run.poll() is None
            time.sleep(0.01)
        run.kill()
        assert run.wait() == -signal.SIGKILL
        done = len(list(parts.glob("*.npy")))
    assert begin("killed.parquet").wait() == 0
    one, other = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("undisturbed", "killed"))
    pd.testing.assert_frame_equal(one, other)
    assert one["permutations"].max() == 100_000


COMMON = ("--layer", "layer4", "--quiet", *QUICK)


@pytest.fixture(scope="module")
def plain(home):
    """The labels without further options, of images of which some show a rare concept."""
    table = with_columns(home, home / "rare.csv", concept=[c if i % 4 else "rare" if i < 100 else "often" for i, c in enumerate(CONCEPTS)])  # fmt: skip
    command(label_app, home / "acts.zarr", "--concepts", table, "-o", home / "plain.parquet", *COMMON)
    return pd.read_parquet(home / "plain.parquet")


@pytest.mark.parametrize(
    ("option", "changes"),
    [
        (("--by", "correlation"), "score"), (("--by", "f1"), "score"), (("--seed", "3"), "n_hits"), (("--adjust", "none"), "p_adjusted"),
        (("--min-p-value", "1e-30"), "concept"), (("--confidence", "0.5"), "score_low"), (("--resamples", "0"), "score_low"),
        (("--split", "none"), "n_images"), (("--min-images", "30"), "runners_up"),
    ],
)  # fmt: skip
def test_every_option_has_an_effect(home, plain, tmp_path, option, changes, monkeypatch):
    monkeypatch.setattr(chance, "MOST", 2500)
    command(label_app, home / "acts.zarr", "--concepts", home / "rare.csv", *COMMON, *option, "-o", tmp_path / "l.parquet")  # fmt: skip
    assert str(pd.read_parquet(tmp_path / "l.parquet")[changes].tolist()) != str(plain[changes].tolist())


def write_store(path, sha256_of):
    """A store of one layer, in which some images have other hashes."""
    a = {"layer4": activations()["layer4"]}
    with small_stores.open_writer(path, a, images=small_stores.image_set(IMAGES, concept=CONCEPTS), shard_rows=IMAGES) as writer:  # fmt: skip
        (shard,) = writer.missing
        sha256 = [sha256_of.get(row, f"{row:064x}") for row in shard.rows]
        writer.commit(shard, a, sha256, [""] * IMAGES)
        writer.finish()
    return path


def other_store(home, tmp_path):
    return write_store(tmp_path / "other.zarr", {5: "f" * 64})


def short_store(home, tmp_path):
    a = {"layer4": activations()["layer4"][:30]}
    small_stores.write(tmp_path / "short.zarr", a, images=small_stores.image_set(30))
    return tmp_path / "short.zarr"


def text(path, content):
    path.write_text(content)
    return path


WRONG = {
    "a concept of one image": (lambda h, t: [h / "acts.zarr", "--concepts", with_columns(h, t / "t.csv", concept=["x", *CONCEPTS[1:]]), "--images-root", h], "concept 'x': one image"),
    "stores of other pictures": (lambda h, t: [h / "acts.zarr", other_store(h, t), "--layer", "layer4"], "expected stores of the same images"),
    "stores of other numbers of images": (lambda h, t: [h / "acts.zarr", short_store(h, t), "--layer", "layer4"], "30 images, and 240 in"),
    "no concept": (lambda h, t: [h / "acts.zarr", "--concepts", with_columns(h, t / "t.csv", concept=""), "--images-root", h], "none of its images has a concept"),
    "no column": (lambda h, t: [h / "acts.zarr", "--concepts", text(t / "t.csv", "image\n0.png\n"), "--images-root", h], "no column 'concept'"),
    "no rows": (lambda h, t: [h / "acts.zarr", "--concepts", text(t / "t.csv", "image,concept\n"), "--images-root", h], "no rows"),
    "no image in common": (lambda h, t: [h / "acts.zarr", "--concepts", text(t / "t.csv", "image,concept\nx.png,a\ny.png,a\n"), "--images-root", h], "none of its 2 images is in"),
    "two levels of an image": (lambda h, t: [h / "acts.zarr", "--concepts", text(t / "t.csv", "image,concept,level\n1.png,a,5\n1.png,b,4\n"), "--images-root", h], "'1.png' has more than one level"),
    "no image of the level": (lambda h, t: [h / "acts.zarr", "--concepts", with_columns(h, t / "t.csv", level=4), "--images-root", h], "no image at level 5; its levels are 4"),
    "levels that are words": (lambda h, t: [h / "acts.zarr", "--levels", "clean"], "--levels: found 'clean'"),
    "an empty list of words": (lambda h, t: [h / "acts.zarr", "--concepts", text(t / "w.txt", "\n\n")], "no words in it"),
    "one word": (lambda h, t: [h / "acts.zarr", "--concepts", text(t / "w.txt", "cat\n")], "1 word in it"),
    "a word twice": (lambda h, t: [h / "acts.zarr", "--concepts", text(t / "w.txt", "cat\ndog\nCat\n")], "line 3: 'Cat' appears twice"),
    "options of words without words": (lambda h, t: [h / "acts.zarr", "--template", "a {word}"], "no words, which --embedding"),
    "a separator for words": (lambda h, t: [h / "acts.zarr", "--concepts", text(t / "w.txt", "cat\ndog\n"), "--separator", "|"], "expected these with image tables"),
    "no such layer": (lambda h, t: [h / "acts.zarr", "--layer", "layer5"], "no layer 'layer5' \\(did you mean 'layer4'"),
    "another layout": (lambda h, t: [h / "acts.zarr", "--export", "invert=a.csv"], "expected clip-dissect=FILE.csv or milan=FILE.csv"),
    "all units without a map": (lambda h, t: [h / "acts.zarr", "--map", "all"], "--map: found all without a map"),
    "soft-wpmi of image labels": (lambda h, t: [h / "acts.zarr", "--by", "soft-wpmi"], "soft-wpmi without words"),
    "over the input": (lambda h, t: [h / "acts.zarr", "--map-out", h / "images.csv", "--concepts", h / "images.csv"], "would overwrite the input"),
    "inside the store": (lambda h, t: [h / "acts.zarr", "--map-out", h / "acts.zarr" / "map.json"], "is inside the store"),
    "the same file twice": (lambda h, t: [h / "acts.zarr", "--map-out", t / "l.json"], "would be written twice"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_input_is_one_line(home, tmp_path, kind):
    make, message = WRONG[kind]
    err = command(label_app, *make(home, tmp_path), "-o", tmp_path / "l.parquet", code=2)
    assert len(err.splitlines()) == 1, err
    import re

    assert re.search(message, err), err
    assert not (tmp_path / "l.parquet").exists()


def test_labels_take_no_other_name_than_parquet(home, tmp_path):
    assert "expected the name of a .parquet file" in command(label_app, home / "acts.zarr", "-o", tmp_path / "l.csv", code=2)  # fmt: skip


def test_images_that_are_missing_are_listed_and_exit_is_1(home, tmp_path):
    rows = pd.read_csv(home / "images.csv")
    pd.concat([rows, pd.DataFrame({"image": ["new.png"], "concept": ["c1"]})]).to_csv(tmp_path / "t.csv", index=False)
    command(label_app, home / "acts.zarr", "--concepts", tmp_path / "t.csv", "--images-root", home, "-o", tmp_path / "l.parquet", *QUICK, code=1)  # fmt: skip
    assert (tmp_path / "l.parquet").exists()


def test_copies_of_a_picture_count_once_with_the_concepts_of_all(tmp_path):
    write_store(tmp_path / "a.zarr", {7: f"{0:064x}"})
    out = command(label_app, tmp_path / "a.zarr", "-o", tmp_path / "l.parquet", *QUICK)
    assert "1 images are byte-identical copies of others" in out
    assert json.loads((tmp_path / "l.json").read_text())["signature"]["n"]["images"] == IMAGES - 1
