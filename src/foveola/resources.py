"""What has to be given back: things to close, and changes to a database to keep or to undo."""

import contextlib
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Self

AnyPath = str | os.PathLike[str]  # what a function takes that takes a path


class Closing(ABC):
    """Something that is closed; `with` does it."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is held; twice does no harm."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Keep all changes of a connection in autocommit mode, or none of them."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # a full disk has rolled back already
            db.execute("ROLLBACK")
        raise
