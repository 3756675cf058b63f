"""The format of a bundle: a folder of JSON and WebP files that any web server can serve, and that the pages read.

    bundle.json                          Bundle: the layers in it; fetched first
    <layer>/layer.json                   Layer: what it is, what was measured and how, what its numbers mean
    <layer>/index.<hash>.json            Index: the files and the label of every unit
    <layer>/numbers.<hash>.json          Numbers: a few values of every unit, by column: walls, search, filters, sorting, maps
    <layer>/concepts.<hash>.json         Concepts: each concept and the units that stand for it
    <layer>/units/<unit>.<hash>.json     Unit: everything that is known of one unit
    <layer>/sprites/<unit>.<hash>.webp   the first F pictures of a unit, side by side: tile t is at column t mod C, row t div C
    <layer>/rest/<unit>.<hash>.webp      its other pictures, in the same way: tile t is at the place of t - F
    <layer>/thumbs/<unit>.<hash>.webp    what stands for the unit on a wall: its render where there is one, else its best picture
    <layer>/renders/<unit>_<n>.<hash>.webp
    <layer>/embedding.<hash>.npz         mean embedding of the top pictures of each unit, (units, dimensions): text probes on a server
    downloads/<name>.<hash>.<ending>     tables that pages offer for download

`<layer>` is the layer's `key`. `<hash>` is the first 12 hexadecimal digits of the file's SHA-256, so whatever has one may be
cached for ever; `bundle.json` and `layer.json` may not. Nothing else is in a bundle; names that start with a dot are of the job
that builds it and are not served. Numbers are rounded to 5 significant digits; what is not a finite number is null.
**None is "not measured"**, and `Layer.not_measured` says why, by the name of the field.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

FORMAT: Final = "interpscore-microscope/2"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bundle(_Part):
    """`bundle.json`."""

    format: Literal["interpscore-microscope/2"] = FORMAT
    title: str
    layers: list[LayerEntry]
    """In the order of the selector; the first is shown first."""
    participants_simulated: bool = False
    made_with: dict[str, str]
    """Library → version."""


class LayerEntry(_Part):
    """A layer as the selector shows it."""

    key: str
    """Its folder, and how addresses name it: a unit is `<key>:<unit>`, such as `layer4.5:89`."""
    model: str
    layer: str
    units: int
    images: int


# What is known of a layer ---------------------------------------------------------------------------------------------


class Source(_Part):
    """A file that numbers come from."""

    kind: Literal[
        "store", "results", "labels", "profile", "effects", "renders", "images", "embedding", "model", "published"
    ]
    name: str
    """Without a folder."""
    sha256: str | None
    about: dict[str, str | int | float | bool | None] = {}
    """What it says of itself: model, weights, preset, seed."""
    download: str | None = None
    """Its file below the bundle, where it may be downloaded."""


class Column(_Part):
    """A number that pages show: what it is, and where to read on."""

    title: str
    meaning: str
    """One sentence, with its range."""
    formula: str | None = None
    """As text: `Φ(g / √2)`."""
    section: str | None = None
    """Of METRICS.md: `1`."""
    source: str | None = None
    """`Source.name`."""
    n: str | None = None
    """What it is a number of, for all units alike: "50,000 images"; units that differ have their own."""


class Null(_Part):
    """What chance gives for a similarity: quantiles over pairs of permuted units, and of each unit's nearest."""

    pairs_95: float
    """95% quantile of |similarity| of a pair."""
    nearest_95: float
    """95% quantile of the largest similarity that a unit has with any other."""
    how: str


class Rights(_Part):
    """Where pictures come from, and what may be done with them."""

    source: str | None
    licence: str | None
    images: int


