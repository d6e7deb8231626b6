"""Addresses for programs: a matrix and its files are sent here, run here, and watched from there.

Every one needs a token in the Authorization header: no cookie, and so no page of another site,
can ask here.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from orchestrator.bundle.manifest import MOST_BYTES, Limits, Manifest
from orchestrator.bundle.uploads import Busy, NotThere, Uploads
from orchestrator.bundle.wire import EVENT_STREAM, HELD_STAGES, JOB, PROTOCOL, ROOT, RUN
from orchestrator.errors import UserError
from orchestrator.fleet.transport.untrusted import headline
from orchestrator.serving.actions import Actions
from orchestrator.serving.catalogue import Catalogue
from orchestrator.serving.forms import asked_by
from orchestrator.serving.jobs import Asked, Jobs, Stand, new_run
from orchestrator.serving.project import Project
from orchestrator.serving.receiving import Receiver
from orchestrator.serving.reports import Reports
from orchestrator.serving.streaming import log_lines
from orchestrator.store.artifacts import MANIFEST, Held, Store
from orchestrator.store.going import is_going
from orchestrator.store.run_folder import EVENTS, LATEST, LOG
from orchestrator.version import __version__

NO_ACTIONS = "this server only shows: whoever serves starts it with `farm serve --allow-actions`"
MOST_JSON = 256 * 1024
MOST_NAMES = 1000
WAIT_S, LOOK_S = 20.0, 0.1
LOG_BYTES = 1 << 20
CALLED = 200
Handler = Callable[[Request], Awaitable[Response]]


class Remote:
    """What clients ask of the server.

    Args:
        actions: None where nothing may be changed.
    """

    def __init__(
        self,
        project: Project,
        actions: Actions | None,
        catalogue: Catalogue,
        reports: Reports,
        computing: CapacityLimiter,
        limits: Limits,
    ) -> None:
        self._project, self._actions, self._limits = project, actions, limits
        self._catalogue, self._reports, self._computing = catalogue, reports, computing
        self._uploads, self._jobs = Uploads(project.state), Jobs(project)

    def routes(self) -> list[Route]:
        """All addresses."""
        get, post = ["GET"], ["POST"]
        return [
            Route(ROOT, _programs(self.about), methods=get),
            Route(f"{ROOT}/bundles/{{bundle}}", _programs(self.bundle), methods=get),
            Route(f"{ROOT}/bundles/{{bundle}}", _programs(self.put_bundle), methods=["PUT"]),
            Route(f"{ROOT}/bundles/{{bundle}}/blobs", _programs(self.blobs), methods=post),
            Route(f"{ROOT}/runs", _programs(self.begin), methods=post),
            Route(f"{ROOT}/jobs/{{job}}", _programs(self.job), methods=get),
            Route(f"{ROOT}/runs/{{run}}", _programs(self.run), methods=get),
            Route(f"{ROOT}/runs/{{run}}/events", _programs(self.events), methods=get),
            Route(f"{ROOT}/runs/{{run}}/cancel", _programs(self.cancel), methods=post),
            Route(f"{ROOT}/runs/{{run}}/resume", _programs(self.resume), methods=post),
            Route(f"{ROOT}/runs/{{run}}/files/{{file}}", _programs(self.file), methods=get),
            Route(f"{ROOT}/runs/{{run}}/held/{{stage}}/{{key}}", _programs(self.held), methods=get),
            Route(
                f"{ROOT}/runs/{{run}}/held/{{stage}}/{{key}}/{{file}}",
                _programs(self.held),
                methods=get,
            ),
        ]

    async def about(self, request: Request) -> Response:
        """What this server is."""
        limits = self._limits
        return JSONResponse(
            {
                "farm": __version__,
                "protocol": PROTOCOL,
                "actions": self._actions is not None,
                "who": asked_by(request).who,
                "now": time.time(),
                "limits": {"file": limits.file, "total": limits.total, "count": limits.count},
            }
        )

    async def bundle(self, request: Request) -> Response:
        """Which contents of a bundle are still to be sent."""
        self._allowed()
        return await self._missing(await self._manifest(request))

    async def put_bundle(self, request: Request) -> Response:
        """The list of a bundle's files."""
        self._allowed()
        data = bytearray()
        async for part in request.stream():
            data += part
            if len(data) > MOST_BYTES:
                raise HTTPException(413, f"a list of files has at most {MOST_BYTES:,} bytes")
        manifest = await run_in_threadpool(self._uploads.store_manifest, bytes(data), self._limits)
        if manifest.name != request.path_params["bundle"]:
            raise HTTPException(400, "the list of files has another hash than its address")
        return await self._missing(manifest)

    async def _missing(self, manifest: Manifest) -> Response:
        missing = await run_in_threadpool(self._uploads.missing, manifest)
        await run_in_threadpool(
            self._uploads.check_room, sum(size - offset for _, size, offset in missing)
        )
        return JSONResponse({"missing": missing})

    async def blobs(self, request: Request) -> Response:
        """Contents of a bundle's files."""
        self._allowed()
        receiver = Receiver(self._uploads, await self._manifest(request))
        await receiver.take(request.stream())
        return JSONResponse({"bytes": receiver.received})

    async def begin(self, request: Request) -> Response:
        """A run of a bundle whose contents are all here."""
        actions = self._allowed()
        found = await _json(request)
        number, bundle = _matching(found, "id", JOB), _matching(found, "bundle", r"[0-9a-f]{64}")
        only, limit = found.get("only", []), found.get("limit")
        texts = isinstance(only, list) and all(isinstance(name, str) for name in only)
        if not texts or len(only) > MOST_NAMES or "\0" in "".join(only):
            raise HTTPException(400, "`only` is no list of names")
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int)):
            raise HTTPException(400, "`limit` is no number")
        asked = Asked(
            bundle=bundle,
            run=new_run(),
            called=headline(str(found.get("called", "")), CALLED).replace("\n", " "),
            who=asked_by(request).who,
            only=tuple(only),
            limit=limit,
            remeasure=found.get("remeasure") is True,
        )
        if await run_in_threadpool(self._jobs.begin, number, asked):
            actions.note_run(asked.who, f"a run of {asked.called}, sent from elsewhere")
        return await self._stand(number, 0.0)

    async def resume(self, request: Request) -> Response:
        """An earlier run goes on."""
        actions = self._allowed()
        folder = await run_in_threadpool(self._folder, request)
        number = _matching(await _json(request), "id", JOB)
        size = (folder / EVENTS).stat().st_size
        who = asked_by(request).who
        asked = Asked("", folder.name, "", who, resumes=True, offset=size)
        if await run_in_threadpool(self._jobs.begin, number, asked):
            actions.note_run(who, f"to resume run {folder.name}")
        return await self._stand(number, 0.0)

    async def job(self, request: Request) -> Response:
        """Whether a run that was asked for has begun; waits for a while until that is known."""
        self._allowed()
        number, wait = request.path_params["job"], request.query_params.get("wait", "0")
        if not re.fullmatch(JOB, number) or not wait.isdecimal() or len(wait) > 3:
            raise HTTPException(404, "there is no such job")
        return await self._stand(number, min(float(wait), WAIT_S))

    async def _stand(self, number: str, wait_s: float) -> Response:
        end = time.monotonic() + wait_s
        while True:
            stand: Stand | None = await run_in_threadpool(self._jobs.stand, number)
            if stand is None:
                raise HTTPException(404, "there is no such job")
            if stand.state != "planning" or time.monotonic() >= end:
                break
            await asyncio.sleep(LOOK_S)
        if stand.state == "missing":
            await run_in_threadpool(self._jobs.again, number)
        return JSONResponse(vars(stand))

    async def run(self, request: Request) -> Response:
        """A run: its name and whether it goes on."""
        folder = await run_in_threadpool(self._folder, request)
        going = await run_in_threadpool(is_going, folder)
        return JSONResponse({"run": folder.name, "going": going})

    async def events(self, request: Request) -> Response:
        """A run's log from a place on, and what is written into it."""
        folder = await run_in_threadpool(self._folder, request)
        asked = request.headers.get("last-event-id") or request.query_params.get("offset", "0")
        if not asked.isdecimal() or len(asked) > 15:
            raise HTTPException(400, "expected the number of a byte of the log")
        if int(asked) > (folder / EVENTS).stat().st_size:
            raise HTTPException(409, "the log is shorter than that")
        unbuffered = {"x-accel-buffering": "no"}  # by nginx, which holds events back otherwise
        lines = log_lines(folder, int(asked))
        return StreamingResponse(lines, media_type=EVENT_STREAM, headers=unbuffered)

    async def cancel(self, request: Request) -> Response:
        """Stop a run, as Ctrl-C does."""
        actions = self._allowed()
        folder = await run_in_threadpool(self._folder, request)
        if not is_going(folder):
            raise HTTPException(409, f"run {folder.name} does not go on")
        if not await run_in_threadpool(actions.cancel, asked_by(request).who, folder):
            raise HTTPException(409, "whoever carries this run on was not found on that computer")
        return JSONResponse({"run": folder.name})

    async def file(self, request: Request) -> Response:
        """What a run leaves beside its log: its report, and what its driver printed."""
        folder, name = await run_in_threadpool(self._folder, request), request.path_params["file"]
        if name == "report.html":
            page = await to_thread.run_sync(self._reports.of, folder, limiter=self._computing)
            return Response(page.text, media_type="text/html; charset=utf-8")
        path = folder / name
        if name != LOG or path.is_symlink() or not path.is_file():
            raise HTTPException(404, "there is no such file")
        return Response(await run_in_threadpool(_end_of, path), media_type="text/plain")

    async def held(self, request: Request) -> Response:
        """Scores and raw times of a row, for whoever sent the run: their names, or one of them."""
        folder = await run_in_threadpool(self._folder, request)
        if not await run_in_threadpool(self._jobs.sent_by, folder.name, asked_by(request).who):
            raise HTTPException(404, "only whoever sent a run gets these")
        asked = request.path_params
        found = await run_in_threadpool(self._held, folder, asked["stage"], asked["key"])
        if found is None:
            raise HTTPException(404, "the run has no such result, or the store no more")
        names = [*found.manifest["files"], MANIFEST]
        if "file" not in asked:
            return JSONResponse({"files": names})
        if asked["file"] not in names:
            raise HTTPException(404, "there is no such file")
        data = await run_in_threadpool(found.file(asked["file"]).read_bytes)
        return Response(data, media_type="application/octet-stream")

    def _held(self, folder: Path, stage: str, key: str) -> Held | None:
        """What the store holds under a key, if a row of the run has it."""
        follower = self._catalogue.followers.of(folder)
        keys = [row.provenance.get("keys", {}).get(stage) for row in follower.results()]
        if stage not in HELD_STAGES or key not in keys:
            return None
        return Store(self._project.state / "store").lookup(stage, key)

    def _allowed(self) -> Actions:
        if self._actions is None:
            raise HTTPException(403, NO_ACTIONS)
        return self._actions

    async def _manifest(self, request: Request) -> Manifest:
        name = request.path_params["bundle"]
        found = await run_in_threadpool(self._uploads.manifest, name, self._limits)
        if found is None:
            raise HTTPException(404, "this list of files was not sent")
        return found

    def _folder(self, request: Request) -> Path:
        """The folder of the run that an address names; no path is made from the name."""
        name = request.path_params["run"]
        if name == LATEST:
            shown = self._catalogue.shown()
            name = shown.name if shown is not None else ""
        if re.fullmatch(RUN, name) and self._project.runs.is_dir():
            with os.scandir(self._project.runs) as found:
                for each in found:
                    if each.name == name and each.is_dir(follow_symlinks=False):
                        folder = self._project.runs / each.name
                        if (folder / EVENTS).is_file():
                            return folder
        raise HTTPException(404, "there is no such run")


