"""CUDA kernels for batches of small roots, and what chooses and launches them.

*.cuh        the kernels; threads.cuh and warps.cuh say who multiplies
variants.py  what there is: sizes, tiles, threads, shared memory
planner.py   which of them serves a batch on a device, or why none does
source.py    the CUDA C++ of a variant, as one text
fused.py     roots and gradients of torch and CuPy arrays by these kernels
factors.py   the steps they take, for what their products round to
driver.py    CuPy: compiles, and launches on the stream of the array's own library
effort.py    the work of a launch, told to whoever counts
resources.py what the compiler says they take
examine.py   what they take as loaded on a GPU, and one launch of each, for tools that watch
triton_roots.py, triton_iterate.py  the iteration on tensor cores once more, in Triton
operators.py the same as torch operators that torch.compile can see
"""
