"""Checks a matrix against the fleet, the kinds and the models that it names."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.plugins import toolchain_names
from orchestrator.specs.inventory import Inventory
from orchestrator.specs.kinds import Kind
from orchestrator.specs.matrix import Matrix
from orchestrator.specs.model import ModelSpec
from orchestrator.specs.photos import AnyPhotos
from orchestrator.specs.testset import RenderedSet
from orchestrator.specs.yamlfile import PathKey, Problem, fail, nearest

RENDERED_SIZE = (112, 112)


def check_references(
    matrix: Matrix,
    inventory: Inventory,
    kinds: Mapping[str, Kind],
    models: Mapping[str, ModelSpec],
) -> None:
    """Check that everything a matrix names exists and that its parts fit together.

    Whether a board can run a quantization is not asked here: that is the plan's answer, given
    cell by cell.

    Raises:
        UserError: `file:line: what is wrong; did you mean 'x'?`, a line for each problem.
    """
    problems: list[Problem] = []
    valid = {
        "name": [board.name for board in inventory.boards],
        "board": [board.name for board in inventory.boards],
        "kind": list(kinds),
        "tag": sorted({tag for board in inventory.boards for tag in board.tags}),
        "site": sorted({board.site for board in inventory.boards}),
        "toolchain": ["auto", *toolchain_names()],
    }
    called = {"name": "board"}

    def check(place: PathKey, axis: str, words: tuple[str, ...]) -> bool:
        for i, word in enumerate(words):
            if word not in valid[axis]:
                text = f"unknown {called.get(axis, axis)} {word!r}{nearest(word, valid[axis])}"
                problems.append(matrix.source.problem((*place, axis, i), text))
        return all(word in valid[axis] for word in words)

    for i, entry in enumerate(matrix.entries):
        place: PathKey = ("entries", i)
        pick = entry.boards
        axes = (
            ("name", pick.name),
            ("kind", pick.kind),
            ("tag", pick.tag),
            ("site", pick.site),
        )
        known = [check((*place, "boards"), axis, words) for axis, words in axes]
        check(place, "toolchain", (entry.toolchain,))
        if all(known) and not pick.select(inventory):
            wanted = ", ".join(f"{axis} {' or '.join(words)}" for axis, words in axes if words)
            text = (
                f"no board of {inventory.source.file} fits ({wanted}): add one there, or take "
                "this entry out"
            )
            problems.append(matrix.source.problem((*place, "boards"), text))
    for list_name, rules in (("include", matrix.include), ("exclude", matrix.exclude)):
        for i, rule in enumerate(rules):
            check((list_name, i), "board", rule.board)
            check((list_name, i), "kind", rule.kind)
            check((list_name, i), "toolchain", rule.toolchain)
    problems += _other_tasks(matrix, models)
    if isinstance(matrix.test_set, RenderedSet | AnyPhotos):
        what = "rendered" if isinstance(matrix.test_set, RenderedSet) else "aligned"
        for name, model in models.items():
            if model.task == matrix.task and model.input.size != RENDERED_SIZE:
                text = (
                    f"{what} faces are 112 x 112 pixels; the model {name!r} wants "
                    f"{model.input.height} x {model.input.width} (high x wide)"
                )
                problems.append(matrix.source.problem(("test_set",), text))
    fail(problems)


def _other_tasks(matrix: Matrix, models: Mapping[str, ModelSpec]) -> list[Problem]:
    """Models that the test set is not for."""
    kinds = {"recognition": "aligned faces", "detection": "pictures with annotated faces"}
    sets = {"recognition": "rendered, folder or list", "detection": "scenes, wider or coco"}
    return [
        matrix.source.problem(
            ("test_set",),
            f"a test set `{matrix.test_set.source}` is of {kinds[matrix.task]}, and the model "
            f"{name!r} is for {model.task} (`task:` in {model.source.file}), which needs "
            f"{sets[model.task]}",
        )
        for name, model in models.items()
        if model.task != matrix.task
    ]
