"""From rows to tables and comparisons."""
