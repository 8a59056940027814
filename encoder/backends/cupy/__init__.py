"""The portable GPU backend: CuPy on CUDA and ROCm, with the kernels of kernels/."""
