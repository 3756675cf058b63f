"""Guards statistics of units: those of the parts together are those of the whole, and exact where they say so."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from Activation_Extraction.store import saved_statistics
from Activation_Extraction.store.unit_statistics import UnitStatistics, histogram_edges

MODEST = st.floats(-1e6, 1e6, width=32) | st.just(np.nan)
ANY = st.floats(width=32)
FEW = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, np.nan])  # many equal ones


def arrays(values, most_units=4):
    return st.tuples(st.integers(1, 40), st.integers(1, most_units)).flatmap(
        lambda shape: hnp.arrays(np.float32, shape, elements=values)
    )


def whole(a_NU, first_row, k):
    """The same, one unit after the other, by plain NumPy."""
    found = []
    for a_N in a_NU.T:
        there = np.flatnonzero(~np.isnan(a_N))
        a_n = a_N[there].astype(np.float64)
        order = there[np.argsort(-a_n, kind="stable")][:k]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of nothing, and of infinite values
            found.append(
                {
                    "count": len(a_n),
                    "mean": np.mean(a_n),
                    "variance": np.var(a_n, ddof=1) if len(a_n) > 1 else np.nan,
                    "minimum": a_n.min(initial=np.inf) if len(a_n) else np.nan,
                    "maximum": a_n.max(initial=-np.inf) if len(a_n) else np.nan,
                    "sparsity": np.mean(a_n <= 0),
                    "top_image": np.pad(order + first_row, (0, k - len(order)), constant_values=-1),
                    "top_activation": np.pad(a_N[order], (0, k - len(order)), constant_values=np.nan),
                }
            )
    return found


def in_parts(a_NU, cuts, first_row, k):
    bounds = sorted({0, len(a_NU), *(cut % (len(a_NU) + 1) for cut in cuts)})
    statistics = None
    for start, stop in pairwise(bounds):
        part = UnitStatistics.of(a_NU[start:stop], first_row + start, k)
        statistics = part if statistics is None else statistics.merged(part)
    return statistics


@given(arrays(MODEST) | arrays(FEW), st.lists(st.integers(0, 40), max_size=5), st.integers(0, 10**9), st.integers(1, 9))
def test_of_any_parts_they_are_those_of_the_whole(a_NU, cuts, first_row, k):
    statistics = in_parts(a_NU, cuts, first_row, k)
    for u, expected in enumerate(whole(a_NU, first_row, k)):
        scale = np.nanmax(np.abs(a_NU[:, u]), initial=0).astype(np.float64)
        assert statistics.count_U[u] == expected["count"]
        np.testing.assert_allclose(statistics.mean_U[u], expected["mean"], rtol=1e-12, atol=1e-14 * scale)
        np.testing.assert_allclose(statistics.variance_U[u], expected["variance"], rtol=1e-9, atol=1e-14 * scale**2)
        for name in ("minimum", "maximum"):
            np.testing.assert_array_equal(getattr(statistics, f"{name}_U")[u], np.float32(expected[name]))
        np.testing.assert_array_equal(statistics.sparsity_U[u], expected["sparsity"])
        assert statistics.top_image_UK[u].tolist() == expected["top_image"].tolist()
        np.testing.assert_array_equal(statistics.top_activation_UK[u], expected["top_activation"])


@given(arrays(ANY), st.lists(st.integers(0, 40), max_size=4), st.integers(1, 5))
def test_any_number_even_an_infinite_one_has_its_rank_and_its_bin(a_NU, cuts, k):
    statistics = in_parts(a_NU, cuts, 0, k)
    for u, expected in enumerate(whole(a_NU, 0, k)):
        assert statistics.top_image_UK[u].tolist() == expected["top_image"].tolist()
        assert statistics.histogram_UB[u].sum() == expected["count"]
    assert [statistics.minimum_U.tolist(), statistics.maximum_U.tolist()] == [
        pytest.approx(np.array([unit[name] for unit in whole(a_NU, 0, k)], np.float32).tolist(), nan_ok=True, rel=0)
        for name in ("minimum", "maximum")
    ]


@given(arrays(ANY, most_units=1))
def test_each_number_lies_between_the_edges_of_its_bin(a_NU):
    edges = histogram_edges()
    for value in a_NU[~np.isnan(a_NU)]:
        (here,) = np.flatnonzero(UnitStatistics.of(np.array([[value]]), 0, 1).histogram_UB[0])
        low, high = edges[here : here + 2]
        zero = low < 0 < high
        inside = low < value < high if zero else (low <= value < high or value == high == np.inf)
        assert inside if value >= 0 or zero else (low < value <= high or value == low == -np.inf)


def test_bins_are_a_quarter_of_their_values_wide_at_most():
    edges = histogram_edges()
    positive = edges[(edges > 0) & np.isfinite(edges)]
    assert (positive[0], positive[-1]) == (2.0**-16, 2.0**16)
    assert (np.diff(positive) / positive[:-1]).max() <= 0.25
    np.testing.assert_array_equal(edges, -edges[::-1])


def test_histograms_are_those_of_numpy():
    generator = np.random.default_rng(0)
    a_NU = (generator.standard_normal((2000, 3)) * 2.0 ** generator.integers(-20, 20, (2000, 3))).astype(np.float32)
    edges = histogram_edges()
    for u, found in enumerate(UnitStatistics.of(a_NU, 0, 1).histogram_UB):
        positive, middle = a_NU[:, u] >= 2.0**-16, len(found) // 2
        expected, _ = np.histogram(a_NU[positive, u], edges[middle + 1 :])
        np.testing.assert_array_equal(found[middle + 1 :], expected)
        expected, _ = np.histogram(-a_NU[a_NU[:, u] <= -(2.0**-16), u], edges[middle + 1 :])
        np.testing.assert_array_equal(found[:middle][::-1], expected)


def test_parts_far_from_zero_keep_their_variance():
    a_NU = (1e6 + np.random.default_rng(0).standard_normal((5000, 1))).astype(np.float32)
    found = in_parts(a_NU, range(0, 5000, 7), 0, 1).variance_U
    np.testing.assert_allclose(found, a_NU.astype(np.float64).var(0, ddof=1), rtol=1e-9)


def test_the_order_in_memory_changes_nothing():
    a_NU = np.random.default_rng(0).standard_normal((500, 20)).astype(np.float32)
    one, other = UnitStatistics.of(a_NU, 0, 5), UnitStatistics.of(np.asfortranarray(a_NU), 0, 5)
    for name, values in one.arrays().items():
        np.testing.assert_array_equal(values, other.arrays()[name])


def test_arrays_go_there_and_back():
    statistics = UnitStatistics.of(np.float32([[1, np.nan], [0, np.nan]]), 7, 3)
    back = UnitStatistics.from_arrays(statistics.arrays())
    for name, values in statistics.arrays().items():
        np.testing.assert_array_equal(values, back.arrays()[name])


@pytest.mark.parametrize(("images", "units"), [(1, 1), (40, 3), (300, 129)])
def test_they_are_saved_as_the_files_that_zarr_writes(tmp_path, images, units):
    zarr = pytest.importorskip("zarr")
    a_NU = np.random.default_rng(units).standard_normal((images, units)).astype(np.float32)
    statistics = UnitStatistics.of(a_NU, 0, 9)
    zarr.open_group(tmp_path / "ours", mode="w", zarr_format=3)
    saved_statistics.write_arrays(tmp_path / "ours", "layer", statistics)
    group = zarr.open_group(tmp_path / "zarrs", mode="w", zarr_format=3).create_group(
        saved_statistics.group_name("layer")
    )
    for name, (dimension_names, values_of) in saved_statistics._ARRAYS.items():
        values = values_of(statistics)
        group.create_array(
            name, shape=values.shape, dtype=values.dtype, chunks=values.shape, dimension_names=dimension_names,
            fill_value=float("nan") if values.dtype.kind == "f" else 0, config={"write_empty_chunks": True},
        )[...] = values  # fmt: skip
    for file in saved_statistics.files_of_arrays(["layer"]):
        assert (tmp_path / "ours" / file).read_bytes() == (tmp_path / "zarrs" / file).read_bytes(), file
