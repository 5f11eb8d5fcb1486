"""A network as a file for other programs: ONNX, torch.export's program, TorchScript; each file is run and compared."""
