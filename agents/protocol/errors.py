"""The agent's one exception. Its kind tells the head who must act."""

from typing import Any, Dict

USER = "user"
TRANSIENT = "transient"
BOARD = "board"
TOOLCHAIN = "toolchain"
BUG = "bug"


class AgentError(Exception):
    """What goes wrong in a job.

    Args:
        kind: `user` (fix the input), `transient` (retry may help), `board` (the board needs
            attention), `toolchain` (this artifact cannot work), `bug` (ours).
        message: what happened, where, what was expected.
        code: a word that programs may compare, such as `busy` or `cancelled`.
    """

    def __init__(self, kind: str, message: str, code: str = "") -> None:
        super(AgentError, self).__init__(message)
        self.kind = kind
        self.message = message
        self.code = code

    def meta(self) -> Dict[str, Any]:
        """The meta of an ERROR frame."""
        return {"class": self.kind, "code": self.code, "message": self.message[:4000]}
