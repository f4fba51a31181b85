# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Results files: what is written is read; what is damaged is refused with its place."""

import pytest

from lab import results

GOOD = "# hakmem results 1\n# kind: suite\nname,value\na,1\n"


@pytest.fixture(name="read")
def fixture_read(tmp_path):
    def read(content):
        path = tmp_path / "x.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return results.read(path)
    return read


def test_round_trip(tmp_path):
    path = tmp_path / "x.csv"
    with results.Writer(path, {"kind": "suite", "text": "two\nlines: x"}, ["name", "value"]) as writer:
        writer.row(name='a "quoted, word"', value=1.5)
        assert results.read(path).rows[0]["value"] == "1.5"  # at once, not at the end
        writer.row(name="no value")
        with pytest.raises(KeyError, match="colour"):
            writer.row(colour=1)
    table = results.read(path)
    assert table.facts == {"kind": "suite", "text": "two lines: x"}
    assert table.columns == ["name", "value"]
    assert table.rows == [{"name": 'a "quoted, word"', "value": "1.5"},
                          {"name": "no value", "value": ""}]
    assert table.numbers("value") == [1.5]
    with pytest.raises(FileExistsError):
        results.Writer(path, {}, ["name"])


def test_half_a_last_row_is_dropped(read):
    assert read(GOOD + "b,").rows == [{"name": "a", "value": "1"}]
    assert read(GOOD + "b,2").rows == [{"name": "a", "value": "1"}]
    assert read("# hakmem results 1\n# kind: suite\nname\n").rows == []


@pytest.mark.parametrize("content, said", [
    ("", "empty"),
    (" \n", "empty"),
    ("name,value\na,1\n", "does not begin with"),
    ("# hakmem results 1", "does not begin with"),  # cut off in its first line
    ("# hakmem results 1\n", "no line of column names"),
    ("# hakmem results 1\n# kind suite\n", ":2: not '# name: value'"),
    (GOOD + "b,2,3\n", ":5: 3 fields instead of 2"),
    (GOOD + "\n", ":5: 0 fields instead of 2"),
    (b"\xff\xfe\x00", "not a text"),
])
def test_damage_is_named(read, content, said):
    with pytest.raises(results.Damaged, match="x.csv") as error:
        read(content)
    assert said in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(results.Damaged, match="No such file"):
        results.read(tmp_path / "none.csv")
