"""From clean pictures to the levels of a study: files that people and networks are shown, and the table of them.

    build_stimuli(image_set("photos/"), read_protocol("noise"), "stimuli")

Everything is read and checked first. Pictures are the parts of a job (`base.run_folder`); each is made from a random
stream of its own, so that adding one changes no other. What the table says is measured on the files.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.engine import Engine, local
from Activation_Extraction.base.files import as_json, sha256_of
from Activation_Extraction.base.progress import Advance, image_progress
from Activation_Extraction.base.run_folder import RunFolder, different_makings, refuse_other, remarks_on, versions_of
from Activation_Extraction.images.reading import png_bytes
from Activation_Extraction.images.sets import ImageSet
from Human_Experiment_Setup.stimuli import contact_sheet, inputs
from Human_Experiment_Setup.stimuli.calibration import TOLERANCE, calibrated, excess, measured, signal
from Human_Experiment_Setup.stimuli.inputs import Source, rank
from Human_Experiment_Setup.stimuli.manifest import (
    COLUMNS,
    CONTACT_PAGE,
    CONTACT_SHEET,
    PROVENANCE,
    TABLE,
    Row,
    as_text,
    read_table,
    table_as_bytes,
)
from Human_Experiment_Setup.stimuli.perturbations import Pixels, families
from Human_Experiment_Setup.stimuli.pictures import saved_picture
from Human_Experiment_Setup.stimuli.plan import Stimulus, check_folder, check_needs, identity, planned
from Human_Experiment_Setup.stimuli.protocol import (
    AdversarialLevel,
    BenignLevel,
    ExemplarLevel,
    Protocol,
    SyntheticLevel,
)
from InterpScore.tables.neuron_map import read_neuron_map

if TYPE_CHECKING:
    from Activation_Extraction.models.registry import Model
    from Human_Experiment_Setup.stimuli.network import Network


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        folder: where the stimuli are.
        rows: of `images.csv`.
        made: how many files were made now; the others were there.
        remarks: what a reader should know.
    """

    folder: Path
    rows: list[Row]
    made: int
    remarks: list[str]

    @property
    def not_reached(self) -> list[Row]:
        """The rows whose strength, or whose effect, is not what the protocol asks for."""
        return [row for row in self.rows if row["reached"] == "false"]


