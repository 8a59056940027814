"""Products in 16 and 8 bits, LayerNorm and attention in C, for x86-64 processors: plain functions, compiled when embermill is installed, called by ctypes.

kernels/ has the sources. Each function is compiled for the processors that it is for, and paths.py chooses by what this one has. No interpreter, NumPy or
C++ is in them, so that any C compiler will do; where there was none, or on another processor, quantized.py has the same in NumPy.
"""
