"""Guards which row of a store an image of a table is: by its whole name, or with folders in front, and never by a guess."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from InterpScore.errors import InputError
from InterpScore.tables.image_names import rows_of_images


def rows(images, stored):
    return rows_of_images(images, stored, "data.csv", "acts.zarr").tolist()


FOUND = {
    "the same name": (["b.png", "a.png"], ["a.png", "b.png"], [1, 0]),
    "folders in the store": (["fire_clean_7.jpg"], ["cat/cat_clean_7.jpg", "fire/fire_clean_7.jpg"], [1]),
    "folders in the table": (["Images/x/a.png"], ["y/a.png", "x/a.png"], [1]),
    "the longest ending": (["Images/x/a.png"], ["a.png", "x/a.png"], [1]),
    "the same name before one with folders": (["a.png"], ["x/a.png", "a.png", "y/a.png"], [1]),
    "the first of several rows": (["a.png", "b.png"], ["b.png", "a.png", "x/b.png", "a.png"], [1, 0]),
    "the first of several rows in a folder": (["a.png"], ["x/a.png", "x/a.png"], [0]),
    "whole parts alone": (["7.png", "b.png"], ["fire_7.png", "b.png"], [-1, 1]),
    "absolute, with backslashes and dots": (["/data/x/a.png", "x\\b.png", "./c.png"], ["x/a.png", "x/b.png", "c.png"], [0, 1, 2]),
    "accents coded in two ways": (["cafe\u0301.png"], ["caf\u00e9.png"], [0]),
    "another folder": (["cat/1.png", "dog/2.png"], ["dog/1.png", "dog/2.png"], [-1, 1]),
    "a row that has another image's name": (["1.png", "cat/1.png"], ["1.png"], [0, -1]),
}  # fmt: skip


@pytest.mark.parametrize(("images", "stored", "expected"), FOUND.values(), ids=FOUND)
def test_an_image_is_found_by_its_name(images, stored, expected):
    assert rows(images, stored) == expected


def test_a_name_that_fits_two_images_of_the_store_is_refused_with_both():
    with pytest.raises(InputError) as refused:
        rows(["a.png", "c.png", "b.png"], ["x/a.png", "y/a.png", "z/a.png", "x/c.png", "y/c.png", "b.png"])
    assert refused.value.problems == [
        "data.csv: image 'a.png' may be 'x/a.png' or 'y/a.png' of acts.zarr; "
        "expected names with enough of their folders to tell them apart (and 1 more like it)"
    ]


def test_two_images_of_the_table_that_fit_one_of_the_store_are_refused():
    with pytest.raises(InputError, match=r"image '1.png' of acts.zarr may be 'cat/1.png' or 'dog/1.png'"):
        rows(["cat/1.png", "dog/1.png"], ["1.png"])


def test_one_that_is_there_by_name_does_not_settle_an_ambiguous_one():
    with pytest.raises(InputError, match=r"'a.png' may be 'x/a.png' or 'y/a.png'"):
        rows(["x/a.png", "a.png"], ["x/a.png", "y/a.png"])


def test_none_found_shows_a_name_of_either_side():
    with pytest.raises(InputError) as refused:
        rows(["cat.png", "dog.png"], ["n01.jpg"])
    assert refused.value.problems == [
        "data.csv: none of its 2 images is in acts.zarr; the table has names such as 'cat.png', acts.zarr 'n01.jpg'; "
        "expected the same names, up to folders in front"
    ]


NAMES = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join)


@given(st.lists(NAMES, min_size=1, max_size=6, unique=True), st.lists(NAMES, min_size=1, max_size=8))
def test_what_is_found_is_what_comparing_every_pair_finds(images, stored):
    first = list(dict.fromkeys(stored))
    fits = {}
    for name in images:
        below = [other for other in first if other.endswith(f"/{name}")]
        above = sorted((other for other in first if name.endswith(f"/{other}")), key=len)[-1:]
        fits[name] = [name] if name in first else below or above
    taken = set(images) & set(first)
    found = {name: [fit for fit in of if fit == name or fit not in taken] for name, of in fits.items()}
    claimed = [fit for of in found.values() for fit in of]
    if any(len(of) > 1 for of in fits.values()) or len(set(claimed)) < len(claimed) or not claimed:
        with pytest.raises(InputError):
            rows(images, stored)
    else:
        assert rows(images, stored) == [stored.index(found[name][0]) if found[name] else -1 for name in images]
