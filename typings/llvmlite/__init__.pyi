# What we use of llvmlite, which says nothing of its types.
