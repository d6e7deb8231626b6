"""The runtime child: the process in which vendor code runs, so that its crash ends only itself.

It speaks the session's frames over pipes and handles one job after the other. Its reader thread
ends the process when the session is gone.
"""

import faulthandler
import os
import threading
import traceback
from collections import deque
from typing import Deque, List, Optional

from ..host import processes
from ..protocol.errors import BOARD, BUG, TRANSIENT, USER, AgentError
from ..protocol.link import Link, Source, say
from ..protocol.wire import (
    CANCEL,
    ERROR,
    EXTRACT,
    FACTS,
    IMAGES,
    MEASURE,
    OPEN,
    Decoder,
    Frame,
    WireError,
)
from . import jobs
from .pipeline import Pipeline


class Worker(object):
    """Jobs from `source`, answers to `sink`.

    Args:
        root: where sysfs and procfs are found.
        images: folder of the test images that stay on the board.
    """

    def __init__(self, source: int, sink: int, root: str, images: str) -> None:
        self._source = source
        self._images = images
        self._link = Link(sink)
        self._root = root
        self._pipeline = Pipeline()
        self._requests: Deque[Frame] = deque()
        self._arrived = threading.Condition()
        self._model: Optional[jobs.Model] = None

    def serve(self) -> None:
        """Handle jobs until the session ends this process."""
        thread = threading.Thread(target=self._read)
        thread.daemon = True
        thread.start()
        while True:
            with self._arrived:
                while not self._requests:
                    self._arrived.wait()
                frame = self._requests.popleft()
            problem = self._handle(frame)
            if problem is not None:
                self._link.send(Frame(ERROR, frame.job, problem.meta()))

    def _handle(self, frame: Frame) -> Optional[AgentError]:
        try:
            self._run(frame)
        except AgentError as error:
            return error
        except WireError as error:
            return AgentError(BUG, str(error))
        except MemoryError:
            return AgentError(BOARD, "the board's memory is full", "no-memory")
        except Exception as error:
            say(traceback.format_exc())
            return AgentError(BUG, "%s: %s" % (type(error).__name__, error))
        finally:
            self._pipeline.end()
        return None

    def _run(self, frame: Frame) -> None:
        if frame.type == OPEN:
            self._model = jobs.open_model(frame, self._link)
        elif frame.type == FACTS:
            jobs.describe(frame, self._link)
        elif self._model is None:
            raise AgentError(TRANSIENT, "no model is open", "no-model")
        elif frame.type == MEASURE:
            jobs.measure(frame, self._model, self._pipeline, self._link, self._root)
        elif frame.type == EXTRACT:
            jobs.extract(frame, self._model, self._pipeline, self._link, self._root, self._images)
        else:
            raise AgentError(USER, "%s is no job" % frame.name)

    def _read(self) -> None:
        source, decoder = Source(self._source), Decoder()
        try:
            while True:
                data = source.read()
                if not len(data):
                    os._exit(0)
                for frame in decoder.feed(data):
                    if frame.type == IMAGES:
                        self._pipeline.put(frame)
                    elif frame.type == CANCEL:
                        self._pipeline.cancel(frame.job)
                    else:
                        with self._arrived:
                            self._requests.append(frame)
                            self._arrived.notify()
        except BaseException:
            say(traceback.format_exc())
            os._exit(1)


def main(parent: int, root: str, images: str, source: int, sink: int, lock: List[int]) -> None:
    """Run as the runtime child of the session with pid `parent`.

    It keeps the board's lock; programs that a vendor's library starts get none of its descriptors.
    """
    processes.die_with_parent(parent)
    for fd in [source, sink] + lock:
        os.set_inheritable(fd, False)
    faulthandler.enable(2, all_threads=False)
    Worker(source, sink, root, images).serve()
