"""Every mistake in each YAML file is answered by file, line and the nearest valid word."""

import shutil
from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.specs import (
    check_references,
    load_inventory,
    load_kinds,
    load_matrix,
    load_model,
    load_models,
)
from orchestrator.specs.base import load
from orchestrator.specs.kinds import Kind, _Kinds

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def files(tmp_path):
    """A copy of the default files, to be spoiled."""
    for name in ("matrix.yaml", "device_inventory.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "models").mkdir()
    for path in (ROOT / "models").glob("synthface-ir.*"):
        shutil.copy(path, tmp_path / "models")
    shutil.copy(ROOT / "orchestrator/kinds/rv1126.yaml", tmp_path)
    return tmp_path


def load_all(folder):
    load(Kind, folder / "rv1126.yaml")
    matrix = load_matrix(folder / "matrix.yaml")
    inventory = load_inventory(folder / "device_inventory.yaml")
    check_references(matrix, inventory, load_kinds(), load_models(matrix))
    return matrix, inventory


def spoil(folder, name, old, new):
    """Replace `old`, which stands once, and return the line it stood in."""
    path = folder / name
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
    path.write_text(text.replace(old, new))
    return text[: text.index(old)].count("\n") + 1


def complaint(folder):
    with pytest.raises(UserError) as caught:
        load_all(folder)
    message = caught.value.message
    assert "validation error" not in message
    assert "pydantic" not in message
    return message.replace(f"{folder}/", "")


MISTAKES = [
    # matrix.yaml: wrong keys
    ("matrix.yaml", "models: synthface-ir ", "model: synthface-ir ", "did you mean 'models'?"),
    ("matrix.yaml", "test_set:", "testset:", "did you mean 'test_set'?"),
    ("matrix.yaml", "    identities: 3000", "    identites: 3000", "did you mean 'identities'?"),
    ("matrix.yaml", "{images: 200,", "{image: 200,", "did you mean 'images'?"),
    ("matrix.yaml", "warm_up_count:", "warmup_count:", "did you mean 'warm_up_count'?"),
    ("matrix.yaml", "bootstrap:", "bootstraps:", "did you mean 'bootstrap'?"),
    ("matrix.yaml", "boards: this-host", "board: this-host", "did you mean 'boards'?"),
    ("matrix.yaml", "{kind: imx8mp}", "{knd: imx8mp}", "did you mean 'kind'?"),
    # matrix.yaml: wrong values
    (
        "matrix.yaml",
        "models: synthface-ir ",
        "models: synthface-ri ",
        "did you mean 'synthface-ir'?",
    ),
    ("matrix.yaml", "    seed: 0", "    seed: zero", "expected a whole number, not 'zero'"),
    ("matrix.yaml", "  rendered:  ", "  rendred:  ", "did you mean 'rendered'?"),
    ("matrix.yaml", "identities: 3000", "identities: -3", "greater than or equal to 1, not -3"),
    ("matrix.yaml", "identities: 3000", "identities: 999999", "served for training"),
    ("matrix.yaml", "difficulty: 1.5  ", "difficulty: .inf  ", "expected a finite number"),
    (
        "matrix.yaml",
        "{images: 200, difficulty",
        "{images: 2.5, difficulty",
        "expected a whole number",
    ),
    ("matrix.yaml", "max_duration_s: 60.0", "max_duration_s: 1.0", "less than min_duration_s"),
    ("matrix.yaml", "table_far: 1e-3", "table_far: 2e-3", "0.002 is not among far"),
    ("matrix.yaml", "far: [1e-1,", "far: [2,", "less than or equal to 1, not 2"),
    ("matrix.yaml", "confidence: 0.95", "confidence: 95", "less than 1, not 95"),
    ("matrix.yaml", "this-host\n    quant", "this-hots\n    quant", "did you mean 'this-host'?"),
    ("matrix.yaml", "{kind: rv1126}", "{kind: rv1162}", "did you mean 'rv1126'?"),
    ("matrix.yaml", "{kind: rv1126}", "{tag: referense}", "did you mean 'reference'?"),
    (
        "matrix.yaml",
        "{kind: rv1126}",
        "{kind: rk3588}",
        "no board of device_inventory.yaml fits (kind rk3588): add one there",
    ),
    ("matrix.yaml", "{kind: rv1126}", "{}", "expected a board's name, or kind:, tag: or site:"),
    ("matrix.yaml", "{kind: rv1126}", "{site: lib}", "unknown site 'lib'; did you mean 'lab'?"),
    ("matrix.yaml", "int8 per-channel symmetric", "int8 per-chanel", "did you mean 'per-channel'?"),
    ("matrix.yaml", "int8 per-channel symmetric", "int8 uint8", "exclude each other"),
    ("matrix.yaml", "int8 per-channel symmetric", "int8 symmetric", "int8 needs granularity"),
    ("matrix.yaml", "int8 per-channel symmetric", "float32 per-tensor", "float32 takes no"),
    ("matrix.yaml", "int8 per-channel symmetric", "{dtype: int9}", "did you mean 'int8'?"),
    ("matrix.yaml", "int8 per-channel symmetric", "[]", "expected at least one item"),
    ("matrix.yaml", "name: jetson", "name: ../jetson", "should match pattern"),
    ("matrix.yaml", "name: jetson", "name: float32", "the entry 'float32' is defined twice"),
    (
        "matrix.yaml",
        "quantization: float32",
        "quantization: int8 per-tensor symmetric",
        "needs an entry",
    ),
    # device_inventory.yaml
    ("device_inventory.yaml", "\nboards:", "\nboard:", "did you mean 'boards'?"),
    ("device_inventory.yaml", "tags: [reference]", "tag: [reference]", "did you mean 'tags'?"),
    ("device_inventory.yaml", "transport: local", "transport: locl", "did you mean 'local'?"),
    (
        "device_inventory.yaml",
        "transport: local",
        "transport: {shs: {host: a}}",
        "did you mean 'ssh'?",
    ),
    (
        "device_inventory.yaml",
        "transport: local",
        "transport: {ssh: {hots: a}}",
        "did you mean 'host'?",
    ),
    (
        "device_inventory.yaml",
        "transport: local",
        "transport: {ssh: {user: a}}",
        "missing key 'host'",
    ),
    (
        "device_inventory.yaml",
        "transport: local",
        "transport: {ssh: {host: a b}}",
        "not a host name",
    ),
    (
        "device_inventory.yaml",
        "transport: local",
        "transport: {ssh: {host: -oP}}",
        "not a host name",
    ),
    ("device_inventory.yaml", "transport: local", "transport: {ssh: {host: a, port: 0}}", "not 0"),
    (
        "device_inventory.yaml",
        "transport: local",
        "transport: {ssh: {host: a, host_key: x}}",
        "public host key",
    ),
    (
        "device_inventory.yaml",
        "transport: local",
        "transport: {ssh: {host: a, user: -x}}",
        "match pattern",
    ),
    ("device_inventory.yaml", "transport: local", "transport: {ssh: [a]}", "expected a mapping"),
    ("device_inventory.yaml", "kind: imx8mp", "kind: imx8pm", "did you mean 'imx8mp'?"),
    ("device_inventory.yaml", "name: rv1126", "name: IMX8MP", "is defined twice"),
    ("device_inventory.yaml", "name: imx8mp", "name: ../../etc", "should match pattern"),
    ("device_inventory.yaml", "name: imx8mp", "name: 8", "expected text (put it in quotes), not 8"),
    ("device_inventory.yaml", "tags: [reference]", "type: gpu", "did you mean 'GPU'?"),
    ("device_inventory.yaml", "tags: [reference]", "site: a/b", "should match pattern"),
    ("device_inventory.yaml", "tags: [reference]", "workdir: /a/../..", "a folder of farm's own"),
    ("device_inventory.yaml", "tags: [reference]", 'python: "a\\nb"', "one line of printable text"),
    (
        "device_inventory.yaml",
        "tags: [reference]",
        "runtime: onnxrutime",
        "did you mean 'onnxruntime'?",
    ),
    (
        "device_inventory.yaml",
        "tags: [reference]",
        "runtime: {thread: 2}",
        "did you mean 'threads'?",
    ),
    ("device_inventory.yaml", "tags: [reference]", "runtime: {threads: yes}", "not 'yes'"),
    (
        "device_inventory.yaml",
        "tags: [reference]",
        "runtime: {name: tengine, providers: [TIM-VX]}",
        "tengine runs on one of TIMVX, CPU; did you mean 'TIMVX'?",
    ),
    (
        "device_inventory.yaml",
        "tags: [reference]",
        "runtime: {name: rknn, providers: [NPU, CPU]}",
        "rknn runs on one of NPU",
    ),
    (
        "device_inventory.yaml",
        "tags: [reference]",
        "runtime: {name: rknn, library: librknnrt.so}",
        "expected an absolute path on the board",
    ),
    (
        "device_inventory.yaml",
        "tags: [reference]",
        "runtime: {name: rknn, fp16: true}",
        "fp16 and workspace_mb are for engines, which only tensorrt builds",
    ),
    # models/synthface-ir.yaml
    (
        "models/synthface-ir.yaml",
        "embedding_size:",
        "embeding_size:",
        "did you mean 'embedding_size'?",
    ),
    ("models/synthface-ir.yaml", "  colour: RGB", "  color: RGB", "did you mean 'colour'?"),
    ("models/synthface-ir.yaml", "colour: RGB", "colour: rgb", "did you mean 'RGB'?"),
    ("models/synthface-ir.yaml", "layout: NCHW", "layout: NCWH", "did you mean 'NCHW'?"),
    (
        "models/synthface-ir.yaml",
        "height: 112",
        "height: '112'",
        "expected a whole number, not '112'",
    ),
    (
        "models/synthface-ir.yaml",
        "height: 112\n  width: 112",
        "height: 4096\n  width: 1366",
        "an image of 4096 x 1366 pixels has 16,785,408 bytes; a board is sent",
    ),
    ("models/synthface-ir.yaml", "height: 112", "height: 96", "rendered faces are 112 x 112"),
    ("models/synthface-ir.yaml", "mean: 127.5", "mean: [1, 2]", "one number or three"),
    ("models/synthface-ir.yaml", "std: 127.5", "std: 0", "must be greater than 0"),
    ("models/synthface-ir.yaml", "name: synthface-ir\n", "name: other\n", "must carry the name"),
    (
        "models/synthface-ir.yaml",
        "\nfile: synthface-ir.onnx",
        "\nfile: gone.onnx",
        "does not exist",
    ),
    ("models/synthface-ir.yaml", '"519d', '"619d', "is not the file described here"),
    ("models/synthface-ir.yaml", '"519d', '"519D', "should match pattern"),
    # a kind
    ("rv1126.yaml", "toolchain: rknn", "toolchains: rknn", "did you mean 'toolchain'?"),
    (
        "rv1126.yaml",
        "granularity: per-tensor",
        "granularity: pertensor",
        "did you mean 'per-tensor'?",
    ),
]

# Where the line to be named is not the one that was changed.
ELSEWHERE = {
    "needs an entry",  # at the float32 gallery
    "rendered faces are 112 x 112",  # at the matrix's test set
    "int8 needs granularity",
    "served for training",  # at the set
}


@pytest.mark.parametrize(("name", "old", "new", "expected"), MISTAKES)
def test_a_mistake_is_told_with_file_line_and_word(files, name, old, new, expected):
    load_all(files)
    line = spoil(files, name, old, new) + old[: len(old) - len(old.lstrip("\n"))].count("\n")
    message = complaint(files)
    matching = [told for told in message.splitlines() if expected in told]
    assert matching, message
    if expected not in ELSEWHERE:
        assert matching[0].startswith(f"{name}:{line}: "), message


@pytest.mark.parametrize("key", ["password", "passphrase", "Token"])
def test_a_secret_is_refused_and_not_repeated(files, key):
    spoil(
        files,
        "device_inventory.yaml",
        "transport: local",
        f"transport: {{ssh: {{host: a, {key}: hunter2}}}}",
    )
    message = complaint(files)
    assert "no secrets in a file" in message
    assert "hunter2" not in message


def test_a_pasted_private_key_is_refused_and_not_repeated(files):
    spoil(
        files,
        "device_inventory.yaml",
        "transport: local",
        'transport: {ssh: {host: a, key: "-----BEGIN OPENSSH PRIVATE KEY-----b3Bl"}}',
    )
    message = complaint(files)
    assert "never the key itself" in message
    assert "b3Bl" not in message


def test_all_mistakes_come_at_once(files):
    spoil(files, "matrix.yaml", "bootstrap:", "bootstraps:")
    spoil(files, "matrix.yaml", "confidence: 0.95", "confidence: 2.0")
    spoil(files, "matrix.yaml", "boards: this-host", "boards: {kinds: host-cpu}")
    assert len(complaint(files).splitlines()) == 3


@pytest.mark.parametrize(
    "name", ["matrix.yaml", "device_inventory.yaml", "models/synthface-ir.yaml"]
)
@pytest.mark.parametrize("text", ["", "[1, 2]\n", "words\n", "a: !x 1\n", "a: 1\na: 2\n"])
def test_no_file_is_above_the_rules(files, name, text):
    (files / name).write_text(text)
    first = complaint(files).splitlines()[0]
    assert first.startswith(f"{name}:")
    assert first.split(":")[1].isdigit()


def test_rules_name_things_that_exist(files):
    path = files / "matrix.yaml"
    path.write_text(
        path.read_text()
        + "\nreference: flaot32\ninclude:\n  - {board: rv1162}\nexclude:\n"
        + "  - {quantization: int9}\n"
    )
    assert "did you mean 'int8'?" in complaint(files)
    path.write_text(path.read_text().replace("int9", "int8"))
    assert "unknown entry 'flaot32'; did you mean 'float32'?" in complaint(files)
    path.write_text(path.read_text().replace("flaot32", "jetson"))
    assert "the entry 'jetson' does not run float32" in complaint(files)
    path.write_text(path.read_text().replace("reference: jetson", "reference: float32"))
    assert "unknown board 'rv1162'; did you mean 'rv1126'?" in complaint(files)
    path.write_text(path.read_text().replace("rv1162", "rv1126"))
    load_all(files)


def test_a_missing_model_names_the_places(files):
    (files / "models" / "synthface-ir.yaml").unlink()
    spoil(files, "matrix.yaml", "models: synthface-ir ", "models: nowhere ")
    message = complaint(files)
    assert message.startswith("matrix.yaml:9: no model 'nowhere': there is no models/nowhere.yaml")


def test_a_manifest_can_be_read_without_its_file(files):
    (files / "models" / "synthface-ir.onnx").unlink()
    assert load_model(files / "models" / "synthface-ir.yaml", verify=False).embedding_size == 256


def test_a_kind_is_called_as_its_file(tmp_path):
    shutil.copy(ROOT / "orchestrator/kinds/rv1126.yaml", tmp_path / "copied.yaml")
    with pytest.raises(UserError, match=r"copied.yaml:\d+: name: 'rv1126' .* `name: copied`"):
        _Kinds(tmp_path)["copied"]
