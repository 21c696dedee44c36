"""onnx.checker with strict shape inference. A job a line: {"file"}; the answer is an error of 0, or the fault in words."""

import json
import sys

import onnx

for line in sys.stdin:
    try:
        file = json.loads(line)["file"]
        onnx.checker.check_model(file, full_check=True)
        onnx.shape_inference.infer_shapes(onnx.load(file), check_type=True, strict_mode=True, data_prop=True)
        answer = {"error": 0}
    except Exception as error:  # whatever a version does not know
        answer = {"failure": f"{type(error).__name__}: {error}"}
    print(json.dumps({"answer": answer}, separators=(",", ":")), flush=True)
