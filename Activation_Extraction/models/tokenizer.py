"""CLIP's tokenizer: lower-cased text to byte-pair tokens (Sennrich et al. 2016, on bytes as in GPT-2).

The vocabulary has 256 bytes, the same bytes at the end of a word, one token for each merge, and the start and end of
a text. OpenAI's list of merges makes 49,408 tokens; clip-mini's is learned from its captions.
"""

from __future__ import annotations

import gzip
import html
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import ftfy
import regex
import torch
from torch import Tensor

from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.base.files import read_bytes, write_together

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
SINGLE_TOKENS = 2 * 256 + 2
"""Number of tokens that are not merges."""

OPENAI_MERGES = 49_408 - SINGLE_TOKENS

_PIECES = regex.compile(
    rf"{regex.escape(START)}|{regex.escape(END)}|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+",
    regex.IGNORECASE,
)

Pair = tuple[str, str]


class Tokenizer:
    """Turns texts into token numbers and back.

    Args:
        merges: pairs of symbols in the order in which they were learned.
        context_length: tokens of a text, including its start and end.
    """

    def __init__(self, merges: Sequence[Pair], context_length: int = 77) -> None:
        alphabet = list(_letter_of_byte().values())
        vocabulary = [*alphabet, *(letter + WORD_END for letter in alphabet), *map("".join, merges), START, END]
        self.merges = tuple(merges)
        self.context_length = context_length
        self.vocab_size = len(vocabulary)
        self._number = {token: number for number, token in enumerate(vocabulary)}
        self._token = vocabulary
        self._rank = {pair: rank for rank, pair in enumerate(merges)}
        self._cache: dict[str, list[int]] = {token: [self._number[token]] for token in (START, END)}

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without start and end."""
        return [token for piece in _pieces(text) for token in self._piece(piece)]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens; words are separated by single spaces."""
        byte_of = {letter: byte for byte, letter in _letter_of_byte().items()}
        letters = "".join(self._token[token] for token in tokens).replace(WORD_END, " ")
        return bytes(byte_of[c] if c in byte_of else ord(c) for c in letters).decode(errors="replace").rstrip(" ")

    def __call__(self, texts: str | Sequence[str]) -> Tensor:
        """Token numbers `(N, context_length)` with start and end, padded with zeros.

        Raises:
            InputError: a text has more tokens than fit.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        rows = torch.zeros(len(texts), self.context_length, dtype=torch.long)
        problems = []
        for row, text in zip(rows, texts, strict=True):
            tokens = [self._number[START], *self.encode(text), self._number[END]]
            if len(tokens) > self.context_length:
                problems.append(f"text {shown(text)}: {len(tokens)} tokens; expected at most {self.context_length}")
                continue
            row[: len(tokens)] = torch.tensor(tokens)
        if problems:
            raise InputError(problems)
        return rows

    def _piece(self, piece: str) -> list[int]:
        if piece not in self._cache:
            symbols = _symbols(piece)
            while len(symbols) > 1:
                best = min(pairwise(symbols), key=lambda pair: self._rank.get(pair, len(self._rank)))
                if best not in self._rank:
                    break
                symbols = _merged(symbols, best)
            self._cache[piece] = [self._number[symbol] for symbol in symbols]
        return self._cache[piece]


def read_merges(path: str | os.PathLike[str]) -> list[Pair]:
    """The merges of a vocabulary file: a header line, then two symbols a line; gzip or plain text.

    OpenAI's file has more merges than its networks use; the first 48,894 count.

    Raises:
        InputError: no such file, or not a list of merges.
    """
    path = Path(path)
    try:
        data = read_bytes(path)
        lines = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode().splitlines()[1:]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({reason}); expected a list of byte-pair merges") from None
    merges = []
    known = {letter + end for letter in _letter_of_byte().values() for end in ("", WORD_END)}
    for number, line in enumerate(lines[:OPENAI_MERGES], start=2):
        symbols = line.split()
        if len(symbols) != 2:
            raise InputError(f"{path}, line {number}: found {shown(line)}; expected two symbols to merge")
        if unknown := [symbol for symbol in symbols if symbol not in known]:
            raise InputError(f"{path}, line {number}: found {shown(unknown[0])}; expected a symbol of an earlier line")
        merges.append((symbols[0], symbols[1]))
        known.add("".join(symbols))
    return merges


def write_merges(merges: Sequence[Pair], path: str | os.PathLike[str]) -> None:
    """Write a vocabulary file for `read_merges`."""
    lines = ["# merges of a byte-pair vocabulary, in the order in which they were learned", *map(" ".join, merges)]
    write_together({Path(path): "\n".join(lines) + "\n"})


def learn_merges(texts: Iterable[str], count: int) -> list[Pair]:
    """Merge the most frequent pair of neighbors again and again, up to `count`; ties in alphabetical order."""
    words = Counter(piece for text in texts for piece in _pieces(text))
    split = [(_symbols(word), times) for word, times in words.items()]
    merges: list[Pair] = []
    while len(merges) < count:
        pairs: Counter[Pair] = Counter()
        for symbols, times in split:
            for pair in pairwise(symbols):
                pairs[pair] += times
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        split = [(_merged(symbols, best), times) for symbols, times in split]
    return merges


def _pieces(text: str) -> list[str]:
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    pieces: list[str] = _PIECES.findall(" ".join(text.split()).lower())
    return pieces


def _symbols(piece: str) -> list[str]:
    *letters, last = (_letter_of_byte()[byte] for byte in piece.encode())
    return [*letters, last + WORD_END]


def _merged(symbols: list[str], pair: Pair) -> list[str]:
    """The symbols with every occurrence of the pair joined, from left to right."""
    merged: list[str] = []
    i = 0
    while i < len(symbols):
        together = tuple(symbols[i : i + 2]) == pair
        merged.append("".join(pair) if together else symbols[i])
        i += 2 if together else 1
    return merged


@lru_cache(maxsize=1)
def _letter_of_byte() -> dict[int, str]:
    """A printable letter for each byte: itself if printable, else one from 256 on."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {**{byte: chr(byte) for byte in visible}, **{byte: chr(256 + i) for i, byte in enumerate(hidden)}}
