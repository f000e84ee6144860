"""Released encoders: image in, unit descriptor out, on a CPU and without torch."""
