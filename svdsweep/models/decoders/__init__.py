"""Decoders beside Stable Video Diffusion's own: they see one frame at a time, and take its place in the VAE."""
