"""Guards clip-mini: the picture world, the shipped weights, and the training script."""

import dataclasses
import hashlib
import inspect
import json
import math
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import binom, binomtest
from torch.nn import functional as F

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.clip_helpers import prepare
from Activation_Extraction.models import clip_mini
from Activation_Extraction.models.clip_mini import train
from Activation_Extraction.models.clip_mini.world import scenes
from Activation_Extraction.models.clip_mini.world.backgrounds import BACKGROUNDS
from Activation_Extraction.models.clip_mini.world.pen import STYLES
from Activation_Extraction.models.clip_mini.world.scenes import (
    COLOURS,
    CONCEPTS,
    FIXED_COLOURS,
    PLURAL,
    caption,
    draw_scene,
    prompt,
)
from Activation_Extraction.models.registry import load_model
from Activation_Extraction.models.tokenizer import Tokenizer, read_merges

FOLDER = Path(clip_mini.__file__).parent
ROOT = FOLDER.parents[2]
WEIGHTS = FOLDER / "weights.safetensors"
TEMPLATES = ("{}", "a drawing of a red {}", "a large {}", "a picture of the {} at night", "look at the {}", "A {}!")


# The picture world: what is drawn


@contextmanager
def drawn_instead(draw):
    """Every thing drawn by `draw(pen, its own function)`; the chance that scenes are made of stays the same."""
    own = dict(scenes.THINGS)
    try:
        scenes.THINGS.update({name: lambda pen, thing=thing: draw(pen, thing) for name, thing in own.items()})
        yield
    finally:
        scenes.THINGS.update(own)


def changed(scene, other, size=64):
    """Where two scenes differ to the eye, with half a picture of margin on every side: (size, size) of booleans."""

    def wide(one):
        svg = one.svg.replace('viewBox="0 0 100 100"', 'viewBox="-50 -50 200 200"')
        return np.asarray(dataclasses.replace(one, svg=svg, style="flat").render(size)).astype(int)

    return np.abs(wide(scene) - wide(other)).max(2) > 24


def test_world_has_many_nameable_things():
    assert len(set(CONCEPTS)) == len(CONCEPTS) >= 24
    assert set(CONCEPTS) >= {"sailboat", "mushroom", "fire", "droplets", "raised hand", "puppy", "letters", "star"}
    assert set(CONCEPTS) >= {"fish", "house"} | PLURAL | FIXED_COLOURS


@pytest.mark.parametrize(
    "concept", [pytest.param(concept, marks=[pytest.mark.slow] * bool(k % 4)) for k, concept in enumerate(CONCEPTS)]
)
def test_thing_is_seen_inside_the_frame_in_every_style_and_on_every_background(concept):
    visible = []
    # Each style and each background once or twice; over all concepts every pair comes up.
    first = CONCEPTS.index(concept)
    for i, background in enumerate(BACKGROUNDS):
        style = list(STYLES)[(first + i) % len(STYLES)]
        seed = f"{concept}/{style}/{background}"
        scene = draw_scene(Random(seed), [concept], style=style, background=background)
        assert (scene.things, scene.style, scene.background) == ((concept,), style, background)
        with drawn_instead(lambda pen, thing: None):
            empty = draw_scene(Random(seed), [concept], style=style, background=background)
        different = changed(scene, empty)
        inside = different[16:48, 16:48]
        assert inside.mean() > 0.02, seed
        assert inside.sum() > 0.9 * different.sum(), seed
        visible.append(inside.mean())
    assert np.median(visible) > 0.06


@pytest.mark.parametrize("style", STYLES)
def test_pictures_have_the_size_asked_for_in_every_style(style):
    for size in (1, 33, 96):
        image = draw_scene(Random(0), style=style).render(size)
        assert (image.size, image.mode) == ((size, size), "RGB")


def test_pixel_images_are_made_of_squares():
    pixels = np.asarray(draw_scene(Random(0), ["cup"], style="pixels").render(96)).reshape(32, 3, 32, 3, 3)
    assert (pixels == pixels[:, :1, :, :1]).all()


def test_styles_and_backgrounds_are_told_apart():
    styles = {draw_scene(Random(0), ["cup"], style=name, background="sea").render(48).tobytes() for name in STYLES}
    places = {
        draw_scene(Random(0), ["cup"], style="flat", background=name).render(48).tobytes() for name in BACKGROUNDS
    }
    assert (len(styles), len(places)) == (len(STYLES), len(BACKGROUNDS))


