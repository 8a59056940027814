"""Kernels: sources, the compiler that turns one into machine code, and the thin faces of what NVIDIA's libraries do better. README.md has a row for each."""
