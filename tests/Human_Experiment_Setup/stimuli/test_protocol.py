"""Guards protocols: those that come with the package, and one clear line for each thing that is wrong in others."""

import pytest

from Activation_Extraction.base.errors import InputError
from Human_Experiment_Setup.stimuli.protocol import AdversarialLevel, Level, available_protocols, read_protocol

GOOD = """about: two levels
size: 64
levels:
  5: {kind: clean}
  1: {kind: benign, method: gaussian_noise, snr_db: 6}
"""


def problems(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_protocol(path)
    assert all(line.startswith(str(path)) and "\n" not in line for line in caught.value.problems)
    return [line.removeprefix(str(path)).lstrip(",: ") for line in caught.value.problems]


def test_protocols_that_come_along_can_be_read():
    assert {"default", "published", "noise", "exemplars"} <= set(available_protocols())
    for name in available_protocols():
        assert read_protocol(name).name == name


@pytest.mark.parametrize("name", ["default", "published"])
def test_five_levels_have_the_kinds_of_the_study(name):
    kinds = {number: level.kind for number, level in read_protocol(name).levels.items()}
    assert kinds == {5: "clean", 1: "benign", 2: "benign", 3: "adversarial", 4: "synthetic"}


def test_published_has_27_pictures_and_four_renders():
    protocol = read_protocol("published")
    assert (protocol.images_per_concept, protocol.levels[4].images) == (27, 4)


def test_the_clean_level_comes_first_whatever_its_number(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    protocol = read_protocol(path)
    assert (list(protocol.levels), protocol.clean_level, protocol.size) == ([5, 1], 5, 64)


def test_everything_said_is_in_the_dictionary_defaults_included():
    said = read_protocol("default").as_dict()["levels"]["3"]
    assert said["kind"] == "adversarial"
    assert said["prompt"] == AdversarialLevel("unit", "linf", 8).prompt


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("snr_db: 6", "snr_bd: 6"), "levels.1: no such key 'snr_bd' (did you mean 'snr_db'?)"),
        (("size", "sise"), "no such key 'sise' (did you mean 'size'?)"),
        (("snr_db: 6", "snr_db: loud"), "levels.1.snr_db: found 'loud'; expected decibels from -60 to 60"),
        ((", snr_db: 6", ""), "levels.1: found no strength; expected one of snr_db, rms, ssim"),
        (("snr_db: 6", "snr_db: 6, rms: 0.1"), "levels.1: found snr_db and rms; expected one"),
        (("gaussian_noise", "gausian_noise"), "levels.1.method: found 'gausian_noise'; expected one of"),
        (("kind: benign", "kind: bening"), "levels.1.kind: found 'bening'; expected one of adversarial, benign,"),
        (("kind: benign, ", ""), "levels.1: no key 'kind'"),
        (("method: gaussian_noise, ", ""), "levels.1: no key 'method'"),
        (("64", "8"), "size: found '8'; expected a whole number from 32, up to 2,048"),
        (("64", "64\nimages_per_concept: 0"), "images_per_concept: found '0'; expected a whole number from 1"),
        (("  5: {kind: clean}\n", ""), "levels: 0 levels of the kind clean; expected one"),
        (("  1:", "  5:"), "line 5, column 3: not YAML (the key '5' appears twice"),
        (("  1:", "  one:"), "levels: found the key 'one'; expected a valid integer"),
        (("about: two levels\n", ""), "no key 'about'"),
        (("levels:", "levels: ["), "line 5, column 3: not YAML"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place(tmp_path, change, line):
    assert change[0] in GOOD
    found = problems(tmp_path, GOOD.replace(*change))
    assert any(problem.startswith(line) for problem in found), found


@pytest.mark.parametrize(
    ("level", "line"),
    [
        ("kind: adversarial, target: units, norm: linf, radius: 8", "target: found 'units'; expected one of unit, class (did you mean 'unit'?)"),
        ("kind: adversarial, target: unit, norm: linf, radius: 0", "radius: found '0'; expected a number from 1 to 255"),
        ("kind: adversarial, target: unit, norm: linf, radius: 8, steps: 1.5", "steps: found '1.5'; expected a whole number from 1"),
        ("kind: adversarial, target: class, norm: l2, radius: 8, prompt: fire", "prompt: found 'fire'; expected a text with one {} in it"),
        ("kind: exemplar, activation: high", "activation: found 'high'; expected one of most, least"),
        ("kind: synthetic, images: 0", "images: found '0'; expected a whole number from 1"),
        ("kind: clean", "2 levels of the kind clean"),
    ],
)  # fmt: skip
def test_values_that_a_level_cannot_hold_are_told(tmp_path, level, line):
    found = problems(tmp_path, GOOD + f"  3: {{{level}}}\n")
    assert len(found) == 1
    assert line in found[0]


def test_an_unknown_protocol_is_told_with_the_nearest(tmp_path):
    with pytest.raises(InputError, match=r"protocol: found 'defalt' \(did you mean 'default'\?\)"):
        read_protocol("defalt")
    with pytest.raises(InputError, match=r"nowhere\.yaml: no such file"):
        read_protocol(tmp_path / "nowhere.yaml")


def test_every_kind_is_documented():
    assert all(level.__doc__ for level in Level.__subclasses__())