# The picture world: chance


def fingerprint(seeds):
    digest = hashlib.sha256()
    for seed in seeds:
        rng = Random(seed)
        scene = draw_scene(rng)
        digest.update(scene.render(64).tobytes() + caption(scene, rng).encode())
    return digest.hexdigest()


def test_same_seed_draws_the_same_picture_in_every_process():
    seeds = [f"same/{i}" for i in range(14)]
    script = f"""
import hashlib
from random import Random
from {scenes.__name__} import caption, draw_scene
{inspect.getsource(fingerprint)}
print(fingerprint({seeds!r}))
"""
    environment = {**os.environ, "PYTHONHASHSEED": "123", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == fingerprint(seeds), done.stderr


def test_other_seeds_draw_other_pictures():
    assert len({draw_scene(Random(seed), ["star"]).render(48).tobytes() for seed in range(30)}) == 30


def test_picture_of_training_depends_on_its_own_seed_alone(monkeypatch):
    # Threads in place of processes, of which each imports torch; the slow tests draw in processes.
    monkeypatch.setattr(train, "ProcessPoolExecutor", lambda workers, context: ThreadPoolExecutor(workers))
    pictures, captions = train.draw_pictures(5, 5)
    for i in (4, 0):  # alone, and in another order
        rng = Random(f"5/{i}")
        scene = draw_scene(rng)
        assert (pictures[i] == np.asarray(scene.render(pictures.shape[1]))).all()
        assert captions[i] == [caption(scene, rng) for _ in captions[i]]
    assert len({picture.tobytes() for picture in pictures}) == 5


def test_two_things_are_in_one_scene_of_four_and_all_things_come_equally_often():
    drawn = [draw_scene(Random(f"share/{i}")).things for i in range(600)]
    assert binomtest(sum(len(things) == 2 for things in drawn), 600, 0.25).pvalue > 1e-4
    assert all(len(set(things)) == len(things) in (1, 2) for things in drawn)
    singles = [things[0] for things in drawn if len(things) == 1]
    assert min(binomtest(singles.count(concept), len(singles), 1 / len(CONCEPTS)).pvalue for concept in CONCEPTS) > 1e-5


def test_both_things_of_a_scene_are_seen_beside_each_other():
    for i in range(12):
        pair = Random(i).sample(CONCEPTS, 2)
        whole = draw_scene(Random(f"pair/{i}"), pair)
        seen = []
        for name in pair:

            def draw(pen, thing, hidden=scenes.THINGS[name]):
                thing(pen)  # takes its share of chance, so that the other thing stays as it is
                if thing is hidden:
                    del pen.elements[1:]

            with drawn_instead(draw):
                seen.append(changed(whole, draw_scene(Random(f"pair/{i}"), pair)))
        first, second = seen
        assert min(first[16:48, 16:48].mean(), second[16:48, 16:48].mean()) > 0.01, i
        assert (first & second).sum() < 0.35 * min(first.sum(), second.sum()), i


# The picture world: words


def parsed(text):
    """The parts of a caption: noun, things as (article, size, colour, name), and where; fails on any other text."""
    name = "|".join(sorted(CONCEPTS, key=len, reverse=True))
    thing = rf"(?:(an?) )?(?:(large|small) )?(?:({'|'.join(COLOURS)}) )?({name})"
    nouns = "|".join({*STYLES.values(), "drawing", "image"})
    where = "|".join(phrase for phrase, _ in BACKGROUNDS.values())
    found = re.fullmatch(rf"(?:(an?) ({nouns}) of )?{thing}(?: and {thing})?(?: ({where}))?", text)
    assert found, text
    groups = found.groups()
    return groups[:2], [part for part in (groups[2:6], groups[6:10]) if part[3]], groups[10]


def test_captions_name_what_is_drawn():
    said = {"noun": set(), "colour": set(), "size": set(), "where": set(), "texts": set()}
    for i in range(500):
        rng = Random(f"captions/{i}")
        scene = draw_scene(rng)
        text = caption(scene, rng)
        (article, noun), things, where = parsed(text)
        assert noun in (None, "picture", "drawing", "image", STYLES[scene.style])
        assert where in (None, BACKGROUNDS[scene.background][0])
        assert tuple(name for *_, name in things) == scene.things
        for (_, size, colour, name), drawn, large in zip(things, scene.colours, scene.large, strict=True):
            assert colour in (None, drawn)
            assert colour is None or name not in FIXED_COLOURS, text
            assert size in (None, "large" if large else "small")
            said["colour"].add((name, colour))
            said["size"].add(size)
        counted = [(an, size or colour or name) for an, size, colour, name in things if name not in PLURAL | {"fire"}]
        for an, word in [(article, noun), *counted]:
            assert word is None or an == ("an" if word[0] in "aeiou" else "a"), text
        assert not any(an for an, *_, name in things if name in PLURAL | {"fire"}), text
        said["noun"].add(noun)
        said["where"].add(where)
        said["texts"].add(text)
    assert said["noun"] == {None, "drawing", "image", *STYLES.values()}
    assert said["where"] == {None, *(phrase for phrase, _ in BACKGROUNDS.values())}
    assert said["size"] == {None, "large", "small"}
    assert {colour for _, colour in said["colour"]} == {None, *COLOURS}
    assert {name for name, colour in said["colour"] if colour} == set(CONCEPTS) - FIXED_COLOURS
    assert len(said["texts"]) > 300


def test_things_are_drawn_in_the_colour_that_captions_name():
    found = 0
    for concept in sorted(set(CONCEPTS) - FIXED_COLOURS):
        for i in range(5):
            mains = []
            with drawn_instead(lambda pen, thing, mains=mains: (mains.append(pen.main), thing(pen))):
                scene = draw_scene(Random(f"{concept}/{i}"), [concept], style="flat")
            (colour,), (main,) = scene.colours, mains
            assert main in COLOURS[colour]
            found += main in scene.svg
    assert found / (5 * len(set(CONCEPTS) - FIXED_COLOURS)) > 0.95  # a few trees are bare, some draw tints only


@pytest.mark.parametrize("concept", sorted(FIXED_COLOURS))
def test_things_of_fixed_colours_hardly_change_with_the_colour_of_the_pen(concept):
    for seed in range(20):
        drawn = []
        for colour in ("#2b7fc4", "#57a773", None):

            def draw(pen, thing, colour=colour):
                pen.main = colour or pen.main
                thing(pen)
                if colour is None:
                    del pen.elements[1:]

            with drawn_instead(draw):
                drawn.append(draw_scene(Random(seed), [concept], style="flat", background="plain"))
        blue, green, empty = drawn
        assert changed(blue, green).sum() < 0.3 * changed(blue, empty).sum()  # a sleeve


def test_prompts_name_each_concept_alone():
    assert prompt("umbrella") == "a picture of an umbrella"
    assert prompt("letters") == "a picture of letters"
    assert prompt("fire") == "a picture of fire"
    assert [parsed(prompt(concept))[1][0][1:] for concept in CONCEPTS] == [
        (None, None, concept) for concept in CONCEPTS
    ]


# The shipped weights


@pytest.fixture(scope="module")
def model():
    return load_model("clip-mini", threads=1)  # one thread is quick enough, also where others work


@pytest.fixture(scope="module")
def card():
    return json.loads((FOLDER / "training.json").read_text(encoding="utf-8"))


def images_of(model, drawn, size=96):
    batch = torch.stack([prepare(scene.render(size), model.image_input) for scene in drawn])
    with torch.inference_mode():
        return F.normalize(model.encode_image(batch), dim=1)


def texts_of(model, texts):
    with torch.inference_mode():
        return F.normalize(model.encode_text(texts), dim=1)


EACH = 10


@pytest.fixture(scope="module")
def fresh(model):
    """Embeddings of pictures that training never saw, (concept, picture, E), and their scenes."""
    drawn = [[draw_scene(Random(f"test/{concept}/{i}"), [concept]) for i in range(EACH)] for concept in CONCEPTS]
    return torch.stack([images_of(model, row) for row in drawn]), drawn


def right(images_CPE, texts_CE):
    """For each picture whether its concept's text is the nearest one, (concept, picture)."""
    return (images_CPE @ texts_CE.T).argmax(2) == torch.arange(len(CONCEPTS))[:, None]


def test_weights_are_small():
    assert WEIGHTS.stat().st_size <= 6_000_000


def test_model_by_name_has_exactly_these_weights(model):
    stored = load_file(WEIGHTS)
    loaded = model.module.state_dict()
    assert set(stored) == set(loaded)
    for name, tensor in stored.items():
        assert torch.equal(tensor.to(loaded[name].dtype), loaded[name]), name
    assert model.provenance["weights_sha256"] == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()


@pytest.mark.slow
def test_fresh_pictures_are_named_right_by_the_text_tower(model, fresh, card):
    hits_CP = right(fresh[0], texts_of(model, [prompt(concept) for concept in CONCEPTS]))
    accuracy = hits_CP.double().mean().item()
    assert accuracy >= 0.9
    # Of 10 pictures chance names a third of one right; 5 or more happen once in 100,000.
    assert binom.sf(4, EACH, 1 / len(CONCEPTS)) < 1e-5
    assert {CONCEPTS[i] for i, hits in enumerate(hits_CP) if hits.sum() < 5} == set()
    assert set(card["accuracy_of_concept"]) == set(CONCEPTS)
    stated = card["zero_shot_accuracy"]
    assert stated == pytest.approx(np.mean(list(card["accuracy_of_concept"].values())))
    error = math.sqrt(stated * (1 - stated) * (1 / hits_CP.numel() + 1 / (40 * len(CONCEPTS))))
    assert abs(accuracy - stated) < 4 * error


def test_pictures_of_another_size_are_named_right(model):
    drawn = [[draw_scene(Random(f"size/{concept}/{i}"), [concept]) for i in range(1)] for concept in CONCEPTS]
    images = torch.stack([images_of(model, row, size=200) for row in drawn])
    assert right(images, texts_of(model, [prompt(concept) for concept in CONCEPTS])).double().mean() >= 0.9


@pytest.mark.parametrize("template", TEMPLATES)
def test_other_wordings_match_as_well(model, fresh, template):
    texts = texts_of(model, [template.format(concept) for concept in CONCEPTS])
    assert right(fresh[0], texts).double().mean() >= 0.9


def test_colour_words_match_the_colour_that_is_drawn(model, fresh):
    hits = 0
    total = 0
    for concept, images_PE, drawn in zip(CONCEPTS, *fresh, strict=True):
        if concept not in FIXED_COLOURS:
            texts = texts_of(model, [f"a {colour} {concept}" for colour in COLOURS])
            named = [list(COLOURS)[i] for i in (images_PE @ texts.T).argmax(1)]
            hits += sum(name == scene.colours[0] for name, scene in zip(named, drawn, strict=True))
            total += len(drawn)
    assert hits / total > 0.5  # chance is one in ten


def test_both_things_of_a_scene_are_the_two_that_match_best(model):
    rng = Random("two things")
    drawn = [draw_scene(rng, rng.sample(CONCEPTS, 2)) for _ in range(30)]
    best = (images_of(model, drawn) @ texts_of(model, [prompt(concept) for concept in CONCEPTS]).T).topk(2).indices
    both = sum({CONCEPTS[i] for i in row} == set(scene.things) for row, scene in zip(best.tolist(), drawn, strict=True))
    one = sum(CONCEPTS[row[0]] in scene.things for row, scene in zip(best.tolist(), drawn, strict=True))
    chance = 1 / math.comb(len(CONCEPTS), 2)
    assert binomtest(both, len(drawn), chance, alternative="greater").pvalue < 1e-12
    assert one / len(drawn) > 0.6


# Training


def train_in(folder, *options, **environment):
    command = [sys.executable, "-m", train.__name__, "--out", str(folder), *map(str, options)]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)


