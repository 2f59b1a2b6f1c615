"""Analysis of one result table: blocks of comparable rows, conclusions, verdicts on claims."""