def build_stimuli(
    images: ImageSet,
    protocol: Protocol,
    output: str | os.PathLike[str],
    *,
    neuron_map: str | os.PathLike[str] | Mapping[Any, Any] | None = None,
    model: Model | None = None,
    layer: str | None = None,
    preprocessing: str | None = None,
    renders: str | os.PathLike[str] | None = None,
    exemplars: ImageSet | None = None,
    store: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: bool = False,
    engine: Engine = local,
) -> BuildReport:
    """Make the stimuli of a study; interrupted builds resume.

    Args:
        images: clean pictures with their concepts.
        protocol: the levels.
        output: the folder to write; a new or empty one, or that of a build with the same arguments.
        neuron_map: unit → concept, or the file of one; each concept needs one unit where a level is about units.
        model: what adversarial pictures are made against, and activations are measured with.
        layer: of the units; if given, the table has the activation of each stimulus.
        preprocessing: how the network reads the files; None is the way that it was trained with.
        renders: folder with `<unit>/*.png`, or with `<model>/<layer>/<unit>/*.png`; for synthetic levels.
        exemplars: natural pictures; for exemplar levels.
        store: their activations, from `interpscore extract`; None measures them.
        seed: of all chance.
        progress: show how far it is.
        engine: where pictures are made.

    Raises:
        InputError: a picture that cannot be read (all are listed, and nothing is written), has no concept or is of
            one flat colour where an SNR is declared; what a level needs and was not given; what no level needs.
        OutputError: a folder that cannot be written, or holds other files, or that another run is writing.
    """
    folder = Path(output)
    given = {
        "neuron-map": neuron_map, "layer": layer, "model": model, "renders": renders, "exemplars": exemplars,
        "store": store, "preprocessing": preprocessing,
    }  # fmt: skip
    check_needs(protocol, layer, given)
    network = None
    if model is not None:
        from Human_Experiment_Setup.stimuli.network import Network  # torch only where there is a network

        network = Network(model, layer, preprocessing, protocol.size)
    sources = inputs.clean_sources(images, protocol.images_per_concept, seed)
    concepts = list(dict.fromkeys(source.concept for source in sources))
    units: dict[str, int] = {}
    if neuron_map is not None:
        units = inputs.units_of_concepts(concepts, read_neuron_map(neuron_map), network.layer_names if network else ())
    if network is not None:
        network.check(protocol, concepts, units)
    by_level, said = _level_sources(protocol, units, network, renders, exemplars, store)
    check_folder(folder)
    flat = (
        _flat
        if any(isinstance(level, BenignLevel) and level.snr_db is not None for level in protocol.levels.values())
        else None
    )
    others = [source for found in by_level.values() for source in found]
    with image_progress("Reading", len(sources) + len(others), shown=progress) as advance:
        sources = inputs.read_all(sources, protocol.size, advance, flat)
        read = iter(inputs.read_all(others, protocol.size, advance))
    by_level = {level: [next(read) for _ in found] for level, found in by_level.items()}
    stimuli = planned(protocol, sources, by_level, seed)
    asked = identity(protocol, seed, units, network.identity if network else None, sources, by_level)
    job = MakingJob(protocol, seed, network, concepts, units)
    with RunFolder(folder, _made_with(network)) as run:
        held = read_json(folder / PROVENANCE, folder)
        refuse_other(folder, held, asked, "another folder (-o)")
        if held is None:
            run.write(PROVENANCE, as_json({**asked, "renders": said}))
        else:
            _record_older(run, held)
        missing = run.missing(stimuli, _name)
        with image_progress("Making", len(stimuli), done=len(stimuli) - len(missing), shown=progress) as advance:
            engine([job], missing, lambda stimulus, png: run.keep(_name(stimulus), {stimulus.image: png}), advance)
        rows = _rows(folder, protocol, stimuli, job, progress)
        run.write(CONTACT_SHEET, png_bytes(np.asarray(contact_sheet.draw(folder, protocol, rows, seed))))
        run.write(CONTACT_PAGE, contact_sheet.page(protocol, rows, seed).encode())
        made_with = different_makings(run.recorded(_name(stimulus)) for stimulus in stimuli)
        run.write(PROVENANCE, as_json({**asked, "renders": said, "made_with": made_with}))
        run.write(TABLE, table_as_bytes(rows))
    return BuildReport(folder, rows, len(missing), remarks_on(made_with))


def _name(stimulus: Stimulus) -> str:
    return Path(stimulus.image).stem


def _made_with(network: Network | None) -> dict[str, Any]:
    """What is recorded with every picture."""
    versions = versions_of(["interpscore", "numpy", "pillow", "scipy"])
    if network is None:
        return {"versions": versions, "processor": f"cpu {platform.machine()}"}
    made_with = network.model.made_with
    return {**made_with, "versions": {**made_with["versions"], **versions}}


def _record_older(run: RunFolder, held: Mapping[str, Any]) -> None:
    """Record the pictures of a build that was complete before pictures were recorded one by one."""
    if "versions" not in held or not (run.path / TABLE).is_file():
        return
    recorded, made_with = run.records(), {"versions": held["versions"]}
    for row in read_table(run.path):
        if (part := Path(row["image"]).stem) not in recorded:
            run.adopt(part, {row["image"]: row["sha256"]}, made_with=made_with)


def _level_sources(
    protocol: Protocol,
    units: Mapping[str, int],
    network: Network | None,
    renders: str | os.PathLike[str] | None,
    exemplars: ImageSet | None,
    store: str | os.PathLike[str] | None,
) -> tuple[dict[int, list[Source]], dict[str, Any]]:
    """The pictures of levels that are made from no clean picture, and what manifests of renders say."""
    by_level: dict[int, list[Source]] = {}
    said: dict[str, Any] = {}
    activation_IU = None
    for level_number, level in protocol.levels.items():
        if isinstance(level, SyntheticLevel):
            places = network.render_places if network else ()
            by_level[level_number], said = inputs.render_sources(Path(str(renders)), places, units, level.images)
        elif isinstance(level, ExemplarLevel):
            assert exemplars is not None
            assert network is not None
            assert network.layer is not None
            if activation_IU is None:
                activation_IU = (
                    network.activations([exemplars.source(row) for row in range(len(exemplars))])[
                        :, list(units.values())
                    ]
                    if store is None
                    else inputs.stored_activations(exemplars, Path(store), network.layer, list(units.values()))
                )
            most = level.activation == "most"
            by_level[level_number] = inputs.exemplar_sources(exemplars, activation_IU, units, most, level.images)
    return by_level, said


