"""What a terminal shows: rich tables, lists and progress. Nothing here prints by itself."""
