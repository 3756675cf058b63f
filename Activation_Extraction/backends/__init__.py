"""How a network is run: prepared once, by eager PyTorch or OpenVINO, in fp32 or bf16."""
