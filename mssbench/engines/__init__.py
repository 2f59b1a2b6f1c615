"""Engines, which get cells measured: `local`, with worker processes on this machine."""
