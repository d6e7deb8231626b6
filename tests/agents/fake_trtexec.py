"""A program `trtexec` that reads its options as NVIDIA's does and writes what it would write.

Options of 8.0.1, 8.4.1 and 10.3.0 as in NVIDIA's published source; one that the version does not
have ends it with status 1 and `Unknown option`, as there. The computation is `fake_tensorrt`'s.

FAKE_TENSORRT says `version`, `mode`, `ms`, `log` and `dim`.
"""

import hashlib
import json
import os
import struct
import sys
import time

COMMON = {
    *("onnx", "saveEngine", "loadEngine", "loadInputs", "exportOutput", "exportTimes", "int8"),
    *("fp16", "noTF32", "iterations", "duration", "warmUp", "exposeDMA", "useSpinWait"),
}
OWN = {
    "8.0.1": {"workspace", "buildOnly"},
    "8.2.1": {"workspace", "buildOnly"},
    "8.4.1": {"workspace", "memPoolSize", "buildOnly"},
    "8.6.1": {"workspace", "memPoolSize", "buildOnly", "skipInference"},
    "10.3.0": {"memPoolSize", "skipInference"},
}
TEXT = "&&&& %s TensorRT.trtexec [TensorRT v8001]"


def fail(words):
    print("[11/25/2026-01:00:00] [E] " + words)
    print(TEXT % "FAILED")
    sys.exit(1)


def main():
    settings = json.loads(os.environ["FAKE_TENSORRT"])
    version, mode = settings["version"], settings.get("mode", "")
    given = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
    print(TEXT % "RUNNING")
    for name in given:
        if name not in COMMON | OWN[version]:
            fail("Unknown option: --%s" % name)
    with open(settings["log"], "a") as file:
        file.write(("build" if "onnx" in given else "run") + "\n")
    if mode == "hangs":
        time.sleep(600)
    if mode == "memory":
        fail("Error[2]: [virtualMemoryBuffer.cpp] OutOfMemory (out of memory)")
    if "onnx" in given:
        if mode == "parse":
            fail("ModelImporter.cpp:726: While parsing node number 1 [Abacus]: No importer")
        if mode == "no file":
            print(TEXT % "PASSED")
            return
        assert "buildOnly" in given or "skipInference" in given
        data = open(given["onnx"], "rb").read()
        assert ("int8" in given) == (b"QuantizeLinear" in data)
        facts = {"version": version, "seed": hashlib.sha256(data).hexdigest(), "given": given}
        with open(given["saveEngine"], "wb") as file:
            file.write(b"FAKEPLAN" + json.dumps(facts).encode())
    else:
        infer(settings, version, given)
    print(TEXT % "PASSED")


def infer(settings, version, given):
    from fake_tensorrt import weight

    plan = open(given["loadEngine"], "rb").read()
    facts = json.loads(plan[8:].decode())
    if facts["version"] != version:
        fail("Error Code 6: The engine plan file is not compatible with this version")
    name, _, path = given["loadInputs"].partition(":")
    assert name == "data"
    raw = open(path, "rb").read()
    values = struct.unpack("<%df" % (len(raw) // 4), raw)
    seed = bytearray(bytes.fromhex(facts["seed"]))
    out = [
        sum(v * weight(seed, i, k) for i, v in enumerate(values) if v)
        for k in range(settings["dim"])
    ]
    # As std::ostream prints floats: six significant digits.
    printed = ", ".join("%g" % value for value in out)
    if settings.get("mode") == "nan":
        printed = "nan, " + printed.partition(", ")[2]
    with open(given["exportOutput"], "w") as file:
        file.write('[\n  { "name" : "feature"\n  , "dimensions" : "1x%d"\n' % len(out))
        file.write('  , "values" : [ %s ]\n  }\n]\n' % printed)
    ms, warm = settings.get("ms", 2.5), float(given["warmUp"])
    duration = float(given["duration"]) * 1000 + warm
    runs, now = [], 0.0
    while len(runs) < int(given["iterations"]) or now < duration:
        compute = 9 * ms if now < warm else ms + 0.001 * (len(runs) % 7)
        runs.append((now, compute))
        now += compute + 0.5
    if not version.startswith(("8.0", "8.2", "8.4")):
        runs = [run for run in runs if run[0] >= warm]
    with open(given["exportTimes"], "w") as file:
        file.write("[\n")
        for at, (begin, compute) in enumerate(runs):
            row = {
                "startEnqMs": begin,
                "endEnqMs": begin + 0.1,
                "startH2dMs": begin,
                "endH2dMs": begin,
                "startComputeMs": begin,
                "endComputeMs": begin + compute,
                "startD2hMs": begin,
                "endD2hMs": begin,
                "h2dMs": 0.3,
                "computeMs": compute,
                "d2hMs": 0.2,
                "latencyMs": compute + 0.5,
            }
            if version in ("8.0.1",):
                row["endToEndMs"] = compute + 1
            file.write((", " if at else "  ") + json.dumps(row) + "\n")
        file.write("]\n")


def install(folder):
    """Write a program `trtexec` into a new folder, which belongs on PATH."""
    here = os.path.dirname(os.path.abspath(__file__))
    os.makedirs(str(folder), exist_ok=True)
    path = os.path.join(str(folder), "trtexec")
    with open(path, "w") as file:
        file.write(
            "#!%s\nimport sys\nsys.path.insert(0, %r)\nimport fake_trtexec\nfake_trtexec.main()\n"
            % (sys.executable, here)
        )
    os.chmod(path, 0o755)
    return path
