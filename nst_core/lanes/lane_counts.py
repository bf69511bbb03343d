"""How many stylizations are under way on a device, if nobody says. No torch and no Ray here."""

#: More lanes share more work, up to here.
CPU_LANES = 4
GPU_LANES = 16
