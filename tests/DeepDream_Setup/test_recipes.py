"""Guards recipes: the ones that come along are right, and a mistake in one of one's own is one clear line."""

import pytest

from DeepDream_Setup.recipes import Recipe, known_recipes, read_recipe
from DeepDream_Setup.transforms import Transforms
from InterpScore import InputError


@pytest.fixture
def written(tmp_path):
    def write(text):
        (tmp_path / "mine.yaml").write_text(text)
        return str(tmp_path / "mine.yaml")

    return write


def test_recipes_that_come_along_are_read():
    assert known_recipes() == ["microscope", "paper", "study"]
    paper, study = read_recipe("paper"), read_recipe("study")
    assert (paper.steps, paper.size) == (4096, 256)
    assert "facet" in paper.objective
    assert study.starts == ("grey", "perlin", "gradient", "structured_noise")


def test_recipe_of_ones_own_is_read_with_defaults(written):
    found = read_recipe(written("steps: 12\ntransforms: {jitter: 3, scale: [0.9, 1.1]}\nobjective: {neuron: 2}\n"))
    assert found == Recipe(steps=12, transforms=Transforms(jitter=3, scale=(0.9, 1.1)), objective={"neuron": 2.0})
    assert found.reading == "neuron"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz: 12", r": no such key 'stepz' \(did you mean 'steps'\?\)"),
        ("transforms: {jiter: 3}", r", transforms: no such key 'jiter' \(did you mean 'jitter'\?\)"),
        ("objective: {channel: 1, difersity: 1}", r"objective: no such key 'difersity' \(did you mean 'diversity'\?\)"),
        (
            "objective: {diversity: 1}",
            "objective: found .*; expected terms .*, exactly one of them channel, neuron or cosine",
        ),
        ("objective: {channel: 1, neuron: 1}", "expected terms .*, exactly one of them channel, neuron or cosine"),
        ("objective: {channel: much}", "objective.channel: found 'much'; expected a number"),
        ("objective: {channel: .inf}", "objective.channel: found 'inf'; expected a number"),
        ("objective: channel", "objective: found 'channel'; expected terms and their weights"),
        ("steps: 0", "steps: found '0'; expected a whole number from 1"),
        ("steps: 1.5", "steps: found '1.5'; expected a whole number"),
        ("steps: true", "steps: found 'True'; expected a whole number"),
        ("size: 1.5", "size: found '1.5'; expected pixels from 8 to 4,096, or a share such as 0.5"),
        ("learning_rate: -1", "learning_rate: found '-1'; expected a number above 0"),
        (
            "parametrization: fourer",
            r"found 'fourer'; expected one of pixel, fourier, maco \(did you mean 'fourier'\?\)",
        ),
        ("starts: grey", r"starts: found 'grey'; expected a list of up to 100 such as \[grey, perlin\]"),
        ("starts: []", r"starts: found '\[\]'; expected a list of up to 100 such as \[grey, perlin\]"),
        ("transforms: {scale: 2}", "transforms.scale: found '2'; expected two numbers"),
        ("transforms: {scale: [2, 1]}", r"scale: found '\[2, 1\]'; expected two numbers .* the smaller first"),
        ("transforms: {crop: [0, 1]}", r"crop: found '\[0, 1\]'; expected two numbers .* from 0.001"),
        ("facet_layer: 3", "facet_layer: found '3'; expected the name of a layer"),
        ("steps: [", "not YAML"),
        ("steps: 1\nsteps: 2", "not YAML .the key 'steps' appears twice"),
        ("just words", "found 'just words'; expected keys and values: parametrization, objective, steps"),
    ],
)
def test_mistake_is_one_line_that_names_it(written, text, message):
    path = written(text)
    with pytest.raises(InputError, match=message) as raised:
        read_recipe(path)
    assert len(raised.value.problems) == 1
    assert str(raised.value).startswith(path)
    assert "\n" not in str(raised.value)


def test_unknown_recipe_is_told_with_those_there_are():
    with pytest.raises(
        InputError,
        match=r"recipe: found 'microscop' .did you mean 'microscope'.*; expected one of microscope, paper, study, or a",
    ):
        read_recipe("microscop")
