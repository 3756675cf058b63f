"""Guards the one way in which units are written: what a text names, and one line for what names nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.models.units import Unit, layer_of_units, parse_units

LAYERS = ("layer4.5", "image_block_4/5/Relu_2", "relu#2", "layer4")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("3, 0:2,5+1,1", ["3", "0", "1", "5+1"]),
        ("3 0:2  5+1", ["3", "0", "1", "5+1"]),
        (":", ["0", "1", "2", "3", "4", "5"]),
        (":2 4:", ["0", "1", "4", "5"]),
        ("layer4.5:3,layer4.5:0:2,relu#2::1", ["3", "0", "1"]),
    ],
)
def test_units_are_numbers_ranges_and_joint_units_of_a_layer(text, names):
    assert [unit.name for unit in parse_units(text, 6)] == names


@given(
    st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=3).map(tuple), min_size=1),
    st.sampled_from([",", " ", ", "]),
    st.sampled_from(["", *(f"{layer}:" for layer in LAYERS)]),
)
def test_names_of_units_are_read_back_once_each(units, separator, layer):
    text = separator.join(layer + Unit(channels).name for channels in units)
    assert [unit.channels for unit in parse_units(text, 100)] == list(dict.fromkeys(units))
    assert layer_of_units(text, None, str) == (layer[:-1] or None)


@pytest.mark.parametrize(
    "text", ["6", "0:7", "3:3", "a", "", "1+", "1+9", "-1", "1,,2", "layer4:", "layer4:x", "1:2:3", "٣"]
)
def test_what_names_no_units_is_refused_in_one_line(text):
    with pytest.raises(InputError, match=r"^units: found .*; expected .*$") as caught:
        parse_units(text, 6)
    assert len(caught.value.problems) == 1


def test_layer_is_the_one_that_was_given_or_that_units_name():
    canonical = {"block_4": "layer4", "layer4": "layer4", "layer3": "layer3"}.__getitem__
    assert layer_of_units("5", None, canonical) is None
    assert layer_of_units("5", "block_4", canonical) == "layer4"
    assert layer_of_units("layer4:5 9", "block_4", canonical) == "layer4"
    with pytest.raises(InputError, match="units: found units of layer4 and of layer3; expected units of one layer"):
        layer_of_units("block_4:5,layer3:5", None, canonical)
