#!/bin/sh
# What networks.cjs does, on the command line.
set -e
cd "$(dirname "$0")/.."
data=$(npx tsx examples/data.ts)
vertexq() { node dist/cli/main.js "$@"; }

vertexq quantize "$data/sentence-encoder.onnx" -o "$data/sentences-quantized.onnx" --overwrite --calibration "$data/sentences.jsonl" --effort 0
vertexq eval "$data/sentence-encoder.onnx" "$data/sentences-quantized.onnx" --data "$data/other-sentences.jsonl"

vertexq quantize "$data/ocr.onnx" -o "$data/ocr-quantized.onnx" --overwrite --calibration "$data/lines" --effort 0 \
  --image-mean 0.5 --image-std 0.5 --image-order bgr
vertexq eval "$data/ocr.onnx" "$data/ocr-quantized.onnx" --data "$data/other-lines" \
  --image-mean 0.5 --image-std 0.5 --image-order bgr

vertexq quantize "$data/mnist.onnx" -o "$data/digits-quantized.onnx" --overwrite --calibration "$data/digits.npy" \
  --bits 2 --group-size channel --effort 0
vertexq eval "$data/mnist.onnx" "$data/digits-quantized.onnx" --data "$data/other-digits.npy"