class Layer(_Part):
    """`layer.json`."""

    key: str
    model: str
    layer: str
    title: str
    units: int
    images: int
    sprite: Sprite
    index: str
    """File names below the layer's folder."""
    numbers: str
    concepts: str | None
    sources: list[Source]
    columns: dict[str, Column]
    """By the names of `Numbers.columns`, and by `S`, `C`, `R`, `H`, `InterpScore`, `similar_correlation`, ….`"""
    not_measured: dict[str, str]
    """Field of `Unit`, or column → why no unit has it."""
    preprocessing: str
    input: str
    """`288x288`"""
    histogram_edges: list[float]
    """Of `Unit.histogram`: 64 bins of equal width of (a - minimum) / (maximum - minimum), 65 edges from 0 to 1."""
    nulls: dict[Literal["correlation", "weights", "effect"], Null]
    statistics: dict[str, float | int | None]
    """Of the layer: `dead` units (never above 0), `constant` ones, `labelled`, `concepts` covered, `redundant` pairs, median sparsity, …"""
    notable: list[Notable]
    weights: dict[str, float]
    """Component → its weight in the InterpScore of the run; the leaderboard's weights start from these."""
    rights: list[Rights]
    limits: list[str]
    """What the data impose, a sentence each: few images, simulated participants, labels not evaluated on other images, …"""
    citation: str
    """BibTeX."""


class Sprite(_Part):
    """How tiles lie in a sprite."""

    tile: int
    """Pixels per side."""
    columns: int
    first: int
    """Tiles of `Index.sprite_file`, at most: what a page shows first is small and decodes soon."""


class Notable(_Part):
    """Units worth a look, and why: "most selective", "no label but high monosemanticity", "a pair that is redundant"."""

    why: str
    units: list[int]


class Index(_Part):
    """`index.<hash>.json`: arrays over units, `[u]`."""

    unit_file: list[str]
    """`units/89.0f3a….json`, below the layer's folder; so are the next three."""
    sprite_file: list[str | None]
    rest_file: list[str | None]
    """Sprites of the tiles from `Sprite.first` on; None where there are none."""
    thumb_file: list[str | None]
    """None: no picture of the unit was found."""
    label: list[str | None]
    """The label, or the concept of the neuron map; None: none is better than chance, or not measured."""


class Numbers(_Part):
    """`numbers.<hash>.json`: what walls search, filter and sort by, and the atlas draws; pages of one unit do without. Arrays over units."""

    concepts: list[list[str]]
    """What search looks through besides the label: runners-up, concepts of top images; at most 8."""
    columns: dict[str, list[float | None]]
    """Numbers to sort and filter by: `InterpScore`, `S`, `C`, `R`, `H` and their `_low` and `_high`, `Rank`, `Rank_low`, `Rank_high`, `label_score`, `polysemy`,
    `sparsity`, `entropy`, `kurtosis`, `MS`, `MS_top`, `clarity`, `redundancy`, `mean`, `maximum`, `dead` (0 or 1), `times_natural`, `published_InterpScore`, …"""
    map: dict[Literal["x", "y"], list[float | None]] | None
    """Where the unit is on the atlas, 0 to 1."""


class Concepts(_Part):
    """`concepts.<hash>.json`."""

    ranked_by: str
    """What the score is: "AUPRC above chance, evaluation half"."""
    concepts: list[ConceptEntry]
    words: Words | None = None


class ConceptEntry(_Part):
    """A concept, and the units that stand for it, best first; at most 50."""

    name: str
    images: int | None
    units: list[int]
    score: list[float]
    labelled: list[int]
    """Units whose label it is."""


class Words(_Part):
    """Text probe without a server: words of a vocabulary, each with the units whose top pictures are closest to it."""

    model: str
    template: str
    vocabulary: list[str]
    units: list[list[int]]
    """`[word][k]`, best first."""
    score: list[list[float]]
    """Cosine above the mean over units, `[word][k]`."""
    embedding: str | None = None
    """File below the layer's folder: the mean embeddings of top pictures, which other texts are compared with on a server."""
    weights_sha256: str | None = None
    """Of the network."""


# What is known of a unit ----------------------------------------------------------------------------------------------


