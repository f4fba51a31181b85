# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Results files: CSV with the facts of the run at the head.

    # hakmem results 1
    # kind: suite
    # cpu: 2 x AMD EPYC
    # command: hakmem bench -n 15
    workload,allocator,…
    random_mixed,glibc,…

A row is written when it is measured, so an interrupted run keeps every result that it had. A
reader drops a last line without its end, and refuses what is damaged with the line's number.
"""

import csv
from pathlib import Path

MAGIC = "# hakmem results 1"


class Damaged(Exception):
    """A file that is not, or no longer, a results file; the sentence names file and line."""


class Table:
    """facts: {name: text}; columns: [name]; rows: [{column: text}]."""

    def __init__(self, facts, columns, rows):
        self.facts = facts
        self.columns = columns
        self.rows = rows

    def numbers(self, column):
        """A column as floats; empty cells are left out."""
        return [float(row[column]) for row in self.rows if row[column] != ""]


class Writer:
    """Appends rows to a file that it makes; `with` closes it."""

    @classmethod
    def reopen(cls, path):
        """Goes on with a file that was left behind; half a row at its end is cut off."""
        table = read(path)
        with open(path, "rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
        self = cls.__new__(cls)
        self.columns = table.columns
        self.file = open(path, "a", newline="", encoding="utf-8")
        self.csv = csv.writer(self.file, lineterminator="\n")
        return self

    def __init__(self, path, facts, columns):
        self._open(path, columns, "x")
        self.file.write(MAGIC + "\n")
        for name, value in facts.items():
            self.file.write(f"# {name}: {' '.join(str(value).split())}\n")
        self._write(self.columns)

    @classmethod
    def resume(cls, path):
        """Goes on with a file that read() accepts; half a row at its end is cut off."""
        columns = read(path).columns
        with open(path, "rb+") as file:
            file.truncate(file.read().rindex(b"\n") + 1)
        writer = cls.__new__(cls)
        writer._open(path, columns, "a")
        return writer

    def _open(self, path, columns, mode):
        self.columns = list(columns)
        self.file = open(path, mode, newline="", encoding="utf-8")
        self.csv = csv.writer(self.file, lineterminator="\n")

    def _write(self, fields):
        self.csv.writerow(fields)
        self.file.flush()

    def row(self, **values):
        """One measurement; columns that are not named stay empty."""
        unknown = set(values) - set(self.columns)
        if unknown:
            raise KeyError(f"no such column: {', '.join(sorted(unknown))}")
        self._write([values.get(column, "") for column in self.columns])

    def close(self):
        self.file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def read(path):
    """The Table in a file."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Damaged(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Damaged(f"{path}: not a text") from error
    if not text.strip():
        raise Damaged(f"{path}: empty")
    lines = text.split("\n")
    lines.pop()  # what comes after the last line's end: nothing, or half a row
    if not lines or lines[0] != MAGIC:
        raise Damaged(f"{path}: does not begin with '{MAGIC}'")
    facts, at = {}, 1
    while at < len(lines) and lines[at].startswith("#"):
        name, colon, value = lines[at][1:].strip().partition(":")
        if not colon:
            raise Damaged(f"{path}:{at + 1}: not '# name: value'")
        facts[name] = value.strip()
        at += 1
    records = csv.reader(lines[at:])
    columns = next(records, None)
    if not columns:
        raise Damaged(f"{path}: no line of column names")
    rows = []
    for fields in records:
        if len(fields) != len(columns):
            raise Damaged(f"{path}:{at + records.line_num}: {len(fields)} fields instead of "
                          f"{len(columns)}")
        rows.append(dict(zip(columns, fields)))
    return Table(facts, columns, rows)
