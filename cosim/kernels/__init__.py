"""Fast kernels of the torch executor; each equals the operator it stands for, bit for bit."""
