"""Checkpoints in odd states are refused before any worker starts, in one paragraph that says what to do."""

import json
import shutil

import pytest
from checkpoints import ENCODER, FILES, POINTER, UNET, VAE, linked, read, replace, set_json, shard, write
from filenames import spelled_here

from svdsweep.config import Model
from svdsweep.errors import UserError
from svdsweep.models import sizes
from svdsweep.models.architectures import architecture
from svdsweep.models.locate import doubts_about, judged, resolve
from svdsweep.models.unet import configs_in


@pytest.fixture
def folder(tmp_path):
    resolve.cache_clear()
    doubts_about.cache_clear()
    return linked(tmp_path.resolve() / spelled_here("a pipeline ü", "a pipeline")[0])


def refusal(source, **settings):
    with pytest.raises(UserError) as refused:
        resolve(Model(source=str(source), **settings))
    sentence = str(refused.value)
    assert sentence.startswith(f"model.source={source}: ")
    assert not {"\n", "{", "}"} & set(sentence)
    return sentence


DAMAGES = {
    "is a pointer of git-lfs": lambda data: POINTER,
    "is empty (0 bytes)": lambda data: b"",
    "is cut short or no safetensors file (5 bytes)": lambda data: data[:5],
    "is cut short or no safetensors file (2,000 bytes)": lambda data: data[:2000],
    "is cut short (1,000,000 of": lambda data: data[:1_000_000],
    "is longer than its header says": lambda data: data + b"x",
    "has a header that cannot be read": lambda data: data[:8] + b"[" + data[9:],
    "is cut short or no safetensors file": lambda data: b"\xff" * 8 + data[8:],
    "is a pickle of torch under another name": lambda data: b"PK\x03\x04" + b"\xff" * 100,
    "is a web page": lambda data: b"<!DOCTYPE html><html>Not found</html>",
    "is a GGUF file": lambda data: b"GGUF" + b"\x03" * 100,
    "is a text in JSON": lambda data: b'{"error":"Access denied"}',
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("what", DAMAGES)
def test_a_weight_file_that_is_none_is_told_by_name_with_what_it_is(folder, what, file):
    replace(folder / file, DAMAGES[what]((folder / file).read_bytes()))
    sentence = refusal(folder)
    assert f"{file} {what}" in sentence
    assert ("git lfs pull" if "git-lfs" in what else "Copy or download it again") in sentence


HEADERS = {
    "no object": [],
    "a tensor without a shape": {"a": {"dtype": "F32", "data_offsets": [0, 8]}},
    "a tensor that is none": {"a": 3},
    "a shape of words": {"a": {"dtype": "F32", "shape": ["2"], "data_offsets": [0, 8]}},
    "a shape below zero": {"a": {"dtype": "F32", "shape": [-2, -1], "data_offsets": [0, 8]}},
    "offsets of three": {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4, 8]}},
    "offsets of words": {"a": {"dtype": "F32", "shape": [2], "data_offsets": ["0", "8"]}},
    "another size than its shape": {"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}},
    "a hole": {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
    "two in one place": {name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in ("a", "b")},
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_that_makes_no_sense_is_refused(folder, header):
    text = json.dumps(header).encode()
    replace(folder / VAE, len(text).to_bytes(8, "little") + text + bytes(8))
    assert f"{VAE} has a header that cannot be read" in refusal(folder)


def rename(new):
    """Give every weight file another name by `new`, of its path."""

    def rename_all(folder):
        for file in FILES:
            (folder / file).rename(new(folder / file))

    return rename_all


def pickled(folder):
    rename(lambda p: p.with_name("diffusion_pytorch_model.bin" if "dif" in p.name else "pytorch_model.bin"))(
        folder
    )


def fp16(path):
    return path.with_suffix(".fp16.safetensors")


def fp16_and_bf16(folder):
    (folder / UNET).rename(fp16(folder / UNET))
    (folder / VAE).rename((folder / VAE).with_suffix(".bf16.safetensors"))


def half_downloaded(folder):
    (folder / UNET).unlink()
    downloads = folder / ".cache" / "huggingface" / "download" / "unet"
    downloads.mkdir(parents=True)
    (downloads / "abc.incomplete").touch()


def without_shards_index(folder):
    shard(folder)
    (folder / f"{UNET}.index.json").unlink()


MISSING = {
    "unet": (lambda f: shutil.rmtree(f / "unet"), ["there is no unet/.", "hf download stabilityai/"]),
    "vae": (lambda f: shutil.rmtree(f / "vae"), ["there is no vae/."]),
    "image_encoder": (lambda f: shutil.rmtree(f / "image_encoder"), ["there is no image_encoder/."]),
    "scheduler": (
        lambda f: shutil.rmtree(f / "scheduler"),
        ["there is no scheduler/.", '--include "*.json"'],
    ),
    "feature_extractor": (
        lambda f: shutil.rmtree(f / "feature_extractor"),
        ["there is no feature_extractor/."],
    ),
    "config": (lambda f: (f / "unet/config.json").unlink(), ["unet/config.json is missing. Copy"]),
    "schedule": (
        lambda f: (f / "scheduler/scheduler_config.json").rename(f / "scheduler/a.json"),
        ["scheduler/scheduler_config.json is missing"],
    ),
    "weights": (lambda f: (f / VAE).unlink(), [f"{VAE} is missing (there is: no weight file). Copy"]),
    "two of them": (lambda f: [(f / x).unlink() for x in (UNET, VAE)], [UNET, VAE, "is missing"]),
    "all but pickles": (
        pickled,
        ["never a pickle", "use_safetensors=False", "unet/diffusion_pytorch_model.bin"],
    ),
    "all but a variant": (rename(fp16), ["model.variant=fp16 reads what is there."]),
    "one but a variant": (
        lambda f: (f / UNET).rename(fp16(f / UNET)),
        ["model.variant=fp16 reads what is there, and the plain files of vae and image_encoder."],
    ),
    "variants that do not meet": (fp16_and_bf16, ["is missing", "Give the file that is there this name."]),
    "another name": (
        lambda f: (f / UNET).rename(f / "unet/svd_xt.safetensors"),
        ["(there is: unet/svd_xt.safetensors). Give the file that is there this name."],
    ),
    "half a download": (half_downloaded, ["A download broke off"]),
    "a browser's half": (
        lambda f: (f / UNET).rename(f / f"{UNET}.crdownload"),
        ["diffusion_pytorch_model.safetensors.crdownload). A download broke off"],
    ),
    "a downloader's half": (
        lambda f: (f / f"{UNET}.aria2").touch(),
        [f"{UNET} is not whole yet (diffusion_pytorch_model.safetensors.aria2 lies beside it)"],
    ),
    "a shard": (lambda f: shard(f)[1].unlink(), ["-00002-of-00002.safetensors is missing, a shard"]),
    "the shards' index": (without_shards_index, ["The index of the shards is missing"]),
    "more than are told": (
        lambda f: [shutil.rmtree(p) for p in f.iterdir() if p.is_dir()],
        ["; and 2 more. "],
    ),
}


@pytest.mark.parametrize(("harm", "told"), MISSING.values(), ids=MISSING)
def test_what_is_missing_is_named_with_how_to_get_it(folder, harm, told):
    harm(folder)
    sentence = refusal(folder)
    assert all(part in sentence for part in told), sentence


def cut(path):
    replace(path, path.read_bytes()[:10_000])


def index(folder, **settings):
    shard(folder)
    set_json(folder / f"{UNET}.index.json", **settings)


def with_tensors(file, change):
    def rewrite(folder):
        write(folder / file, change(read(folder / file)))

    return rewrite


def without(word):
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if word not in name}


def lacking_in_a_shard(folder):
    first = shard(folder)[0]
    write(first, without("conv_in.bias")(read(first)))


def swapped(folder):
    weights = [(folder / file).read_bytes() for file in (VAE, UNET)]
    for file, data in zip((UNET, VAE), weights, strict=True):
        replace(folder / file, data)


ONE_MORE = {"extra.weight": ("F32", [1], bytes(4))}
ADAPTER = {"down.lora_A.weight": ("F32", [1], bytes(4)), "down.lora_B.weight": ("F32", [1], bytes(4))}
TENSORS = {
    "a shard cut short": (lambda f: cut(shard(f)[1]), ["-00002-of-00002.safetensors is cut short"]),
    "a shard that is a pointer": (
        lambda f: replace(shard(f)[0], POINTER),
        ["a pointer of git-lfs", "git lfs"],
    ),
    "a shard without its tensor": (lacking_in_a_shard, ["disagree on 1 of 424 tensors (conv_in.bias)"]),
    "an index without a map": (
        lambda f: index(f, weight_map=None),
        [f"{UNET}.index.json is no index of shards"],
    ),
    "an index without metadata": (
        lambda f: index(f, metadata=None),
        [f"{UNET}.index.json is no index of shards"],
    ),
    "an index of elsewhere": (
        lambda f: index(f, weight_map={"a": "../b"}),
        ["names ../b, which is no file beside"],
    ),
    "an index of other tensors": (
        lambda f: index(f, weight_map={"a": "b.safetensors"}),
        ["unet/b.safetensors is"],
    ),
    "a broken index": (lambda f: (shard(f), (f / f"{UNET}.index.json").write_bytes(b"{")), ["read as JSON"]),
    "of the UNet": (
        with_tensors(UNET, without("temporal_transformer_blocks")),
        [
            f"{UNET} lacks 104 of the 424 tensors that unet/config.json asks for (down_blocks.",
            "save_pretrained",
        ],
    ),
    "of the VAE": (with_tensors(VAE, without("conv_out.bias")), ["lacks 3 of the 249", "drawn at random"]),
    "of the encoder": (
        with_tensors(ENCODER, without("visual_p")),
        ["lacks 1 of the 40 tensors", "visual_projection"],
    ),
    "one more": (
        with_tensors(UNET, lambda t: t | ONE_MORE),
        ["holds 1 tensors beside those", "(extra.weight)"],
    ),
    "an adapter": (lambda f: write(f / UNET, ADAPTER), ["none of which the unet has", "an adapter's"]),
    "none": (lambda f: write(f / UNET, {}), [f"{UNET} holds 0 tensors"]),
    "a wrapped network": (
        with_tensors(UNET, lambda t: {f"_orig_mod.{name}": tensor for name, tensor in t.items()}),
        ["begins with `_orig_mod.`", "unwrap it"],
    ),
    "the VAE as UNet": (
        swapped,
        [f"{UNET} holds the tensors of the vae; {VAE} holds the tensors of the unet"],
    ),
    "of eight bits": (
        with_tensors(ENCODER, lambda t: t | {"visual_projection.weight": ("F8_E4M3", [64, 64], bytes(4096))}),
        [f"{ENCODER} stores weights as F8_E4M3", "memory.unet_weights"],
    ),
    "of another shape": (
        lambda f: set_json(f / "image_encoder/config.json", intermediate_size=256),
        ["layers.0.mlp.fc1.bias as 128 where image_encoder/config.json asks for 256"],
    ),
}


@pytest.mark.parametrize(("harm", "told"), TENSORS.values(), ids=TENSORS)
def test_tensors_that_a_network_has_not_or_lacks_are_named(folder, harm, told):
    harm(folder)
    sentence = refusal(folder)
    assert all(part in sentence for part in told), sentence


def settings(file, **changed):
    return lambda folder: set_json(folder / file, **changed)


def text(file, content):
    return lambda folder: (folder / file).write_text(content, encoding="utf-8")


INDEX, UNET_CONFIG, SCHEDULE = "model_index.json", "unet/config.json", "scheduler/scheduler_config.json"
FORK = "StableVideoDiffusionPipelineControlNet"
CONFIGS = {
    "a fork's class": (
        settings(INDEX, _class_name=FORK, controlnet=["a", "B"]),
        [
            FORK,
            "without what the fork adds (controlnet)",
            "set `_class_name`",
            "to StableVideoDiffusionPipeline.",
        ],
    ),
    "another pipeline": (
        settings(INDEX, _class_name="TextToVideoSDPipeline", unet=["diffusers", "UNet3DConditionModel"]),
        [
            "names a TextToVideoSDPipeline as its class; svdsweep runs a StableVideoDiffusionPipeline",
            "Allowed",
        ],
    ),
    "no class": (settings(INDEX, _class_name=None, vae=None), ["names no class"]),
    "a class of one's own": (settings(INDEX, _class_name=["pipeline", "Mine"]), ["['pipeline', 'Mine']"]),
    "an empty index": (text(INDEX, ""), [f"{INDEX} is empty. Copy or download it again"]),
    "a broken index": (text(INDEX, "{"), [f"{INDEX} cannot be read as JSON"]),
    "an index of another kind": (text(INDEX, "[]"), [f"{INDEX} holds no settings"]),
    "no image encoder": (settings(INDEX, image_encoder=[None, None]), [f"{INDEX} names no image_encoder"]),
    "another UNet in the index": (
        settings(INDEX, unet=["diffusers", "UNet2DConditionModel"]),
        ["UNet2DCond"],
    ),
    "a UNet of the fork": (
        settings(INDEX, unet=["models.unet", "UNetX"]),
        ["names a models.unet.UNetX as unet"],
    ),
    "another VAE": (
        settings("vae/config.json", _class_name="AutoencoderKL"),
        ["that of a AutoencoderKL, where"],
    ),
    "another UNet": (
        settings(UNET_CONFIG, _class_name="UNet3DConditionModel"),
        ["that of a UNet3DConditionModel"],
    ),
    "another scheduler": (
        settings(SCHEDULE, _class_name="DDIMScheduler"),
        ["of a DDIMScheduler", "EulerDiscrete"],
    ),
    "another schedule": (
        settings(SCHEDULE, prediction_type="epsilon"),
        ["prediction_type=epsilon, not v_predict"],
    ),
    "a discrete schedule": (
        settings(SCHEDULE, timestep_type=None),
        ["timestep_type=discrete, not continuous"],
    ),
    "a broken config": (text(UNET_CONFIG, "{'a': 1}"), ["unet/config.json cannot be read as JSON"]),
    "a broken feature extractor": (
        text("feature_extractor/preprocessor_config.json", ""),
        ["config.json is empty"],
    ),
    "a text's UNet": (
        settings(UNET_CONFIG, in_channels=32),
        ["in_channels=32, where 64 go", "noise and picture"],
    ),
    "other latents": (settings(UNET_CONFIG, out_channels=4), ["out_channels=4, where 32 go"]),
    "another encoder": (
        settings(UNET_CONFIG, cross_attention_dim=1024),
        ["=1024, where 64", "projection_dim"],
    ),
    "other conditions": (settings(UNET_CONFIG, addition_time_embed_dim=256), ["=96, where 768 go"]),
    "no number": (settings(UNET_CONFIG, in_channels="64"), ["in_channels='64' is no size of such a network"]),
    "a list too short": (settings(UNET_CONFIG, layers_per_block=[1]), ["1 numbers for 2 blocks"]),
    "nothing at all": (settings("vae/config.json", latent_channels=0), ["latent_channels=0 is no size"]),
    "strange blocks": (
        settings(UNET_CONFIG, down_block_types=["DownBlock3D", "DownBlock3D"]),
        ["down_block_types names DownBlock3D, where SVD has DownBlockSpatioTemporal"],
    ),
    "heads that do not divide": (settings(UNET_CONFIG, num_attention_heads=7), ["do not divide"]),
}


@pytest.mark.parametrize(("harm", "told"), CONFIGS.values(), ids=CONFIGS)
def test_configs_of_another_pipeline_or_that_contradict_each_other_are_refused(folder, harm, told):
    harm(folder)
    sentence = refusal(folder)
    assert all(part in sentence for part in told), sentence


def test_what_is_no_file_is_missing(folder):
    (folder / VAE).unlink()
    (folder / VAE).mkdir()
    assert f"{VAE} is missing" in refusal(folder)


def test_a_variant_is_read_with_plain_files_beside_it_as_diffusers_does_and_it_is_told(folder):
    (folder / UNET).rename(fp16(folder / UNET))
    asked = resolve(Model(source=str(folder), variant="fp16", dtype="float16"))
    assert judged(asked)[1].variants == {"unet": "fp16", "vae": None, "image_encoder": None}
    assert doubts_about(asked) == (
        "model.variant=fp16: there is none of vae and image_encoder; the plain files are read.",
    )


@pytest.mark.parametrize(("dtype", "told"), [("float32", ["stores unet, vae in float16"]), ("float16", [])])
def test_weights_that_are_stored_rounded_are_told_where_more_is_asked_for(folder, dtype, told):
    doubts = doubts_about(resolve(Model(source=str(folder), dtype=dtype)))
    assert len(doubts) == len(told)
    assert all(part in doubt for part, doubt in zip(told, doubts, strict=True))


def test_networks_of_another_size_than_is_predicted_for_are_told_with_the_preset_that_fits(folder):
    [told] = doubts_about(resolve(Model(source=str(folder), architecture="svd_xt", dtype="float16")))
    assert (
        "its unet has block_out_channels 128-64, not the 320-640-1280-1280 of model.architecture=svd_xt"
        in told
    )
    assert told.endswith(f"Its own sizes: model=tiny model.source={folder}.")
    svd = architecture("svd")
    for part, config in (("unet", svd.unet), ("vae", svd.vae)):
        (folder / part / "config.json").write_text(json.dumps(config), encoding="utf-8", newline="\n")

    def size_doubts(**settings):
        model = Model(source=str(folder), **settings)
        return sizes.doubts(configs_in(folder, model), model)

    [told] = size_doubts()
    assert told.endswith(f"Its own sizes: model=svd_xt model.source={folder}.")
    assert not size_doubts(architecture="svd")
    set_json(folder / "vae/config.json", block_out_channels=[128, 256, 512, 640])
    [told] = size_doubts(architecture="svd")
    assert "its vae has block_out_channels 128-256-512-640, not the 128-256-512-512 of" in told
    assert told.endswith("No other fits it either.")


def test_the_embedded_model_is_beyond_doubt():
    assert not doubts_about(resolve(Model()))


def test_a_variant_that_no_component_has_is_refused_though_the_plain_files_are_there(folder):
    sentence = refusal(folder, variant="fp16")
    assert "unet/diffusion_pytorch_model.fp16.safetensors is missing" in sentence
    assert sentence.endswith("model.variant=null reads what is there.")


def test_shards_and_old_tensors_that_nothing_reads_are_whole(folder):
    shard(folder)
    unread = {"vision_model.embeddings.position_ids": ("I64", [1], bytes(8))}
    write(folder / ENCODER, read(folder / ENCODER) | unread)
    assert resolve(Model(source=str(folder))).revision


def test_a_revision_that_a_folder_has_not_is_refused_and_its_own_is_taken(folder):
    own = resolve(Model(source=str(folder))).revision
    assert resolve(Model(source=str(folder), revision=own)).revision == own
    with pytest.raises(UserError, match=rf"model.revision=main.*is revision {own}.*Without model.revision"):
        resolve(Model(source=str(folder), revision="main"))
