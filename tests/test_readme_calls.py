"""Guards the documented calls: each block below runs as it is written, from a clone with its root on `PYTHONPATH`."""

import json
import os
import subprocess
import sys
import warnings
from io import StringIO
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest

import InterpScore

ROOT = Path(InterpScore.__file__).parents[1]

METRICS = """
from InterpScore.selectivity import calculate_selectivity_score
from InterpScore.causality import calculate_causality_score
from InterpScore.robustness import calculate_robustness_score
from InterpScore.human_alignment import calculate_human_consistency_score
from InterpScore.aggregated_measure import calculate_interpretability_score
S = calculate_selectivity_score(target_activations, non_target_activations)
C = calculate_causality_score(df, neuron_id, concept_name, activation_col)
R = calculate_robustness_score(df, concept_name, activation_col)
H = calculate_human_consistency_score(activations, human_scores)
interpretability = calculate_interpretability_score(S, C, R, H)
"""

DOWNLOADS = """
cd Data/
./download_clip_activation_s3.sh    # neural activation data
./download_images_data_s3.sh         # image datasets
./download_prolific_data_s3.sh       # human experiment data
"""

EXTRACTION = """
from Activation_Extraction.activation_extractor import extract_activations
activations = extract_activations(
    image_paths=["path/to/image1.jpg", "path/to/image2.jpg"],
    layer_name="image_block_4/5/Relu_2",
    model_type="clip"
)
"""

COMMANDS = r"""
python interpretability_score.py data.csv neuron_map.json results.csv
python interpretability_score.py data.csv neuron_map.json results.csv \
    --clean-level 5 \
    --threshold-percentile 0.95 \
    --weights "0.3 0.3 0.2 0.2"
./run_10_neurons_scoring.sh
"""

BENCHMARK = """
neuron_map = {89: "cat", 156: "dog", 201: "car"}
results = run_interpretability_benchmark(data, neuron_map)
"""

LAYERS = """
for layer in ["block_1", "block_2", "block_3", "block_4"]:
    activations = extract_layer_activations(images, layer)
    scores = calculate_interpretability_metrics(activations)
"""

INTERVENTION = """
from causality import test_neuron_intervention
effects = test_neuron_intervention(model, neuron_id, intervention_type="ablate")
"""

TABLE = """trial_category,ground_truth,level,activation_89,activation_156,soft_correct
experiment,cat,5,0.85,0.12,0.95
experiment,dog,4,0.23,0.78,0.87
"""

NEURON_MAP = """{"89": "cat", "156": "dog", "201": "car"}"""

FIGURES = """
python Visualizations/get_paper_visualizations.py --config config.yaml
"""

CONFIG = """results: results.csv
data: data.csv
figures: [selectivity, robustness]
formats: png
venue: icml
"""

OPTIONS = {
    "--clean-level": 5,
    "--threshold-percentile": 0.95,
    "--recognizable-levels": (3, 4, 5),
    "--min-p-value": 0.05,
    "--human-score-col": "soft_correct",
    "--weights": (0.3, 0.3, 0.2, 0.2),
    "--quiet": False,
}

PLACES = (
    "InterpScore/helpers.py", "InterpScore/causality_score_helpers.py", "Activation_Extraction/activation_extractor.py",
    "Activation_Extraction/clip_helpers.py", "Activation_Extraction/extract_full_layer_activations.py",
    "Activation_Extraction/Example_Extraction.ipynb", "Data", "Data/Image_Data", "Data/Clip_Activation_Layer",
    "Data/Prolific_Data", "Data/DIY", "Human_Experiment_Setup", "DeepDream_Setup", "Microscope",
    "Visualizations/get_paper_visualizations.py", "interpretability_score.py", "run_10_neurons_scoring.sh",
)  # fmt: skip


@pytest.fixture(scope="module")
def table():
    """A study with the documented columns: three concepts, five levels, three units that like one each."""
    generator, rows = np.random.default_rng(0), []
    for concept in ("cat", "dog", "car"):
        for level in (5, 4, 3, 2, 1):
            for _ in range(8):
                noise = dict(zip((89, 156, 201), generator.normal(0.3, 0.1, 3)))
                liked = {89: "cat", 156: "dog", 201: "car"}
                seen = {unit: noise[unit] + 0.1 * level * (liked[unit] == concept) for unit in liked}
                row = {"trial_category": "experiment", "ground_truth": concept, "level": level}
                row |= {f"activation_{unit}": value for unit, value in seen.items()}
                row |= {f"ablation_effect_{unit}": abs(value) / 9 for unit, value in seen.items()}
                row |= {f"amplification_effect_{unit}": abs(value) / 8 for unit, value in seen.items()}
                rows.append(row | {"soft_correct": float(generator.random() < 0.3 + 0.13 * level)})
    return pd.DataFrame(rows)


