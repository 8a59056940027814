"""The backend for NVIDIA's Hopper GPUs: cuBLASLt and the kernels of kernels/, over the portable one."""