@pytest.mark.slow
def test_training_for_a_minute_learns(tmp_path):
    done = train_in(tmp_path, "--pictures", 4000, "--steps", 400, "--batch", 64, "--rate", 0.001)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))
    assert result["recipe"] == {"pictures": 4000, "steps": 400, "batch": 64, "rate": 0.001, "decay": 0.05, "seed": 1}
    chance = math.log(64)
    assert result["losses"][0] < chance + 0.3
    assert result["losses"][-1] < chance - 0.3
    pictures = 40 * len(CONCEPTS)
    hits = round(result["zero_shot_accuracy"] * pictures)
    assert binomtest(hits, pictures, 1 / len(CONCEPTS), alternative="greater").pvalue < 1e-4
    model = load_model("clip-mini", weights=tmp_path / "weights.safetensors")
    assert Tokenizer(read_merges(tmp_path / "vocabulary.txt")).vocab_size <= model.module.config.vocab_size
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "training.json",
        "vocabulary.txt",
        "weights.safetensors",
    ]


INTERRUPTED = """
# Trains a little, with a checkpoint at step 50; notes each step in a file, and kills itself at the step it is told.
import os, signal, sys
from pathlib import Path
from Activation_Extraction.models.clip_mini import train

def counted(model, images, tokens, loss=train.contrastive_loss):
    with open(out / "steps", "a") as steps:
        steps.write(".")
    if (out / "steps").stat().st_size == die_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return loss(model, images, tokens)

if __name__ == "__main__":
    out, die_at, rate = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    out.mkdir(exist_ok=True)
    train._CHECKPOINT_STEPS = 50
    train.contrastive_loss = counted
    train.zero_shot_accuracy = lambda *_, **__: {"nothing": 0.0}  # training is what is looked at here
    train.train(train.Recipe(pictures=40, steps=70, batch=4, rate=rate), out)
"""


