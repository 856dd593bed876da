"""Rows in, union out: what a sweep's folder holds, and the one way to read it."""