@pytest.fixture
def clone(tmp_path):
    """What a clone's root holds, in a folder that may be written to."""
    for name in (
        "InterpScore",
        "Activation_Extraction",
        "Data",
        "Visualizations",
        "interpretability_score.py",
        "run_10_neurons_scoring.sh",
    ):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def shell(block, folder, *paths):
    """A block as bash runs it in a folder, with the Python of the tests and nothing but `paths` on `PYTHONPATH`."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {
        **os.environ,
        "PATH": programs,
        "PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
    }
    return subprocess.run(["bash", "-ec", block], cwd=folder, env=environment, capture_output=True, text=True)


def names_after(block, **names):
    exec(block, names)
    return names


def test_scores_of_one_neuron(table):
    clean = table[table["level"] == 5]
    is_cat = clean["ground_truth"] == "cat"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # H is given no threshold here
        names = names_after(
            METRICS,
            target_activations=clean["activation_89"][is_cat],
            non_target_activations=clean["activation_89"][~is_cat],
            df=table,
            neuron_id=89,
            concept_name="cat",
            activation_col="activation_89",
            activations=clean["activation_89"][is_cat],
            human_scores=clean["soft_correct"][is_cat],
        )
    S, C, R, H = (names[name] for name in "SCRH")
    assert S > 0.9
    assert 0 < C < 0.2
    assert 0 < R < 1
    assert 0 <= H <= 1
    assert names["interpretability"] == pytest.approx(0.3 * S + 0.3 * C + 0.2 * R + 0.2 * H)


def test_commands_score_and_rank(clone, table):
    table.to_csv(clone / "data.csv", index=False)
    (clone / "neuron_map.json").write_text(NEURON_MAP)
    done = shell(COMMANDS, clone, ROOT)
    assert done.returncode == 0, done.stderr
    results = pd.read_csv(clone / "results.csv")
    assert sorted(results["Rank"]) == [1, 2, 3]
    assert dict(zip(results["Neuron"], results["Concept"])) == {89: "cat", 156: "dog", 201: "car"}
    for name in ("S", "C", "R", "H", "InterpScore", "threshold", "Notes"):
        assert name in results
    assert results[["S", "C", "R", "H", "InterpScore"]].notna().all(axis=None)
    # The second call states the defaults of the first.
    assert done.stdout.count("Written: results.csv") == 2
    first, second = done.stdout.split("Written: results.csv")[:2]
    assert first.splitlines()[:5] == second.splitlines()[1:6]
    assert (clone / "batch_results").is_dir()
    assert "Summary: 1 scored, 0 failed" in done.stdout


@pytest.mark.slow
def test_figures_of_the_ranking_from_a_configuration_file(clone, table):
    table.to_csv(clone / "data.csv", index=False)
    with pytest.warns(InterpScore.TableWarning):
        InterpScore.run_interpretability_benchmark(table, json.loads(NEURON_MAP), resamples=20).save(
            clone / "results.csv"
        )
    (clone / "config.yaml").write_text(CONFIG)
    done = shell(FIGURES, clone)
    assert done.returncode == 0, done.stderr
    made = {path.name for path in (clone / "figures").iterdir()}
    assert made >= {"selectivity.png", "selectivity.csv", "robustness.png", "robustness.csv", "index.json"}


def test_options_have_the_documented_defaults():
    from typer.main import get_command

    from InterpScore.cli.score import score_app
    from InterpScore.options import ScoringOptions

    known = {name: param for param in get_command(score_app).params for name in param.opts}
    assert {name: getattr(ScoringOptions(), name[2:].replace("-", "_"), False) for name in OPTIONS} == OPTIONS
    assert set(OPTIONS) <= set(known)


def test_benchmark_of_a_table(table):
    from InterpScore import TableWarning, run_interpretability_benchmark

    with pytest.warns(TableWarning):  # which says what a table without image names is taken for
        names = names_after(BENCHMARK, data=table, run_interpretability_benchmark=run_interpretability_benchmark)
    results = names["results"]
    assert results.table["InterpScore"].notna().all()
    assert sorted(results.table["Concept"]) == ["car", "cat", "dog"]


def test_table_and_neuron_map_are_read_as_they_are():
    from InterpScore import TableWarning, run_interpretability_benchmark

    with pytest.warns(TableWarning):
        results = run_interpretability_benchmark(pd.read_csv(StringIO(TABLE)), json.loads(NEURON_MAP), resamples=0)
    rows = results.table.set_index("Neuron")
    assert rows.loc["156", "H"] == 0.87
    assert "no column activation_201" in rows.loc["201", "Notes"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """CLIP RN50x4's frozen graph in the cache, with blocks and names as it has them and a hundredth of its units."""
    import torch

    from Activation_Extraction.clip_helpers import CLIP_MEAN, CLIP_STD
    from Activation_Extraction.models.modified_resnet import ModifiedResNet
    from Activation_Extraction.models.registry import load_model
    from Activation_Extraction.models.weights.cache import cache_path
    from Activation_Extraction.models.weights.known import WEIGHTS
    from tests.Activation_Extraction.graph_writer import clip_image_graph

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        tower = ModifiedResNet((1, 1, 1, 6), 12, 4, input_resolution=288, width=8)
    state = {key: value.numpy() for key, value in tower.state_dict().items()}
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("INTERPSCORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        path = cache_path(WEIGHTS["RN50x4.image32.pb"])
        path.parent.mkdir(parents=True)
        path.write_bytes(clip_image_graph(state, (1, 1, 1, 6), 4, 288, CLIP_MEAN, CLIP_STD))
        yield load_model("clip")


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    from Activation_Extraction.models.clip_mini.world.scenes import draw_scene

    monkeypatch.chdir(tmp_path)
    paths = [Path("path/to/image1.jpg"), Path("path/to/image2.jpg")]
    paths[0].parent.mkdir(parents=True)
    for seed, path in enumerate(paths):
        draw_scene(Random(seed)).render(64).save(path)
    return paths


def test_extraction_of_a_layer(clip, photographs):
    activations = names_after(EXTRACTION)["activations"]
    assert activations.dims == ("image", "unit")
    assert activations.shape == (2, 256)
    assert activations.attrs["model"] == "clip-rn50x4"
    assert activations.attrs["layer"] == "image_block_4/5/Relu_2"
    assert float(activations.min()) >= 0
    assert float(activations.std("image").max()) > 0


def test_scores_of_every_layer(clip, photographs):
    from Activation_Extraction import extract_layer_activations
    from InterpScore import calculate_interpretability_metrics

    scores = []
    names_after(
        LAYERS,
        images=photographs,
        extract_layer_activations=extract_layer_activations,
        calculate_interpretability_metrics=lambda given: scores.append(calculate_interpretability_metrics(given)),
    )
    assert [len(each.table) for each in scores] == [32, 64, 128, 256]
    assert all("no concept labels" in note for each in scores for note in each.table["Notes"])


@pytest.mark.slow
def test_intervention_with_the_folder_of_the_metrics_on_the_path(tmp_path):
    prepared = "from Activation_Extraction import load_model; model, neuron_id = load_model('clip-mini'), 185"
    shown = "import statistics; print(statistics.mean([1, 3]), effects.mean_effect > 0, len(effects.effect_N) > 1)"
    light = "import sys; print('torch._dynamo' in sys.modules)"  # the compiler, of which the import takes as long as torch's
    script = tmp_path / "call.py"
    script.write_text("\n".join([prepared, light, INTERVENTION, shown]))
    done = shell(f"python {script}", tmp_path, ROOT / "InterpScore", ROOT)
    assert (done.stdout, done.stderr) == ("False\n2 True True\n", "")


def test_downloads_of_the_data():
    for line in DOWNLOADS.splitlines():
        if line.startswith("./"):
            assert os.access(ROOT / "Data" / line.split()[0], os.X_OK), line


@pytest.mark.parametrize("place", PLACES)
def test_documented_files_and_folders_are_there(place):
    assert (ROOT / place).exists()
