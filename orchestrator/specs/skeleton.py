"""The first files of a project, as `farm init` writes them: manifest, matrix, inventory."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.specs.kinds import Kind
from orchestrator.specs.scenes import LARGEST_SIDE, SMALLEST_SIDE

HOST = "host-cpu"
FARS = ("1e-1", "1e-2", "1e-3")


def quoted(text: str) -> str:
    """A text as YAML's double-quoted scalar."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _numbers(values: Sequence[float]) -> str:
    texts = [f"{value:g}" for value in values]
    return texts[0] if len(set(texts)) == 1 else f"[{', '.join(texts)}]"


def manifest_text(
    *,
    name: str,
    file: str,
    sha256: str,
    input_name: str,
    layout: str,
    size: tuple[int, int],
    colour: str,
    mean: Sequence[float],
    std: Sequence[float],
    output: str,
    embedding_size: int,
    why: str,
) -> str:
    """models/<name>.yaml; `why` says on what colour, mean and std rest."""
    return f"""\
# Written by `farm init`. model input = (pixel - mean) / std; `file` is relative to this manifest.
# {why}
name: {name}
file: {quoted(file)}
sha256: "{sha256}"
input:
  name: {quoted(input_name)}
  layout: {layout}
  height: {size[0]}
  width: {size[1]}
  colour: {colour}
  mean: {_numbers(mean)}
  std: {_numbers(std)}
output: {quoted(output)}
embedding_size: {embedding_size}
licence: unknown                # say which before you show figures to others
provenance: unknown             # who trained it, on what
"""


def detector_manifest_text(
    *,
    name: str,
    file: str,
    sha256: str,
    input_name: str,
    size: tuple[int, int],
    colour: str,
    mean: Sequence[float],
    std: Sequence[float],
    head: str,
    outputs: Sequence[str],
    why: str,
) -> str:
    """models/<name>.yaml of a detector; `why` says on what colour, mean and std rest."""
    names = ", ".join(quoted(output) for output in outputs)
    return f"""\
# Written by `farm init`. model input = (pixel - mean) / std; `file` is relative to this manifest.
# {why}
name: {name}
task: detection
file: {quoted(file)}
sha256: "{sha256}"
input:
  name: {quoted(input_name)}
  height: {size[0]}
  width: {size[1]}
  colour: {colour}
  mean: {_numbers(mean)}
  std: {_numbers(std)}
detection:
  head: {head}
  outputs: [{names}]
  min_score: 0.02               # boxes below it are dropped; AP wants it low
  nms_iou: 0.4
licence: unknown                # say which before you show figures to others
provenance: unknown             # who trained it, on what
"""


def matrix_text(
    model: str,
    kinds: Sequence[Kind],
    calibration: str | None,
    *,
    faces: str | None = None,
    listed: bool = False,
    searches: int | None = None,
    skip_unreadable: bool = False,
) -> str:
    """matrix.yaml: the float32 reference on this host, and one entry a kind of board.

    Args:
        model: its name.
        kinds: of the boards; host-cpu is there anyway.
        calibration: folder of calibration images, or None for rendered faces.
        faces: folder of the test set, or its list, or None for rendered faces.
        listed: whether `faces` is a list.
        searches: how many probes it has: FARs below one in so many mean nothing.
        skip_unreadable: leave out files of both that cannot be taken.
    """
    skips = "{path: %s, skip_unreadable: true}" if skip_unreadable else "%s"
    test_set = (
        """\
  rendered:                     # drawn faces of nobody; `folder:` and `list:` take your own images
    seed: 0
    identities: 3000            # enrolled with one image and searched for with another
    unknown: 1000               # searched for, never enrolled
    difficulty: 1.5"""
        if faces is None
        else f"  list: {skips % quoted(faces)}   # a line per image: who is enrolled, who searches"
        if listed
        else f"  folder: {skips % quoted(faces)}   # gallery/<identity>/* and probe/<identity>/*"
    )
    calibrates = (
        "  rendered: {images: 200, difficulty: 1.5}"
        if calibration is None
        else f"  folder: {skips % quoted(calibration)}   # people outside the test set"
    )
    fars = [far for far in FARS if searches is None or float(far) * searches >= 1] or [FARS[0]]
    return f"""\
# Written by `farm init`. Look first: farm plan; then a part: farm run --limit 300; then: farm run
models: {model}

test_set:
{test_set}

calibration:
{calibrates}

scoring:
  far: [{", ".join(fars)}]
  table_far: {fars[-1]}               # a rate needs about 1/rate searches to mean something

entries:
{_entries(kinds, mixed=True)}
"""


def detector_matrix_text(model: str, kinds: Sequence[Kind], size: tuple[int, int]) -> str:
    """matrix.yaml of a detector, over rendered scenes of its input's size (height, width)."""
    height, width = (min(max(side, SMALLEST_SIDE), LARGEST_SIDE) for side in size)
    sides = f"[{height}, {width}]"
    return f"""\
# Written by `farm init`. Look first: farm plan; then a part: farm run --limit 50; then: farm run
models: {model}

test_set:
  scenes:                       # drawn scenes with faces of nobody; `wider:` and `coco:` take yours
    images: 300
    seed: 0
    size: {sides}            # height, width
    difficulty: 1.0

calibration:
  scenes: {{images: 100, size: {sides}}}

scoring:
  false_positives: [0.1, 1]     # an image, at which recall is given

entries:
{_entries(kinds, mixed=False)}
"""


def _entries(kinds: Sequence[Kind], *, mixed: bool) -> str:
    """The float32 reference on this host, and one entry a kind of board."""
    entries = ["  - {name: float32, boards: this-host, quantization: float32}"]
    for kind in kinds:
        if kind.name == HOST:
            continue
        scheme = kind.schemes[0] if kind.schemes else None
        words = (
            f"{scheme.dtype} {scheme.granularity} {scheme.symmetry}"
            if scheme
            else ("float32" if kind.float32 else "float16")
        )
        lines = [
            f"  - name: {kind.name}",
            f"    boards: {{kind: {kind.name}}}",
            f"    quantization: {words}",
        ]
        if scheme and mixed:
            lines.append("    gallery: [same, float32]   # the second is mixed mode (*)")
        entries.append("\n".join(lines))
    return "\n".join(entries)


def inventory_text(kinds: Sequence[Kind]) -> str:
    """device_inventory.yaml: this host, and an emulated board of each kind."""
    boards = ["  - {name: this-host, kind: host-cpu, transport: local}"]
    boards += [
        f"  - {{name: {kind.name}, kind: {kind.name}, transport: emulated}}"
        for kind in kinds
        if kind.name != HOST
    ]
    return f"""\
# Written by `farm init`. An emulated board shows what its vendor's arithmetic does to accuracy; it
# has no time. `farm boards add user@host` puts a real one in its place.
boards:
{chr(10).join(boards)}
"""