class Interval(_Part):
    """A number with its interval and what it is compared with."""

    value: float | None
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    """What chance gives: under permuted labels or activations."""
    p_adjusted: float | None = None
    significant: bool | None = None
    untrained: float | None = None
    """The best untrained unit, chosen as the trained one was; for profiles the mean of untrained units."""
    untrained_higher: float | None = None
    """Share of untrained units that score higher."""
    n: str | None = None
    """"8 images of the concept, 88 others"."""
    why: str | None = None
    """Why the value is missing."""


class Label(_Part):
    """What a unit stands for."""

    text: str | None
    """None: none better than chance; `why` says it."""
    source: str
    """"labels of images, evaluation half", "words, clip-mini", "neuron map (given, not tested)"."""
    score: Interval | None = None
    runners_up: list[RunnerUp] = []
    prediction_set: list[str] = []
    needs: list[str] = []
    """Other concepts that the unit fires for besides."""
    polysemy: int | None = None
    why: str | None = None


class RunnerUp(_Part):
    """A concept that was nearly chosen."""

    text: str
    score: float | None
    low: float | None = None
    high: float | None = None


class Tile(_Part):
    """A picture of the data set."""

    tile: int | None
    """Its place in the sprite; None: the picture could not be read."""
    image: str
    """Its name in the image set, without folders of the machine."""
    activation: float
    percentile: float
    """Share of all images whose activation is lower, ties ½, 0 to 100; of the complete data set."""
    concept: str | None = None
    rights: int | None = None
    """Index into `Layer.rights`."""
    heat: str | None = None
    """Where in the picture the unit fires: h × w values from 0 (at 0 or below) to 255 (its largest in this picture), row by
    row, base64; `heat_shape`."""
    heat_shape: tuple[int, int] | None = None
    cluster: int | None = None
    """Index into `Unit.clusters`."""


class Stratum(_Part):
    """Pictures sampled evenly between two quantiles of the unit's activation."""

    from_quantile: float
    to_quantile: float
    low: float
    high: float
    """Activations at these quantiles."""
    tiles: list[Tile]


class Render(_Part):
    """A picture that was made to activate the unit."""

    file: str
    side: int
    start: str
    facet: str | None
    activation: float | None
    times_natural: float | None
    """Its activation divided by that of the best natural picture; below 1 it does not work."""
    flags: list[str]
    recipe: str


class Neighbour(_Part):
    """A similar unit."""

    unit: int
    value: float


class Similar(_Part):
    """The nearest units, at most 12 of each kind, nearest first. None: not measured."""

    correlation: list[Neighbour] | None
    """Of activations over all images."""
    weights: list[Neighbour] | None
    """Cosine of incoming weights."""
    effect: list[Neighbour] | None
    """Cosine of the mean changes of the embedding when the units are ablated."""
    edges: list[tuple[int, int, float]] = []
    """Correlations among the units of `correlation`: two units and the value."""


class Dose(_Part):
    """The effect of scaling the unit by λ: mean relative change of the embedding over images, with its interval."""

    strength: float
    effect: Interval


class Cluster(_Part):
    """Top pictures that look alike to another network."""

    size: int
    concept: str | None
    """Their most common concept."""


class Unit(_Part):
    """`units/<unit>.<hash>.json`."""

    unit: int
    layer: str
    """Its key."""
    tiles: int
    """In its sprites."""
    label: Label | None
    scores: dict[str, Interval]
    """`InterpScore`, `S`, `C`, `R`, `H` and those of packages; of the profile; `Rank`."""
    notes: list[str]
    """Of the run: why a value is missing, what is significant."""
    top: list[Tile]
    """Best first."""
    strata: list[Stratum]
    """From the lowest activations to the highest."""
    histogram: list[int]
    """Images in each bin of `Layer.histogram_edges`; of the complete data set."""
    minimum: float | None
    maximum: float | None
    mean: float | None
    inactive: float | None
    """Share of images on which the unit is 0 or below."""
    unreadable: int
    """Images without an activation."""
    renders: list[Render]
    similar: Similar
    dose: list[Dose] | None
    clusters: list[Cluster] | None
