"""Guards the profile of a layer: every score is that of plain loops over images and pairs, and chance that of permutations."""

import itertools
import re

import numpy as np
import pytest
import scipy.stats

from InterpScore.errors import InputError
from InterpScore.profiles import by_unit
from InterpScore.profiles.layer import PERMUTED, SCORES, layer_profile
from InterpScore.profiles.sources import ArrayLayer

# Plain twins, METRICS.md section 9 ------------------------------------------------------------------------------------


def pair_mean(weights, cosines):
    """Mean cosine over pairs of images, each weighted by the product of both images' weights."""
    weights, cosines = [float(w) for w in weights], dict(np.ndenumerate(cosines))
    pairs = list(itertools.combinations([i for i, w in enumerate(weights) if w], 2))
    total = sum(weights[i] * weights[j] for i, j in pairs)
    return sum(weights[i] * weights[j] * cosines[i, j] for i, j in pairs) / total if 2 * total >= 1e-9 else np.nan


def top_of(a):
    ranked = sorted((-value, i) for i, value in enumerate(a) if value > min(a))
    return [i for _, i in ranked[:16]]


def plain_profile(a_NU, e_ND):
    """Score → one number a unit."""
    a_NU, e_ND = a_NU.astype(float), e_ND.astype(float)
    e_ND = np.array([e / np.sqrt(np.sum(e * e)) for e in e_ND])
    cosines, tops = e_ND @ e_ND.T, [top_of(a) for a in a_NU.T]
    away = [e_ND[top].mean(0) - e_ND.mean(0) if len(top) > 1 else None for top in tops]
    found = {name: [] for name in SCORES}
    for u, a in enumerate(a_NU.T):
        n, width = len(a), a.max() - a.min()
        if width <= 1e-6 * np.abs(a).max():
            for name in SCORES:
                found[name].append(np.nan)
            continue
        scaled, above = (a - a.min()) / width, np.maximum(a - np.quantile(a, 0.99), 0)
        p = scaled / scaled.sum()
        found["MS"].append(pair_mean(scaled, cosines))
        found["MS_top"].append(pair_mean(above / above.max() if above.any() else above, cosines))
        found["clarity"].append(pair_mean([float(i in tops[u]) for i in range(n)], cosines))
        others = [v for v in range(len(tops)) if v != u and len(tops[v]) > 1] if len(tops[u]) > 1 else []
        found["redundancy"].append(max((cosine(away[u], away[v]) for v in others), default=np.nan))
        both = [len({*tops[u]} & {*tops[v]}) / len({*tops[u]} | {*tops[v]}) for v in others]
        found["overlap"].append(max(both, default=np.nan))
        found["sparsity"].append((1 - a.mean() ** 2 / (a**2).mean()) / (1 - 1 / n) if a.min() >= 0 else np.nan)
        found["entropy"].append(-sum(x * np.log(x) for x in p if x > 0) / np.log(n))
        found["kurtosis"].append(scipy.stats.kurtosis(a))
    return found


def cosine(x, y):
    return x @ y / np.sqrt((x @ x) * (y @ y))


def draw(n=120, seed=0):
    """Activations of many kinds, and embeddings in a cone."""
    generator = np.random.default_rng(seed)
    normal = generator.normal(size=(n, 3))
    a_NU = np.column_stack(
        [
            normal,  # negative ones
            np.maximum(normal, 0),
            np.maximum(generator.normal(size=n) - 1.5, 0),  # rarely active
            generator.integers(0, 3, n),  # ties
            50 + 0.01 * normal[:, 0],  # an offset
            np.eye(n)[3],  # one image alone
            np.eye(n)[3] + np.eye(n)[5],  # two
            np.zeros(n),  # dead
            np.full(n, 7.0),  # constant
        ]
    )
    return a_NU, generator.normal(size=(n, 6)) + 0.7


def profiled(a_NU, e_ND, **options):
    return layer_profile(ArrayLayer(a_NU), ArrayLayer(e_ND), **options)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-5)])
