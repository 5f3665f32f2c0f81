"""From a checkpoint to a model of the manifest: ONNX, eight bits, figures, card."""
