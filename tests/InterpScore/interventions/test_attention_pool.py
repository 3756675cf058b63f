"""Guards the effect of every unit at once (METRICS.md, section 2): it must be what the attention pool itself gives."""

import copy

import pytest
import torch

from Activation_Extraction import load_model
from Activation_Extraction.models.modified_resnet import AttentionPool2d
from InterpScore import InputError
from InterpScore.interventions.attention_pool import AttentionPoolUpdate

STRENGTHS = [-1.0, -0.5, 0.0, 1.0, 4.0]
"""Scaling by 0, ½, 1, 2 and 5."""


@pytest.fixture
def small():
    """A pool of 24 channels and four heads, and a map that it reads, in float64."""
    torch.manual_seed(1)
    pool = AttentionPool2d(3, 24, 4, 10).double().requires_grad_(False)
    for parameter in pool.parameters():
        parameter.mul_(3)  # attention that is far from even
    return pool, torch.rand(24, 9, dtype=torch.float64)


def all_changes(pool, map_CP, added_UP=None, strengths=STRENGTHS, **options):
    update = AttentionPoolUpdate(pool, **options)
    parts = update.embedding_changes(map_CP, map_CP if added_UP is None else added_UP, strengths)
    return torch.cat([change_SUE for _, change_SUE in parts], 1)


def one_by_one(pool, map_CP, added_UP, directions_UC, strengths=STRENGTHS):
    """The same by a run of the pool for each unit and strength."""
    side = round(map_CP.shape[1] ** 0.5)

    def embedding(x_CP):
        return pool(x_CP.reshape(1, -1, side, side))[0]

    before = embedding(map_CP)
    return torch.stack(
        [
            torch.stack(
                [embedding(map_CP + s * d_C[:, None] * f_P) - before for d_C, f_P in zip(directions_UC, added_UP)]
            )
            for s in strengths
        ]
    )


def relative_error(found, wanted):
    return float(((found - wanted).norm(dim=-1) / wanted.norm(dim=-1).clamp(min=1e-30)).max())


def test_scaling_each_unit_is_what_a_run_of_the_pool_gives(small):
    pool, map_CP = small
    assert relative_error(all_changes(pool, map_CP), one_by_one(pool, map_CP, map_CP, torch.eye(24).double())) < 1e-10


def test_scaling_by_one_changes_nothing(small):
    assert all_changes(*small, strengths=[0.0]).count_nonzero() == 0


def test_chosen_units_are_those_among_all(small):
    pool, map_CP = small
    found = all_changes(pool, map_CP, map_CP[[7, 3]], units=[7, 3])
    assert relative_error(found, all_changes(pool, map_CP)[:, [7, 3]]) < 1e-12


def test_anything_can_be_added_along_any_direction(small):
    pool, map_CP = small
    directions_UC, added_UP = torch.randn(5, 24).double(), torch.randn(5, 9).double()
    found = all_changes(pool, map_CP, added_UP, directions_UC=directions_UC)
    assert relative_error(found, one_by_one(pool, map_CP, added_UP, directions_UC)) < 1e-10


def test_huge_changes_of_attention_stay_exact(small):
    pool, map_CP = small
    strengths = [-1000.0, 300.0]
    found = all_changes(pool, map_CP, strengths=strengths)
    assert relative_error(found, one_by_one(pool, map_CP, map_CP, torch.eye(24).double(), strengths)) < 1e-10


def test_small_change_beside_a_huge_one_keeps_its_digits(small):
    pool, map_CP = small
    map_CP[3] *= 1e-6
    wanted = one_by_one(pool, map_CP, map_CP[[3]], torch.eye(24).double()[[3]], [300.0])
    found = all_changes(copy.deepcopy(pool).float(), map_CP.float(), strengths=[300.0]).double()
    assert relative_error(found[:, [3]], wanted) < 1e-5


def test_unit_without_outgoing_weights_changes_nothing(small):
    pool, map_CP = small
    for layer in (pool.q_proj, pool.k_proj, pool.v_proj):
        layer.weight[:, 5] = 0
    change_SUE = all_changes(pool, map_CP)
    assert change_SUE[:, 5].count_nonzero() == 0
    assert change_SUE[:, 4].count_nonzero() > 0


def test_units_are_taken_in_parts_of_any_size(small, monkeypatch):
    whole = all_changes(*small)
    monkeypatch.setattr("InterpScore.interventions.attention_pool.UNITS_AT_ONCE", 5)
    torch.testing.assert_close(all_changes(*small), whole, rtol=1e-12, atol=0)


def test_pool_is_left_as_it_was(small):
    pool, map_CP = small
    before = copy.deepcopy(pool.state_dict())
    all_changes(pool, map_CP)
    assert all(torch.equal(before[name], value) for name, value in pool.state_dict().items())


@pytest.mark.parametrize("name", ["clip-mini", pytest.param("clip-rn50x4", marks=pytest.mark.slow)])
def test_single_precision_is_that_of_the_pool_in_double(name):
    torch.manual_seed(2)
    pool = load_model(name).image_tower.attnpool if name == "clip-mini" else AttentionPool2d(9, 2560, 40, 640)
    pool.requires_grad_(False)
    side = round((len(pool.positional_embedding) - 1) ** 0.5)
    generator = torch.Generator().manual_seed(0)
    map_CP = torch.rand(pool.k_proj.in_features, side * side, generator=generator)
    units = torch.randperm(len(map_CP), generator=generator)[:3]
    found = all_changes(pool, map_CP, map_CP[units], units=units.tolist()).double()
    exact, map_CP = copy.deepcopy(pool).double(), map_CP.double()
    wanted = one_by_one(exact, map_CP, map_CP[units], torch.eye(len(map_CP)).double()[units])
    assert relative_error(found, wanted) < 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": [0, 24]}, "unit 24: the attention pool has units 0 to 23"),
        ({"units": [-1]}, "unit -1: the attention pool has units 0 to 23"),
        ({"directions_UC": torch.ones(2, 23)}, "directions: found the shape (2, 23); expected (U, 24)"),
        ({"units": [0], "directions_UC": torch.ones(1, 24)}, "units and directions: found both; expected one of them"),
    ],
)
def test_axes_that_the_pool_does_not_have_are_refused(small, options, message):
    with pytest.raises(InputError) as caught:
        AttentionPoolUpdate(small[0], **options)
    assert str(caught.value) == message


def test_arrays_of_another_shape_are_refused(small):
    pool, map_CP = small
    update = AttentionPoolUpdate(pool, units=[3])
    with pytest.raises(InputError, match=r"map: found the shape \(24, 8\); expected \(24, 9\)"):
        update.embedding_changes(map_CP[:, 1:], map_CP[:1, 1:], [1.0])
    with pytest.raises(InputError, match=r"what is added: found the shape \(24, 9\); expected \(1, 9\)"):
        update.embedding_changes(map_CP, map_CP, [1.0])