@pytest.mark.parametrize("n", [2, 3, 17, 105])
def test_every_score_is_that_of_plain_loops(n, dtype, tolerance):
    a_NU, e_ND = draw(120)
    a_NU, e_ND = a_NU[:n].astype(dtype), e_ND[:n].astype(dtype)
    found, expected = profiled(a_NU, e_ND).score_U, plain_profile(a_NU, e_ND)
    for name in SCORES:
        np.testing.assert_allclose(found[name], expected[name], rtol=tolerance, atol=tolerance, err_msg=name)


def test_blocks_of_units_and_of_images_change_nothing(monkeypatch):
    a_NU, e_ND = draw()
    a_NU = np.hstack([a_NU, np.random.default_rng(1).gamma(1, size=(120, 60))])
    whole = profiled(a_NU, e_ND)
    for name in ("_UNITS_BYTES", "_CACHE_BYTES"):
        monkeypatch.setattr(by_unit, name, 3000)
    monkeypatch.setattr("InterpScore.profiles.sources._ROWS_AT_ONCE", 50)
    monkeypatch.setattr("InterpScore.profiles.neighbours._BLOCK", 7)
    blocked = profiled(a_NU, e_ND)
    for name in SCORES:
        np.testing.assert_allclose(blocked.score_U[name], whole.score_U[name], rtol=1e-12, err_msg=name)
    for name, unit_U in whole.neighbour_U.items():
        assert blocked.neighbour_U[name].tolist() == unit_U.tolist()


def test_clarity_is_that_of_semanticlens():
    # semanticlens 0.2.0: V = torch.sin(torch.arange(30, dtype=torch.float64) ** 2).reshape(2, 5, 3); clarity_score(V)
    expected = [-0.074641569315, -0.059063600191]
    e_ND = np.sin(np.arange(30.0) ** 2).reshape(10, 3)
    a_NU = np.kron(np.eye(2), np.ones((5, 1)))
    np.testing.assert_allclose(profiled(a_NU, e_ND).score_U["clarity"], expected, atol=1e-11)


def test_nearest_neighbours_are_named():
    a_NU = np.random.default_rng(0).gamma(1, size=(200, 6))
    a_NU[:, 4] = 3 * a_NU[:, 1] + 1
    found = profiled(a_NU, np.random.default_rng(1).normal(size=(200, 5)))
    for name in ("redundancy", "overlap"):
        assert (found.neighbour_U[name][1], found.neighbour_U[name][4]) == (4, 1)
        np.testing.assert_allclose(found.score_U[name][[1, 4]], 1)
        assert (found.neighbour_U[name] != np.arange(6)).all()


# Chance ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 4, 5])
def test_chance_and_spread_are_those_of_all_permutations(n):
    generator = np.random.default_rng(n)
    a_NU, e_ND = generator.gamma(1, size=(n, 3)).round(1), generator.normal(size=(n, 4)) + 0.5
    found = profiled(a_NU, e_ND)
    permuted = [profiled(a_NU[list(order)], e_ND) for order in itertools.permutations(range(n))]
    for name in PERMUTED:
        values = np.array([each.score_U[name] for each in permuted])
        has_U = ~np.isnan(values).any(0)
        np.testing.assert_allclose(values.mean(0)[has_U], found.chance, rtol=1e-9)
        np.testing.assert_allclose(values.std(0)[has_U], found.spread_U[name][has_U], rtol=1e-7, atol=1e-9)
    assert np.isfinite(found.spread_U["MS"]).all()


def test_spread_of_many_images_is_that_of_sampled_permutations():
    generator = np.random.default_rng(0)
    a_NU, e_ND = np.repeat(generator.gamma(0.5, size=(400, 1)), 300, axis=1), generator.normal(size=(400, 8)) + 0.3
    found = profiled(a_NU[:, :1], e_ND)
    permuted = profiled(generator.permuted(a_NU, axis=0), e_ND)
    for name in PERMUTED:
        values = permuted.score_U[name]
        assert abs(values.mean() - found.chance) < 4 * found.spread_U[name][0] / np.sqrt(300), name
        assert abs(values.std() / found.spread_U[name][0] - 1) < 0.2, name