def _flat(source: Source, picture: Pixels) -> str | None:
    if signal(picture):
        return None
    return f"{source.name}: is one flat colour; expected a picture with contrast, as an SNR is declared"


# Making and measuring -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class MakingJob:
    """The job whose parts are pictures."""

    protocol: Protocol
    seed: int
    network: Network | None
    concepts: Sequence[str]
    units: Mapping[str, int]

    def compute(self, parts: Iterator[Stimulus], advance: Advance) -> Generator[tuple[Stimulus, bytes]]:
        """Make pictures, each a PNG file."""
        for stimulus in parts:
            yield stimulus, png_bytes(self.pixels(stimulus))
            advance(1)

    def pixels(self, stimulus: Stimulus) -> Pixels:
        """A stimulus, S × S × C, uint8."""
        source, level = stimulus.source, self.protocol.levels[stimulus.level]
        picture = source.picture(self.protocol.size)
        generator = np.random.default_rng(rank(self.seed, stimulus.level, source.name))
        if isinstance(level, BenignLevel):
            family = families()[level.method]
            return calibrated(
                family.draw(picture / 255, generator), family.largest, picture, *level.strength
            ).pixels_HWC
        if isinstance(level, AdversarialLevel):
            assert self.network is not None
            score = self.network.score(level, source.concept, self.concepts, self.units)
            return self.network.attacked(picture, score, level, generator)
        return picture

    def probability(self, path: Path, level: AdversarialLevel, concept: str) -> float:
        """Of the concept on a file, by the texts that the level attacks."""
        assert self.network is not None
        return self.network.probability(path, self.network.score(level, concept, self.concepts, self.units))


def _rows(folder: Path, protocol: Protocol, stimuli: Sequence[Stimulus], job: MakingJob, progress: bool) -> list[Row]:
    """The table, measured on the files."""
    network, units = job.network, job.units
    activation: dict[str, float] = {}
    if network is not None and network.layer is not None:
        a_IU = network.activations([folder / stimulus.image for stimulus in stimuli])
        activation = {s.image: float(a[units[s.source.concept]]) for s, a in zip(stimuli, a_IU, strict=True)}
    rows = []
    with image_progress("Measuring", len(stimuli), shown=progress) as advance:
        for stimulus in stimuli:
            level, source = protocol.levels[stimulus.level], stimulus.source
            row = dict.fromkeys(COLUMNS, "") | {
                "image": stimulus.image, "concept": source.concept, "level": str(stimulus.level), "kind": level.kind,
                "split": source.split, "clean_image": stimulus.clean_image, "method": level.title,
                "unit": str(units.get(source.concept, "")), "source": source.name,
                "sha256": sha256_of(folder / stimulus.image),
            }  # fmt: skip
            names = (stimulus.clean_image, stimulus.image)
            effects = {"activation": [activation.get(name) for name in names]}
            if isinstance(level, AdversarialLevel) and level.target == "class":
                effects["probability"] = [job.probability(folder / name, level, source.concept) for name in names]
            for what, values in effects.items():
                row |= {
                    f"{what}_{when}": as_text(value) for when, value in zip(("before", "after"), values, strict=True)
                }
            if isinstance(level, BenignLevel | AdversarialLevel):
                measure, declared = level.strength
                found = measured(measure, *(saved_picture(folder / name) for name in names))
                if isinstance(level, AdversarialLevel):
                    reached = found <= declared and _moved(level, *list(effects.values())[-1])
                else:
                    reached = abs(excess(measure, declared, found)) <= TOLERANCE
                row |= {
                    "measure": measure, "strength_declared": as_text(declared), "strength_measured": as_text(found),
                    "reached": str(reached).lower(),
                }  # fmt: skip
            rows.append(row)
            advance(1)
    return rows


def _moved(level: AdversarialLevel, before: float | None, after: float | None) -> bool:
    """Whether the target moved as asked."""
    assert before is not None
    assert after is not None
    return after < before if level.direction == "lower" else after > before
