"""The types of numbers in which a GGUF file can be written. Imports no library, for the command line."""

QUANTIZATIONS = ("f16", "bf16", "f32", "q8_0")
"""Those that the package gguf can make. Types of 4 bits are made from the f16 file by llama.cpp's llama-quantize."""
