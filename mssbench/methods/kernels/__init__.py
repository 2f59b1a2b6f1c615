"""CUDA kernels for batches of small matrices, and the modules that select and launch them.

*.cuh        the kernels; threads.cuh and warps.cuh contain the matrix products
variants.py  the table of compiled variants: sizes, tiles, threads, shared memory
planner.py   selects the variant for a batch on a device, or gives the reason why there is none
source.py    the CUDA C++ source of a variant, as a single text
fused.py     roots and gradients of torch and CuPy arrays by these kernels
factors.py   the polynomial factors of the iterations, for the rounding of the products
driver.py    compiles by CuPy, and launches on the current stream of the array's library
effort.py    counts the work of a launch and notifies listeners
resources.py registers and memory of each kernel, as reported by the compiler
examine.py   resources of each kernel on a GPU, and one launch of each for compute-sanitizer and ncu
triton_roots.py, triton_iterate.py  the iteration on tensor cores, in Triton
operators.py the kernels as torch operators, for torch.compile
"""