def test_a_unit_of_one_cluster_stands_out_in_its_top_alone():
    generator = np.random.default_rng(0)
    direction = generator.normal(size=(2000, 20))
    direction[:20] = 5 + 0.1 * direction[:20]  # a tight cluster of 1%
    a_NU = generator.normal(size=(2000, 2))
    a_NU[:20, 0] += 3
    found = profiled(a_NU, direction)
    above = {name: (found.score_U[name] - found.chance) / found.spread_U[name] for name in PERMUTED}
    assert above["MS_top"][0] > 5
    assert above["clarity"][0] > 5
    assert found.score_U["MS"][0] - found.chance < 0.01
    assert abs(above["MS_top"][1]) < 3


# What is missing ------------------------------------------------------------------------------------------------------


def test_missing_scores_have_their_reason():
    a_NU, e_ND = draw()
    a_NU[7, 0] = np.inf
    found = profiled(a_NU, e_ND)
    missing = {u: {name for name in SCORES if np.isnan(found.score_U[name][u])} for u in range(a_NU.shape[1])}
    for u, names in missing.items():
        said = "; ".join(found.reasons[u])
        assert bool(names) == bool(said)
        assert names == ({*SCORES} if "all scores" in said else {*SCORES} & {*re.findall(r"\w+", said)}), said
        assert all(np.isnan(found.spread_U[name][u]) for name in names & {*PERMUTED})
    assert "not finite on 1 images" in found.reasons[0][0]
    assert found.reasons[-1] == found.reasons[-2] == ["all scores are missing: it is constant"]
    assert "clarity, redundancy and overlap is missing: fewer than two images in its top" in found.reasons[-4]
    assert "sparsity is missing: negative activations" in found.reasons[1]


@pytest.mark.parametrize("damage", ["zero", "nan", "infinite"])
def test_images_without_embedding_are_left_out_and_counted(damage):
    a_NU, e_ND = draw()
    rows = [0, 50, 119]
    e_ND[rows] = {"zero": 0, "nan": np.nan, "infinite": np.inf}[damage]
    found, expected = profiled(a_NU, e_ND), profiled(np.delete(a_NU, rows, 0), np.delete(e_ND, rows, 0))
    assert (found.images, found.excluded) == (117, {"have no embedding (zero or NaN)": 3})
    for name in SCORES:
        np.testing.assert_allclose(found.score_U[name], expected.score_U[name], rtol=1e-12)


def test_images_on_which_every_unit_is_nan_are_left_out_and_counted():
    a_NU, e_ND = draw()
    a_NU[[4, 9]] = np.nan
    a_NU[6, 0] = np.nan  # one unit alone: it is missing, the image is not
    found, expected = profiled(a_NU, e_ND), profiled(np.delete(a_NU, [4, 9], 0), np.delete(e_ND, [4, 9], 0))
    assert (found.images, found.excluded) == (118, {"could not be read": 2})
    np.testing.assert_allclose(found.score_U["MS"], expected.score_U["MS"], rtol=1e-12)
    assert np.isnan(found.score_U["MS"][0])


def test_embeddings_that_are_all_equal_say_nothing_of_units():
    a_NU, _ = draw()
    for dtype in (np.float64, np.float32):
        found = profiled(a_NU.astype(dtype), np.full((120, 6), 0.3, dtype))
        np.testing.assert_allclose([found.chance, found.score_U["MS"][0], found.score_U["clarity"][0]], 1, rtol=1e-6)
        np.testing.assert_allclose(found.spread_U["MS"][:6], 0, atol=1e-5)
        assert np.isnan(found.score_U["redundancy"]).all()


def test_one_image_is_refused():
    with pytest.raises(InputError, match="images: 1 of 2 have activations and an embedding; expected at least two"):
        profiled(np.array([[1.0], [np.nan]]), np.ones((2, 3)))


@pytest.mark.parametrize("factor", [1e-30, 1e-3, 1e30])
def test_scale_changes_nothing(factor):
    a_NU, e_ND = (values.astype(np.float32) for values in draw())
    one, other = profiled(a_NU, e_ND), profiled(a_NU * np.float32(factor), e_ND * np.float32(factor))
    for name in SCORES:
        np.testing.assert_allclose(other.score_U[name], one.score_U[name], rtol=1e-4, atol=1e-4, err_msg=name)
