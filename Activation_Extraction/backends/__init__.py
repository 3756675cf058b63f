"""How a network is run: eager PyTorch, compiled, or OpenVINO, in fp32 or bf16."""
