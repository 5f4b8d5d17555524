"""What this machine computes with: its GPUs, its memory, its processor, and whether llama.cpp can use them."""
