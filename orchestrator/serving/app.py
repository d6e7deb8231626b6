"""The pages by their addresses.

Handlers that read files are plain functions, which Starlette runs in threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from orchestrator.bundle.manifest import MOST_BYTES, Limits
from orchestrator.errors import UserError
from orchestrator.reporting.html.provenance import provenances
from orchestrator.serving.access import Access, Key
from orchestrator.serving.actions import Actions
from orchestrator.serving.catalogue import Catalogue, Entry
from orchestrator.serving.fleet import FleetView, holders
from orchestrator.serving.forms import Form, Forms, asked_by, taking
from orchestrator.serving.guard import Guard
from orchestrator.serving.live import Channels, messages
from orchestrator.serving.pages.boards import (
    GONE,
    NO_BOARD,
    Sample,
    asked_lines,
    board_about,
    board_page,
    boards_page,
)
from orchestrator.serving.pages.compare import compare_page
from orchestrator.serving.pages.run import COLOURS, run_facts
from orchestrator.serving.pages.runs import Asked, runs_page
from orchestrator.serving.pages.trends import rows_page, trend_page
from orchestrator.serving.planning import Planner
from orchestrator.serving.project import Project
from orchestrator.serving.remote import NO_ACTIONS, Remote
from orchestrator.serving.reports import Reports
from orchestrator.serving.templates import page, segment, static
from orchestrator.version import __version__

# What of a run's folder may be fetched.
FILES = {"results.json": "application/json", "table.md": "text/plain; charset=utf-8"}
NAV = (
    ("now", "Now"),
    ("runs", "Runs"),
    ("trends", "Trends"),
    ("boards", "Boards"),
    ("plan", "Plan"),
)
AT_ONCE = 2


class Site:
    """What the pages are drawn from.

    Args:
        actions: whether pages may change something.
        limits: how much may be sent for a run; the usual ones where None.
    """

    def __init__(
        self, project: Project, *, actions: bool = False, limits: Limits | None = None
    ) -> None:
        self.actions = Actions(project) if actions else None
        self.catalogue = Catalogue(project.runs)
        self.fleet = FleetView(project.inventory, project.runs)
        self.channels = Channels(self.catalogue)
        self.reports = Reports()
        self.planner = Planner(project)
        # What computes waits here, not in the threads that the other pages need.
        self.computing = CapacityLimiter(AT_ONCE)
        self.limits = limits or Limits()
        self.remote = Remote(
            project, self.actions, self.catalogue, self.reports, self.computing, self.limits
        )

    def entry(self, request: Request) -> Entry:
        """The run that an address names.

        Raises:
            HTTPException: there is none.
        """
        found = self.catalogue.entry(request.path_params["run"])
        if found is None:
            raise HTTPException(404, "there is no such run")
        return found

    async def now(self, request: Request) -> Response:
        """The run that goes on, else the newest."""
        entry = await run_in_threadpool(self.catalogue.shown)
        return await self._run(request, entry, is_now=True)

    async def run(self, request: Request) -> Response:
        """One run."""
        return await self._run(request, await run_in_threadpool(self.entry, request), is_now=False)

    def _may(self, request: Request) -> Key | None:
        """Who may change something on the page that is asked for; None: nobody."""
        return asked_by(request) if self.actions is not None else None

    async def _run(self, request: Request, entry: Entry | None, *, is_now: bool) -> Response:
        going = await run_in_threadpool(self.catalogue.going)
        values: dict[str, Any] = {
            "nav": "now" if is_now else "runs",
            "is_now": is_now,
            "may": self._may(request),
            "entry": entry,
            "others": [each.name for each in going if entry is None or each.name != entry.name],
            "idle": await run_in_threadpool(self._idle, entry) if is_now else None,
        }
        if entry is None:
            return _html("nothing.html.j2", **values)
        channel = await self.channels.of(entry)
        number, parts = await channel.view()
        return _html(
            "run.html.j2",
            **values,
            number=number,
            parts=parts,
            facts=run_facts(channel.follower),
            files=[name for name in FILES if _file_of(entry, name) is not None],
            colour=COLOURS.get(entry.outcome, "neutral"),
            tiles=sum(name.startswith("tile-") for name in parts),
        )

    def _idle(self, entry: Entry | None) -> dict[str, object]:
        """Boards of the inventory that the shown run does not have."""
        found = boards_page(self.fleet.read(), holders(self.catalogue), "")
        if entry is not None:
            follower = self.catalogue.follower(entry)
            with follower.lock:
                mine = set(follower.state.boards) if entry.going else set()
            found["boards"] = [line for line in found["boards"] if line["name"] not in mine]
        return found

    async def live(self, request: Request) -> Response:
        """Server-sent events of a run's page."""
        name, is_now = request.query_params.get("run", ""), "now" in request.query_params
        entry = await run_in_threadpool(self.catalogue.entry, name)
        if entry is None and name:
            raise HTTPException(404, "there is no such run")
        channel = await self.channels.of(entry) if entry is not None else None
        # A page that comes back to the screen adds what it has to its address: the last one counts.
        asked = request.query_params.getlist("since")
        number = request.headers.get("last-event-id") or (asked[-1] if asked else "")
        since = int(number) if number.isdecimal() and len(number) < 16 else 0
        found = messages(channel, since, self._shown if is_now else None, name)
        return StreamingResponse(found, media_type="text/event-stream")

    def _shown(self) -> str:
        entry = self.catalogue.shown()
        return entry.name if entry is not None else ""

    def runs(self, request: Request) -> Response:
        """The list."""
        asked = request.query_params
        number = asked.get("page", "1")
        wanted = Asked(
            words=asked.get("q", "")[:200],
            outcome=asked.get("outcome", ""),
            number=int(number) if number.isdecimal() and len(number) < 7 else 1,
            first=asked.get("first", ""),
        )
        return _html("runs.html.j2", nav="runs", **runs_page(self.catalogue.entries(), wanted))

    async def report(self, request: Request) -> Response:
        """A run's report, with the policy that lets its own scripts run."""
        entry = await run_in_threadpool(self.entry, request)
        found = await to_thread.run_sync(
            self.reports.of, entry.listed.folder, limiter=self.computing
        )
        policy = f"{found.policy}; frame-ancestors 'none'"
        return HTMLResponse(found.text, headers={"content-security-policy": policy})

    def file(self, request: Request) -> Response:
        """results.json or table.md of a run."""
        name = request.path_params["file"]
        path = _file_of(self.entry(request), name)
        if path is None:
            raise HTTPException(404, "there is no such file")
        return Response(path.read_bytes(), media_type=FILES[name])

    def row(self, request: Request) -> Response:
        """Where a row's figures come from."""
        entry = self.entry(request)
        follower = self.catalogue.follower(entry)
        name = request.query_params.get("name", "")
        found = next((row for row in follower.results() if row.name == name), None)
        if found is None:
            raise HTTPException(404, "this run has no such row with a result")
        blocks = provenances([found]).rows[0]
        return _html("row.html.j2", nav="runs", run=entry.name, row=found, blocks=blocks)

    async def compare(self, request: Request) -> Response:
        """Two runs, row by row."""
        names = [request.query_params.get(each, "") for each in ("a", "b")]
        found = [await run_in_threadpool(self.catalogue.entry, name) for name in names]
        entries = [entry for entry in found if entry is not None]
        if len(entries) < 2:
            raise HTTPException(404, "there is no such run")
        first, second = (entry.listed.folder for entry in entries)
        compared = await to_thread.run_sync(compare_page, first, second, limiter=self.computing)
        return _html("compare.html.j2", nav="runs", first=names[0], second=names[1], **compared)

    def trends(self, request: Request) -> Response:
        """A row over all runs, or the rows that there are."""
        row, words = request.query_params.get("row", ""), request.query_params.get("q", "")[:200]
        entries = self.catalogue.entries()
        if not row:
            return _html("rows.html.j2", nav="trends", **rows_page(entries, words))
        found = trend_page(entries, row)
        if found is None:
            raise HTTPException(404, "no run has such a row with a result")
        return _html("trend.html.j2", nav="trends", **found)

    async def plan(self, request: Request) -> Response:
        """What a matrix of the project would do."""
        matrix = request.query_params.get("matrix", "")
        names = await run_in_threadpool(self.planner.matrices)
        values: dict[str, Any] = {"nav": "plan", "names": names, "matrix": matrix, "plan": None}
        values |= {"may": self._may(request), "text": ""}
        if matrix:
            if matrix not in names:
                raise HTTPException(404, "the project has no such matrix")
            plan = await to_thread.run_sync(self.planner.plan, matrix, limiter=self.computing)
            values["plan"] = plan
        return _html("plan.html.j2", **values)

    def plan_text(self, request: Request, who: str, form: Form) -> Response:
        """What a matrix would do that somebody sends."""
        text = form.get("text", "")
        values: dict[str, Any] = {
            "nav": "plan",
            "names": self.planner.matrices(),
            "matrix": "",
            "text": text,
        }
        plan = self.planner.plan_text(text)
        return _html("plan.html.j2", **values, plan=plan, may=self._may(request))

    def boards(self, request: Request) -> Response:
        """The fleet."""
        words = request.query_params.get("q", "")[:200]
        values = boards_page(self.fleet.read(), holders(self.catalogue), words)
        asked = asked_lines(self.fleet.history(NO_BOARD))
        return _html("boards.html.j2", nav="boards", asked=asked, **values)

    def board(self, request: Request) -> Response:
        """One board."""
        fleet, name = self.fleet.read(), request.path_params["board"]
        board, history = fleet.board(name), self.fleet.history(name)
        if board is None and not history:
            raise HTTPException(404, "the inventory has no such board, nor has the fleet log")
        held = holders(self.catalogue).get(name)
        entries = self.catalogue.entries()
        samples = self._sensors(name, held.run if held is not None else "", entries)
        about = board_about(board, fleet.standings[name]) if board is not None else GONE
        values = about | board_page(name, held, history, samples, entries)
        checking = self.actions is not None and self.actions.checking(name)
        values |= {"may": self._may(request), "checking": checking, "listed": board is not None}
        return _html("board.html.j2", nav="boards", **values)

    def _sensors(self, board: str, run: str, entries: Sequence[Entry]) -> dict[str, list[Sample]]:
        """What a board's sensors said in the run that has it, else in the newest that timed it."""
        wanted = run or _newest_with(board, entries)
        found = {}
        for entry in [each for each in entries if each.name == wanted]:
            follower = self.catalogue.follower(entry)
            with follower.lock:
                found[entry.name] = list(follower.sensors.get(board, ()))
        return found


