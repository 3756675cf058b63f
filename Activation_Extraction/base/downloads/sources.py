"""Where a file may come from: what a protocol is asked for and what it answers, so that one function fetches from all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


class TransferError(Exception):
    """A failed try.

    Attributes:
        again: another may succeed; after: seconds to wait, as the server asks; slow: it gave too little.
        afresh: what has arrived is of no use any more.
    """

    def __init__(
        self, reason: str, *, again: bool = True, after: float = 0.0, slow: bool = False, afresh: bool = False
    ) -> None:
        super().__init__(reason)
        self.again, self.after, self.slow, self.afresh = again, after, slow, afresh


class Body(Protocol):
    """The bytes of an answer, as `http.client` gives them: the next ones, up to a number; none at the end."""

    def read1(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Answer:
    """An answer to the question for a file's bytes.

    Attributes:
        first: position of its first byte in the file; None if the server does not say it.
        remaining: its number of bytes; None: until the connection ends.
        total: bytes of the complete file, where stated.
        validator: what the server calls this version of the file; None: nothing that is certain.
        faults: what `body` raises → a `TransferError`.
    """

    body: Body
    first: int | None
    remaining: int | None
    total: int | None
    validator: str | None
    faults: Callable[[Exception], TransferError | None]


class Source(Protocol):
    """Where a file may come from; `name` is what messages and the record of a part call it."""

    @property
    def name(self) -> str: ...

    def ask(self, first: int, validator: str | None) -> AbstractContextManager[Answer]:
        """Ask for the bytes from `first` on, of the version `validator` alone where it is not None.

        Raises:
            TransferError: no answer, or a refusal.
        """
        ...
