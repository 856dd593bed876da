"""Searches over jobs that spend fewer UNet calls than the grid they answer: the best of many seeds, and schedules."""
