"""`interpscore data`: downloads data sets, and says what is in a folder and what it is good for."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from Activation_Extraction.base.errors import listed_up_to, resumable
from Activation_Extraction.base.text import say

if TYPE_CHECKING:
    from InterpScore.journey.folder import Outcome

data_app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich"
)

PARTIAL = 1
"""Exit code where files failed, or differ from the bucket's and are kept."""
_SHOWN_LINES = 20


class What(StrEnum):
    """The data sets, as `InterpScore.journey.downloads.DATA_SETS` has them."""

    activations = "activations"
    images = "images"
    study = "study"


@data_app.callback()
def data() -> None:
    """Download data sets from S3, and see what a folder of data is good for.

    [bold]interpscore data check my_data/[/bold]

    [bold]interpscore data download images[/bold]
    """


@data_app.command(no_args_is_help=True)
def download(
    what: Annotated[What, typer.Argument(help="activations (to Data/Clip_Activation_Layer), images (Data/Image_Data) or study (Data/Prolific_Data).")],
    to: Annotated[Path | None, typer.Option(help="Folder for the files.", show_default="that of the data set, in the working folder")] = None,
    bucket: Annotated[str, typer.Option(envvar="INTERPSCORE_S3_BUCKET", help="Name of the bucket.")] = "ernesto-interpretability",
    prefix: Annotated[str | None, typer.Option(help="Folder in the bucket; '' is all of it. INTERPSCORE_S3_PREFIX_IMAGES, …_ACTIVATIONS and …_STUDY change the default.", show_default="the name of the folder in Data")] = None,
    endpoint_url: Annotated[str | None, typer.Option(help="Address of another server that speaks S3's protocol.", show_default="AWS_ENDPOINT_URL, else Amazon's")] = None,
    profile: Annotated[str | None, typer.Option(help="Profile of AWS's configuration.", show_default="AWS_PROFILE, else AWS's usual credentials")] = None,
    anonymous: Annotated[bool, typer.Option("--anonymous", help="Ask without credentials, for public buckets.")] = False,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Files at a time.")] = 8,
    checksums: Annotated[Path | None, typer.Option(help="List of SHA-256, as sha256sum writes it, with names below the prefix.", show_default="SHA256SUMS in the prefix, where there is one")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that differ from those of the bucket.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be fetched, and write nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Download a data set from S3; files that are there and right are kept, and interrupted downloads resume.

    [bold]interpscore data download images --dry-run[/bold]

    [bold]interpscore data download study --to ratings/ --bucket my-bucket --prefix ratings/2025[/bold]

    Each file is checked by SHA-256 where a list states it, else by the checksums that S3 has of it. A file that is wrong
    is not put into its place. The bucket and its folders are defaults, which options and the environment change.

    Exit code 1: some files failed, or others than the bucket's are there and were kept.
    """
    from Activation_Extraction.base.files import check_creatable
    from Activation_Extraction.base.progress import transfer_progress
    from InterpScore.journey.downloads import DATA_SETS, plan_download, read_sums
    from InterpScore.journey.folder import State, amount, check_space, compare_all, fetch_all
    from InterpScore.journey.s3 import Bucket

    chosen = DATA_SETS[what.value]
    folder = to if to is not None else Path("Data", chosen.folder)
    check_creatable(folder)
    sums = None if checksums is None else read_sums(checksums)
    opened = Bucket(bucket, endpoint_url=endpoint_url, profile=profile, anonymous=anonymous)
    where = chosen.prefix if prefix is None else prefix
    plan = plan_download(opened, where, sums)
    with resumable(), transfer_progress(shown=not quiet) as progress:
        found = compare_all(plan.wanted, folder, jobs, partial(progress or _nothing, "Comparing"))
    to_fetch = [o for o in found if o.state is State.NEW or (overwrite and o.state is State.DIFFERENT)]
    if dry_run:
        for outcome in found:
            say(f"{outcome.wanted.size:>16,}  {outcome.state:<9}  {outcome.wanted.path}")
    if dry_run or not quiet:
        size = sum(outcome.wanted.size for outcome in found)
        left = sum(outcome.wanted.size - outcome.so_far for outcome in to_fetch)
        say(f"{opened}/{where}: {len(found):,} files ({amount(size)}), {len(to_fetch):,} to fetch ({amount(left)})")
        for note in plan.notes:
            say(f"note: {note}")
    if dry_run:
        return
    check_space(to_fetch, folder)
    started = time.monotonic()
    with resumable(), transfer_progress(shown=not quiet) as progress:
        fetched = fetch_all(to_fetch, folder, jobs, partial(progress or _nothing, "Fetching"))
    now = {outcome.wanted.path: outcome for outcome in (*found, *fetched)}
    _tell(folder, list(now.values()), time.monotonic() - started, quiet)


def _nothing(stage: str, done: int, total: int | None) -> None:
    pass


def _tell(folder: Path, outcomes: Sequence[Outcome], seconds: float, quiet: bool) -> None:
    """Say what became of every file, and end with the exit code."""
    from InterpScore.journey.checksums import BY_SIZE
    from InterpScore.journey.folder import State, amount

    states = Counter(outcome.state for outcome in outcomes)
    kept = [f"kept: {o.wanted.path}: {o.said}; --overwrite replaces it" for o in outcomes if o.state is State.DIFFERENT]
    failed = [f"not fetched: {o.said}" for o in outcomes if o.state is State.FAILED]
    for line in (*listed_up_to(kept, _SHOWN_LINES, "like these"), *listed_up_to(failed, _SHOWN_LINES, "failures")):
        say(line, error=True)
    if not quiet:
        size = sum(o.wanted.size - o.so_far for o in outcomes if o.state is State.FETCHED)
        rate = f" ({amount(size)}, {amount(size / seconds)}/s)" if size and seconds else ""
        checked = Counter(o.by for o in outcomes if o.state in (State.HERE, State.FETCHED))
        by = f"; checked by {', '.join(f'{how}: {count:,}' for how, count in checked.items())}" if checked else ""
        say(f"{folder}: {states[State.FETCHED]:,} files fetched{rate}, {states[State.HERE]:,} were there{by}")
        if checked[BY_SIZE]:
            say(
                "note: of files checked by size, the server states no checksum that can be computed here; a list of SHA-256 can (--checksums)"
            )
        say(f"see what it is good for: interpscore data check {shlex.quote(str(folder))}")
    raise typer.Exit(PARTIAL if kept or failed else 0)


@data_app.command(no_args_is_help=True)
def check(
    folder: Annotated[Path, typer.Argument(help="A folder of images, tables, activation stores, renders … in any order.")],
) -> None:  # fmt: skip
    """Say what is in a folder, which scores it is good for, what is missing for the others, and what to type next.

    [bold]interpscore data check my_data/[/bold]

    Every file is read as the commands read it; of images, 20 of each set are opened. Links are not followed.

    Exit code 1: something cannot be read.
    """
    from Activation_Extraction.images.formats import remark_on_others
    from InterpScore.journey.contents import contents
    from InterpScore.journey.kinds import counted
    from InterpScore.journey.uses import LAYER, MODEL, Data, next_step, uses

    found = contents(folder)
    data = Data(found.items, folder)
    steps = [(f"{item.path}: {item.kind}, {item.about}", next_step(item, data)) for item in found.items]
    say(f"{folder}: {counted(len(steps), 'thing')} that InterpScore reads, {len(found.broken):,} that cannot be read")
    for line, step in steps[:_SHOWN_LINES]:
        _say_with_step(line, step)
    if len(steps) > _SHOWN_LINES:
        say(f"… and {len(steps) - _SHOWN_LINES:,} more")
    for line in listed_up_to(found.broken, _SHOWN_LINES, "like these"):
        say(f"cannot be read: {line}", error=True)
    for note in [*remark_on_others(str(folder), found.others), *found.notes]:
        say(f"note: {note}")
    say("What it is good for:")
    chosen = uses(data)
    for use in chosen:
        _say_with_step(f"{use.name:<20}{f'needs {use.missing}' if use.missing else 'ready'}", use.step)
    if any(f" {MODEL} " in step for step in [*(step for _, step in steps), *(use.step for use in chosen)]):
        say(
            f"{MODEL}: a name of `interpscore models list`, or my_file.py:load; {LAYER}: one of `interpscore models layers {MODEL}`"
        )
    raise typer.Exit(PARTIAL if found.broken else 0)


def _say_with_step(line: str, step: str) -> None:
    say(f"  {line}")
    say(f"      next: {step}")
