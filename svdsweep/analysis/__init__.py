"""What rows become: tables, comparisons with the baseline, and answers to claims."""
