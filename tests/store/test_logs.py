from svdsweep.store.logs import BYTES, tail


def test_the_last_lines_are_shown_as_a_terminal_would(tmp_path):
    log = tmp_path / "w-1.log"
    log.write_text("before\n1 %\r50 %\r99 %\n\n  \nlast\n", encoding="utf-8", newline="")
    assert tail(log, 9) == "before\n99 %\nlast"
    assert tail(log, 9, since=len("before\n")) == "99 %\nlast"
    assert tail(log, 1) == "last"


def test_a_line_without_end_is_cut(tmp_path):
    log = tmp_path / "w-1.log"
    log.write_text("x" * 2 * BYTES + "\nlast", encoding="utf-8")
    assert tail(log, 9) == "x" * (BYTES - 5) + "\nlast"


def test_no_secret_is_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijkl")
    log = tmp_path / "w-1.log"
    log.write_text("401 for hf_abcdefghijkl", encoding="utf-8")
    assert "hf_abc" not in tail(log, 9)