def _programs(handler: Handler) -> Handler:
    """Take only what comes with a token in its header, and answer in JSON."""

    async def handle(request: Request) -> Response:
        if "authorization" not in request.headers:
            return _error(403, "programs send their token as a header: Authorization: Bearer")
        try:
            return await handler(request)
        except HTTPException as error:
            return _error(error.status_code, str(error.detail))
        except (Busy, NotThere) as error:
            return _error(409, error.message)
        except UserError as error:
            return _error(422, error.message, error.hint)
        except ClientDisconnect:
            return _error(400, "the link was cut")
        except OSError as error:
            return _error(507, f"cannot be stored: {error.strerror or error}")

    return handle


def _error(status: int, message: str, hint: str = "") -> Response:
    return JSONResponse({"error": message, "hint": hint}, status)


async def _json(request: Request) -> dict[str, Any]:
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > MOST_JSON:
            raise HTTPException(413, "too much is sent")
    try:
        found = json.loads(bytes(data))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HTTPException(400, "expected a JSON object")
    return found


def _matching(found: dict[str, Any], key: str, pattern: str) -> str:
    value = found.get(key)
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise HTTPException(400, f"`{key}` is not of the form {pattern}")
    return value


def _end_of(path: Path) -> bytes:
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_BYTES))
        return file.read()
