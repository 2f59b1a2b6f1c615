"""Ways to get cells measured: `local`, a pool of worker processes on this machine."""
