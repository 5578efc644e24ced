"""The script that runs reproductions says how each ends."""

import pytest

from tests.reproductions import Args, ended, main


def test_each_has_a_row(tmp_path, capsys):
    (tmp_path / "01-right").mkdir()
    (tmp_path / "01-right/run.sh").write_text(
        'echo "$(basename "$0") in $(ls | wc -l) files, $(stat -c %a .)"; exit 3\n'
    )
    (tmp_path / "01-right/RIGHT.txt").write_text("One line.\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more/env.sh").write_text("exit 9\n")
    (tmp_path / "more/c1_wrong.py").write_text("raise ValueError('lost')\n")
    with pytest.raises(SystemExit, match="1 ended in a traceback, or not at all"):
        main(Args(tmp_path))
    first, second = capsys.readouterr().out.splitlines()
    assert first == "| 01-right | exit 3 | run.sh in 0 files, 755 | One line. |"
    assert second.startswith("| c1_wrong | traceback | ")
    assert "ValueError: lost" in second
    main(Args(tmp_path, only=("01",)))


def test_one_that_does_not_end_is_stopped(tmp_path):
    (tmp_path / "long.sh").write_text("sleep 60\n")
    assert ended(tmp_path / "long.sh", 1) == ("stopped", "")
