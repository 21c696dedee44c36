"""Runs networks in onnxruntime. A job a line: {"file", "feeds": [{"name", "file", "dims", "type"}], "expected"}; the answer is how far
the first output is from that expected, relative, or the error in words."""

import json
import sys

import numpy
import onnxruntime

TYPES = {"float32": numpy.float32, "int64": numpy.int64}


def attempt(job):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Products in float32, as in the reference.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    session = onnxruntime.InferenceSession(job["file"], options, providers=["CPUExecutionProvider"])
    feeds = {
        feed["name"]: numpy.fromfile(feed["file"], dtype=TYPES[feed["type"]]).reshape(feed["dims"])
        for feed in job["feeds"]
    }
    output = session.run(None, feeds)[0]
    expected = numpy.fromfile(job["expected"], dtype=numpy.float32).reshape(output.shape)
    return {"error": float(numpy.linalg.norm(output - expected) / numpy.linalg.norm(expected))}


for line in sys.stdin:
    try:
        answer = attempt(json.loads(line))
    except Exception as error:  # whatever a version does not know
        answer = {"failure": f"{type(error).__name__}: {error}"}
    print(json.dumps({"answer": answer}, separators=(",", ":")), flush=True)
