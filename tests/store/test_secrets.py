"""No row, log tail, page or message holds the value of a secret environment variable."""

import fakes
import pytest
from running import cpu, stored, sweep

from svdsweep import cli, report
from svdsweep.errors import UserError
from svdsweep.store.manifest import FILE, Manifest, write_manifest
from svdsweep.store.secrets import masked

TOKEN = "hf_aB3dE5fG7h"


@pytest.mark.parametrize("name", ["HF_TOKEN", "api_key", "AWS_SECRET", "DB_PASSWORD_2"])
def test_the_name_stands_where_the_value_did(monkeypatch, name):
    monkeypatch.setenv(name, TOKEN)
    assert masked(f"401 for Bearer {TOKEN}, {TOKEN[:-1]}") == f"401 for Bearer ***{name}***, {TOKEN[:-1]}"


def test_of_two_secrets_the_longer_is_masked_whole_and_a_key_of_many_lines_line_by_line(monkeypatch):
    monkeypatch.setenv("A_TOKEN", TOKEN)
    monkeypatch.setenv("B_TOKEN", TOKEN + "-and-more")
    monkeypatch.setenv("C_KEY", "-----BEGIN-----\nMIIEvQIBADAN\n")
    assert masked(f"{TOKEN}-and-more {TOKEN}\nMIIEvQIBADAN") == "***B_TOKEN*** ***A_TOKEN***\n***C_KEY***"


@pytest.mark.parametrize("value", ["true", "disabled", "short1", "", "PATH", "~/no_such_key", "LINES\n1"])
def test_words_paths_and_what_is_short_stay(monkeypatch, tmp_path, value):
    value = value.replace("PATH", str(tmp_path / "id_rsa"))
    monkeypatch.setenv("MY_KEY", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert masked(f"a {value} b") == f"a {value} b"


def test_what_other_variables_hold_stays(monkeypatch):
    monkeypatch.setenv("MY_NAME", TOKEN)
    assert masked(TOKEN) == TOKEN


def test_a_worker_that_tells_a_secret_leaves_it_in_no_row_and_on_no_page(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    does = ["tell HF_TOKEN", "tell_and_die HF_TOKEN", "note HF_TOKEN"]
    sweep(tmp_path, [fakes.job(seed, what) for seed, what in enumerate(does)], cpu(workers=1, attempts=1))
    told = {row.job.image.name: row for row in stored(tmp_path)}
    assert "401 for ***HF_TOKEN***" in told["tell HF_TOKEN"].error
    assert "401 for ***HF_TOKEN***" in told["tell_and_die HF_TOKEN"].error
    assert told["note HF_TOKEN"].notes[-1] == told["note HF_TOKEN"].values["remark"] == "***HF_TOKEN***"
    report.write(tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "***HF_TOKEN***" in page
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".log"]
    assert not [path for path in written if TOKEN.encode() in path.read_bytes()]


def test_a_worker_that_does_not_start_tells_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(UserError) as caught:
        sweep(tmp_path, [fakes.job()], cpu(workers=1), load=fakes.load_tells)
    assert "***HF_TOKEN***" in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_neither_the_command_that_is_kept_nor_an_error_holds_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    write_manifest(tmp_path, Manifest("x", [f"model.source=https://{TOKEN}@host"], None, {}, []))
    assert "https://***HF_TOKEN***@host" in (tmp_path / FILE).read_text(encoding="utf-8")
    assert cli.main(["watch", f"runs/{TOKEN}"]) == 2
    assert "runs/***HF_TOKEN*** is no folder" in capsys.readouterr().err
