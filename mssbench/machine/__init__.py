"""The machine: its devices, hardware and versions, and conditions that would disturb results."""