def _newest_with(board: str, entries: Sequence[Entry]) -> str:
    """The newest run in which a board has figures."""
    named = (e.name for e in entries if any(p["board"] == board for p in e.listed.points.values()))
    return next(named, "")


def application(site: Site, access: Access) -> Guard:
    """The whole server, for uvicorn.

    Args:
        access: who may ask.
    """
    get = ["GET"]
    routes = [
        Route("/", lambda _: RedirectResponse("/now", 303), methods=get),
        Route("/now", site.now, methods=get),
        Route("/live", site.live, methods=get),
        Route("/runs", site.runs, methods=get),
        Route("/runs/{run}", site.run, methods=get),
        Route("/runs/{run}/report", site.report, methods=get),
        Route("/runs/{run}/row", site.row, methods=get),
        Route("/runs/{run}/{file}", site.file, methods=get),
        Route("/compare", site.compare, methods=get),
        Route("/trends", site.trends, methods=get),
        Route("/plan", site.plan, methods=get),
        Route("/boards", site.boards, methods=get),
        Route("/boards/{board}", site.board, methods=get),
        Route("/static/{name:path}", _static, methods=get),
    ]
    if site.actions is None:
        routes.append(Route("/plan", _only_shows, methods=["POST"]))
    else:
        forms = Forms(site.actions, site.catalogue, site.fleet, site.planner)
        plan_text = Route("/plan", taking(site.plan_text), methods=["POST"])
        routes = [*forms.routes(), plan_text, *routes]
    routes = [*site.remote.routes(), *routes]
    handlers: dict[int | type[Exception], Callable[..., Response]] = {
        HTTPException: _problem,
        UserError: _refused,
    }
    most = site.limits.total + MOST_BYTES if site.actions is not None else 0
    return Guard(Starlette(routes=routes, exception_handlers=handlers), access, most)


def _file_of(entry: Entry, name: str) -> Path | None:
    path = entry.listed.folder / name if name in FILES else None
    return None if path is None or path.is_symlink() or not path.is_file() else path


def _static(request: Request) -> Response:
    found = static(request.path_params["name"])
    if found is None:
        raise HTTPException(404, "there is no such file")
    content, kind = found
    for_ever = {"cache-control": "private, max-age=31536000, immutable"}
    return Response(content, media_type=kind, headers=for_ever)


def _only_shows(request: Request) -> Response:
    return _said(403, NO_ACTIONS)


def _problem(request: Request, error: HTTPException) -> Response:
    return _said(error.status_code, error.detail)


def _refused(request: Request, error: UserError) -> Response:
    return _said(409, str(error))


def _said(status: int, detail: str) -> Response:
    title = HTTPStatus(status).phrase
    values = {"nav": "", "title": title, "detail": detail}
    return _html("problem.html.j2", status=status, **values)


def _html(template: str, *, status: int = 200, **values: object) -> Response:
    text = page(template, pages=NAV, version=__version__, segment=segment, **values)
    return HTMLResponse(text, status)
