"""Models of the hub: what its cache holds is judged as a folder is, and what it lists before anything is fetched."""

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from checkpoints import ENCODER, FILES, POINTER, UNET, VAE, linked, replace, set_json, shard

from svdsweep.config import Model
from svdsweep.errors import UserError
from svdsweep.models.locate import fetch, folder_of, judged, resolve

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """The place of `someone/svd` in an empty cache of the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    resolve.cache_clear()
    return tmp_path / "models--someone--svd"


@pytest.fixture
def snapshot(repository):
    """The embedded pipeline as a snapshot of main."""
    (repository / "refs").mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    return linked(repository / "snapshots" / COMMIT)


def refusal(**settings):
    with pytest.raises(UserError) as refused:
        resolve(Model(source="someone/svd", **settings))
    sentence = str(refused.value)
    assert not {"\n", "{", "}"} & set(sentence)
    return sentence


def half_downloaded(snapshot):
    (snapshot / VAE).unlink()
    (snapshot.parents[1] / "blobs" / "abc.incomplete").touch()


def index_alone(snapshot):
    for path in snapshot.rglob("*"):
        if path.is_file() and path.name != "model_index.json":
            path.unlink()


def linked_to_nothing(snapshot):
    (snapshot / UNET).unlink()
    try:
        (snapshot / UNET).symlink_to(snapshot.parents[1] / "blobs" / "gone")
    except OSError as e:
        pytest.skip(f"no links here: {e}")


def not_begun(snapshot):
    shutil.rmtree(snapshot)
    (snapshot.parents[1] / "blobs" / "abc.incomplete").touch()


FETCH = "`hf download someone/svd --force-download` fetches it again."
GO_ON = "`hf download someone/svd` goes on where the download broke off."
STATES = {
    "a pointer": (lambda s: replace(s / UNET, POINTER), [f"{UNET} is a pointer of git-lfs", FETCH]),
    "cut short": (lambda s: replace(s / VAE, (s / VAE).read_bytes()[:9999]), [f"{VAE} is cut short", FETCH]),
    "a fork's class": (
        lambda s: set_json(s / "model_index.json", _class_name="Fork"),
        ["names a Fork", "the copy's"],
    ),
    "a file missing": (
        lambda s: (s / VAE).unlink(),
        ["in the hub's cache but in part: ", f"{VAE} is missing", GO_ON],
    ),
    "half downloaded": (
        half_downloaded,
        ["but in part (1 of its files half downloaded)", f"{VAE} is missing", GO_ON],
    ),
    "an index alone": (index_alone, ["in part: there is no unet/; there is no vae/", "and 2 more", GO_ON]),
    "without an index": (
        lambda s: (s / "model_index.json").unlink(),
        ["in part: model_index.json is missing", GO_ON],
    ),
    "a link to nothing": (linked_to_nothing, [f"in part: {UNET} is missing", GO_ON]),
    "not begun": (not_begun, ["not on this machine (1 of its files half downloaded)", "licence"]),
    "without refs": (
        lambda s: shutil.rmtree(s.parents[1] / "refs"),
        ["in the hub's cache but not as main", f"model.revision={COMMIT} reads what is there"],
    ),
}


@pytest.mark.parametrize(("harm", "told"), STATES.values(), ids=STATES)
def test_a_snapshot_in_an_odd_state_is_refused_with_what_to_do(snapshot, harm, told):
    harm(snapshot)
    sentence = refusal()
    assert all(part in sentence for part in told), sentence


def test_another_variant_than_the_caches_names_the_one_that_is_there(snapshot):
    assert "model.variant=null reads what is there." in refusal(variant="fp16")


def test_a_revision_is_found_by_tag_and_by_commit_and_another_is_told(snapshot):
    refs = snapshot.parents[1] / "refs"
    (refs / "v1").write_text(COMMIT, encoding="utf-8")
    assert {resolve(Model(source="someone/svd", revision=r)).revision for r in (None, "v1", COMMIT)} == {
        COMMIT
    }
    assert "not as v2" in (sentence := refusal(revision="v2"))
    assert "`hf download someone/svd --revision v2`" in sentence


def test_a_snapshot_that_is_spoilt_after_the_plan_is_refused_where_it_is_loaded(snapshot):
    model = resolve(Model(source="someone/svd"))
    replace(snapshot / ENCODER, b"")
    with pytest.raises(
        UserError, match=rf"{ENCODER} is empty.*hf download someone/svd --revision {COMMIT} --force"
    ):
        judged(model)


@pytest.fixture
def served(tmp_path_factory, repository, monkeypatch) -> Iterator:
    """A folder that a hub on this machine serves as `someone/svd`."""
    folder = linked(tmp_path_factory.mktemp("hub") / "svd")

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(with_body=False)

        def do_GET(self):
            self.answer(with_body=True)

        def answer(self, with_body):
            name = self.path.partition(f"/resolve/{'main' if '/main/' in self.path else COMMIT}/")[2]
            if self.path.startswith("/api/models/someone/svd"):
                data = json.dumps(self.listed(as_tree="/tree/" in self.path)).encode()
            elif (folder / name).is_file():
                data = (folder / name).read_bytes()
            else:
                data = None
            self.send_response(404 if data is None else 200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{name.replace("/", "-")}"')
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            if with_body and data:
                self.wfile.write(data)

        def listed(self, as_tree):
            """What two addresses tell of the files: one since hub 2, one always."""
            files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
            siblings = [{"rfilename": name} for name in files]
            tree = [
                {"type": "file", "path": name, "size": p.stat().st_size, "oid": name}
                for name, p in files.items()
            ]
            return tree if as_tree else {"id": "someone/svd", "sha": COMMIT, "siblings": siblings, "tags": []}

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    for name, value in {"ENDPOINT": endpoint, "HF_HUB_OFFLINE": False}.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        endpoint + "/{repo_id}/resolve/{revision}/{filename}",
    )
    yield folder
    server.shutdown()
    server.server_close()


def test_what_is_read_of_a_model_is_fetched_and_nothing_else(served):
    shard(served)
    (served / VAE).rename((served / VAE).with_suffix(".fp16.safetensors"))
    (served / "svd_xt.safetensors").write_bytes(b"x")
    model = resolve(Model(source="someone/svd", variant="fp16"))
    assert model.revision == COMMIT
    fetch(model)
    names = {p.relative_to(folder_of(model)).as_posix() for p in folder_of(model).rglob("*.safetensors")}
    assert names == {p.relative_to(served).as_posix() for p in served.rglob("*/*.safetensors")}


def test_what_the_hub_has_not_is_told_before_anything_is_fetched(served, repository):
    for file in FILES:
        (served / file).rename((served / file).with_suffix(".fp16.safetensors"))
    assert "someone/svd, on the hub: " in (sentence := refusal())
    assert "model.variant=fp16 reads what is there." in sentence
    assert not repository.exists()


def test_what_was_fetched_is_judged(served):
    replace(served / VAE, POINTER)
    model = resolve(Model(source="someone/svd"))
    with pytest.raises(UserError, match=rf"{VAE} is a pointer of git-lfs"):
        fetch(model)
