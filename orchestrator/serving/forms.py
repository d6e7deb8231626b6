"""What forms send: read with limits, and only from the server's own pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from orchestrator.reporting.durations import length
from orchestrator.serving.access import Key, same
from orchestrator.serving.actions import Actions
from orchestrator.serving.catalogue import Catalogue
from orchestrator.serving.fleet import FleetView
from orchestrator.serving.guard import ASKED_BY
from orchestrator.serving.planning import Planner
from orchestrator.serving.templates import segment

FIELDS = 20
FORM = "form"
Form = dict[str, str]


class Forms:
    """The addresses that change something."""

    def __init__(
        self, actions: Actions, catalogue: Catalogue, fleet: FleetView, planner: Planner
    ) -> None:
        self._actions, self._catalogue = actions, catalogue
        self._fleet, self._planner = fleet, planner

    def routes(self) -> list[Route]:
        """All of them."""
        post = ["POST"]
        return [
            Route("/boards/{board}/{action}", taking(self._board), methods=post),
            Route("/runs/{run}/cancel", taking(self._cancel), methods=post),
            Route("/run", taking(self._run), methods=post),
        ]

    def _board(self, request: Request, who: str, form: Form) -> Response:
        name, action = request.path_params["board"], request.path_params["action"]
        if self._fleet.read().board(name) is None:
            raise HTTPException(404, "the inventory has no such board")
        why = form.get("why", "")
        if action == "drain":
            self._actions.drain(who, name, why)
        elif action == "undrain":
            self._actions.undrain(who, name)
        elif action == "check":
            self._actions.check(who, name)
        elif action == "unreserve":
            self._actions.unreserve(who, name)
        elif action == "reserve":
            try:
                self._actions.reserve(who, name, length(form.get("for", "")), why)
            except ValueError as error:
                raise HTTPException(400, str(error)) from None
        else:
            raise HTTPException(404, "there is no such action")
        return RedirectResponse(f"/boards/{segment(name)}", 303)

    def _cancel(self, request: Request, who: str, form: Form) -> Response:
        entry = self._catalogue.entry(request.path_params["run"])
        if entry is None or not entry.going:
            raise HTTPException(404, "no such run goes on")
        if not self._actions.cancel(who, entry.listed.folder):
            raise HTTPException(409, "whoever carries this run on was not found on this computer")
        return RedirectResponse(f"/runs/{segment(entry.name)}", 303)

    def _run(self, request: Request, who: str, form: Form) -> Response:
        matrix = form.get("matrix", "")
        if matrix not in self._planner.matrices():
            raise HTTPException(404, "the project has no such matrix")
        self._actions.run(who, self._planner.path(matrix))
        return RedirectResponse("/now", 303)


def asked_by(request: Request) -> Key:
    """Whose a request is."""
    found = request.scope[ASKED_BY]
    assert isinstance(found, Key)
    return found


def taking(
    handler: Callable[[Request, str, Form], Response],
) -> Callable[[Request], Awaitable[Response]]:
    """Read the form, and refuse one that is not from a page of whoever sends it."""

    async def handle(request: Request) -> Response:
        key = asked_by(request)
        kind = request.headers.get("content-type", "").partition(";")[0]
        if kind != "application/x-www-form-urlencoded":
            raise HTTPException(415, "expected the fields of a form")
        try:
            text = (await request.body()).decode()
            sent = parse_qs(text, keep_blank_values=True, max_num_fields=FIELDS)
        except ValueError:
            raise HTTPException(400, "these are no fields of a form") from None
        form = {name: values[-1] for name, values in sent.items()}
        # Browsers do not send it by themselves: whoever does knows the token.
        by_program = "authorization" in request.headers
        if not by_program and not same(form.get(FORM, ""), key.form):
            raise HTTPException(403, "this form is not from a page of this server; open it again")
        return await run_in_threadpool(handler, request, key.who, form)

    return handle
