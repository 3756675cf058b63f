"""The weights files that are known by name: their addresses, SHA-256 and contents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from Activation_Extraction.base.errors import InputError, shown

SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
_TENSORFLOW = "https://openaipublic.blob.core.windows.net/clip/tf"
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class WeightsFile:
    """One file that a model needs.

    Attributes:
        name: plain file name.
        urls: http or https addresses of the file, tried in order.
        sha256: None where no publisher states it: then the hash of the first download is recorded, and later ones
            must match it. Never None for TorchScript, which can run code.
        bytes: exact size, where known.
        kind: the format.
        about: one line for people.
        model: the model it belongs to; empty when it serves several.
        source: its publisher, the word to choose it by.
        packages: importable packages that contain the same file.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str | None
    bytes: int | None
    kind: Literal["safetensors", "torchscript", "frozen_graph", "vocabulary"]
    about: str
    model: str = ""
    source: str = ""
    packages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = []
        if not _FILE_NAME.fullmatch(self.name):
            problems.append(f"name {shown(self.name)}; expected a plain file name")
        if self.sha256 is not None and not SHA256_PATTERN.fullmatch(self.sha256):
            problems.append(f"sha256 {shown(self.sha256, 80)}; expected 64 hexadecimal digits")
        if self.sha256 is None and self.kind == "torchscript":
            problems.append("no sha256; expected one, as TorchScript can run code")
        bad_urls = [url for url in self.urls if urlsplit(url).scheme not in ("http", "https")]
        problems += [f"address {shown(url)}; expected http:// or https://" for url in bad_urls]
        if problems:
            raise InputError(f"weights file {shown(self.name)}: {problem}" for problem in problems)


def _openai_archive(model: str, size: str, sha256: str) -> WeightsFile:
    url = f"https://openaipublic.azureedge.net/clip/models/{sha256}/{size}.pt"
    about = f"CLIP {size}, OpenAI's own archive, half precision"
    return WeightsFile(f"{size}.pt", (url,), sha256, None, "torchscript", about, model, "openai")


VOCABULARY = WeightsFile(
    "bpe_simple_vocab_16e6.txt.gz",
    (
        "https://openaipublic.azureedge.net/clip/bpe_simple_vocab_16e6.txt.gz",
        "https://raw.githubusercontent.com/openai/CLIP/main/clip/bpe_simple_vocab_16e6.txt.gz",
    ),
    sha256="924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a",
    bytes=1_356_917,
    kind="vocabulary",
    about="the merges of CLIP's tokenizer",
    packages=("clip", "open_clip"),  # importable names of PyPI's clip-anytorch and open_clip_torch
)
WEIGHTS: Mapping[str, WeightsFile] = {
    file.name: file
    for file in (
        WeightsFile(
            "resnet50x4_clip.openai.safetensors",
            ("https://huggingface.co/timm/resnet50x4_clip.openai/resolve/main/open_clip_model.safetensors",),
            sha256="fcd5a494550d0951f314a9d74225887e727ddc20c28c78962b58464705bfb465",
            bytes=None,
            kind="safetensors",
            about="CLIP RN50x4, OpenAI's weights from the Hugging Face hub, 714 MB",
            model="clip-rn50x4",
            source="huggingface",
        ),
        _openai_archive("clip-rn50", "RN50", "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"),
        _openai_archive("clip-rn101", "RN101", "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599"),
        _openai_archive("clip-rn50x4", "RN50x4", "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd"),
        _openai_archive("clip-rn50x16", "RN50x16", "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa"),
        _openai_archive("clip-rn50x64", "RN50x64", "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c"),
        WeightsFile(
            "RN50x4.image32.pb",
            (f"{_TENSORFLOW}/RN50_4x/084ee9c176da32014b0ebe42cd7ca66e/image32.pb",),
            sha256=None,
            bytes=None,
            kind="frozen_graph",
            about="CLIP RN50x4, image tower as a TensorFlow frozen graph",
            model="clip-rn50x4",
            source="tensorflow",
        ),
        VOCABULARY,
    )
}
"""Every known file by name; those of one model in order of preference."""
