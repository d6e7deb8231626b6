"""Opens a runtime of the agent in this process, runs images, closes it; JSON in, JSON out.

Run under any Python from 3.6 on: `python drive_runtime.py REQUEST`, where the request has
`runtime`, `path`, `options`, `preprocessing` (meta), `images` (hex, prepared inputs), `times`
([count, seconds]), `shim` (to ask what is still held).
"""

import ctypes
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def main():
    from agents import runtimes
    from agents.protocol.errors import AgentError
    from agents.session import progress
    from agents.session.preprocess import Preprocessor

    request = json.loads(sys.argv[1])
    answer = {"told": []}
    progress.listen(lambda *words: answer["told"].append(words))
    runtime = None
    try:
        prepare = Preprocessor(request["preprocessing"])
        runtime = runtimes.open_runtime(
            request["runtime"], request["path"], request.get("options", {}), prepare
        )
        answer.update(
            facts=runtime.facts,
            version=runtime.version,
            provider=runtime.provider,
            dim=runtime.dim,
            inputs=runtime.inputs,
            outputs=runtime.outputs,
            features=[],
            ns=[],
        )
        for image in request.get("images", []):
            feature, took = runtime.run(bytes.fromhex(image))
            answer["features"].append(feature.hex())
            answer["ns"].append(took)
        if "times" in request:
            answer["times"] = runtime.times(bytes.fromhex(request["images"][0]), *request["times"])
    except AgentError as error:
        answer.update(error=error.message, kind=error.kind, code=error.code)
    except Exception as error:
        answer.update(error="%s: %s" % (type(error).__name__, error), kind="exception")
    finally:
        if runtime is not None:
            runtime.close()
    if request.get("shim"):
        shim = ctypes.CDLL(request["shim"])
        answer["live"] = [shim.shim_live(what) for what in range(3)]
    print("\n" + json.dumps(answer))


main()
