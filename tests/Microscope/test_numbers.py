"""Guards the numbers of a bundle: each is computed again, plainly, from the store."""

from base64 import b64decode

import numpy as np
import pytest

from Activation_Extraction.base.files import as_json
from Activation_Extraction.base.run_folder import RunFolder
from Activation_Extraction.store.maps import FOLDER, IDENTITY, as_part, in_steps, maps_identity
from Activation_Extraction.store.reader import ActivationStore
from InterpScore.pairs import formulas
from Microscope.bundle.evidence.maps import as_heat
from Microscope.bundle.similarity import NEAREST
from tests.Microscope.small_bundles import OPTIONS, build, five, read, small_home

UNITS = [0, 2, 4, 5, 17]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return small_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def made(home, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "b"
    build(home, out)
    return read(out)


@pytest.fixture(params=UNITS)
def unit(request):
    return request.param


def seen(home, unit):
    """Rows that were read, and their activations."""
    rows = np.flatnonzero(np.isfinite(home.a_NU[:, unit]))
    return rows, home.a_NU[rows, unit].astype(float)


def row_of(tile):
    return int(tile.image.rpartition("/")[2].removesuffix(".png"))


def percentile(a, value):
    return 100 * (sum(a < value) + sum(a == value) / 2) / len(a)


def test_histogram_counts_all_images_between_the_extremes(home, made, unit):
    _, a = seen(home, unit)
    counts = [0] * 64
    for value in a:
        place = int((value - a.min()) / (a.max() - a.min()) * 64) if a.max() > a.min() else 0
        counts[min(place, 63)] += 1
    found = made.unit(unit)
    assert found.histogram == counts
    assert (found.minimum, found.maximum) == (five(a.min()), five(a.max()))
    assert found.mean == five(a.mean())
    assert found.inactive == five(np.mean(a <= 0))
    assert found.unreadable == 2


def test_top_pictures_are_the_highest_of_all_images_with_percentiles_of_all(home, made, unit):
    rows, a = seen(home, unit)
    best = sorted(zip(-a, rows, strict=True))[: OPTIONS.top]
    found = made.unit(unit).top
    assert [row_of(tile) for tile in found] == [row for _, row in best]
    assert [tile.activation for tile in found] == [five(-value) for value, _ in best]
    assert [tile.percentile for tile in found] == [five(percentile(a, -value)) for value, _ in best]
    assert [tile.concept for tile in found] == [home.concepts[row] for _, row in best]


def test_strata_are_of_ranges_of_quantiles_from_the_lowest_to_the_highest(home, made, unit):
    _, a = seen(home, unit)
    strata, ordered, n = made.unit(unit).strata, sorted(a), len(a)
    assert len(strata) == OPTIONS.strata
    for s, stratum in enumerate(strata):
        inside = ordered[n * s // OPTIONS.strata : n * (s + 1) // OPTIONS.strata]
        assert (stratum.low, stratum.high) == (five(inside[0]), five(inside[-1]))
        assert len({tile.image for tile in stratum.tiles}) == OPTIONS.per_stratum
        for tile in stratum.tiles:
            value = home.a_NU[row_of(tile), unit]
            assert inside[0] <= value <= inside[-1]
            assert (tile.activation, tile.percentile) == (five(value), five(percentile(a, value)))


def test_pictures_of_equal_activation_are_drawn_whatever_their_rows(tmp_path):
    a_NU = np.zeros((400, 40), np.float32)
    a_NU[:100] = 1 + np.arange(100)[:, None]
    made_of = small_home(tmp_path, a_NU, broken=())
    build(made_of, tmp_path / "b")
    lowest = [row_of(tile) for unit in range(40) for tile in read(tmp_path / "b").unit(unit).strata[0].tiles]
    assert 200 < np.mean(lowest) < 300  # of rows 100 to 399
    assert len(set(lowest)) > 40


def test_neighbours_edges_and_redundant_pairs_are_of_correlations_over_all_images(home, made):
    rows = np.flatnonzero(np.isfinite(home.a_NU[:, 0]))
    alive = [u for u in range(40) if u not in (4, 5)]
    r = dict(zip(alive, np.corrcoef(home.a_NU[np.ix_(rows, alive)].astype(float).T), strict=True))
    at = {u: i for i, u in enumerate(alive)}
    for unit in (0, 2, 17):
        similar = made.unit(unit).similar
        others = sorted((-r[unit][at[v]], v) for v in alive if v != unit)[:NEAREST]
        assert [n.unit for n in similar.correlation] == [v for _, v in others]
        assert [n.value for n in similar.correlation] == pytest.approx([-value for value, _ in others], abs=2e-5)
        inside = sorted(v for _, v in others)
        pairs = {(v, w): r[v][at[w]] for v in inside for w in inside if v < w}
        above = {pair for pair, value in pairs.items() if value > made.layer.nulls["correlation"].pairs_95}
        assert {(v, w) for v, w, _ in similar.edges} == above
    assert made.unit(2).similar.correlation[0].unit == 3
    assert made.unit(4).similar.correlation == []
    assert made.layer.statistics["redundant"] == 1
    (pair,) = [one.units for one in made.layer.notable if "redundant" in one.why]
    assert pair == [2, 3]


def test_chance_of_a_correlation_is_that_of_permuted_activations(home, made):
    a_NU = home.a_NU[np.isfinite(home.a_NU[:, 0])].astype(float)
    alive = np.delete(a_NU, [4, 5], axis=1)
    pairs, nearest = [], []
    for seed in range(20):
        generator = np.random.default_rng(seed + 100)
        r = np.corrcoef(np.stack([generator.permutation(column) for column in alive.T]))
        pairs.append(np.quantile(np.abs(r[np.triu_indices(38, 1)]), 0.95))
        np.fill_diagonal(r, -1)
        nearest.append(np.quantile(r.max(1), 0.95))
    null = made.layer.nulls["correlation"]
    assert min(pairs) * 0.95 < null.pairs_95 < max(pairs) * 1.05
    assert min(nearest) * 0.9 < null.nearest_95 < max(nearest) * 1.1


def test_permuted_activations_have_similarities_at_the_null(tmp_path):
    generator = np.random.default_rng(5)
    a_NU = np.stack([generator.permutation(np.linspace(0, 3, 300) ** 2) for _ in range(60)], 1).astype(np.float32)
    build(small_home(tmp_path, a_NU, broken=()), tmp_path / "b")
    found = read(tmp_path / "b")
    nearest = np.array([found.unit(u).similar.correlation[0].value for u in range(60)])
    null = found.layer.nulls["correlation"]
    assert np.mean(nearest > null.nearest_95) < 0.2
    assert np.mean([len(found.unit(u).similar.edges) for u in range(60)]) < 0.1 * NEAREST * (NEAREST - 1) / 2


def test_concepts_are_ranked_by_auprc_above_chance_on_all_images(home, made):
    rows = np.flatnonzero(np.isfinite(home.a_NU[:, 0]))
    shows = np.array([home.concepts[row] == "concept 0" for row in rows])
    entry = next(one for one in made.concepts.concepts if one.name == "concept 0")
    assert entry.images == shows.sum()
    assert entry.units[0] == 0
    top = formulas.top_count(len(rows), int(shows.sum()))
    for unit, score in zip(entry.units, entry.score, strict=True):
        a = home.a_NU[rows, unit]
        if len(set(np.sort(a)[::-1][top - 1 : top + 1])) == 2:  # no tie at the end of the top
            hits = shows[np.argsort(-a)[:top]].sum()
            expected = formulas.auprc(hits, shows.sum(), top, len(rows)) - formulas.auprc_at_chance(len(rows), shows.sum(), top)  # fmt: skip
            assert score == pytest.approx(expected, abs=1e-5)
    assert not {4, 5} & {unit for one in made.concepts.concepts for unit in one.units}


def test_values_of_the_index_and_of_the_layer_are_those_of_its_units(home, made):
    a_NU = home.a_NU[np.isfinite(home.a_NU[:, 0])].astype(float)
    columns = made.numbers.columns
    assert columns["maximum"] == [five(value) for value in a_NU.max(0)]
    assert columns["mean"] == [five(value) for value in a_NU.mean(0)]
    assert columns["deviation"] == pytest.approx(a_NU.std(0, ddof=1), rel=1e-4, abs=1e-6)
    assert columns["inactive"] == [five(value) for value in (a_NU <= 0).mean(0)]
    assert [u for u, value in enumerate(columns["dead"]) if value] == [4]
    assert [u for u, value in enumerate(columns["constant"]) if value] == [4, 5]
    assert columns["nearest_correlation"][2] == made.unit(2).similar.correlation[0].value
    assert made.layer.statistics["dead"] == 1
    assert made.layer.statistics["unreadable_images"] == 2
    assert set(columns) <= set(made.layer.columns)
    assert all(made.layer.columns[name].meaning for name in columns)


def test_units_that_correlate_lie_near_each_other_on_the_map(tmp_path):
    generator = np.random.default_rng(3)
    common = generator.normal(size=(200, 3))
    a_NU = (common[:, np.arange(60) % 3] + 0.4 * generator.normal(size=(200, 60))).astype(np.float32)
    build(small_home(tmp_path, a_NU, broken=()), tmp_path / "b")
    place = read(tmp_path / "b").numbers.map
    xy = np.stack([place["x"], place["y"]], 1).astype(float)
    assert xy.min() == 0
    assert xy.max() == 1
    far = np.linalg.norm(xy[:, None] - xy, axis=2)
    same = np.arange(60)[:, None] % 3 == np.arange(60) % 3
    np.fill_diagonal(far, np.nan)
    assert np.nanmax(np.where(same, far, np.nan)) < np.nanmin(np.where(same, np.nan, far))


def test_heat_is_the_map_of_the_store_on_each_top_picture_that_has_one(tmp_path):
    home = small_home(tmp_path)
    store = ActivationStore.open(home.store)
    rows_UK = store.statistics("layer4").top_image_UK[:, :2]
    map_UK23 = np.random.default_rng(0).normal(1, 2, (*rows_UK.shape, 2, 3)).astype(np.float32)
    unit_M, rank_M = map(np.ravel, np.indices(rows_UK.shape))
    part = {"unit": unit_M, "rank": rank_M, "row": rows_UK.ravel(), **in_steps(map_UK23.reshape(-1, 2, 3))}
    with RunFolder(home.store / FOLDER, {}) as folder:
        folder.write(IDENTITY, as_json(maps_identity(store, 2) | {"parts": 1}))
        folder.keep("0", {"0.npz": as_part({"layer4": part})})
    build(home, tmp_path / "bundle")
    made = read(tmp_path / "bundle")
    for unit in (0, 9):
        tiles = {row_of(tile): tile for tile in made.unit(unit).top}
        assert {row for row, tile in tiles.items() if tile.heat} == set(rows_UK[unit].tolist())
        for rank, row in enumerate(rows_UK[unit].tolist()):
            wanted = np.clip(map_UK23[unit, rank] / map_UK23[unit, rank].max(), 0, 1) * 255
            heat = np.frombuffer(b64decode(tiles[row].heat), np.uint8).reshape(tiles[row].heat_shape)
            np.testing.assert_allclose(heat, wanted, atol=2)
    assert "heat" not in made.layer.not_measured


@pytest.mark.parametrize(
    ("map_hw", "steps"),
    [([[0, 2], [-3, 1]], [0, 255, 0, 128]), ([[-1, -2]], [0, 0]), ([[0.0]], [0]), ([[5]], [255])],
)
def test_heat_is_relative_to_the_largest_activation_in_the_picture(map_hw, steps):
    heat, shape = as_heat(np.array(map_hw, np.float32))
    assert (list(b64decode(heat)), shape) == (steps, np.shape(map_hw))


def test_fine_maps_are_averaged():
    fine = np.kron(np.arange(12 * 24).reshape(12, 24), np.ones((4, 4))).astype(np.float32)
    heat, shape = as_heat(fine)
    assert shape == (12, 24)
    np.testing.assert_allclose(list(b64decode(heat)), np.arange(12 * 24) / (12 * 24 - 1) * 255, atol=1)
