"""Guards the pictures of a study: only real pictures of the folder are served, and what is wrong with a table is said."""

import pandas as pd
import pytest
from PIL import Image

from Activation_Extraction.base.errors import InputError
from Human_Experiment_Setup.study.stimuli_table import fingerprint_of, read_stimuli
from tests.Human_Experiment_Setup.study.small_study import write_stimuli


def test_pictures_of_the_chosen_levels_in_order_with_their_base(tmp_path):
    found = read_stimuli(write_stimuli(tmp_path), [1])
    assert [each.level for each in found] == [1] * 8
    assert found[0].image == "fire_0_level1.png"
    assert found[0].clean_image == "fire_0_level5.png"


def test_a_picture_without_a_base_is_its_own(tmp_path):
    write_stimuli(tmp_path)
    pd.read_csv(tmp_path / "images.csv").drop(columns="clean_image").to_csv(tmp_path / "images.csv", index=False)
    assert all(each.clean_image == each.image for each in read_stimuli(tmp_path, [5, 1]))


def test_other_bytes_are_other_stimuli(tmp_path):
    before = fingerprint_of(read_stimuli(write_stimuli(tmp_path), [5]))
    Image.new("RGB", (8, 8), "red").save(tmp_path / "fire_0_level5.png")
    assert fingerprint_of(read_stimuli(tmp_path, [5])) != before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "images.csv").unlink(), "no such image table"),
        (lambda folder: (folder / "fire_0_level5.png").unlink(), "fire_0_level5.png: no such file"),
        (lambda folder: (folder / "fire_0_level5.png").write_text("<svg/>"), "no picture that browsers show"),
        (lambda folder: table(folder, level="x"), "column 'level', row 2: found 'x'; expected a whole number"),
        (lambda folder: table(folder, concept=""), "column 'concept', row 2: is empty"),
        (lambda folder: table(folder, drop="concept"), "column 'concept': the column is missing"),
        (lambda folder: table(folder, image="../outside.png"), "is outside the folder"),
        (lambda folder: link(folder), "is a link"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, change, said):
    folder = write_stimuli(tmp_path / "stimuli")
    Image.new("RGB", (8, 8)).save(tmp_path / "outside.png")
    change(folder)
    with pytest.raises(InputError, match=said):
        read_stimuli(folder, [5, 1])


def test_a_level_without_pictures_is_refused(tmp_path):
    with pytest.raises(InputError, match="no picture of level 3; it has the levels 1, 5"):
        read_stimuli(write_stimuli(tmp_path), [5, 3])


def table(folder, drop=None, **first_row):
    frame = pd.read_csv(folder / "images.csv", dtype=str)
    for name, value in first_row.items():
        frame.loc[0, name] = value
    frame.drop(columns=[drop] if drop else []).to_csv(folder / "images.csv", index=False)


def link(folder):
    (folder / "fire_0_level5.png").unlink()
    (folder / "fire_0_level5.png").symlink_to(folder.parent / "outside.png")
