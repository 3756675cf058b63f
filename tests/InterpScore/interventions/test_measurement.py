"""Guards measured effects of a list of images: each is that of the image alone, whatever is measured with it."""

import numpy as np
import pytest
import torch
from PIL import Image

from InterpScore import InputError
from InterpScore.interventions.edits import ablate, amplify, replace, scale
from InterpScore.interventions.layer import LayerInterventions
from InterpScore.interventions.measurement import (
    Measurement,
    about_measurement,
    default_layer,
    effects_frame,
    prepare_layer,
    text_embeddings,
)
from tests.InterpScore.small_interventions import LAYER, SIDE, UNITS, small_model

KINDS = ("ablation", "amplification", "scale_0.5", "mean_ablation", "resample_ablation")


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def layer(model):
    return LayerInterventions(model, LAYER)


@pytest.fixture(scope="module")
def images():
    """Seven arrays of noise, as `read_image` takes them."""
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for _ in range(7)]


def seen(layer, image):
    x = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32) / 255)
    return next(layer.forward_to_layer(x))


def test_each_kind_is_the_intervention_that_it_names(layer, images):
    measured = list(Measurement(layer, images, KINDS).of(range(7)))
    activation_IUP = torch.stack([seen(layer, image).activation_UP for image in images])
    mean_U1 = activation_IUP.mean((0, 2))[:, None]
    for i, image in enumerate(images):
        made = [ablate(), amplify(), scale(0.5), replace(mean_U1), replace(activation_IUP[(i + 3) % 7])]
        wanted_KU, _ = seen(layer, image).effects(made)
        np.testing.assert_allclose(measured[i].effect_KU, wanted_KU.numpy(), rtol=1e-6)
        np.testing.assert_allclose(measured[i].activation_U, activation_IUP[i].mean(1).numpy(), rtol=1e-6)


def test_an_image_is_measured_alike_alone_and_among_others(layer, images):
    measurement = Measurement(layer, images, KINDS)
    together = list(measurement.of(range(7)))
    for row in (6, 0, 3):
        (alone,) = Measurement(layer, images, KINDS).of([row])
        np.testing.assert_allclose(alone.effect_KU, together[row].effect_KU, rtol=1e-9)


def test_image_that_cannot_be_read_is_nan_and_leaves_the_others_alone(layer, images, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    whole = list(Measurement(layer, images).of(range(7)))
    with_broken = [*images[:2], broken, *images[2:]]
    measured = list(Measurement(layer, with_broken).of(range(8)))
    assert (
        measured[2].error
        == "is text, not an image; expected a JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, JPEG 2000 or AVIF image"
    )
    assert np.isnan(measured[2].effect_KU).all()
    assert np.isnan(measured[2].activation_U).all()
    for one, other in zip(measured[:2] + measured[3:], whole, strict=True):
        np.testing.assert_array_equal(one.effect_KU, other.effect_KU)


def test_broken_image_is_neither_in_the_mean_nor_a_donor(layer, images, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    three = [images[0], broken, images[1]]
    measured = list(Measurement(layer, three, KINDS).of(range(3)))
    a_UP, b_UP = (seen(layer, image).activation_UP for image in images[:2])
    mean_U1 = torch.stack([a_UP, b_UP]).mean((0, 2))[:, None]
    wanted_KU, _ = seen(layer, images[0]).effects([replace(mean_U1), replace(b_UP)])
    np.testing.assert_allclose(measured[0].effect_KU[3:], wanted_KU.numpy(), rtol=1e-6)


def test_resampling_one_image_is_missing_and_not_zero(layer, images):
    (only,) = Measurement(layer, images[:1], KINDS).of([0])
    assert np.isnan(only.effect_KU[4]).all()
    assert np.isfinite(only.effect_KU[:4]).all()


def test_progress_is_told_of_every_image(layer, images):
    told = []
    list(Measurement(layer, images).of(range(5), told.append))
    assert told == [1] * 5


def test_toward_is_how_much_closer_the_text_is_than_without_the_unit(layer, images):
    text_E = torch.randn(5, generator=torch.Generator().manual_seed(1)).double()
    first, second = Measurement(layer, images, texts_E=[text_E, None, *[text_E] * 5]).of([0, 1])
    _, turn_KU = seen(layer, images[0]).effects([ablate()], text_E)
    np.testing.assert_allclose(first.toward_U, -turn_KU[0].numpy(), rtol=1e-5)
    assert np.isnan(second.toward_U).all()


def test_unknown_kind_is_refused(layer, images):
    with pytest.raises(InputError, match="intervention: found 'rotate'"):
        list(Measurement(layer, images, ["rotate"]).of([0]))


def test_table_has_a_column_of_each_kind_and_unit(layer, images):
    measured = list(Measurement(layer, images, KINDS).of(range(2)))
    frame = effects_frame(["a.png", "b.png"], range(UNITS), KINDS, measured)
    assert frame["image_filename"].tolist() == ["a.png", "b.png"]
    assert frame["resample_ablation_effect_4"].tolist() == pytest.approx([one.effect_KU[4, 4] for one in measured])
    assert frame["activation_2"].tolist() == pytest.approx([one.activation_U[2] for one in measured])
    assert frame["toward_effect_0"].isna().all()


def test_units_are_checked_before_anything_runs(model):
    with pytest.raises(InputError, match="unit 6: layer 'first' of small has units 0 to 5"):
        prepare_layer(model, LAYER, [1, 6])


def test_model_without_attention_pool_needs_a_layer(model):
    with pytest.raises(InputError, match="small: no layer given; expected one"):
        default_layer(model)


def test_model_without_text_tower_says_so(model):
    assert text_embeddings(model, ["cat"]) == ({}, "small has no text tower")
    assert text_embeddings(model, []) == ({}, "")


def test_origin_names_model_layer_units_and_interventions(layer):
    about = about_measurement(layer, KINDS)
    assert (about["model"], about["layer"], about["units"]) == ("small", LAYER, "all")
    assert about["interventions"] == list(KINDS)
    assert len(about["provenance"]["state_sha256"]) == 64


def test_grey_pictures_of_any_mode_are_read(layer):
    grey = Image.new("L", (SIDE, SIDE), 128)
    (one,) = Measurement(layer, [grey]).of([0])
    assert one.error == ""
