"""A static site: the pages and a bundle in one folder, for any web server and below any path."""

from __future__ import annotations

import html
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from Activation_Extraction.base.errors import InputError, OutputError
from Activation_Extraction.base.files import check_creatable, check_file, read_bytes
from Microscope.serving.files import PAGES
from Microscope.serving.opening import first_files, open_bundle

MARK = "microscope.js"
"""A folder that has this beside `bundle/bundle.json` is a site of ours, which a new one replaces."""
PRELOAD = '<link rel="preload" href="bundle/{}" as="fetch" crossorigin>'
OF_STREAMLIT = ("streamlit.js",)


def export_site(folder: Path, site: Path, progress: Callable[[int], None] = lambda done: None) -> int:
    """Write a site: all of it, or nothing.

    Files are linked where the disk can, copied elsewhere. A site that was exported before is replaced.

    Args:
        folder: the bundle.
        site: the folder to write; new, empty, or a site.
        progress: called after each file of the bundle with how many are done.

    Returns:
        How many files the site has.

    Raises:
        InputError: no bundle, or one with links in it; the site lies in the bundle.
        OutputError: the folder has other files, or cannot be written.
    """
    first = first_files(folder, open_bundle(folder))
    site = site.absolute()
    _check_place(folder, site)
    files = _files_of(folder)
    made = site.with_name(f".{site.name}.{secrets.token_hex(4)}.part")
    try:
        for done, name in enumerate(files, 1):
            _put(folder / name, made / "bundle" / name)
            progress(done)
        pages = [path for path in PAGES.iterdir() if path.is_file() and path.name not in OF_STREAMLIT]
        for path in pages:
            shutil.copyfile(path, made / path.name)
        _preload(made / "index.html", first)
        _replace(made, site)
    except OSError as error:
        raise OutputError(f"{site}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return len(files) + len(pages)


def _preload(page: Path, files: list[str]) -> None:
    """Let a page ask at once for the files of the bundle that it reads one after the other."""
    one = PRELOAD.format("bundle.json")
    content = read_bytes(page).decode().replace(one, "\n".join(PRELOAD.format(html.escape(name)) for name in files))
    page.write_text(content, encoding="utf-8")


def _check_place(folder: Path, site: Path) -> None:
    check_creatable(site)
    if site.resolve().is_relative_to(folder.resolve()) or folder.resolve().is_relative_to(site.resolve()):
        raise InputError(f"{site}: is the bundle, inside it or around it; expected a folder beside it")
    ours = (site / MARK).is_file() and (site / "bundle" / "bundle.json").is_file()
    if site.is_dir() and any(site.iterdir()) and not ours:
        raise OutputError(
            f"{site}: has other files in it; expected a new folder, an empty one or a site exported before"
        )


def _files_of(folder: Path) -> list[str]:
    """Names of the bundle's files; records of the job that built it are left out."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files + [each for each in folders if (Path(place) / each).is_symlink()]):
            path = Path(place) / name
            if name.startswith("."):
                continue
            try:
                check_file(path, within=folder)
            except OSError as error:
                raise InputError(f"{path}: {error.strerror}; expected the files of a bundle alone") from None
            found.append(str(path.relative_to(folder)))
    return found


def _put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".webp":  # never written again under the same name
        try:
            return os.link(source, target)
        except OSError:  # another disk, or one without links
            pass
    shutil.copyfile(source, target)


def _replace(made: Path, site: Path) -> None:
    """Put the new folder where the old one is; a reader sees one or the other."""
    old = site.with_name(f"{made.name}.old")
    if site.exists():
        site.rename(old)
    made.rename(site)
    shutil.rmtree(old, ignore_errors=True)