@pytest.mark.slow
def test_killed_training_goes_on_from_its_checkpoint_to_the_same_weights(tmp_path):
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED, encoding="utf-8")

    def run(folder, die_at, rate=0.002):
        command = [sys.executable, str(script), str(tmp_path / folder), str(die_at), str(rate)]
        # One thread: sums of floats come in one order.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        return done.returncode, len((tmp_path / folder / "steps").read_text())

    def files(folder):
        names = ("weights.safetensors", "vocabulary.txt")
        losses = json.loads((tmp_path / folder / "training.json").read_text(encoding="utf-8"))["losses"]
        return [(tmp_path / folder / name).read_bytes() for name in names], losses

    assert run("whole", 0) == (0, 70)
    assert run("killed", 60) == (-signal.SIGKILL, 60)
    assert (tmp_path / "killed" / "checkpoint.pt").is_file()
    assert not (tmp_path / "killed" / "weights.safetensors").exists()
    assert run("killed", 0) == (0, 60 + 20)  # steps 51 to 70
    assert files("killed") == files("whole")
    assert not (tmp_path / "killed" / "checkpoint.pt").exists()
    # What another recipe left behind is no start.
    assert run("other", 60) == (-signal.SIGKILL, 60)
    assert run("other", 0, rate=0.001) == (0, 60 + 70)
    assert files("other")[0][0] != files("whole")[0][0]


