"""Two emulated boards of one artifact are one computation; a real board's features are its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from orchestrator.cluster.interfaces import BoardMessage, ImageFile
from orchestrator.data.features import Features
from orchestrator.fleet.boards.board import Artifact
from orchestrator.planning.graph import Graph, Step
from orchestrator.planning.resolving import Resolution
from orchestrator.specs.inventory import Board
from orchestrator.stages import extract, image_rows
from orchestrator.stages.shared_extraction import CANARY
from orchestrator.stages.work import Services, Work
from orchestrator.store.artifacts import Held, Store

ROWS, DIM, FAILED = 300, 4, 7


@dataclass
class Boards:
    """Boards whose feature of image i is i, plus what a board adds; they count what they make.

    Board a waits for `goes_on` after each block.
    """

    adds: dict[str, float] = field(default_factory=dict)
    made: dict[str, int] = field(default_factory=dict)
    began: threading.Event = field(default_factory=threading.Event)
    goes_on: threading.Event = field(default_factory=threading.Event)

    def extract(
        self, board: str, artifact: Artifact, images: ImageFile, chunk: int, works_s: float = 0.0
    ) -> Iterator[BoardMessage]:
        (piece,) = images.ranges
        for start in range(*piece, chunk):
            numbers = np.arange(start, min(start + chunk, piece[1]), dtype=np.float32)
            self.made[board] = self.made.get(board, 0) + len(numbers)
            rows = np.repeat(numbers[:, None], DIM, 1) + np.float32(self.adds.get(board, 0))
            yield Features(rows, numbers == FAILED, start=start, reasons=("broken",) * len(rows))
            self.began.set()
            if board == "a":
                assert self.goes_on.wait(120)


class Plain(Work):
    """The artifact is a few bytes without an interface."""

    def artifact(self) -> tuple[Held, Artifact]:
        return self.input("artifact"), Artifact("net", "00", "onnxruntime", {}, {})


@dataclass
class Run:
    """A store with images and an artifact, and steps that extract."""

    folder: Path
    boards: Boards
    steps: dict[str, Step] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = Store(self.folder / "store")
        images = {
            image_rows.FILE: _npy(np.zeros((ROWS, 2, 2, 3), np.uint8)),
            image_rows.ROWS: json.dumps([str(i) for i in range(ROWS)]).encode(),
        }
        self._commit("images", "i", images, {"count": ROWS})
        self._commit("convert", "a", {"artifact": b"net"}, {"runtime": "onnxruntime"})
        self.steps = {
            "images": Step("images", "images", {}),
            "artifact": Step("artifact", "convert", {}),
        }
        self.resolution = Resolution(keys={"images": "i", "artifact": "a"})
        self.resolution.contents = {
            name: self.store.lookup(self.steps[name].stage, key).content  # type: ignore[union-attr]
            for name, key in self.resolution.keys.items()
        }
        self.plan = SimpleNamespace(
            store=self.store,
            graph=Graph(self.steps, {}),
            resolution=self.resolution,
            models={"m": SimpleNamespace(row_size=DIM, input_meta={})},
            boards={},
            facts={},
        )
        self.reported: list[Any] = []
        reporter = SimpleNamespace(emit=self.reported.append)
        stop = threading.Event()
        self.services = Services(self.plan, None, self.boards, reporter, stop, "test")  # type: ignore[arg-type]

    def _commit(self, stage: str, key: str, files: dict[str, bytes], facts: dict[str, Any]) -> None:
        with self.store.making(stage, key, "test", 1.0):
            self.store.commit(stage, key, files, provenance={}, facts=facts)

    def work(self, board: str, kind: str, executed_by: str = "emulated") -> Work:
        transport = "local" if executed_by == "board" else "emulated"
        named = {"name": board, "kind": kind, "transport": transport}
        self.plan.boards[board] = Board.model_validate(named)
        step = Step(
            f"extract/{board}",
            "extract",
            {"artifact": "artifact", "images": "images"},
            params={"kind": kind, "runtime": {"version": "1"}, "executed_by": executed_by},
            board=board,
            pool=(board,),
            executed_by=executed_by,  # type: ignore[arg-type]
            extra={"model": "m", "runtime": "onnxruntime"},
        )
        self.steps[step.id] = step
        self.resolution.keys[step.id] = f"key-{board}"
        return Plain(step, f"key-{board}", self.services)

    def extracted(self, work: Work) -> Held:
        with self.store.making("extract", work.key, "test", 1.0):
            return extract.run(work)


def _npy(array: Any) -> bytes:
    import io

    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def rows_of(held: Held) -> bytes:
    return (held.folder / "features.npy").read_bytes()


def test_a_second_emulated_board_helps_and_takes_the_features(tmp_path: Path) -> None:
    boards = Boards()
    run = Run(tmp_path, boards)
    first, second = run.work("a", "khadas-vim3"), run.work("b", "imx8mp")
    made: dict[str, Held] = {}

    def make(work: Work) -> None:
        made[work.step.board] = run.extracted(work)

    threads = [threading.Thread(target=make, args=(work,)) for work in (first, second)]
    threads[0].start()
    assert boards.began.wait(120)
    threads[1].start()
    while boards.made.get("b", 0) <= CANARY and threads[1].is_alive():
        threads[1].join(0.01)
    boards.goes_on.set()
    for thread in threads:
        thread.join()
    assert rows_of(made["a"]) == rows_of(made["b"])
    assert made["b"].manifest["facts"] == {"rows": ROWS, "dim": DIM, "failed": [FAILED]}
    assert sum(boards.made.values()) == ROWS + CANARY
    about = made["b"].manifest["provenance"]
    assert about["same_features_as"] == "extract/a"
    assert sum(about["rows_by_board"].values()) == ROWS
    assert about["rows_by_board"] == made["a"].manifest["provenance"]["rows_by_board"]


def test_what_the_store_has_is_proved_and_taken(tmp_path: Path) -> None:
    boards = Boards()
    boards.goes_on.set()
    run = Run(tmp_path, boards)
    first = run.extracted(run.work("a", "khadas-vim3"))
    second = run.extracted(run.work("b", "imx8mp"))
    assert rows_of(first) == rows_of(second)
    assert boards.made == {"a": ROWS, "b": 16}
    assert second.manifest["provenance"]["rows_by_board"] == {"a": ROWS}
    assert "same_features_as" not in first.manifest["provenance"]


def test_a_board_that_computes_otherwise_or_is_real_makes_its_own(tmp_path: Path) -> None:
    boards = Boards(adds={"b": 0.5})
    boards.goes_on.set()
    run = Run(tmp_path, boards)
    first = run.extracted(run.work("a", "khadas-vim3"))
    other = run.extracted(run.work("b", "imx8mp"))
    real = run.extracted(run.work("c", "khadas-vim3", "board"))
    assert rows_of(first) == rows_of(real) != rows_of(other)
    assert boards.made == {"a": ROWS, "b": 16 + ROWS, "c": ROWS}
    assert "rows_by_board" not in other.manifest["provenance"]
