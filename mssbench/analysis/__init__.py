"""What one result table says: blocks of comparable rows, conclusions, verdicts on claims."""