def test_loss_is_the_cross_entropy_over_pairs_with_equal_captions_shared():
    torch.manual_seed(0)
    logits = torch.randn(4, 4)
    tokens = torch.tensor([[5, 1, 9, 0], [5, 2, 9, 0], [5, 1, 9, 0], [5, 3, 9, 0]])  # the first and the third are equal
    loss = train.contrastive_loss(lambda images, texts: (logits, logits.T), torch.zeros(4), tokens)
    match = {0: (0, 2), 1: (1,), 2: (0, 2), 3: (3,)}
    expected = 0.0
    for scores in (logits.double(), logits.double().T):
        for i, row in enumerate(scores):
            weights = [math.exp(value) for value in row]
            expected -= sum(math.log(weights[j] / sum(weights)) for j in match[i]) / len(match[i]) / 4 / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_learning_rate_warms_up_and_falls_to_nothing():
    rates = [train._rate(step, 1000) for step in range(1001)]
    assert rates[0] == 0
    assert max(rates) == rates[50] == 1
    assert rates[1000] == pytest.approx(0)
    assert rates[:51] == sorted(rates[:51])
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert [train._rate(step, 1) for step in (0, 1)] == [0, 1]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--batch", 0, "batches of 0; expected at least 1"),
        ("--steps", -1, "-1 steps, batches of 256; expected at least 1"),
        ("--pictures", 255, "255 pictures; expected at least one batch, 256"),
        ("--batch", "many", "invalid int value: 'many'"),
    ],
)
def test_recipe_that_cannot_be_trained_is_refused_in_one_line(tmp_path, capsys, monkeypatch, option, value, message):
    monkeypatch.setattr(sys, "argv", ["train", "--out", str(tmp_path / "out"), option, str(value)])
    with pytest.raises(SystemExit, match="2"):
        train.main()
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_recipe_from_python_is_checked_too():
    with pytest.raises(InputError, match="recipe: 0 pictures"):
        train.Recipe(pictures=0)
